"""The seam for other libraries: a made-up one is a table, and whatever goes wrong in it stays in it."""

from __future__ import annotations

import asyncio
import functools
import gc
import inspect
import json
import os
import sys
import types

import pytest
from opentelemetry import metrics

from otel_llmon import observers, telemetry
from otel_llmon.instrumentors import Content, Instrumentor, Patch, Target, patching
from otel_llmon.metering.cells import HistogramSeries
from otel_llmon.phases import phase
from otel_llmon.semconv import attributes as key

DURATION = "gen_ai.client.operation.duration"


class Parrots:
    """A library: what is said comes back."""

    def say(self, model, text, *, stream=False, fail=None):
        """Answer, or yield words."""
        if fail:
            raise fail
        return (word for word in text.split()) if stream else types.SimpleNamespace(model=model, text=text)

    async def say_later(self, model, text, *, stream=False):
        """Answer later, or yield words."""

        async def words():
            for word in text.split():
                await asyncio.sleep(0)
                yield word

        return words() if stream else types.SimpleNamespace(model=model, text=text)

    @classmethod
    def cry(cls, model):
        """Answer for the whole kind."""
        return types.SimpleNamespace(model=model, text=cls.__name__)


def squawk(model):
    """Answer without a parrot."""
    return types.SimpleNamespace(model=model, text="squawk")


# a library in a dozen lines


def _target(owner, given):
    return Target("parrots", given.get("model"))


def _response(received, answer):
    received.model, received.output_tokens = answer.model, len(answer.text.split())


def _chunks(received, words):
    received.output_tokens = (received.output_tokens or 0) + len(words)


class ParrotInstrumentor(Instrumentor):
    """Spans for parrots."""

    requires = ()
    patches = tuple(
        Patch("parrots", method, "chat", _target, _response, _chunks)
        for method in ("Parrots.say", "Parrots.say_later", "Parrots.cry", "squawk", "Parrots.gone", "Gone.say")
    )


@pytest.fixture
def parrots(monkeypatch):
    """The library, instrumented: a module of its own for each test."""
    module = types.ModuleType("parrots")
    module.Parrots = type("Parrots", (), dict(vars(Parrots)))
    module.squawk = squawk
    monkeypatch.setitem(sys.modules, "parrots", module)
    instrumentor = ParrotInstrumentor()
    instrumentor.instrument()
    yield module
    if instrumentor.is_instrumented_by_opentelemetry:
        instrumentor.uninstrument()


@pytest.fixture
def captured(monkeypatch):
    """Content is captured."""
    monkeypatch.setattr(telemetry.state, "capture_content", True)


def patched(module, **changes):
    """Instrument `Parrots.say` with a table that differs."""
    table = {"target": _target, "response": _response, "chunks": _chunks} | changes
    switch = patching.Switch()
    ParrotInstrumentor().uninstrument()
    switch.apply(Patch("parrots", "Parrots.say", "chat", **table), module)
    return module.Parrots()


def only(recorder):
    """Return the one span."""
    [span] = recorder.finished
    return span


def test_a_library_is_a_table(parrots, recorder):
    """Arguments by position or by name, functions, class methods, coroutines: each call is a span and its metrics."""
    parrot = parrots.Parrots()
    assert parrot.say("grey", "how are you").text == "how are you"
    assert parrot.say(text="fine", model="green").model == "green"
    assert asyncio.run(parrot.say_later("blue", "later")).text == "later"
    assert parrots.Parrots.cry("red").text == "Parrots"
    assert parrots.squawk("pink").text == "squawk"
    names = [span.name for span in recorder.finished]
    assert names == ["chat grey", "chat green", "chat blue", "chat red", "chat pink"]
    assert recorder.finished[0].attributes[key.GEN_AI_OUTPUT_TOKENS] == 3
    assert sum(point.count for point in recorder.points()[DURATION]) == 5


def test_a_plain_iterator_stays_what_it_is(parrots, recorder):
    """A generator is one for whoever looks, and its items pass unchanged."""
    words = parrots.Parrots().say("grey", "one two three", stream=True)
    assert isinstance(words, types.GeneratorType)
    assert inspect.getgeneratorstate(words) == inspect.GEN_CREATED
    assert list(words) == ["one", "two", "three"]
    assert only(recorder).attributes[key.CHUNKS] == 3
    assert only(recorder).attributes[key.GEN_AI_OUTPUT_TOKENS] == 3


