"""One chat completion with OpenAI's client, beside the bare client; its server is a function in this process."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import openai
from openai.types.chat import ChatCompletionChunk
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, Sampler

from benchmarks.figures import MICROSECOND, Figure
from benchmarks.scenes import pipeline
from benchmarks.timing import Loop
from otel_llmon.instrumentors.calls import Call
from otel_llmon.instrumentors.openai import OpenAIInstrumentor
from otel_llmon.instrumentors.streams import Flow, Over, over

try:
    import httpx2 as httpx
except ImportError:  # the client before 3.0
    import httpx

CHUNKS = 200
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


@contextmanager
def chunks(*, on: bool = True, is_async: bool = False) -> Iterator[dict[str, Any]]:
    """Give a stream's chunks without the client that decodes them: it takes 300 times what is added."""
    items = [ChatCompletionChunk.model_validate(item) for item in STREAM]
    with pipeline() as made:
        yield made | {"read": partial(_read_async if is_async else _read, items, on=on)}


def _flow() -> Flow:
    patch = next(patch for patch in OpenAIInstrumentor.patches if patch.method == "Completions.create")
    call = Call(patch, CLIENT.chat.completions, REQUEST | {"stream": True})
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
        async for _ in Over(inner, _flow()) if on else inner:
            pass

    with suppress(StopIteration):
        read().send(None)


_UNSAMPLED = partial(place, sampler=ALWAYS_OFF)
_BARE = partial(place, on=False)
_CHAT = "create(**request)"
_STREAM = "for _ in create(**request, stream=True): pass"
_PER_CHUNK = 0.5 * MICROSECOND
_BARE_CHAT, _BARE_STREAM = Loop(_CHAT, _BARE, 100), Loop(_STREAM, _BARE, 4, CHUNKS)

FIGURES = (
    Figure("chat, sampled", Loop(_CHAT, place, 100), _BARE_CHAT, 1.0, 120 * MICROSECOND),
    Figure("chat, not sampled", Loop(_CHAT, _UNSAMPLED, 100), _BARE_CHAT, 1.0, 60 * MICROSECOND),
    Figure("stream, sampled, by chunk", Loop(_STREAM, place, 4, CHUNKS), _BARE_STREAM),
    Figure(
        "chunks alone, sampled, by chunk, whole call",
        Loop("read()", chunks, 20, CHUNKS),
        Loop("read()", partial(chunks, on=False), 20, CHUNKS),
        1.0,
        _PER_CHUNK + 120 * MICROSECOND / CHUNKS,
    ),
)
