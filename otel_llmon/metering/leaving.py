"""What was let go of before all of it was told.

Nothing of ours runs where Python lets go of something, as in `instrumentors/held.py` and for its reasons: a weak
reference puts itself into a queue, and whoever comes next sees to what it stood for.
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Iterator
from typing import Any, Generic, TypeVar

from otel_llmon.metering.binding import api

T = TypeVar("T")


class Left(Generic[T]):
    """What things have still to tell when nobody holds them any more.

    What was made for another provider than the one that is global now is nobody's business any more.
    """

    def __init__(self) -> None:
        self._dropped: deque[weakref.ref[Any]] = deque()
        self._held: dict[int, tuple[weakref.ref[Any], T, Any]] = {}

    def hold(self, thing: Any, rest: T) -> None:
        """Keep what a thing may leave, which must not hold the thing."""
        dropped = self._dropped
        found = weakref.ref(thing, dropped.append)
        self._held[id(found)] = found, rest, api._METER_PROVIDER

    def taken(self) -> Iterator[T]:
        """Yield what was left; whoever takes it sees to it."""
        for found in emptied(self._dropped):
            _, rest, provider = self._held.pop(id(found))
            if provider in (None, api._METER_PROVIDER):
                yield rest

    def forget(self) -> None:
        """See to nothing that was dropped so far, as a forked child does."""
        for found in emptied(self._dropped):
            self._held.pop(id(found), None)


def emptied(queue: deque[T]) -> Iterator[T]:
    """Yield what is in a queue, which several threads may empty at once."""
    while queue:
        try:
            found = queue.popleft()
        except IndexError:  # another thread was faster
            return
        yield found


def twin(thing: T) -> T:
    """Return another object of the same state: whoever holds it holds that, and not the thing."""
    made = object.__new__(type(thing))
    made.__dict__ = thing.__dict__
    return made
