"""Streams: what arrives is taken note of as it passes, and the call ends once, however the stream is left.

A stream that is read to its end, fails, is closed, or is dropped half-read or unread ends its call: with what was
received until then. One that is dropped ends at its last chunk, since nothing of it was wanted after that.
"""

from __future__ import annotations

import weakref
from array import array
from collections.abc import AsyncIterator, Callable, Iterator
from operator import sub
from typing import Any, TypeVar

import wrapt

from otel_llmon.instrumentors import content, held
from otel_llmon.instrumentors.calls import Call, failed
from otel_llmon.semconv import attributes as key
from otel_llmon.telemetry import state

IteratorT = TypeVar("IteratorT")


BLOCK = 64
"""Chunks that are read at once: one by one takes half as long again. Content is read as it comes."""


class Flow:
    """A call whose answer comes bit by bit, by way of an iterator that it `follows`."""

    __slots__ = ("__weakref__", "_began", "_followed", "_readers", "block", "call", "kept", "times", "undo")

    def __init__(self, call: Call) -> None:
        patch = call.patch
        self.call = call
        self.times = array("d")
        self.undo: Callable[[], None] | None = None
        self._began = state.clock()
        self._readers = [patch.chunks] if patch.chunks is not None else []
        self.kept: list[Any] = []
        self.block = BLOCK
        if call.captures and patch.content is not None:
            self._readers.append(patch.content.chunks)
            self.block = 1
        self._followed: weakref.ref[Any] | None = None

    def read(self) -> None:
        """Read what is kept; a reader that fails is counted, and reads no more."""
        for reader in self._readers[:]:
            try:
                reader(self.call.received, self.kept)
            except Exception as exc:
                self._readers.remove(reader)
                failed(self.call.patch.library, exc)
        self.kept.clear()

    def follows(self, items: IteratorT) -> IteratorT:
        """End at the latest when nobody holds `items` any more; return them."""
        self._followed = held.when_dropped(items, self.drop)
        return items

    def complete(self, *, seen: bool = True) -> None:
        """End: all has arrived, though not by way of us where it was not `seen`."""
        self._end(seen=seen)

    def fail(self, error: BaseException) -> None:
        """End with what reading raised."""
        self._end(error=error)

    def stop(self) -> None:
        """End because the program closed the stream."""
        self._end(stopped=True)

    def drop(self) -> None:
        """End because nobody holds the stream any more: it was left at its last chunk."""
        self._end(self.times[-1] if self.times else self._began, stopped=True)

    def _end(
        self,
        at: float | None = None,
        error: BaseException | None = None,
        *,
        stopped: bool = False,
        seen: bool = True,
    ) -> None:
        call = self.call
        if not call.claim():
            return
        try:
            if self._followed is not None:
                held.forget(self._followed)
            if self.undo is not None:
                self.undo()
            self.read()
            if seen or self.times:
                self._tell_times(call)
            if call.captures and call.patch.content is not None:
                call.received.attributes |= content.said(call.patch.content.gathered(call.received))
        except Exception as exc:
            failed(call.patch.library, exc)
        call.tell(at, error, stopped=stopped)

    def _tell_times(self, call: Call) -> None:
        call.received.attributes[key.CHUNKS] = len(self.times)
        if not self.times:
            return
        waited = max(self.times[0] - call.started, 0.0)
        call.received.attributes[key.GEN_AI_TIME_TO_FIRST_CHUNK] = waited
        lane = call.course.lane(call.received.model)
        for record in lane.firsts:
            record(waited, call.span)
        gaps = list(map(sub, self.times[1:], self.times))
        if gaps and min(gaps) < 0:  # a clock that was set back
            gaps = [max(gap, 0.0) for gap in gaps]
        for series in lane.gaps:
            series.record_all(gaps, call.span)


def over(inner: Iterator[Any], flow: Flow) -> Iterator[Any]:
    """Yield what `inner` yields, and take note of it."""
    clock, seen, kept, keep, block = state.clock, flow.times.append, flow.kept, flow.kept.append, flow.block
    try:
        for item in inner:
            seen(clock())
            keep(item)
            if len(kept) >= block:
                flow.read()
            yield item
    except GeneratorExit:  # dropped: nothing may be done here, see `held`
        raise
    except BaseException as exc:
        flow.fail(exc)
        raise
    flow.complete()


async def over_async(inner: AsyncIterator[Any], flow: Flow) -> AsyncIterator[Any]:
    """As over(), for an asynchronous iterator."""
    clock, seen, kept, keep, block = state.clock, flow.times.append, flow.kept, flow.kept.append, flow.block
    try:
        async for item in inner:
            seen(clock())
            keep(item)
            if len(kept) >= block:
                flow.read()
            yield item
    except GeneratorExit:  # dropped, as in over()
        raise
    except BaseException as exc:
        flow.fail(exc)
        raise
    flow.complete()


def follow(call: Call, result: Any) -> Any:
    """Return an iterator as what it is, with its items taken note of; what is none ends the call."""
    is_async = hasattr(result, "__anext__")
    if not is_async and not hasattr(result, "__next__"):
        call.finish(result)
        return result
    flow = Flow(call)
    return _Followed(result, flow.follows(over_async(result, flow) if is_async else over(result, flow)), flow)


class _Followed(wrapt.ObjectProxy):  # type: ignore[type-arg]  # older ones take no arguments
    """Somebody's iterator: all that it is and can, save that items pass by us."""

    def __init__(self, wrapped: Any, items: Any, flow: Flow) -> None:
        super().__init__(wrapped)
        self._self_items = items
        self._self_flow = flow

    def __getattr__(self, name: str) -> Any:
        found = super().__getattr__(name)
        if name not in ("close", "aclose"):
            return found

        def closing(*args: Any, **kwargs: Any) -> Any:
            self._self_flow.stop()
            return found(*args, **kwargs)

        return closing

    def __iter__(self) -> Any:
        return self

    def __next__(self) -> Any:
        return next(self._self_items)

    def __aiter__(self) -> Any:
        return self

    def __anext__(self) -> Any:
        return self._self_items.__anext__()

    def __enter__(self) -> Any:
        return self._entered(self.__wrapped__.__enter__())

    async def __aenter__(self) -> Any:
        return self._entered(await self.__wrapped__.__aenter__())

    def _entered(self, found: Any) -> Any:
        return self if found is self.__wrapped__ else found
