"""Iterators that hand out somebody's items and know how many, at next to no cost per item.

They are chained from those of `itertools`, so that no code of ours runs between two items: how far the loop is can be
asked for. The last link of each chain knows how the loop ends: it is asked for an item after the last one, or let go
before.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from itertools import chain, islice, repeat
from operator import length_hint
from typing import Any, NoReturn, Self, TypeVar

from otel_llmon.progress.books import BEHIND, Position
from otel_llmon.progress.loops import Loop
from otel_llmon.wording import CANCELLED

ItemT = TypeVar("ItemT")


def counted(items: Iterable[ItemT], loop: Loop) -> Iterator[ItemT]:
    """Return an iterator over `items` that lets `loop` know how many it has handed out."""
    kind = type(items)
    # what iterates over these can tell where it is, but `len` and its like end where a range may go on
    if kind is list or kind is tuple or (isinstance(items, range) and not items[BEHIND:]):
        iterator: Any = iter(items)
        position = _in_list(iterator, items) if kind is list else _in_fixed(iterator, items)
        end = _End(loop, position)
        loop.iterate(position, iterator.__setstate__)
        if loop.watched:
            return chain.from_iterable(_Slices(iterator, position, end, loop))
        return chain(iterator, end)
    chunks = _Chunks(loop)
    source = chain(iter(items), _End(loop, lambda: chunks.position() - 1))
    loop.iterate(chunks.position)
    # For each item a permission is taken first, so that what the loop asked for is known even if the source then
    # raises. An empty dict's `get` returns its second argument: it is the quickest function that drops the first.
    return map(_NOTHING.get, chain.from_iterable(chunks), source)


_NOTHING: dict[Any, Any] = {}


def _in_list(iterator: Any, items: Any) -> Callable[[], int]:
    def position() -> int:
        state = iterator.__reduce__()
        return state[2] if len(state) > 2 else len(items)  # without a place it is at its end

    return position


def _in_fixed(iterator: Any, items: Any) -> Callable[[], int]:
    size = len(items)
    return lambda: size - length_hint(iterator)


class _End:
    """Stands behind the items: who comes to it has seen all of them, who drops it has not."""

    __slots__ = ("_loop", "_position")

    def __init__(self, loop: Loop, position: Position) -> None:
        self._loop = loop
        self._position = position

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> NoReturn:
        self._loop.exhausted(self._position())
        raise StopIteration

    def __del__(self) -> None:
        self._loop.left()


class _Chunks:
    """Gives out permission for so many items at a time; between two of them somebody looks up."""

    __slots__ = ("_loop", "_now")

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._now: tuple[int, int, Iterator[None]] = (0, 0, repeat(None, 0))

    def position(self) -> int:
        """Return how many items were asked for."""
        before, size, steps = self._now
        return before + size - length_hint(steps)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Iterator[None]:
        before = sum(self._now[:2])
        size = self._loop.look(before)
        if not size:
            raise StopIteration
        steps = repeat(None, size)
        self._now = before, size, steps
        return steps


class _Slices:
    """Hands out a list in slices; between two of them somebody looks up."""

    __slots__ = ("_end", "_iterator", "_loop", "_position", "_until")

    def __init__(self, iterator: Iterator[Any], position: Callable[[], int], end: _End, loop: Loop) -> None:
        self._iterator = iterator
        self._position = position
        self._end = end
        self._loop = loop
        self._until = 0

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Iterator[Any]:
        before = self._position()
        size = 0 if before < self._until else self._loop.look(before)
        if not size:
            next(self._end)
        self._until = before + size
        return islice(self._iterator, size)


class AsyncCounted(AsyncIterator[ItemT]):
    """The same for what is iterated with `async for`, where an item costs a call anyway."""

    __slots__ = ("_end", "_handed", "_items", "_loop", "_until")

    def __init__(self, items: AsyncIterator[ItemT], loop: Loop) -> None:
        handed = [0]  # apart from us: the loop must not keep alive what tells it that we are gone
        self._handed = handed
        self._items = items
        self._loop = loop
        self._end = _End(loop, lambda: handed[0] - 1)
        self._until = 0
        loop.iterate(lambda: handed[0])

    async def __anext__(self) -> ItemT:
        """Return the next item."""
        handed = self._handed
        if handed[0] == self._until:
            self._until += self._loop.look(handed[0])
        if self._loop.state == CANCELLED:
            raise StopAsyncIteration
        handed[0] += 1
        try:
            return await anext(self._items)
        except StopAsyncIteration:
            self._loop.exhausted(handed[0] - 1)
            raise