def test_a_plain_asynchronous_iterator_stays_what_it_is(parrots, recorder):
    """Likewise."""

    async def read():
        words = await parrots.Parrots().say_later("grey", "one two", stream=True)
        assert isinstance(words, types.AsyncGeneratorType)
        return [word async for word in words]

    assert asyncio.run(read()) == ["one", "two"]
    assert only(recorder).attributes[key.CHUNKS] == 2


def _break(words):
    for _ in words:
        break


def _close(words):
    next(words)
    words.close()


def _drop(words):
    next(words)


@pytest.mark.parametrize("leave", [_break, _close, _drop], ids=lambda leave: leave.__name__.strip("_"))
def test_a_plain_iterator_that_is_left_ends_its_span(leave, parrots, recorder):
    """With what was received, and no error."""
    leave(parrots.Parrots().say("grey", "one two three", stream=True))
    said = only(recorder).attributes
    assert (said[key.OUTCOME], said[key.CHUNKS]) == ("cancellation", 1)


def test_a_stream_as_a_context_manager_is_ours_inside(parrots, recorder):
    """What a `with` gives is what passes by us, where it is the stream itself."""

    class Words:
        def __init__(self, text):
            self.words = iter(text.split())

        def __iter__(self):
            return self

        def __next__(self):
            return next(self.words)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

    parrots.squawk = lambda **given: Words(given["text"])
    patching.Switch().apply(Patch("parrots", "squawk", "chat", _target, _response, _chunks), parrots)
    with parrots.squawk(text="one two", stream=True) as words:
        assert isinstance(words, Words)
        assert list(words) == ["one", "two"]
    assert only(recorder).attributes[key.CHUNKS] == 2


def test_a_request_for_very_many_answers_is_told_in_bounds(parrots, recorder, monkeypatch):
    """A list of finish reasons is as long as an attribute may be, whatever was asked for or said."""
    monkeypatch.setattr(telemetry.state, "genai_semconv", "latest")

    def response(received, answer):
        received.model, received.finish = "grey", {10**12: "stop"}

    patched(parrots, request=lambda _: {key.GEN_AI_CHOICE_COUNT: 10**12}, response=response).say("grey", "x")
    assert len(only(recorder).attributes[key.GEN_AI_FINISH_REASONS]) <= telemetry.LONGEST_SEQUENCE


def test_other_operations_keep_their_names(parrots, recorder, monkeypatch):
    """What is no inference is told under the older duration in every convention."""
    monkeypatch.setattr(telemetry.state, "genai_semconv", "latest")
    switch = patching.Switch()
    switch.apply(Patch("parrots", "squawk", "embeddings", _target, _response), parrots)
    parrots.squawk("grey")
    operations = {point.attributes[key.GEN_AI_OPERATION] for point in recorder.points()[DURATION]}
    assert operations == {"embeddings"}


@pytest.mark.usefixtures("captured")
def test_instructions_beside_the_prompt_have_an_attribute_of_their_own(parrots, recorder):
    """Where a library takes them apart."""
    content = Content(
        prompt=lambda given: [{"role": "user", "parts": [{"type": "text", "content": given["text"]}]}],
        answer=lambda answer: [{"role": "assistant", "parts": [{"type": "text", "content": answer.text}]}],
        chunks=_chunks,
        gathered=lambda _: [],
        instructions=lambda _: [{"type": "text", "content": "be a parrot"}],
    )
    patched(parrots, content=content).say("grey", "hello")
    said = only(recorder).attributes
    assert json.loads(said[key.GEN_AI_SYSTEM_INSTRUCTIONS]) == [{"type": "text", "content": "be a parrot"}]
    assert json.loads(said[key.GEN_AI_INPUT_MESSAGES])[0]["parts"][0]["content"] == "hello"
    assert json.loads(said[key.GEN_AI_OUTPUT_MESSAGES])[0]["role"] == "assistant"


# what goes wrong


def _boom(*_):
    raise LookupError("the table is wrong")


@pytest.mark.parametrize("part", ["target", "request", "response", "chunks", "content", "answered"])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.usefixtures("captured")
def test_a_mistake_in_a_table_never_reaches_the_call(part, stream, parrots, recorder, caplog):
    """The answer comes, one warning is logged, every failure is counted, and the span still ends."""
    wrong = Content(_boom, _boom, _boom, _boom) if part == "content" else _boom
    parrot = patched(parrots, **{part: wrong})
    for _ in range(2):
        found = parrot.say("grey", "one two", stream=stream)
        assert (list(found) if stream else found.text.split()) == ["one", "two"]
    concerned = part not in (("response",) if stream else ("chunks",))
    assert len([record for record in caplog.records if "the table is wrong" in record.message]) == concerned
    counted = recorder.value("llmon.self.errors", {key.SOURCE: "parrots"})
    assert (counted or 0) >= 2 * concerned
    assert len(recorder.finished) == (0 if part == "target" else 2)


