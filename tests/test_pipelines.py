"""pipeline(): what a run knows of its phases; attempts, counts and batches."""

from __future__ import annotations

import asyncio
import functools
import os
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import otel_llmon
from otel_llmon import batch, phase, pipeline, telemetry, training
from otel_llmon.runs import Run

ITEMS = "llmon.pipeline.items"


def spend(clock, name, seconds):
    """A phase that takes so long."""
    with phase(name):
        clock.now += seconds


def test_a_report_says_where_the_time_went(recorder, clock):
    """The slowest first; the shares and what was outside of phases add up to the whole."""
    with pipeline("ingest") as run:
        spend(clock, "extract", 10)
        spend(clock, "embed", 30)
        spend(clock, "store", 5)
        clock.now += 5
    report = run.report()
    assert (report.seconds, report.slowest) == (50, "embed")
    assert {share.name: share.share for share in report.phases} == {"extract": 0.2, "embed": 0.6, "store": 0.1}
    assert sum(share.share for share in report.phases) + report.outside == pytest.approx(1)
    assert str(report).splitlines()[1].split() == ["embed", "60.0%", "30.000", "s", "x1"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
def test_a_forked_child_misses_no_phase_of_its_parents_run(recorder):
    """It leaves the run without a word: which phases ran is known to its parent alone."""
    with pipeline("ingest", ["extract"]):
        child = os.fork()
        if child:
            with phase("extract"):
                pass
    if not child:
        os._exit(1 if "llmon.phase.missing" in recorder.points() else 0)
    assert os.waitpid(child, 0)[1] == 0


def test_a_phase_s_own_time_is_what_no_phase_inside_it_took(recorder, clock):
    """Otherwise the outermost phase would always be the slowest."""
    with pipeline("ingest") as run, phase("embed"):
        spend(clock, "load model", 7)
        clock.now += 3
    shares = {share.name: (share.seconds, share.own) for share in run.report().phases}
    assert shares == {"embed": (10, 3), "load model": (7, 7)}


def test_a_report_can_be_asked_for_while_the_run_goes_on(recorder, clock):
    """It holds what is over."""
    with pipeline("ingest") as run:
        spend(clock, "extract", 2)
        with phase("embed"):
            clock.now += 1
            assert [share.name for share in run.report().phases] == ["extract"]
            assert run.report().seconds == 3


def test_each_run_has_a_report_of_its_own(recorder, clock):
    """Also when one pipeline object is used again, and when runs are nested."""
    run = pipeline("outer")
    for seconds in (1, 2):
        with run:
            spend(clock, "work", seconds)
        assert [share.seconds for share in run.report().phases] == [seconds]
    with pipeline("outer") as outer, pipeline("inner") as inner:
        spend(clock, "work", 3)
    assert [share.name for share in inner.report().phases] == ["work"]
    assert [share.name for share in outer.report().phases] == ["inner"]


def test_a_run_inside_a_run_is_one_phase_of_it(recorder, clock):
    """All its time is its own there: where that went is in the report of the inner one, which is not lost either."""
    with pipeline("nightly") as nightly:
        spend(clock, "load", 20)
        with phase("train"), training("finetune") as inner:
            clock.now += 5
            with inner.epoch():
                clock.now += 75
    assert {share.name: share.own for share in nightly.report().phases} == {"finetune": 80, "load": 20, "train": 0}
    assert (nightly.report().slowest, nightly.report().outside) == ("finetune", 0)
    assert [(share.name, share.own) for share in inner.report().phases] == [("epoch", 75)]


def in_report(run):
    """Seconds of its own, by phase, and outside of phases."""
    report = run.report()
    outside = report.outside * report.seconds
    return {share.name: pytest.approx(share.own) for share in report.phases} | {"outside": pytest.approx(outside)}


def items(clock):
    """Three items, 5 seconds each, 2 of them in a phase inside, and 1 at the end."""
    for item in range(3):
        spend(clock, "parse", 2)
        clock.now += 3
        yield item
    clock.now += 1


def test_a_generator_s_own_time_is_that_in_which_its_code_runs(recorder, clock):
    """What its consumer does is the consumer's; the duration is that from the first item to the end, as ever."""
    with pipeline("ingest") as run:
        for _ in phase("read")(items)(clock):
            spend(clock, "embed", 100)
            clock.now += 10
    assert in_report(run) == {"embed": 300, "read": 10, "parse": 6, "outside": 30}
    [read] = (share for share in run.report().phases if share.name == "read")
    assert read.seconds == run.report().seconds == 346


def test_a_phase_has_no_part_in_the_steps_of_a_generator_that_are_taken_in_it(recorder, clock):
    """Whichever phase that is, at each step anew."""
    read = phase("read")(items)(clock)
    with pipeline("ingest") as run, phase("job"):
        for _ in range(3):
            with phase("fetch"):
                next(read)
                clock.now += 1
            spend(clock, "embed", 100)
        list(read)
        clock.now += 7
    assert in_report(run) == {"embed": 300, "read": 10, "job": 7, "parse": 6, "fetch": 3, "outside": 0}


def test_the_same_holds_for_asynchronous_generators_and_for_those_that_are_left(recorder, clock):
    """However they end: what follows the last item asked for is nobody's."""

    @phase("read")
    async def read():
        try:
            for item in items(clock):
                yield item
        finally:
            clock.now += 4

    async def main():
        with phase("job"):
            found = read()
            async for _ in found:
                spend(clock, "embed", 100)
                break
            await found.aclose()

    with pipeline("ingest") as run:
        asyncio.run(main())
    assert in_report(run) == {"embed": 100, "read": 7, "parse": 2, "job": 0, "outside": 0}


def test_a_generator_that_is_a_run_in_a_run_has_its_steps_time_there(recorder, clock):
    """Its phases are in its own report, its consumer's work is in none of them."""
    with pipeline("outer") as run, phase("job"):
        for _ in pipeline("read")(items)(clock):
            spend(clock, "embed", 100)
        clock.now += 7
    assert in_report(run) == {"embed": 300, "read": 16, "job": 7, "outside": 0}


def test_outside_of_a_run_generators_are_timed_as_in_one(recorder, clock):
    """One that began before it, and its consumer's phases; there is nothing that they could be told to."""
    read = phase("read")(items)(clock)
    next(read)
    with pipeline("ingest") as run, phase("fetch"):
        next(read)
    assert in_report(run) == {"fetch": 5, "outside": 0}
    list(read)


def test_threads_that_carry_the_context_take_part(recorder, clock):
    """Every phase is in the report, whichever thread ran it."""
    from contextvars import copy_context

    def work():
        for _ in range(500):
            with phase("work"):
                pass

    with pipeline("ingest") as run:
        threads = [threading.Thread(target=copy_context().run, args=(work,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    [share] = run.report().phases
    assert share.count == 4000


@pytest.mark.row("B4")
def test_what_is_counted_is_a_metric_an_attribute_and_in_the_report(recorder):
    """In the pipeline itself and in its phases; the pipeline knows all."""
    with pipeline("ingest") as run:
        run.count("documents", 3)
        with phase("embed") as embedding:
            embedding.count("tokens", 100)
            embedding.count("tokens", 28)
    common = {"llmon.pipeline": "ingest"}
    assert recorder.value(ITEMS, {**common, "llmon.items": "documents"}) == 3
    assert recorder.value(ITEMS, {**common, "llmon.items": "tokens", "llmon.phase": "embed"}) == 128
    assert recorder.spans()["ingest"].attributes["llmon.items.documents"] == 3
    assert recorder.spans()["embed"].attributes["llmon.items.tokens"] == 128
    assert run.report().items == {"documents": 3, "tokens": 128}


@pytest.mark.parametrize("number", [-1, float("nan"), float("inf"), "three", None, True])
def test_a_count_that_is_none_is_left_out_everywhere(recorder, number):
    """Told once and counted as refused; the report agrees with the metric."""
    with pipeline("ingest") as run:
        run.count("documents", number)
    assert run.report().items == {}
    assert not recorder.value(ITEMS, {"llmon.pipeline": "ingest", "llmon.items": "documents"})


def test_each_run_is_told_its_own_mistake_and_many_are_told_in_bounds(recorder, caplog):
    """The second one's must not be lost behind the first one's, and a thousand must not fill the log."""
    for name in ("ingest", "repair", "ingest", "repair"):
        pipeline(name, phases=7)
    assert [message.partition(":")[0] for message in caplog.messages] == ["pipeline 'ingest'", "pipeline 'repair'"]
    for number in range(1000):
        pipeline(f"shard {number}", phases=7)
    assert len(caplog.messages) == telemetry.MOST_TOLD


def test_a_count_outside_of_the_work_is_told(recorder, caplog):
    """There is no run that it could belong to."""
    run = pipeline("ingest")
    run.count("documents", 3)
    assert "only while it runs" in caplog.text


def test_a_declared_phase_that_never_ran_is_counted_and_told_on_the_span(recorder):
    """In a run that came to its end."""
    with pipeline("ingest", phases=["extract", "embed", "store"]) as run:
        with phase("extract"):
            pass
        with phase("store"):
            pass
    where = {"llmon.pipeline": "ingest", "llmon.phase": "embed"}
    assert recorder.value("llmon.phase.missing", where) == 1
    [told] = recorder.spans()["ingest"].events
    assert (told.name, dict(told.attributes)) == ("llmon.phase.missing", {"llmon.phase": "embed"})
    assert run.report().missing == ("embed",)


def test_a_run_that_fails_is_not_blamed_for_what_it_could_not_reach(recorder):
    """Its error says enough."""
    with pytest.raises(ValueError, match="no"), pipeline("ingest", phases=["extract", "embed"]):
        raise ValueError("no")
    assert recorder.value("llmon.phase.missing", {"llmon.pipeline": "ingest", "llmon.phase": "embed"}) is None


def test_a_declared_phase_that_runs_out_of_order_is_told_with_the_one_before(recorder):
    """Phases that were not declared may come anywhere, and a phase may run again."""
    with pipeline("ingest", phases=["extract", "embed", "store"]) as run:
        for name in ("extract", "other", "store", "embed", "extract"):
            with phase(name):
                pass
    assert run.report().misplaced == (("embed", "store"),)
    assert recorder.value("llmon.phase.misplaced", {"llmon.pipeline": "ingest", "llmon.phase": "embed"}) == 1


@given(st.lists(st.sampled_from("abcdef"), max_size=20))
def test_phases_in_their_order_are_never_misplaced(names):
    """Sorted first appearances are in order; whatever is told is true."""
    run = Run("abcdef")
    for name in names:
        run.begin(name)
    first = list(dict.fromkeys(names))
    assert (run.misplaced() == ()) == (first == sorted(first))
    assert all(name < other and first.index(name) > first.index(other) for name, other in run.misplaced())


@pytest.mark.row("B13")
def test_a_retry_links_to_the_attempt_before(recorder):
    """Its span carries the attempt's number, and links to the span of the one before."""
    before = None
    for _ in range(3):
        try:
            with phase("fetch", after=before) as before:
                raise TimeoutError
        except TimeoutError:
            pass
    spans = sorted(recorder.finished, key=lambda span: span.start_time)
    assert [span.attributes.get("llmon.attempt") for span in spans] == [None, 2, 3]
    assert [[link.context.span_id for link in span.links] for span in spans[1:]] == [
        [spans[0].context.span_id],
        [spans[1].context.span_id],
    ]


def test_a_retry_after_nothing_that_ran_is_an_attempt_without_a_link(recorder, caplog):
    """A phase that never began, or something else altogether."""
    with phase("fetch", after=phase("fetch")):
        pass
    with phase("again", after="fetch"):
        pass
    assert recorder.spans()["fetch"].attributes["llmon.attempt"] == 2
    assert not recorder.spans()["fetch"].links
    assert "expected a phase" in caplog.text


def test_a_batch_is_counted_and_its_hooks_see_the_items_inside_its_span(recorder):
    """Before the work and after it."""
    seen = []

    def look(items):
        seen.append(list(items))
        otel_llmon.event("looked", {"items": len(items)})

    with batch([1, 2, 3], "score", before=[look], after=look) as part:
        seen.append(part.items)
    assert seen == [[1, 2, 3]] * 3
    assert recorder.value(ITEMS, {"llmon.items": "score", "llmon.phase": "score"}) == 3
    span = recorder.spans()["score"].context.span_id
    assert [record.span_id for record in recorder.logs()] == [span, span]


def test_a_hook_that_raises_costs_nothing_but_a_warning(recorder, caplog):
    """It watches; the work goes on. After work that failed no hook is called."""
    called = []

    def fails(_):
        called.append(1)
        raise OSError("no store")

    with batch([1], "score", before=fails, after=fails):
        pass
    assert recorder.value("llmon.self.errors", {"llmon.source": "batch"}) == 2
    assert "fails raised OSError: no store" in caplog.text
    with pytest.raises(KeyError), batch([1], "score", after=fails):
        raise KeyError
    assert len(called) == 2


def test_a_batch_without_a_length_is_not_counted(recorder):
    """What it is over is the caller's affair: the work is done and its hooks see the items."""
    seen = []
    for items in (iter("abc"), 5, None):
        with batch(items, "guess", after=[seen.append]) as found:
            assert found.items is items
    assert [kind.__class__.__name__ for kind in seen] == ["str_ascii_iterator", "int", "NoneType"]
    assert ITEMS not in recorder.points()


class Unsure:
    """Has `__len__`, as a sparse matrix and a loader of a stream have, which raises."""

    def __init__(self, error):
        self.error = error

    def __len__(self):
        raise self.error


def active(recorder, name):
    """Phases of this name that run."""
    return recorder.value("llmon.phase.active", {"llmon.phase": name})


@pytest.mark.parametrize(
    "items", [Unsure(TypeError("ambiguous")), np.array(5.0), range(10**30)], ids=["own", "array", "range"]
)
def test_a_batch_whose_length_cannot_be_told_is_not_counted(recorder, items):
    """It is no error of the work, and the batch ends as ever."""
    with batch(items, "score"):
        pass
    assert active(recorder, "score") == 0
    assert ITEMS not in recorder.points()
    assert recorder.spans()["score"].end_time


@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt(), MemoryError()])
@pytest.mark.parametrize("where", ["before", "after", "length"])
def test_a_batch_that_a_hook_or_its_items_end_is_over(recorder, where, error):
    """Ctrl-C and an exit pass; the span has ended, and the next one is no child of it."""

    def ends(_):
        raise error

    items = Unsure(error) if where == "length" else [1]
    hooks = {} if where == "length" else {where: ends}
    caught = None
    try:
        with batch(items, "score", **hooks):
            pass
    except (SystemExit, KeyboardInterrupt) as exc:
        caught = exc
    assert caught is (None if isinstance(error, MemoryError) else error)
    assert active(recorder, "score") == 0
    with phase("next"):
        pass
    assert recorder.spans()["next"].parent is None
    how = {SystemExit: "failure", KeyboardInterrupt: "cancellation", MemoryError: "success"}[type(error)]
    [point] = (one for one in recorder.points()["llmon.phase.duration"] if one.attributes["llmon.phase"] == "score")
    assert point.attributes["llmon.outcome"] == how


def test_a_batch_that_is_entered_twice_is_one_batch(recorder):
    """Its hooks are called once, and its items counted once."""
    seen = []
    with batch([1, 2], "score", before=seen.append, after=seen.append) as part, part:
        pass
    assert len(seen) == 2
    assert recorder.value(ITEMS, {"llmon.items": "score", "llmon.phase": "score"}) == 2


def test_a_hook_that_is_no_function_is_an_error_at_the_call():
    """The caller's own mistake is told at once."""
    with pytest.raises(TypeError, match="expected functions"):
        batch([1], "score", after=["no"])
    with pytest.raises(TypeError, match="batch 'score': found 3, expected functions"):
        batch([1], "score", before=3)


class Later:
    """A callable whose call is a coroutine."""

    async def __call__(self, items):
        """Do nothing."""


@pytest.mark.parametrize("hook", [Later(), Later().__call__, functools.partial(Later().__call__)])
def test_a_hook_that_nobody_would_await_is_an_error_at_the_call(hook):
    """It would never run, without a word."""
    with pytest.raises(TypeError, match="expected plain functions; nobody would await it"):
        batch([1], "score", after=[print, hook])


def test_an_attempt_is_no_hook(recorder):
    """What `phase(after=)` takes can be called as well, as a decorator."""
    with phase("score") as attempt:
        pass
    with pytest.raises(TypeError, match=r"found a phase .* a retry is phase\(\.\.\., after=\)"):
        batch([1], "score", after=attempt)


def test_a_decorated_function_is_a_batch_at_each_call(recorder):
    """With its hooks, its items and its probes."""
    seen = []

    @batch([1, 2], "score", before=seen.append, after=seen.append)
    def score():
        seen.append("work")

    score()
    score()
    assert seen == [[1, 2], "work", [1, 2]] * 2
    assert recorder.value(ITEMS, {"llmon.items": "score", "llmon.phase": "score"}) == 4
    assert [span.name for span in recorder.finished] == ["score", "score"]


def test_disabled_everything_is_there_and_does_nothing(caplog):
    """The program is the same at every level."""

    def letters():
        yield from "ab"

    before = telemetry.state.level
    telemetry.state.level = telemetry.DISABLED
    try:
        with (
            pipeline("ingest", phases=["a"]) as run,
            phase("a", after=None) as work,
            batch([1], "b", after=print) as part,
        ):
            run.count("documents", 3)
            work.count("documents")
            part.count("documents")
        assert list(part(letters)()) == ["a", "b"]
        assert run.report().phases == ()
        assert not caplog.text
    finally:
        telemetry.state.level = before
