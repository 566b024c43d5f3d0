"""A phase is one span and one duration, however it is entered and left."""

from __future__ import annotations

import asyncio
import functools
import gc
import os
import threading
import time
from enum import StrEnum

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import StatusCode

from otel_llmon import batch, phase, pipeline, telemetry
from otel_llmon.testing import Recorder

DURATION = "llmon.phase.duration"


def current() -> str | None:
    """The name of the current span."""
    return getattr(trace.get_current_span(), "name", None)


def durations(recorder) -> dict[tuple, int]:
    """How often each phase ended, by its attributes' values."""
    return {
        tuple(point.attributes.get(f"llmon.{key}") for key in ("phase", "pipeline", "outcome")): point.count
        for point in recorder.points().get(DURATION, [])
    }


def test_a_phase_is_a_span_and_a_duration(recorder, clock):
    """Leaving a phase exports its span and records how long it took."""
    with phase("forward"):
        clock.now += 2.5
    [point] = recorder.points()[DURATION]
    assert point.sum == 2.5
    assert dict(point.attributes) == {"llmon.phase": "forward", "llmon.outcome": "success"}
    assert recorder.spans()["forward"].attributes["llmon.phase"] == "forward"


@pytest.mark.row("B3")
def test_a_pipeline_names_what_is_inside(recorder):
    """Phases within a pipeline are its span's children and carry its name; afterwards nothing does."""
    with pipeline("ingest", ["load", "embed"]):
        with phase("load"), phase("parse"):
            pass
        with phase("embed"):
            pass
    with phase("alone"):
        pass
    spans = recorder.spans()
    assert spans["load"].parent.span_id == spans["ingest"].context.span_id
    assert spans["parse"].parent.span_id == spans["load"].context.span_id
    assert spans["ingest"].parent is None
    assert spans["alone"].parent is None
    assert spans["ingest"].attributes["llmon.pipeline.phases"] == ("load", "embed")
    assert durations(recorder) == {
        ("load", "ingest", "success"): 1,
        ("parse", "ingest", "success"): 1,
        ("embed", "ingest", "success"): 1,
        ("alone", None, "success"): 1,
    }
    [run] = recorder.points()["llmon.pipeline.duration"]
    assert dict(run.attributes) == {"llmon.pipeline": "ingest", "llmon.outcome": "success"}


def test_a_duration_leads_to_its_span(recorder):
    """The exemplar of a duration is the phase's own span, not its parent's."""
    with pipeline("ingest"), phase("load"):
        pass
    [point] = recorder.points()[DURATION]
    assert recorder.spans()["load"].context.trace_id == point.exemplars[0].trace_id
    assert recorder.spans()["load"].context.span_id == point.exemplars[0].span_id


def test_an_error_marks_the_phase_and_passes_through(recorder):
    """The caller's exception is the one that was raised; span and metrics name its class."""
    error = KeyError("k")
    with pytest.raises(KeyError) as caught, phase("load"):
        raise error
    assert caught.value is error
    span = recorder.spans()["load"]
    assert span.status.status_code is StatusCode.ERROR
    assert span.attributes["error.type"] == "KeyError"
    assert [event.name for event in span.events] == ["exception"]
    assert durations(recorder) == {("load", None, "failure"): 1}
    assert recorder.value("llmon.phase.errors", {"llmon.phase": "load", "error.type": "KeyError"}) == 1


@pytest.mark.parametrize("error", [asyncio.CancelledError(), GeneratorExit(), KeyboardInterrupt()], ids=repr)
def test_a_cancellation_is_an_outcome_of_its_own(recorder, error):
    """What was ended from outside has not failed."""
    with pytest.raises(type(error)), phase("load"):
        raise error
    assert durations(recorder) == {("load", None, "cancellation"): 1}
    assert recorder.spans()["load"].status.status_code is StatusCode.UNSET
    assert "llmon.phase.errors" not in recorder.points()