@pytest.mark.parametrize("error", [ZeroDivisionError("no"), KeyboardInterrupt(), SystemExit(1)])
def test_the_calls_own_exception_passes_unchanged(error, parrots, recorder):
    """The very object; what a person or a supervisor stopped is no error."""
    with pytest.raises(type(error)) as raised:
        parrots.Parrots().say("grey", "x", fail=error)
    assert raised.value is error
    stopped = isinstance(error, KeyboardInterrupt)
    assert only(recorder).attributes.get(key.OUTCOME) == ("cancellation" if stopped else None)
    assert only(recorder).attributes.get(key.ERROR_TYPE) == (None if stopped else type(error).__name__)


class Odd:
    """A model name that is none."""

    __hash__ = None

    def __str__(self):
        return "odd"


@pytest.mark.parametrize("model", [Odd(), ["a"], {"a": 1}, None, 7, "x" * 10_000, "\ud800", ""])
def test_any_model_name_can_be_told(model, parrots, recorder):
    """Whatever a program calls its model, the call works, and what leaves can be encoded."""
    assert parrots.Parrots().say(model, "hello").text == "hello"
    only(recorder).name.encode()
    [point] = recorder.points()[DURATION]
    assert point.count == 1
    assert len(str(point.attributes.get(key.GEN_AI_REQUEST_MODEL))) <= 256


def test_models_without_end_are_one_series(parrots, recorder, caplog):
    """A hostile client cannot make series without end, and no call is lost."""
    parrot = parrots.Parrots()
    for number in range(1_200):
        parrot.say(f"model {number}", "x")
    points = recorder.points()[DURATION]
    assert len(points) == 1_001
    assert sum(point.count for point in points) == 1_200
    assert len([record for record in caplog.records if DURATION in record.message]) == 1


def test_a_provider_that_is_set_later_is_followed(parrots, recorder):
    """A course that is remembered reports to whoever is there now."""
    from otel_llmon.testing import Recorder

    parrots.Parrots().say("grey", "x")
    with Recorder() as second:
        parrots.Parrots().say("grey", "x")
        assert len(second.finished) == 1
        assert second.points()[DURATION][0].count == 1
    parrots.Parrots().say("grey", "x")
    assert len(recorder.finished) == 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_does_not_report_its_parents_calls(parrots, recorder):
    """A stream that was open at the fork is the parent's to end."""
    words = parrots.Parrots().say("grey", "one two", stream=True)
    next(words)
    child = os.fork()
    if not child:
        telemetry.settle(last=True)
        list(words)
        told = [name for name in recorder.points() if name.startswith("gen_ai.")]
        os._exit(len(recorder.finished) + len(told))
    assert os.waitpid(child, 0)[1] == 0
    assert list(words) == ["two"]
    assert len(recorder.finished) == 1


def _beat():
    observers.attach(types.SimpleNamespace(__name__="nothing", ROWS=(), observe=list), every=3600)
    assert observers.read_now(20)


COMERS = {
    "a call": lambda: sys.modules["parrots"].squawk(model="green"),
    "a collection of metrics": lambda: metrics.get_meter_provider().force_flush(),
    "a flush": lambda: telemetry.settle(last=False),
    "the observers' beat": _beat,
}


@pytest.mark.usefixtures("beat")
@pytest.mark.parametrize("in_garbage", [False, True])
@pytest.mark.parametrize("comes", COMERS)
def test_a_stream_that_is_dropped_is_ended_by_whoever_comes_next(comes, in_garbage, parrots, recorder, clock):
    """Nothing runs when Python lets go of it: locks may be held, and Ctrl-C would be swallowed. No time is added."""
    holder = types.SimpleNamespace(words=parrots.Parrots().say("grey", "one two", stream=True))
    holder.itself = holder if in_garbage else None
    clock.now += 1.0
    next(holder.words)
    clock.now += 60.0
    del holder
    gc.collect()
    assert recorder._spans.kept == []
    COMERS[comes]()
    span = recorder._spans.kept[0]
    assert (span.name, span.attributes[key.CHUNKS], span.end_time - span.start_time) == ("chat grey", 1, 1e9)


