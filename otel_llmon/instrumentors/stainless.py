"""Clients that Stainless generates (OpenAI's, Anthropic's, Groq's, ...): their streams and raw responses.

Their stream objects stay themselves: only the iterator inside is exchanged. It is made from a twin of the stream, since
the stream and its own iterator would hold each other, and one that is dropped would live on until a garbage collection.
"""

from __future__ import annotations

import inspect
import json
import sys
import weakref
from collections.abc import Callable
from types import FrameType
from typing import Any

from otel_llmon.instrumentors import held, streams
from otel_llmon.instrumentors.calls import Call
from otel_llmon.instrumentors.streams import Flow, over, over_async
from otel_llmon.telemetry import state

RAW = "X-Stainless-Raw-Response"
"""The header by which `with_raw_response` and `with_streaming_response` ask for what they return."""


def answered(call: Call, result: Any) -> Any:
    """Take a result: an answer, a stream, or either of them raw."""
    is_stream = call.patch.chunks is not None and call.patch.streams(call.given)
    raw = (call.given.get("extra_headers") or {}).get(RAW)
    if raw is None:
        if is_stream:
            return _follow(call, result)
        call.finish(result)
    elif is_stream:
        _follow(call, _now(result.parse()))  # which the caller's own parse() will return
    elif raw == "stream":
        _Body(call, result.http_response)
    else:
        call.finish(_plain(result.http_response.content))
    return result


def _now(found: Any) -> Any:
    """Return what a coroutine returns that awaits nothing: making a stream reads nothing of it."""
    if not inspect.iscoroutine(found):
        return found
    try:
        found.send(None)
    except StopIteration as stop:
        return stop.value
    found.close()
    raise TypeError("parse() of a stream waits for something")


def _follow(call: Call, stream: Any) -> Any:
    """Let what the stream yields pass by us; return the stream."""
    if not hasattr(stream, "_iterator"):
        return streams.follow(call, stream)
    flow = Flow(call)
    twin = object.__new__(type(stream))
    twin.__dict__.update(stream.__dict__)
    del twin._iterator
    inner = twin.__stream__()
    is_async = inspect.isasyncgen(inner)
    told = weakref.ref(flow)

    def closed(*, exhausted: bool) -> None:
        if (found := told()) is None:
            return
        if exhausted:
            found.complete(seen=False)
        else:
            found.stop()

    flow.undo = _when_closed(stream.response, closed, inner.ag_code if is_async else inner.gi_code)
    stream._iterator = flow.follows(over_async(inner, flow) if is_async else over(inner, flow))
    return stream


class _Body:
    """A call whose answer's body the program reads for itself; what is read as a whole is understood at the end."""

    __slots__ = ("_began", "_call", "_exhausted", "_response", "_undo")

    def __init__(self, call: Call, response: Any) -> None:
        self._call = call
        self._began = state.clock()
        self._exhausted: float | None = None
        self._undo = _when_closed(response, self.closed)
        self._response = held.when_dropped(response, self.drop)

    def closed(self, *, exhausted: bool) -> None:
        """Note that the body was read, or end the call: within reading, what was read is not there yet."""
        if exhausted:
            self._exhausted = state.clock()
        else:
            self._end()

    def drop(self) -> None:
        """End because nobody holds the response any more: it was left when it had come."""
        self._end(self._began)

    def _end(self, at: float | None = None) -> None:
        response, call = self._response(), self._call
        held.forget(self._response)
        self._undo()
        if (body := None if response is None else response.__dict__.get("_content")) is not None:
            call.finish(_plain(body), self._exhausted)
        elif self._exhausted is not None:
            call.end(self._exhausted)
        else:
            call.end(at, stopped=True)


def _when_closed(response: Any, told: Callable[..., None], reader: Any = None) -> Callable[[], None]:
    """Tell when the program closes an HTTP response, or has read it to its end; return what undoes this.

    The code `reader` closes it too, at its own end, and so do iterators that are dropped; that says nothing. Until it
    is undone the response holds itself, since somebody may have taken its `close` and nothing else.
    """
    kind = type(response)
    raw = {getattr(getattr(kind, name, None), "__code__", None) for name in ("iter_raw", "aiter_raw")}

    def hook(name: str) -> None:
        original = getattr(response, name)

        def close() -> Any:
            exhausted = _closing(reader, raw)
            if exhausted is not None:
                told(exhausted=exhausted)
            return original()

        setattr(response, name, close)

    names = [name for name in ("close", "aclose") if hasattr(kind, name)]
    for name in names:
        hook(name)

    found = weakref.ref(response)

    def undo() -> None:
        for name in names:
            getattr(found(), "__dict__", {}).pop(name, None)

    return undo


def _closing(reader: Any, raw: set[Any]) -> bool | None:
    """Return whether a response is being closed at its body's end, or None where the program does not close it."""
    exhausted = False
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        if frame.f_code is reader:
            return None
        exhausted = exhausted or frame.f_code in raw
        frame = frame.f_back
    dropped = exhausted and sys.exc_info()[0] is GeneratorExit
    return None if dropped else exhausted


class _Plain(dict[str, Any]):
    """A decoded JSON object whose members are attributes; one that is not there is None."""

    __getattr__ = dict.get


def _plain(body: bytes) -> Any:
    return json.loads(body, object_hook=_Plain)