@pytest.mark.parametrize(("code", "outcome"), [(None, "success"), (0, "success"), (3, "failure")])
def test_an_exit_is_judged_by_its_code(recorder, code, outcome):
    """sys.exit() ends a script well, sys.exit(3) does not."""
    with pytest.raises(SystemExit), phase("main"):
        raise SystemExit(code)
    assert durations(recorder) == {("main", None, outcome): 1}


class _UnspeakableError(Exception):
    """An exception that cannot say what it is."""

    def __str__(self):
        raise RuntimeError("no words")


@pytest.mark.parametrize(
    "error", [_UnspeakableError(), ValueError("half a pair: \ud800"), ValueError("x" * 10_000_000)]
)
def test_whatever_an_exception_says_it_passes_and_its_span_ends(recorder, error):
    """Its own code cannot take its place, and its text is of bounded length and can be encoded."""
    with pytest.raises(type(error)) as caught, phase("load"):
        raise error
    assert caught.value is error
    [exception] = recorder.spans()["load"].events
    for text in exception.attributes.values():
        assert len(text.encode()) <= telemetry.state.longest
    assert (
        "in test_whatever_an_exception_says" in exception.attributes["exception.stacktrace"] or len(str(error)) > 8192
    )


class _AskedError(Exception):
    """An exception that knows when it was asked what it says."""

    def __str__(self):
        self.__dict__.setdefault("at", time.time_ns())
        return "when?"


def test_a_failed_span_ends_before_its_error_is_put_into_words(recorder):
    """To write a traceback takes its time, which is not the work's."""
    with pytest.raises(_AskedError) as caught, phase("load"):
        raise _AskedError
    span = recorder.spans()["load"]
    assert span.events[0].timestamp == span.end_time <= caught.value.at


class _Broken:
    """A span processor, or a sampler, with a bug."""

    def on_start(self, *_, **__):
        raise RuntimeError("processor")

    on_end = _on_ending = on_start

    def shutdown(self):
        pass

    def force_flush(self, *_):
        return True


def test_a_span_processor_with_a_bug_costs_spans_and_no_work(recorder, caplog):
    """The user's own code in the pipeline raises into us, and no further; durations are counted all the same."""
    recorder.tracer_provider.add_span_processor(_Broken())
    with phase("load"):
        pass
    assert durations(recorder) == {("load", None, "success"): 1}
    assert recorder.value("llmon.self.errors", {"llmon.source": "traces"}) >= 1
    assert caplog.text.count("a phase's span is lost: RuntimeError: processor") == 1


@pytest.mark.parametrize("phases", [None, 5, "load", {"a": 1}], ids=repr)
def test_expected_phases_that_are_no_list_are_left_out(recorder, caplog, phases):
    """The run goes on, and one line says what was found."""
    with pipeline("ingest", phases):
        pass
    assert "llmon.pipeline.phases" not in recorder.spans()["ingest"].attributes
    assert "expected a list of names" in caplog.text


