"""OpenAI's client against a small server: what arrives of every kind of call, and of every way to leave a stream."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib.util
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
from openai.resources.chat.completions import AsyncCompletions, Completions
from openai.types.chat import ChatCompletion
from opentelemetry import trace
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, Decision, Sampler, SamplingResult
from opentelemetry.trace import SpanKind, StatusCode
from processes import CONFIGURE
from pydantic import BaseModel

from otel_llmon import configure, phase, telemetry
from otel_llmon.errors import SettingsError
from otel_llmon.instrumentors import messages
from otel_llmon.instrumentors.openai import OpenAIInstrumentor
from otel_llmon.prices import Prices, TokenPrice
from otel_llmon.semconv import attributes as key
from otel_llmon.semconv.genai import CALL_SECONDS
from otel_llmon.testing import Recorder

try:
    import httpx2 as httpx
except ImportError:  # the client before 3.0
    import httpx

EXAMPLE = Path(__file__).parent.parent / "examples" / "local_llm.py"
SYSTEM = {"role": "system", "content": "be brief"}
ASKED = [SYSTEM, {"role": "user", "content": "how are you?"}]
WORDS = ["You", " said:", " how", " are", " you?"]
CHAT = "chat parrot"
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "look_up",
            "parameters": {"type": "object", "properties": {"word": {"type": "string"}}},
        },
    }
]


class Reply(BaseModel):
    """What parse() is to return."""

    text: str
    words: int


@pytest.fixture(scope="module")
def local_llm():
    """The example's module."""
    spec = importlib.util.spec_from_file_location("local_llm", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def url(local_llm) -> Iterator[str]:
    """A running server."""
    with local_llm.serve() as url:
        yield url


@pytest.fixture(autouse=True)
def instrumented() -> Iterator[None]:
    """OpenAI's client, instrumented for the length of a test."""
    instrumentor = OpenAIInstrumentor()
    instrumentor.instrument()
    yield
    if instrumentor.is_instrumented_by_opentelemetry:
        instrumentor.uninstrument()


@pytest.fixture
def client(url) -> Iterator[openai.OpenAI]:
    """A client that does not try again."""
    with openai.OpenAI(base_url=url, api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture
def run(url):
    """Run a coroutine function that is given an asynchronous client."""

    def run(function):
        async def with_client():
            async with openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as client:
                return await function(client)

        return asyncio.run(with_client())

    return run


@pytest.fixture
def semconv(monkeypatch):
    """Choose conventions."""
    return lambda name: monkeypatch.setattr(telemetry.state, "genai_semconv", name)


def structured(client):
    """Return what has parse() and stream(); they were in beta before 1.92."""
    return client.chat.completions if hasattr(client.chat.completions, "parse") else client.beta.chat.completions


def nobody() -> openai.OpenAI:
    """Return a client of a server that is not there."""
    return openai.OpenAI(base_url="http://127.0.0.1:9/v1", api_key="none", max_retries=0)


def only(recorder: Recorder):
    """Return the attributes of the one span, which is in order."""
    [span] = recorder.finished
    assert span.kind is SpanKind.CLIENT
    assert span.start_time <= span.end_time
    assert trace.get_current_span() is trace.INVALID_SPAN
    [duration] = recorder.points()["gen_ai.client.operation.duration"]
    assert duration.count == 1
    assert duration.attributes.get(key.ERROR_TYPE) == span.attributes.get(key.ERROR_TYPE)
    return span.attributes


# calls


def test_a_chat_is_one_span_with_what_was_asked_and_answered(client, recorder):
    """Its name, kind, target, parameters, answer and usage are the convention's; success has no status."""
    client.chat.completions.create(
        model="parrot", messages=ASKED, temperature=0.5, max_tokens=100, stop="END", reasoning_effort="low", seed=7
    )
    said = only(recorder)
    assert recorder.finished[0].name == CHAT
    assert recorder.finished[0].status.status_code is StatusCode.UNSET
    assert dict(said) == {
        key.GEN_AI_OPERATION: "chat",
        key.GEN_AI_PROVIDER: "openai_compatible",
        key.GEN_AI_REQUEST_MODEL: "parrot",
        key.SERVER_ADDRESS: "127.0.0.1",
        key.SERVER_PORT: client.base_url.port,
        key.OPENAI_API: "chat_completions",
        key.GEN_AI_TEMPERATURE: 0.5,
        key.GEN_AI_MAX_TOKENS: 100,
        key.GEN_AI_STOP_SEQUENCES: ("END",),
        key.GEN_AI_SEED: 7,
        key.GEN_AI_REASONING_LEVEL: "low",
        key.GEN_AI_RESPONSE_ID: said[key.GEN_AI_RESPONSE_ID],
        key.GEN_AI_RESPONSE_MODEL: "parrot-2026-01-01",
        key.GEN_AI_FINISH_REASONS: ("stop",),
        key.GEN_AI_INPUT_TOKENS: 5,
        key.GEN_AI_OUTPUT_TOKENS: 13,
        key.GEN_AI_CACHE_READ_TOKENS: 2,
        key.GEN_AI_REASONING_TOKENS: 8,
    }


def test_what_the_caller_left_out_is_not_told(client, recorder):
    """No parameter is made up, nor is a marker object for an absent one."""
    client.chat.completions.create(model="parrot", messages=ASKED, temperature=openai.NOT_GIVEN, n=1)
    assert not [
        name for name in only(recorder) if name.startswith("gen_ai.request.") and name != key.GEN_AI_REQUEST_MODEL
    ]


def test_choices_tools_and_form_are_told(client, recorder):
    """Several answers have a reason each; a form of answer is named by its kind."""
    client.chat.completions.create(model="parrot", messages=ASKED, n=2, tools=TOOLS, response_format={"type": "text"})
    said = only(recorder)
    assert said[key.GEN_AI_CHOICE_COUNT] == 2
    assert said[key.GEN_AI_FINISH_REASONS] == ("tool_calls", "tool_calls")
    assert said[key.GEN_AI_OUTPUT_TYPE] == "text"


@pytest.mark.row("J1")
@pytest.mark.row("J15")
def test_duration_and_tokens_are_metrics(client, recorder):
    """Sums are exact, edges the convention's, and the exemplar leads to the span."""
    for _ in range(3):
        client.chat.completions.create(model="parrot", messages=ASKED)
    points = recorder.points()
    [duration] = points["gen_ai.client.operation.duration"]
    assert (duration.count, tuple(duration.explicit_bounds)) == (3, CALL_SECONDS)
    assert duration.attributes == {
        key.GEN_AI_OPERATION: "chat",
        key.GEN_AI_PROVIDER: "openai_compatible",
        key.GEN_AI_REQUEST_MODEL: "parrot",
        key.GEN_AI_RESPONSE_MODEL: "parrot-2026-01-01",
        key.SERVER_ADDRESS: "127.0.0.1",
        key.SERVER_PORT: client.base_url.port,
    }
    assert duration.exemplars[0].span_id in {span.context.span_id for span in recorder.finished}
    tokens = {point.attributes[key.GEN_AI_TOKEN_TYPE]: point.sum for point in points["gen_ai.client.token.usage"]}
    assert tokens == {"input": 15, "output": 15}


def test_a_model_with_a_price_has_a_cost(client, recorder, monkeypatch):
    """Of 5 tokens of the prompt 2 came from the cache; a stream counts where it was asked for, not where it is read."""
    monkeypatch.setattr(telemetry.state, "prices", Prices(models={"parrot": TokenPrice(2e6, 10e6, cached=1e6)}))
    with phase("answer"):
        client.chat.completions.create(model="parrot", messages=ASKED)
        stream = client.chat.completions.create(
            model="parrot", messages=ASKED, stream=True, stream_options={"include_usage": True}
        )
    assert len(list(stream)) > 1
    paid = {key.PHASE: "answer", key.GEN_AI_REQUEST_MODEL: "parrot"}
    spent = recorder.points()["gen_ai.client.token.usage"]
    tokens = {point.attributes[key.GEN_AI_TOKEN_TYPE]: point.sum for point in spent}
    assert recorder.value("llmon.cost", {key.RESOURCE: "output_tokens", **paid}) == 10 * tokens["output"]
    assert recorder.value("llmon.cost", {key.RESOURCE: "input_tokens", **paid}) == 2 * (3 * 2 + 2)


def test_the_newer_convention_counts_tokens(client, recorder, semconv):
    """Counters by modality, and 0 where an answer never came; none of the older names."""
    semconv("latest")
    client.chat.completions.create(model="parrot", messages=ASKED, reasoning_effort="low")
    with pytest.raises(openai.InternalServerError):
        client.chat.completions.create(model="broken", messages=ASKED)
    points = {name: found for name, found in recorder.points().items() if name.startswith("gen_ai.")}
    assert {name.split(".")[2] for name in points} == {"inference"}
    spent = {
        name.partition("usage.")[2]: {
            (point.attributes[key.GEN_AI_REQUEST_MODEL], point.attributes[key.GEN_AI_TOKEN_MODALITY]): point.value
            for point in found
        }
        for name, found in points.items()
        if "usage" in name
    }
    parrot, broken = ("parrot", "unknown"), ("broken", "unknown")
    assert spent == {
        "input_tokens": {parrot: 5, broken: 0},
        "output_tokens": {parrot: 13, broken: 0},
        "cache_read.input_tokens": {parrot: 2, broken: 0},
        "cache_write.input_tokens": {parrot: 0, broken: 0},
        "reasoning.output_tokens": {parrot: 8, broken: 0},
    }
    [size] = points["gen_ai.client.inference.operation.output_tokens"]
    assert (size.count, size.sum) == (1, 13)


def test_both_conventions_tell_the_same(client, recorder, semconv):
    """One call is counted once in each."""
    semconv("both")
    for _ in client.chat.completions.create(model="parrot", messages=ASKED, stream=True):
        pass
    points = recorder.points()
    for old, new in (
        ("operation.duration", "inference.duration"),
        ("operation.time_to_first_chunk", "inference.time_to_first_chunk"),
        ("operation.time_per_output_chunk", "inference.time_per_output_chunk"),
    ):
        [before], [after] = points[f"gen_ai.client.{old}"], points[f"gen_ai.client.{new}"]
        assert before.sum == pytest.approx(after.sum)
        assert (before.count, before.bucket_counts) == (after.count, after.bucket_counts)


@pytest.mark.parametrize(("model", "error"), [("broken", openai.InternalServerError), ("busy", openai.RateLimitError)])
def test_an_answer_that_is_an_error_fails_the_span(model, error, client, recorder):
    """Type and status are told; what the server said is content, and stays here."""
    with pytest.raises(error):
        client.chat.completions.create(model=model, messages=ASKED)
    said, [span] = only(recorder), recorder.finished
    assert span.status.status_code is StatusCode.ERROR
    assert span.status.description == said[key.ERROR_TYPE] == f"openai.{error.__name__}"
    assert said[key.HTTP_STATUS] == error.status_code if hasattr(error, "status_code") else said[key.HTTP_STATUS] >= 400
    assert key.GEN_AI_FINISH_REASONS not in said


def test_a_server_that_is_not_there_fails_the_span(recorder):
    """Nothing was received, and the exception is the client's own."""
    with nobody() as client, pytest.raises(openai.APIConnectionError):
        client.chat.completions.create(model="parrot", messages=ASKED)
    assert only(recorder)[key.ERROR_TYPE] == "openai.APIConnectionError"


def test_retries_are_one_span(url, recorder, monkeypatch):
    """The client asks three times, the caller once."""
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.001)
    monkeypatch.setattr("openai._base_client.MAX_RETRY_DELAY", 0.001)
    with openai.OpenAI(base_url=url, api_key="none", max_retries=2) as client, pytest.raises(openai.RateLimitError):
        client.chat.completions.create(model="busy", messages=ASKED)
    only(recorder)


def test_a_call_is_the_child_of_the_phase_around_it(client, recorder):
    """And nothing of it is left current behind it."""
    with phase("ask"):
        client.chat.completions.create(model="parrot", messages=ASKED)
        list(client.chat.completions.create(model="parrot", messages=ASKED, stream=True))
        with phase("after"):
            pass
    ask = recorder.spans()["ask"]
    assert {span.parent.span_id for span in recorder.finished if span is not ask} == {ask.context.span_id}


def test_the_clients_own_http_spans_are_children_of_the_call(client, recorder):
    """The span is current while the library's code runs."""
    seen = []
    client._client.event_hooks["request"].append(lambda _: seen.append(trace.get_current_span().get_span_context()))
    client.chat.completions.create(model="parrot", messages=ASKED)
    assert seen == [recorder.finished[0].context]


def test_a_sampler_sees_the_target():
    """Operation, provider, model and server are there when the sampler decides."""
    seen = []

    class Asks(Sampler):
        def should_sample(self, *args, **_):
            seen.append(dict(args[4]))
            return SamplingResult(Decision.DROP)

        def get_description(self):
            return "asks"

    with Recorder(sampler=Asks()), nobody() as client, pytest.raises(openai.APIConnectionError):
        client.chat.completions.create(model="parrot", messages=ASKED, temperature=0.1)
    assert seen == [
        {
            key.GEN_AI_OPERATION: "chat",
            key.GEN_AI_PROVIDER: "openai_compatible",
            key.GEN_AI_REQUEST_MODEL: "parrot",
            key.SERVER_ADDRESS: "127.0.0.1",
            key.SERVER_PORT: 9,
        }
    ]


@pytest.mark.parametrize(
    ("base", "provider"),
    [
        ("https://api.openai.com/v1", "openai"),
        ("https://eu.api.openai.com/v1", "openai"),
        ("https://acme.openai.azure.com/openai", "azure.ai.openai"),
        ("https://api.groq.com/openai/v1", "groq"),
        ("https://api.openai.com.example.org/v1", "openai_compatible"),
        ("http://localhost:8000/v1", "openai_compatible"),
        ("http://[::1]:11434/v1", "openai_compatible"),
    ],
)
def test_the_provider_is_known_by_the_server(base, provider):
    """Speaking OpenAI's language does not make a server OpenAI."""
    from otel_llmon.instrumentors.openai import _target

    with openai.OpenAI(base_url=base, api_key="none") as client:
        found = _target(client.chat.completions, {"model": "m"})
    assert found.provider == provider
    assert found.address == base.split("/")[2].rpartition("]")[0].strip("[") or found.address in base
    assert found.port == (443 if base.startswith("https") else int(base.rpartition(":")[2].partition("/")[0]))


def test_what_is_not_sampled_is_still_counted(url):
    """Metrics are whole, no span leaves, and no parameter is looked at."""
    with Recorder(sampler=ALWAYS_OFF) as recorder, openai.OpenAI(base_url=url, api_key="none") as client:
        client.chat.completions.create(model="parrot", messages=ASKED)
        list(client.chat.completions.create(model="parrot", messages=ASKED, stream=True))
        assert recorder.finished == []
        assert sum(point.count for point in recorder.points()["gen_ai.client.operation.duration"]) == 2


@pytest.mark.parametrize(("level", "told"), [("disabled", (0, 0)), ("basic", (0, 1)), ("detailed", (1, 1))])
def test_the_level_says_how_much(level, told, client, recorder, monkeypatch):
    """Basic has metrics only."""
    monkeypatch.setattr(telemetry.state, "level", telemetry.LEVELS[level])
    client.chat.completions.create(model="parrot", messages=ASKED)
    assert (len(recorder.finished), len(recorder.points().get("gen_ai.client.operation.duration", []))) == told


def test_a_suppressed_call_is_not_told(client, recorder):
    """As OpenTelemetry's own instrumentations do it."""
    with suppress_instrumentation():
        client.chat.completions.create(model="parrot", messages=ASKED)
    assert recorder.finished == []
    assert "gen_ai.client.operation.duration" not in recorder.points()


@pytest.mark.parametrize("capture", [False, True])
def test_messages_from_an_iterator_reach_the_server(capture, client, recorder, monkeypatch):
    """An iterator can be read once, and that is the client's right."""
    monkeypatch.setattr(telemetry.state, "capture_content", capture)
    answer = client.chat.completions.create(model="parrot", messages=iter(ASKED))
    assert answer.choices[0].message.content == "".join(WORDS)
    assert key.GEN_AI_INPUT_MESSAGES not in only(recorder)


def test_parse_returns_what_was_asked_for(client, recorder):
    """Structured output is told as JSON."""
    answer = structured(client).parse(model="parrot", messages=ASKED, response_format=Reply)
    assert answer.choices[0].message.parsed == Reply(text="how are you?", words=3)
    assert only(recorder)[key.GEN_AI_OUTPUT_TYPE] == "json"


def test_an_answer_that_cannot_be_parsed_is_a_failure(client, recorder):
    """The client's own exception, on the span too; its tokens are spent."""
    with pytest.raises(openai.LengthFinishReasonError):
        structured(client).parse(model="parrot", messages=[ASKED[1]], max_tokens=1, response_format=Reply)
    said = only(recorder)
    assert said[key.ERROR_TYPE] == "openai.LengthFinishReasonError"
    assert said[key.GEN_AI_FINISH_REASONS] == ("length",)
    assert recorder.points()["gen_ai.client.token.usage"][0].sum == said[key.GEN_AI_INPUT_TOKENS] == 3


# streams


def stream(client, **given):
    """Ask for a stream."""
    return client.chat.completions.create(model="parrot", messages=ASKED, stream=True, **given)


def test_a_stream_that_is_read_ends_its_span(client, recorder):
    """The object is the client's own, what it yields unchanged; chunks are counted and timed."""
    found = stream(client, stream_options={"include_usage": True})
    assert type(found) is openai.Stream
    assert found.response.status_code == 200
    chunks = list(found)
    assert [chunk.choices[0].delta.content for chunk in chunks[:5]] == WORDS
    points = recorder.points()
    said = only(recorder)
    assert said[key.GEN_AI_STREAM] is True
    assert said[key.CHUNKS] == len(chunks) == 7
    assert said[key.GEN_AI_FINISH_REASONS] == ("stop",)
    assert said[key.GEN_AI_OUTPUT_TOKENS] == 5
    assert key.OUTCOME not in said
    [first] = points["gen_ai.client.operation.time_to_first_chunk"]
    [gaps] = points["gen_ai.client.operation.time_per_output_chunk"]
    assert (first.count, gaps.count) == (1, 6)
    assert first.sum == said[key.GEN_AI_TIME_TO_FIRST_CHUNK]
    assert gaps.exemplars[0].span_id == recorder.finished[0].context.span_id


def test_chunks_are_timed_by_our_clock(client, recorder, clock):
    """From the request to the first chunk, and from each to the next."""
    for chunk in stream(client):
        clock.now += 0.5
        assert chunk
    points = recorder.points()
    assert points["gen_ai.client.operation.time_to_first_chunk"][0].sum == 0.0
    assert points["gen_ai.client.operation.time_per_output_chunk"][0].sum == 2.5
    assert points["gen_ai.client.operation.duration"][0].sum == 3.0


def _break(client):
    for _ in stream(client):
        break


def _read_one_and_close(client):
    found = stream(client)
    next(found)
    found.close()


def _close_the_response(client):
    found = stream(client)
    next(found)
    found.response.close()


def _with(client):
    with stream(client) as found:
        next(found)


def _fail_within(client):
    try:
        with stream(client) as found:
            for _ in found:
                raise ZeroDivisionError
    except ZeroDivisionError:
        return
    pytest.fail("the program's own exception was swallowed")


def _drop(client):
    found = stream(client)
    next(found)


def _drop_in_a_cycle(client):
    class Holder:
        pass

    holder = Holder()
    holder.itself, holder.stream = holder, stream(client)
    next(holder.stream)
    del holder
    gc.collect()
    telemetry.settle(last=False)


def _helper(client):
    with structured(client).stream(model="parrot", messages=ASKED) as found:
        next(found)


def _raw(client):
    next(client.chat.completions.with_raw_response.create(model="parrot", messages=ASKED, stream=True).parse())


def _streaming_response(client):
    ask = client.chat.completions.with_streaming_response.create
    with ask(model="parrot", messages=ASKED, stream=True) as response:
        next(response.parse())


LEAVINGS = (
    _break,
    _read_one_and_close,
    _close_the_response,
    _with,
    _fail_within,
    _drop,
    _drop_in_a_cycle,
    _helper,
    _raw,
    _streaming_response,
)


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # the client leaves the sockets of dropped streams to Python
@pytest.mark.parametrize("leave", LEAVINGS, ids=lambda leave: leave.__name__.strip("_"))
def test_a_stream_that_is_left_early_ends_its_span_with_what_came(leave, client, recorder):
    """Once, without an error, and told apart from one that was read."""
    leave(client)
    said = only(recorder)
    assert said[key.OUTCOME] == "cancellation"
    assert said[key.CHUNKS] == 1
    assert said[key.GEN_AI_RESPONSE_MODEL] == "parrot-2026-01-01"
    assert key.ERROR_TYPE not in said
    assert recorder.finished[0].status.status_code is StatusCode.UNSET
    client.close()
    gc.collect()
    telemetry.settle(last=True)
    only(recorder)


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_stream_that_nobody_reads_ends_when_it_is_dropped(client, recorder):
    """With no chunks, at the time when it was there."""
    stream(client)
    said = only(recorder)
    assert (said[key.CHUNKS], said[key.OUTCOME]) == (0, "cancellation")
    assert "gen_ai.client.operation.time_to_first_chunk" not in recorder.points()


@pytest.mark.parametrize("close", [lambda found: found.close(), lambda found: found.response.close()])
def test_closing_a_stream_ends_its_span_at_once(close, client, recorder, clock):
    """Though it is still held; what is done with it later is nobody's business."""
    found = stream(client)
    next(found)
    clock.now += 2.0
    close(found)
    assert only(recorder)[key.OUTCOME] == "cancellation"
    assert recorder.points()["gen_ai.client.operation.duration"][0].sum == 2.0
    clock.now += 5.0
    found.close()
    only(recorder)


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_dropped_stream_ends_at_its_last_chunk(client, recorder, clock):
    """When it was dropped says nothing of the call."""
    found = stream(client)
    clock.now += 1.0
    next(found)
    clock.now += 60.0
    del found
    assert only(recorder)[key.CHUNKS] == 1
    [span] = recorder.finished
    assert recorder.points()["gen_ai.client.operation.duration"][0].sum == 1.0
    assert span.end_time - span.start_time == 1e9


def test_a_stream_goes_on_after_a_pause(client, recorder):
    """Leaving a loop is no end as long as somebody holds the stream: reading may go on."""
    found = stream(client)
    for _ in found:
        break
    assert recorder.finished == []
    assert len(list(found)) == 5
    said = only(recorder)
    assert said[key.CHUNKS] == 6
    assert key.OUTCOME not in said


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_what_is_open_at_the_exit_is_told(client, recorder):
    """A stream that is held until the end of the process is ended by the last flush, and no earlier one."""
    found = stream(client)
    next(found)
    telemetry.settle(last=False)
    assert recorder.finished == []
    telemetry.settle(last=True)
    assert only(recorder)[key.CHUNKS] == 1
    assert len(list(found)) == 5
    only(recorder)


def test_a_stream_that_another_thread_closes_is_no_failure(local_llm, recorder):
    """The reader gets whatever its library raises; the span knows who wanted that."""
    with local_llm.serve(delay=0.3) as url, openai.OpenAI(base_url=url, api_key="none", max_retries=0) as client:
        found = stream(client)
        next(found)
        reads = threading.Thread(target=lambda: [None for _ in _quietly(found)])
        reads.start()
        found.close()
        reads.join(20)
    assert only(recorder)[key.OUTCOME] == "cancellation"


def _quietly(found):
    with contextlib.suppress(Exception):  # a closed socket has many names
        yield from found


@pytest.mark.parametrize("model", ["cut", "faulty"])
def test_a_stream_that_breaks_off_fails_with_what_came(model, client, recorder, semconv):
    """A reset connection or an error event: chunks, the model, and an answer that did not come to its end."""
    semconv("both")
    found = client.chat.completions.create(model=model, messages=ASKED, stream=True)
    with pytest.raises(Exception, match=r".") as raised:  # which one differs between clients
        list(found)
    said, [span] = only(recorder), recorder.finished
    assert span.status.status_code is StatusCode.ERROR
    assert said[key.ERROR_TYPE] == telemetry.error_type(raised.value)
    assert said[key.CHUNKS] == 2
    assert said[key.GEN_AI_RESPONSE_MODEL] == f"{model}-2026-01-01"
    assert said[key.GEN_AI_FINISH_REASONS] == ("error",)


def test_the_helper_works_as_before(client, recorder):
    """`stream()` gathers what came, and closes what it opened."""
    with structured(client).stream(model="parrot", messages=ASKED) as found:
        answer = found.get_final_completion()
    assert answer.choices[0].message.content == "".join(WORDS)
    assert key.OUTCOME not in only(recorder)


def test_raw_responses_are_told_too(client, recorder):
    """What the caller gets is the client's own object; the answer is understood as far as it is read."""
    raw = client.chat.completions.with_raw_response.create(model="parrot", messages=ASKED)
    assert raw.parse().choices[0].message.content == "".join(WORDS)
    assert only(recorder)[key.GEN_AI_OUTPUT_TOKENS] == 5


READS = {
    "parse": lambda response: response.parse(),
    "json": lambda response: response.json(),
    "read": lambda response: response.read(),
    "text": lambda response: response.text(),
}


@pytest.mark.parametrize("read", READS)
def test_a_response_that_is_read_as_a_whole_is_understood(read, client, recorder):
    """Whatever the program makes of it."""
    with client.chat.completions.with_streaming_response.create(model="parrot", messages=ASKED) as response:
        READS[read](response)
    said = only(recorder)
    assert said[key.GEN_AI_OUTPUT_TOKENS] == 5
    assert key.OUTCOME not in said


def test_a_response_that_is_read_bit_by_bit_is_a_success(client, recorder):
    """Nobody kept the body, so only its end is known."""
    with client.chat.completions.with_streaming_response.create(model="parrot", messages=ASKED) as response:
        assert list(response.iter_lines())
    said = only(recorder)
    assert key.GEN_AI_OUTPUT_TOKENS not in said
    assert key.OUTCOME not in said


def test_a_response_that_is_not_read_was_stopped(client, recorder):
    """The program asked and looked away."""
    with client.chat.completions.with_streaming_response.create(model="parrot", messages=ASKED):
        pass
    assert only(recorder)[key.OUTCOME] == "cancellation"


def test_raw_lines_of_a_stream_are_a_success(client, recorder):
    """Chunks that we never see are not counted, and nothing is made up."""
    ask = client.chat.completions.with_streaming_response.create
    with ask(model="parrot", messages=ASKED, stream=True) as response:
        assert len(list(response.iter_lines())) > 6
    said = only(recorder)
    assert key.CHUNKS not in said
    assert key.OUTCOME not in said


def test_a_stream_without_chunks_has_none(recorder):
    """That is known, where the client's own iterator came to its end."""
    assert told_of(recorder)[key.CHUNKS] == 0


# asynchronous


def test_an_asynchronous_chat_is_the_same(run, recorder):
    """One span, with the same attributes."""
    run(lambda client: client.chat.completions.create(model="parrot", messages=ASKED))
    assert only(recorder)[key.GEN_AI_OUTPUT_TOKENS] == 5


def test_an_asynchronous_stream_is_the_same(run, recorder):
    """The object is the client's own."""

    async def read(client):
        found = await stream(client)
        assert type(found) is openai.AsyncStream
        return [chunk.choices[0].delta.content async for chunk in found][:5]

    assert run(read) == WORDS
    assert only(recorder)[key.CHUNKS] == 6


async def _break_async(client):
    async for _ in await stream(client):
        break


async def _close_async(client):
    found = await stream(client)
    await anext(found)
    await found.close()


async def _with_async(client):
    async with await stream(client) as found:
        await anext(found)


async def _drop_async(client):
    await anext(await stream(client))


async def _helper_async(client):
    async with structured(client).stream(model="parrot", messages=ASKED) as found:
        await anext(found)


async def _raw_async(client):
    raw = await client.chat.completions.with_raw_response.create(model="parrot", messages=ASKED, stream=True)
    await anext(raw.parse())


async def _streaming_response_async(client):
    ask = client.chat.completions.with_streaming_response.create
    async with ask(model="parrot", messages=ASKED, stream=True) as response:
        await anext(await response.parse())


ASYNC_LEAVINGS = (
    _break_async,
    _close_async,
    _with_async,
    _drop_async,
    _helper_async,
    _raw_async,
    _streaming_response_async,
)


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("leave", ASYNC_LEAVINGS, ids=lambda leave: leave.__name__.strip("_"))
def test_an_asynchronous_stream_that_is_left_early_ends_its_span(leave, run, recorder):
    """As a synchronous one does."""
    run(leave)
    gc.collect()
    telemetry.settle(last=False)
    said = only(recorder)
    assert (said[key.OUTCOME], said[key.CHUNKS]) == ("cancellation", 1)


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_an_asynchronous_stream_may_outlive_the_run_of_its_loop(url, recorder):
    """Its span ends when nobody holds it any more, without a loop that would run something for it."""
    loop = asyncio.new_event_loop()
    client = openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0)
    found = loop.run_until_complete(stream(client))
    loop.run_until_complete(anext(found))
    assert not recorder.finished
    del found
    gc.collect()
    telemetry.settle(last=False)
    assert only(recorder)[key.OUTCOME] == "cancellation"
    loop.run_until_complete(client.close())
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("streaming", [False, True])
def test_a_task_that_is_cancelled_stops_its_call(streaming, local_llm, recorder):
    """While it waits for the answer, or for a chunk; neither is an error."""

    async def ask(url):
        async with openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as client:
            started = asyncio.Event()
            client._client.event_hooks["request"].append(lambda _: _set(started))

            async def read():
                if not streaming:
                    await client.chat.completions.create(model="parrot", messages=ASKED, stream=True)
                async for _ in await stream(client):
                    started.set()

            task = asyncio.create_task(read())
            await started.wait()
            if streaming:
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    with local_llm.serve(delay=0.3) as url:
        asyncio.run(ask(url))
    assert only(recorder)[key.OUTCOME] == "cancellation"