@pytest.fixture
def beat():
    """Observers may be attached, and are gone afterwards."""
    yield
    observers.detach_all()
    observers.sampler.beat = 10.0


def test_ctrl_c_ends_a_program_whatever_it_is_doing(program):
    """Python drops what is raised in finalizers and in callbacks of garbage collections: nothing of ours runs there.

    The alarm stands for Ctrl-C: it comes amid C code that makes many objects, without another process to wait for.
    """
    ended = program(
        """
        import gc, json, openai, signal
        text = json.dumps([{"a": [number]} for number in range(20_000)])
        signal.signal(signal.SIGALRM, signal.default_int_handler)
        stopped = 0
        for _ in range(25):
            signal.setitimer(signal.ITIMER_REAL, 0.01)
            try:
                for _ in range(20):
                    json.loads(text)
            except KeyboardInterrupt:
                stopped += 1
        print(stopped, gc.callbacks)
        """,
        instrumented=True,
    )
    assert (ended.stdout, ended.stderr) == ("25 []\n", "")


def test_what_is_dropped_last_arrives_where_others_made_the_provider(program):
    """No configure(), no metrics, no further call: the exit ends it, before the provider is shut down."""
    ended = program(
        """
        from opentelemetry import trace
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter
        trace.set_tracer_provider(TracerProvider())
        trace.get_tracer_provider().add_span_processor(BatchSpanProcessor(ConsoleSpanExporter()))
        import types
        from otel_llmon.instrumentors import Patch, Target, patching
        library = types.SimpleNamespace(say=lambda **given: iter("abc"))
        said = lambda received, item: None
        patch = Patch("parrots", "say", "chat", lambda owner, given: Target("parrots", "grey"), said, said)
        patching.Switch().apply(patch, library)
        next(library.say(stream=True))
        """,
    )
    assert ended.stderr == ""
    assert json.loads(ended.stdout)["name"] == "chat grey"


# on and off


def test_uninstrument_puts_back_the_very_same(parrots):
    """What stood in the class stands there again, whatever its kind."""
    ParrotInstrumentor().uninstrument()
    assert vars(parrots.Parrots)["say"] is vars(Parrots)["say"]
    assert vars(parrots.Parrots)["cry"] is vars(Parrots)["cry"]
    assert parrots.squawk is squawk


def test_an_inherited_method_is_patched_in_its_heir_only(parrots, recorder):
    """The parent's stays, and afterwards the heir has none of its own again."""
    parrots.Macaw = type("Macaw", (Parrots,), {})
    switch = patching.Switch()
    switch.apply(Patch("parrots", "Macaw.say", "chat", _target, _response), parrots)
    parrots.Macaw().say("blue", "x")
    Parrots().say("grey", "x")
    assert [span.name for span in recorder.finished] == ["chat blue"]
    switch.undo()
    assert "say" not in vars(parrots.Macaw)


def test_somebody_elses_wrapper_is_left_alone(parrots, recorder):
    """Ours lies under it and does nothing any more."""
    ours = parrots.Parrots.say
    parrots.Parrots.say = functools.wraps(ours)(lambda *args: ours(*args))  # noqa: PLW0108  # it is another object
    theirs = vars(parrots.Parrots)["say"]
    ParrotInstrumentor().uninstrument()
    assert vars(parrots.Parrots)["say"] is theirs
    assert parrots.Parrots().say("grey", "hello").text == "hello"
    assert recorder.finished == []


def test_instrumenting_twice_patches_once(parrots, recorder):
    """A second switch-on is refused with OpenTelemetry's own line."""
    ParrotInstrumentor().instrument()
    with phase("outer"):
        parrots.Parrots().say("grey", "x")
    assert [span.name for span in recorder.finished] == ["chat grey", "outer"]


def test_many_values_at_once_are_the_same_as_one_by_one():
    """What a stream hands over at its end is binned as if each had been recorded."""
    together, one_by_one = (HistogramSeries({}, lambda _: None, (1.0, 2.0, 5.0)) for _ in range(2))
    values = [0.5, 1.0, 1.5, 4.0, 9.0, 0.0]
    together.record_all(values)
    together.record_all([])
    for value in values:
        one_by_one.record(value)
    assert together.read()[:4] == one_by_one.read()[:4]