def test_a_forked_child_does_not_report_what_its_parent_began(recorder):
    """It leaves the phase without a word; what it begins itself is its own."""
    with phase("parent"):
        child = os.fork()
        if not child:
            before = len(recorder.finished)
    if not child:
        with phase("child"):
            pass
        mine = {span.name for span in recorder.finished[before:]}
        os._exit(0 if mine == {"child"} and set(durations(recorder)) == {("child", None, "success")} else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert durations(recorder) == {("parent", None, "success"): 1}


def test_the_active_count_goes_up_and_down(recorder):
    """While a phase runs it is counted, and no longer."""
    active = {"llmon.phase": "load", "llmon.pipeline": "ingest"}
    with pipeline("ingest"), phase("load"):
        assert recorder.value("llmon.phase.active", active) == 1
        assert recorder.value("llmon.pipeline.active", {"llmon.pipeline": "ingest"}) == 1
    assert recorder.value("llmon.phase.active", active) == 0


def test_a_decorated_function_keeps_its_name_arguments_and_result(recorder):
    """Each call is a phase of its own, recursion too."""

    @phase("fact")
    def factorial(n: int, *, one: int = 1) -> int:
        """Multiply."""
        return one if n <= 1 else n * factorial(n - 1)

    assert factorial(4) == 24
    assert (factorial.__name__, factorial.__doc__) == ("factorial", "Multiply.")
    assert durations(recorder) == {("fact", None, "success"): 4}
    assert len({span.context.trace_id for span in recorder.finished}) == 1


def test_a_static_or_class_method_may_be_decorated_outside_too(recorder):
    """Either order of the two decorators works."""

    class Model:
        @phase("s")
        @staticmethod
        def double(number):
            return 2 * number

        @phase("c")
        @classmethod
        def of(cls):
            return cls

    assert Model().double(2) == Model.double(2) == 4
    assert Model.of() is Model
    assert set(recorder.spans()) == {"s", "c"}


def test_an_object_with_an_asynchronous_call_is_timed_while_it_waits(recorder, clock):
    """What is decorated is what its class says."""

    class Fetch:
        async def __call__(self):
            await asyncio.sleep(0)
            clock.now += 0.2
            return current()

    assert asyncio.run(phase("fetch")(Fetch())()) == "fetch"
    [point] = recorder.points()[DURATION]
    assert point.sum == pytest.approx(0.2)


def test_anything_that_can_be_called_may_be_decorated(recorder):
    """A partial function has no name of its own, and needs none."""
    add_one = phase("add")(functools.partial(lambda a, b: a + b, 1))
    assert add_one(2) == 3
    assert set(recorder.spans()) == {"add"}


def test_a_decorated_method_gets_its_self(recorder):
    """Methods, class methods and static methods are functions too."""

    class Model:
        @phase("m")
        def method(self):
            return self

        @classmethod
        @phase("c")
        def of(cls):
            return cls

        @staticmethod
        @phase("s")
        def one():
            return 1

    model = Model()
    assert model.method() is model
    assert Model.of() is Model
    assert Model.one() == 1
    assert set(recorder.spans()) == {"m", "c", "s"}


@pytest.mark.row("B10")
def test_a_decorated_coroutine_is_timed_while_it_waits(recorder, clock):
    """The phase ends with the coroutine, not with the call that makes it."""

    @phase("fetch")
    async def fetch() -> str | None:
        await asyncio.sleep(0)
        clock.now += 0.2
        return current()

    assert asyncio.run(fetch()) == "fetch"
    [point] = recorder.points()[DURATION]
    assert point.sum == pytest.approx(0.2)


def test_tasks_side_by_side_keep_their_own_parents(recorder):
    """Fifty tasks interleave, and each inner phase is a child of its own outer one."""

    async def work(number: int) -> None:
        with phase(f"outer {number}"):
            await asyncio.sleep(0)
            with phase(f"inner {number}"):
                await asyncio.sleep(0)

    async def main() -> None:
        await asyncio.gather(*(work(number) for number in range(50)))

    asyncio.run(main())
    spans = recorder.spans()
    for number in range(50):
        assert spans[f"inner {number}"].parent.span_id == spans[f"outer {number}"].context.span_id


def test_a_cancelled_task_ends_its_phase(recorder):
    """Cancelling is told apart from failing."""

    async def main() -> None:
        @phase("wait")
        async def wait() -> None:
            await asyncio.Event().wait()

        task = asyncio.create_task(wait())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert durations(recorder) == {("wait", None, "cancellation"): 1}


@pytest.mark.row("B10")
def test_a_generator_is_never_current_in_its_consumer(recorder):
    """Its own code runs within the phase; the consumer's next span is no child of it."""
    inside = []

    @phase("chunks")
    def chunks():
        for number in range(3):
            inside.append(current())
            with phase("step"):
                pass
            yield number
        return "end"

    def consume():
        return (yield from chunks())

    got = []
    for number in consume():
        assert current() is None
        got.append(number)
    assert got == [0, 1, 2]
    assert inside == ["chunks"] * 3
    [outer] = [span for span in recorder.finished if span.name == "chunks"]
    assert {span.parent.span_id for span in recorder.finished if span.name == "step"} == {outer.context.span_id}


def test_a_generator_gets_what_is_sent_and_thrown(recorder):
    """send(), throw() and the return value pass through."""

    @phase("echo")
    def echo():
        got = yield "ready"
        try:
            yield got
        except ValueError:
            yield "caught"
        return "done"

    generator = echo()
    assert next(generator) == "ready"
    assert generator.send("hello") == "hello"
    assert generator.throw(ValueError("x")) == "caught"
    with pytest.raises(StopIteration) as stop:
        next(generator)
    assert stop.value.value == "done"
    assert durations(recorder) == {("echo", None, "success"): 1}


@pytest.mark.parametrize("how", ["break", "close", "garbage", "error", "never started"])
def test_a_generator_ends_its_phase_once_however_it_is_left(recorder, how):
    """Left early it is a cancellation; one that never ran has no phase."""
    cleaned = []

    @phase("stream")
    def stream():
        try:
            yield 1
            if how == "error":
                raise RuntimeError("inside")
            yield 2
        finally:
            cleaned.append(current())

    generator = stream()
    if how != "never started":
        assert next(generator) == 1
    if how == "error":
        with pytest.raises(RuntimeError, match="inside"):
            next(generator)
    elif how == "close":
        generator.close()
        generator.close()
    elif how == "break":
        for _ in generator:
            break
        generator.close()
    del generator
    gc.collect()
    expected = {"error": "failure", "never started": None}.get(how, "cancellation")
    assert durations(recorder) == ({("stream", None, expected): 1} if expected else {})
    assert cleaned == ([] if how == "never started" else ["stream"])
    assert recorder.value("llmon.phase.active", {"llmon.phase": "stream"}) in (0, None)


def test_an_asynchronous_generator_behaves_like_a_plain_one(recorder):
    """Never current in its consumer, ended once, also when it is left early."""

    @phase("tokens")
    async def tokens(count: int):
        for number in range(count):
            assert current() == "tokens"
            got = yield number
            assert got is None
            await asyncio.sleep(0)

    async def main() -> None:
        async for _ in tokens(3):
            assert current() is None
        early = tokens(3)
        async for _ in early:
            break
        await early.aclose()

    asyncio.run(main())
    assert durations(recorder) == {("tokens", None, "success"): 1, ("tokens", None, "cancellation"): 1}


def test_an_asynchronous_generator_gets_what_is_sent_and_thrown(recorder):
    """asend() and athrow() pass through."""

    @phase("echo")
    async def echo():
        got = yield "ready"
        try:
            yield got
        except ValueError:
            yield "caught"

    async def main() -> list:
        generator = echo()
        return [await anext(generator), await generator.asend("hello"), await generator.athrow(ValueError("x"))]

    assert asyncio.run(main()) == ["ready", "hello", "caught"]


def test_threads_have_their_own_place(recorder):
    """A pipeline in one thread says nothing about another."""
    with pipeline("ingest"):
        thread = threading.Thread(target=lambda: phase("other").__enter__().__exit__(None, None, None))
        thread.start()
        thread.join()
    assert durations(recorder) == {("other", None, "success"): 1}


def test_a_phase_that_is_entered_twice_is_one_phase(recorder, caplog):
    """Mistaken reuse costs a line in the log, no span and no exception."""
    once = phase("load")
    with once:
        with once:
            pass
        assert current() == "load"
    assert len(recorder.finished) == 1
    assert "running already" in caplog.text


def test_a_phase_may_be_used_again_after_its_end(recorder):
    """Each time is a span of its own."""
    again = phase("load")
    for _ in range(2):
        with again:
            pass
    assert durations(recorder) == {("load", None, "success"): 2}


def test_attributes_go_to_the_span_and_not_to_the_metric(recorder):
    """Detail belongs on spans, few attributes on metrics."""
    with phase("load", {"shard": 3, "who": object}) as running:
        running.set({"rows": 7})
    attributes = recorder.spans()["load"].attributes
    assert (attributes["shard"], attributes["rows"], attributes["who"]) == (3, 7, "<class 'object'>")
    [point] = recorder.points()[DURATION]
    assert set(point.attributes) == {"llmon.phase", "llmon.outcome"}


class Stage(StrEnum):
    """Names that a program has once."""

    LOAD = "load"


@pytest.mark.parametrize(
    "name", [Stage.LOAD, "x" * 10_000_000, "half a pair: \ud800"], ids=["enum", "10 MB", "surrogate"]
)
def test_odd_names_do_not_raise(recorder, name):
    """Text of any class has a bounded length and can be encoded."""
    with phase(name, {"\ud800": "\ud800"}):
        pass
    assert recorder.finished[0].name.encode()
    assert recorder.finished[0].attributes["?"] == "?"
    [point] = recorder.points()[DURATION]
    assert len(point.attributes["llmon.phase"]) <= 256
    assert len(recorder.finished[0].name) <= telemetry.state.longest


@pytest.mark.row("B7")
def test_names_without_bound_are_bounded_in_the_metric(recorder, caplog):
    """A thousand and more names: one overflow series, one warning each metric, no value lost."""
    for number in range(1500):
        with phase(f"phase {number}"):
            pass
    points = recorder.points()[DURATION]
    assert len(points) == 1001
    assert sum(point.count for point in points) == 1500
    assert [record.message.partition(":")[0] for record in caplog.records] == ["llmon.phase.active", DURATION]


def test_a_phase_decorates_functions_only():
    """The message says what was found."""
    with pytest.raises(TypeError, match="found 7, expected a function"):
        phase("load")(7)


def test_a_phase_needs_a_name():
    """A bare @phase is a mistake that shows at once."""
    with pytest.raises(TypeError, match=r"expected a name: @phase\("):
        phase(lambda: None)


@pytest.mark.parametrize("name", [None, 7, ["a"], b"load"])
@pytest.mark.parametrize("call", [phase, pipeline, lambda name: batch([1], name), lambda name: phase(name, probes=[])])
def test_a_name_that_is_no_text_is_an_error_at_the_call(call, name):
    """It would be the name of a metric's series for good."""
    with pytest.raises(TypeError, match=f"found a {type(name).__name__}, expected a name"):
        call(name)


def test_level_basic_makes_no_span(recorder):
    """Metrics only."""
    telemetry.state.level = telemetry.BASIC
    with phase("load"):
        assert current() is None
    assert recorder.finished == []
    assert durations(recorder) == {("load", None, "success"): 1}


def test_level_disabled_does_nothing(recorder):
    """No span, no metric, and a decorated function is the function itself."""
    telemetry.state.level = telemetry.DISABLED

    def function():
        return current()

    assert phase("load")(function) is function
    with pipeline("ingest"), phase("load") as running:
        running.set({"rows": 7})
    telemetry.state.level = telemetry.DETAILED
    assert recorder.finished == []
    assert DURATION not in recorder.points()


def test_an_unsampled_phase_keeps_its_children_unsampled():
    """The decision at the root holds below it, and metrics count all the same."""
    with Recorder(sampler=ALWAYS_OFF) as recorder:
        with phase("outer"):
            assert trace.get_current_span().get_span_context().is_valid
            with phase("inner"):
                pass
        assert recorder.finished == []
        assert durations(recorder) == {("outer", None, "success"): 1, ("inner", None, "success"): 1}


def test_leaving_in_another_context_is_quiet(recorder, caplog):
    """A phase that spans a generator's yields by mistake still ends, without OpenTelemetry's error in the log."""
    import contextvars

    def leaky():
        with phase("leaky"):
            yield

    generator = leaky()
    contextvars.copy_context().run(next, generator)
    generator.close()
    assert durations(recorder) == {("leaky", None, "cancellation"): 1}
    assert caplog.text == ""