async def _set(event):
    event.set()


def test_concurrent_calls_have_the_parents_they_were_made_in(run, recorder):
    """Tasks of one loop do not get into each other's spans."""

    async def one(client, name):
        with phase(name):
            async for _ in await stream(client):
                await asyncio.sleep(0)

    async def all_of_them(client):
        await asyncio.gather(*(one(client, f"task {number}") for number in range(8)))

    run(all_of_them)
    phases = {span.context.span_id: span for span in recorder.finished if span.name.startswith("task")}
    chats = [span for span in recorder.finished if span.name == CHAT]
    assert len(chats) == len(phases) == 8
    assert {span.parent.span_id for span in chats} == set(phases)


def test_a_body_that_is_read_asynchronously_is_understood(run, recorder):
    """As a synchronous one is."""

    async def read(client):
        ask = client.chat.completions.with_streaming_response.create
        async with ask(model="parrot", messages=ASKED) as response:
            return await response.json()

    run(read)
    assert only(recorder)[key.GEN_AI_OUTPUT_TOKENS] == 5


# content


@pytest.fixture
def captured(monkeypatch):
    """Content is captured."""
    monkeypatch.setattr(telemetry.state, "capture_content", True)


def test_content_stays_here_unless_it_is_asked_for(client, recorder):
    """No prompt, no answer, nothing that quotes them."""
    client.chat.completions.create(model="parrot", messages=[{"role": "user", "content": "mellon"}], user="mellon")
    with pytest.raises(openai.InternalServerError):
        client.chat.completions.create(model="broken", messages=[{"role": "user", "content": "mellon"}])
    for span in recorder.finished:
        assert "mellon" not in span.to_json()


