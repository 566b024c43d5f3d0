"""One chat completion with OpenAI's client, beside the bare client; its server is a function in this process."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from types import SimpleNamespace
from typing import Any

import openai
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, Sampler

from benchmarks.figures import MICROSECOND, Figure
from benchmarks.scenes import pipeline
from benchmarks.timing import Loop
from otel_llmon.instrumentors.calls import Call
from otel_llmon.instrumentors.openai import OpenAIInstrumentor
from otel_llmon.instrumentors.patching import Switch
from otel_llmon.instrumentors.streams import Flow, over, over_async

try:
    import httpx2 as httpx
except ImportError:  # the client before 3.0
    import httpx

CHUNKS, LONG = 200, 5_000
PATCH = next(patch for patch in OpenAIInstrumentor.patches if patch.method == "Completions.create")
HEAD = {"id": "chatcmpl-1", "created": 0, "model": "m-7b-2026"}
USAGE = {
    "prompt_tokens": 20,
    "completion_tokens": CHUNKS,
    "total_tokens": 20 + CHUNKS,
    "prompt_tokens_details": {"cached_tokens": 10},
    "completion_tokens_details": {"reasoning_tokens": 0},
}
MESSAGES = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "how are you?"}]
REQUEST: dict[str, Any] = {"model": "m-7b", "messages": MESSAGES, "temperature": 0.5, "max_tokens": 500}


def chunk(word: str | None, finish: str | None = None) -> dict[str, Any]:
    """Return one chunk of a stream."""
    choice = {"index": 0, "delta": {"content": word} if word else {}, "finish_reason": finish}
    return HEAD | {"object": "chat.completion.chunk", "choices": [choice]}


STREAM = [*(chunk(" word") for _ in range(CHUNKS - 1)), chunk(None, "stop") | {"usage": USAGE}]
EVENTS = b"".join(b"data: %s\n\n" % json.dumps(item).encode() for item in STREAM) + b"data: [DONE]\n\n"
MESSAGE = {"role": "assistant", "content": "I am well."}
ANSWER = HEAD | {
    "object": "chat.completion",
    "choices": [{"index": 0, "message": MESSAGE, "finish_reason": "stop"}],
    "usage": USAGE,
}

COMPLETION = ChatCompletion.model_validate(ANSWER)


def answer(request: Any) -> Any:
    """Answer a request as a server would."""
    if json.loads(request.content).get("stream"):
        return httpx.Response(200, content=EVENTS, headers={"content-type": "text/event-stream"})
    return httpx.Response(200, json=ANSWER)


CLIENT = openai.OpenAI(
    base_url="http://localhost:8000/v1", api_key="none", http_client=httpx.Client(transport=httpx.MockTransport(answer))
)


@contextmanager
def place(*, on: bool = True, sampler: Sampler = ALWAYS_ON) -> Iterator[dict[str, Any]]:
    """Give the client's method, instrumented or bare."""
    instrumentor = OpenAIInstrumentor()
    if on:
        instrumentor.instrument()
    try:
        with pipeline(sampler=sampler) as made:
            yield made | {"create": CLIENT.chat.completions.create, "request": REQUEST}
    finally:
        if on:
            instrumentor.uninstrument()


class Stub:
    """Stands where the client's method does, and has its answer ready: what is left is what we add."""

    _client = CLIENT

    def create(self, **_: Any) -> Any:
        """Answer."""
        return COMPLETION


@contextmanager
def alone(*, on: bool = True, sampler: Sampler = ALWAYS_ON) -> Iterator[dict[str, Any]]:
    """Give the stub, instrumented as the client's method is, or bare."""
    stub = type("Stub", (Stub,), {})
    if on:
        Switch().apply(PATCH, SimpleNamespace(Completions=stub))
    with pipeline(sampler=sampler) as made:
        yield made | {"create": stub().create, "request": REQUEST}


@contextmanager
def chunks(*, on: bool = True, is_async: bool = False) -> Iterator[dict[str, Any]]:
    """Give the reading of a long stream's chunks, which are there already."""
    items = [ChatCompletionChunk.model_validate(item) for item in STREAM] * (LONG // CHUNKS)
    with pipeline() as made:
        yield made | {"read": partial(_read_async if is_async else _read, items, on=on)}


def _flow() -> Flow:
    call = Call(PATCH, CLIENT.chat.completions, REQUEST | {"stream": True})
    call.step_aside()
    return Flow(call)


def _read(items: list[Any], *, on: bool) -> None:
    inner = (item for item in items)
    for _ in over(inner, _flow()) if on else inner:
        pass


def _read_async(items: list[Any], *, on: bool) -> None:
    async def stream() -> Any:
        for item in items:
            yield item

    async def read() -> None:
        inner = stream()
        async for _ in over_async(inner, _flow()) if on else inner:
            pass

    with suppress(StopIteration):
        read().send(None)


_CHAT, _STREAM = "create(**request)", "for _ in create(**request, stream=True): pass"
_BARE = partial(place, on=False)
_BARE_CHAT, _BARE_STUB = Loop(_CHAT, _BARE, 100), Loop(_CHAT, partial(alone, on=False), 10_000)

FIGURES = (
    # the client's own millisecond varies by more than what is added: these inform, those below are held to their limits
    Figure("chat, sampled", Loop(_CHAT, place, 100), _BARE_CHAT),
    Figure("chat, not sampled", Loop(_CHAT, partial(place, sampler=ALWAYS_OFF), 100), _BARE_CHAT),
    Figure("stream, sampled, by chunk", Loop(_STREAM, place, 4, CHUNKS), Loop(_STREAM, _BARE, 4, CHUNKS)),
    Figure("chat, what is added, sampled", Loop(_CHAT, alone, 400), _BARE_STUB, 1.0, 120 * MICROSECOND),
    Figure(
        "chat, what is added, not sampled",
        Loop(_CHAT, partial(alone, sampler=ALWAYS_OFF), 1_000),
        _BARE_STUB,
        1.0,
        60 * MICROSECOND,
    ),
    Figure(
        "chunk, what is added, sampled",
        Loop("read()", chunks, 2, LONG),
        Loop("read()", partial(chunks, on=False), 4, LONG),
        1.0,
        0.5 * MICROSECOND,
    ),
    Figure(
        "chunk, what is added, sampled, asynchronous",
        Loop("read()", partial(chunks, is_async=True), 2, LONG),
        Loop("read()", partial(chunks, on=False, is_async=True), 4, LONG),
        1.0,
        0.5 * MICROSECOND,
    ),
)