@pytest.mark.parametrize("streaming", [False, True])
def test_content_is_told_in_the_conventions_form(streaming, client, recorder, captured):
    """Messages have roles and parts, streamed or not."""
    found = client.chat.completions.create(model="parrot", messages=ASKED, stream=streaming)
    if streaming:
        list(found)
    said = only(recorder)
    assert json.loads(said[key.GEN_AI_INPUT_MESSAGES]) == [
        {"role": "system", "parts": [{"type": "text", "content": "be brief"}]},
        {"role": "user", "parts": [{"type": "text", "content": "how are you?"}]},
    ]
    assert json.loads(said[key.GEN_AI_OUTPUT_MESSAGES]) == [
        {"role": "assistant", "parts": [{"type": "text", "content": "You said: how are you?"}]}
    ]


@pytest.mark.parametrize("streaming", [False, True])
def test_tool_calls_are_content_too(streaming, client, recorder, captured):
    """What the model wants called, and what the tool said."""
    asked = [
        {
            "role": "user",
            "content": [{"type": "text", "text": "hm"}, {"type": "image_url", "image_url": {"url": "data:x"}}],
        },
        {
            "role": "assistant",
            "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
        },
        {"role": "tool", "tool_call_id": "1", "content": "rainy"},
        {"role": "user", "content": "well"},
    ]
    found = client.chat.completions.create(model="parrot", messages=asked, tools=TOOLS, stream=streaming)
    if streaming:
        list(found)
    said = only(recorder)
    parts = [message["parts"] for message in json.loads(said[key.GEN_AI_INPUT_MESSAGES])]
    assert parts == [
        [{"type": "text", "content": "hm"}, {"type": "image_url"}],
        [{"type": "tool_call", "id": "1", "name": "f", "arguments": "{}"}],
        [{"type": "tool_call_response", "id": "1", "response": "rainy"}],
        [{"type": "text", "content": "well"}],
    ]
    [[call]] = [message["parts"] for message in json.loads(said[key.GEN_AI_OUTPUT_MESSAGES])]
    assert (call["type"], call["name"], json.loads(call["arguments"])) == ("tool_call", "look_up", {"word": "well"})


@pytest.mark.parametrize("form", ["object", "dict"])
def test_an_answer_that_is_sent_back_with_its_tool_calls_is_told(form, client, recorder, captured):
    """The usual loop: the model's own message goes into the next request, as it came or as a mapping."""
    asked = [ASKED[1]]
    message = client.chat.completions.create(model="parrot", messages=asked, tools=TOOLS).choices[0].message
    [call] = message.tool_calls
    asked += [
        message if form == "object" else message.model_dump(exclude_none=True),
        {"role": "tool", "tool_call_id": call.id, "content": "fine"},
    ]
    client.chat.completions.create(model="parrot", messages=asked, temperature=0.5)
    said = recorder.finished[-1].attributes
    assert said[key.GEN_AI_TEMPERATURE] == 0.5
    assert [message["parts"] for message in json.loads(said[key.GEN_AI_INPUT_MESSAGES])] == [
        [{"type": "text", "content": "how are you?"}],
        [{"type": "tool_call", "id": call.id, "name": "look_up", "arguments": call.function.arguments}],
        [{"type": "tool_call_response", "id": call.id, "response": "fine"}],
    ]


def test_content_that_is_not_understood_costs_nothing_else(client, recorder, captured, monkeypatch):
    """What was asked for with it is told all the same."""
    patch = next(patch for patch in OpenAIInstrumentor.patches if patch.method == "Completions.create")
    monkeypatch.setattr(messages, "_asked", None)
    assert patch.content is messages.CONTENT
    client.chat.completions.create(model="parrot", messages=ASKED, temperature=0.5)
    assert only(recorder)[key.GEN_AI_TEMPERATURE] == 0.5


def test_parts_from_an_iterator_reach_the_server(client, recorder, captured):
    """A message's parts, like messages, are read once where they are an iterator."""
    parts = iter([{"type": "text", "text": "how are you?"}])
    answer = client.chat.completions.create(model="parrot", messages=[{"role": "user", "content": parts}])
    assert answer.choices[0].message.content == "".join(WORDS)


def test_custom_tools_and_the_older_form_of_calls_have_names():
    """A custom tool takes a text; a function call stood alone before there were several."""
    custom = {"id": "1", "type": "custom", "custom": {"name": "shell", "input": "ls"}}
    asked = {"role": "assistant", "tool_calls": [custom], "function_call": {"name": "f", "arguments": "{}"}}
    told = [
        {"type": "tool_call", "id": "1", "name": "shell", "arguments": "ls"},
        {"type": "tool_call", "id": None, "name": "f", "arguments": "{}"},
    ]
    assert messages.prompt({"messages": [asked]}) == [{"role": "assistant", "parts": told}]
    answered = {"choices": [{"index": 0, "message": asked, "finish_reason": "stop"}]}
    assert messages.answer(ChatCompletion.construct(**answered)) == [{"role": "assistant", "parts": told}]


# what chunks say, wherever they say it

SPENT = {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}


def chunk(delta, finish=None, **said):
    """Return a chunk of one answer."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {"id": "1", "model": "m-1", "object": "chat.completion.chunk", "choices": [choice], **said}


def told_of(recorder, *chunks):
    """Return the attributes of a stream of these chunks."""
    events = [f"data: {json.dumps(item)}\n\n" for item in chunks]
    answer = httpx.Response(
        200, text="".join([*events, "data: [DONE]\n\n"]), headers={"Content-Type": "text/event-stream"}
    )
    transport = httpx.MockTransport(lambda _: answer)
    with openai.OpenAI(
        base_url="http://stub/v1", api_key="none", http_client=httpx.Client(transport=transport)
    ) as client:
        list(stream(client))
    return only(recorder)


@pytest.mark.parametrize("capture", [False, True])
def test_a_stream_may_say_how_it_ended_and_what_it_used_anywhere(capture, recorder, monkeypatch):
    """In its first chunk, long before its last one, whether content is captured or not."""
    monkeypatch.setattr(telemetry.state, "capture_content", capture)
    more = [chunk({"content": ""})] * 20
    said = told_of(recorder, chunk({"content": "a"}, usage=SPENT), *more, chunk({}, "length"), *more)
    assert said[key.GEN_AI_FINISH_REASONS] == ("length",)
    assert (said[key.GEN_AI_INPUT_TOKENS], said[key.GEN_AI_OUTPUT_TOKENS]) == (5, 7)


CALL = {"type": "tool_call", "id": None, "name": "f", "arguments": "{}"}
PIECES = {
    "a refusal": ([{"refusal": "I "}, {"refusal": "can't"}], {"type": "text", "content": "I can't"}),
    "a call in the older form": (
        [{"function_call": {"name": "f", "arguments": "{"}}, {"function_call": {"arguments": "}"}}],
        CALL,
    ),
    "a custom tool": (
        [{"tool_calls": [{"index": 0, "type": "custom", "custom": {"name": "f", "input": part}}]} for part in "{}"],
        CALL,
    ),
    "words around a chunk without a delta": (
        [{"content": "I "}, None, {"content": "can"}],
        {"type": "text", "content": "I can"},
    ),
}


@pytest.mark.parametrize("pieces", PIECES)
def test_whatever_is_said_in_pieces_is_put_together(pieces, recorder, captured):
    """Refusals and calls of every form."""
    deltas, part = PIECES[pieces]
    said = told_of(recorder, *map(chunk, deltas), chunk({}, "stop"))
    assert json.loads(said[key.GEN_AI_OUTPUT_MESSAGES]) == [{"role": "assistant", "parts": [part]}]


def test_content_is_bounded_and_still_json(client, recorder, captured, monkeypatch):
    """A megabyte of prompt leaves as no more than an attribute may hold."""
    monkeypatch.setattr(telemetry.state, "longest", 500)
    asked = [{"role": "user", "content": "x" * 20_000} for _ in range(50)]
    client.chat.completions.create(model="parrot", messages=asked)
    said = only(recorder)
    for name in (key.GEN_AI_INPUT_MESSAGES, key.GEN_AI_OUTPUT_MESSAGES):
        assert 0 < len(said[name]) <= 500
        assert json.loads(said[name])


# on and off


def test_uninstrument_puts_back_the_very_same(client, recorder):
    """Methods are the objects that they were, and nothing is told any more."""
    instrumentor = OpenAIInstrumentor()
    instrumentor.uninstrument()
    before = {owner: dict(vars(owner)) for owner in (Completions, AsyncCompletions)}
    instrumentor.instrument()
    found = client.chat.completions.with_raw_response
    assert all(vars(owner)["create"] is not before[owner]["create"] for owner in before)
    instrumentor.uninstrument()
    for owner, methods in before.items():
        assert all(vars(owner)[name] is method for name, method in methods.items())
    client.chat.completions.create(model="parrot", messages=ASKED)
    found.create(model="parrot", messages=ASKED)
    assert recorder.finished == []
    instrumentor.instrument()
    client.chat.completions.create(model="parrot", messages=ASKED)
    assert len(recorder.finished) == 1


def test_the_methods_look_as_before():
    """Name, documentation, signature and kind are the library's."""
    import inspect

    assert Completions.create.__name__ == "create"
    assert "model" in inspect.signature(Completions.create).parameters
    assert inspect.iscoroutinefunction(inspect.unwrap(AsyncCompletions.create))


def test_switching_on_imports_nothing_of_the_library():
    """A program that does not use the client does not pay for it."""
    code = (
        "import sys; from otel_llmon.instrumentors.openai import OpenAIInstrumentor as I; I().instrument();"
        " assert 'openai' not in sys.modules; import openai;"
        " from openai.resources.chat.completions import Completions as C; assert hasattr(C.create, '_self_wrapper')"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


ASKS = """
client = openai.OpenAI(base_url={url!r}, api_key="none")
asked = [{{"role": "user", "content": "hello"}}]
client.chat.completions.create(model="parrot", messages=asked)
"""
BEFORE, AFTER = f"{CONFIGURE}\nimport openai", f"import openai\n{CONFIGURE}"
BY_HAND = "from otel_llmon.instrumentors.openai import OpenAIInstrumentor as I; I().instrument()"
DECLINED = {"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "fastapi, llmon_openai"}
STARTS = {
    "the client is imported later": (BEFORE, {}, 1),
    "the client was imported before": (AFTER, {}, 1),
    "configure() twice": (f"{CONFIGURE}\n{BEFORE}", {}, 1),
    "by hand, then configure()": (f"{BY_HAND}\n{BEFORE}", {}, 1),
    "configure(), then by hand": (f"{CONFIGURE}\n{BY_HAND}\nimport openai", {}, 1),
    "configure(), then by hand, at last": (f"{BEFORE}\n{BY_HAND}", {}, 1),
    "switched off before the import": (f"{CONFIGURE}\n{BY_HAND[:-12]}uninstrument()\nimport openai", {}, 0),
    "switched off after the import": (f"{BEFORE}\n{BY_HAND[:-12]}uninstrument()", {}, 0),
    "none of ours": (BEFORE, {"OTEL_LLMON_INSTRUMENTORS": "none"}, 0),
    "declined in OpenTelemetry's way": (BEFORE, DECLINED, 0),
    "all declined": (BEFORE, {"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "*"}, 0),
    "declined, but asked for by hand": (f"{BEFORE}\n{BY_HAND}", DECLINED, 1),
}


UNDER_INSTRUMENT = ("configure() twice", "configure(), then by hand", "none of ours", "declined in OpenTelemetry's way")


@pytest.mark.parametrize(
    ("start", "under_instrument"),
    [*((start, False) for start in STARTS), *((start, True) for start in UNDER_INSTRUMENT)],
)
def test_configure_switches_it_on_once(start, under_instrument, program, sink, url):
    """Without a word more, under `opentelemetry-instrument` too, in whichever order: one span, and no warning."""
    source, environ, spans = STARTS[start]
    ended = program(source + ASKS.format(url=url), instrumented=under_instrument, **environ)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert [span.name for span in sink.spans()] == [CHAT] * spans


def test_a_forked_child_is_told_of_and_a_shutdown_switches_off(program, sink, url):
    """What configure() switched on ends with it; what was asked before, in a child too, has arrived."""
    again = """
child = os.fork()
client = client.copy(http_client=openai.DefaultHttpxClient())  # a connection takes one process
client.chat.completions.create(model="parrot", messages=asked)
handle.flush()
if not child:
    os._exit(0)
os.waitpid(child, 0)
otel_llmon.shutdown()
client.chat.completions.create(model="parrot", messages=asked)
"""
    ended = program(f"import os\n{BEFORE}{ASKS.format(url=url)}{again}")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert [span.name for span in sink.spans()] == [CHAT] * 3
    assert len(sink.instances()) == 2


def test_what_was_switched_on_by_hand_outlives_a_shutdown(program, sink):
    """It is not ours to switch off."""
    ended = program(
        f"""
        {BY_HAND}
        {CONFIGURE}
        import openai
        otel_llmon.shutdown()
        print(I().is_instrumented_by_opentelemetry)
        """
    )
    assert (ended.stdout, ended.stderr) == ("True\n", "")


def test_a_client_that_is_too_old_is_left_alone_in_one_line(program):
    """Its import works, and the line says what is asked for."""
    program.write("openai.py", "")
    program.write("openai-1.2.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: openai\nVersion: 1.2.0\n")
    ended = program(BEFORE)
    assert ended.returncode == 0
    [line] = ended.stderr.splitlines()
    assert line.startswith("openai: calls are not told: ")
    assert "openai >= 1.60" in line


def test_a_library_that_nobody_imports_costs_nothing():
    """Neither the library nor our instrumentor of it is loaded, by the package or by configure()."""
    code = (
        "import sys, otel_llmon; assert 'otel_llmon.instrumentors' not in sys.modules; otel_llmon.configure('app');"
        " assert not {'openai', 'otel_llmon.instrumentors.openai'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ | {"OTEL_TRACES_EXPORTER": "none"})


def test_a_name_that_no_instrumentor_has_is_refused():
    """With those that there are."""
    with pytest.raises(SettingsError, match="instrumentor 'parrots': expected one of openai"):
        configure(instrumentors=["parrots"])


def test_opentelemetry_instrument_switches_it_on(program, sink, url):
    """Without a line of code; the stream that is held until the end arrives too."""
    ended = program(
        f"""
        import openai
        client = openai.OpenAI(base_url={url!r}, api_key="none")
        asked = [{{"role": "user", "content": "hello"}}]
        client.chat.completions.create(model="parrot", messages=asked)
        held = client.chat.completions.create(model="parrot", messages=asked, stream=True)
        next(held)
        """,
        instrumented=True,
    )
    assert ended.returncode == 0, ended.stderr
    assert "Traceback" not in ended.stderr
    assert [span.name for span in sink.spans()] == [CHAT, CHAT]
    assert sink.totals("gen_ai.client.operation.duration") == 2
    assert sink.totals("gen_ai.client.token.usage") == 2
