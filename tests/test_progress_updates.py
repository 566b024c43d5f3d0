"""Progress step by step: outcomes, states, loops within loops, remaining time, and what makes no sense."""

from __future__ import annotations

import json
import sys
import threading
import time
from datetime import timedelta

import pytest
from opentelemetry.trace import StatusCode

from otel_llmon import phase, progress
from otel_llmon.progress.tally import Tally
from otel_llmon.scores.eta import EtaError
from otel_llmon.testing import Recorder

ITEMS, STATE, ETA = "llmon.progress.items", "llmon.progress.state", "llmon.progress.eta"
TOTAL, DONE, TOKENS = "llmon.progress.total", "llmon.progress.done", "llmon.progress.tokens"
LAST_UPDATE = "llmon.progress.last_update"
DOCUMENTS = {"llmon.operation": "documents"}
STATES = {"running", "paused", "finished", "stopped", "failed", "cancelled"}


def outcomes(recorder, name="documents") -> dict[str, float]:
    """The counts of the loop of this name, by outcome."""
    points = recorder.points().get(ITEMS, [])
    return {
        point.attributes["llmon.outcome"]: point.value
        for point in points
        if point.attributes["llmon.operation"] == name
    }


def state(recorder, name="documents") -> str:
    """The one state of the loop of this name that is 1; there is a series of each."""
    points = [point for point in recorder.points()[STATE] if point.attributes["llmon.operation"] == name]
    assert {point.attributes["llmon.state"] for point in points} == STATES
    [found] = [point.attributes["llmon.state"] for point in points if point.value]
    return found


def eta(recorder, quantile="0.5", name="documents") -> float | None:
    """The remaining seconds that are exported."""
    return recorder.value(ETA, {"llmon.operation": name, "quantile": quantile})


def run(loop, clock, steps, seconds=1.0):
    """Take steps of equal length."""
    for _ in range(steps):
        clock.now += seconds
        loop.update()


def test_steps_are_counted_by_their_outcome(recorder):
    """Completed, failed and skipped add up to what is done; tokens are counted beside them."""
    with progress(total=10, name="documents") as loop:
        loop.update()
        loop.update(4, tokens=100)
        loop.update(outcome="failed", tokens=11)
        loop.update(2, "skipped")
        assert (loop.n, loop.total, loop.state) == (8, 10, "running")
        assert outcomes(recorder) == {"completed": 5, "failed": 1, "skipped": 2}
        loop.update(2)
    assert outcomes(recorder) == {"completed": 7, "failed": 1, "skipped": 2}
    assert recorder.value(TOKENS, DOCUMENTS) == 111
    assert recorder.value(DONE, DOCUMENTS) == recorder.value(TOTAL, DOCUMENTS) == 10
    assert (state(recorder), loop.finished) == ("finished", True)


def test_an_item_that_failed_is_said_so_in_the_loop(recorder):
    """It is counted by what came of it, once, and the counter never goes down."""
    with progress(range(6), "documents") as loop:
        for number in loop:
            before = outcomes(recorder)
            if number in (1, 5):
                loop.update(outcome="failed")
            if number == 3:
                loop.update(outcome="skipped", tokens=5)
            after = outcomes(recorder)
            assert all(after[word] >= before[word] for word in before)
            assert sum(after.values()) == number + (number in (1, 3, 5))
    assert outcomes(recorder) == {"completed": 3, "failed": 2, "skipped": 1}
    assert recorder.value(TOKENS, DOCUMENTS) == 5


def test_an_item_that_failed_counts_though_the_loop_is_left_at_it(recorder):
    """What was said of it is not forgotten."""
    with progress(range(6), "documents") as loop:
        for number in loop:
            if number == 2:
                loop.update(outcome="failed")
                break
    assert outcomes(recorder) == {"completed": 2, "failed": 1}
    assert state(recorder) == "stopped"


@pytest.mark.row("A2")
def test_no_step_is_lost_between_threads(recorder):
    """Eight threads count as fast as they can, one by one and several at once, while somebody looks."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with progress(total=8 * 30_000, name="documents") as loop:

            def count() -> None:
                for _ in range(10_000):
                    loop.update()
                for _ in range(800):
                    loop.update(20)
                for _ in range(4_000):
                    loop.update(outcome="skipped")

            threads = [threading.Thread(target=count) for _ in range(8)]
            for thread in threads:
                thread.start()
            while any(thread.is_alive() for thread in threads):
                assert sum(outcomes(recorder).values()) <= 8 * 30_000
            for thread in threads:
                thread.join()
    finally:
        sys.setswitchinterval(before)
    assert outcomes(recorder) == {"completed": 8 * 26_000, "skipped": 8 * 4_000}
    assert loop.finished


def test_loops_may_begin_and_end_in_many_threads_at_once(recorder):
    """As in a pool; each is a loop of its own, and all are counted."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    failed = []

    def loops() -> None:
        try:
            for _ in range(300):
                for _ in progress((1, 2), "documents"):
                    list(progress([1, 2, 3], "pages"))
        except Exception as exc:
            failed.append(exc)

    threads = [threading.Thread(target=loops) for _ in range(8)]
    try:
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            recorder.points()
    finally:
        sys.setswitchinterval(before)
    assert not failed
    assert outcomes(recorder) == {"completed": 8 * 300 * 2}
    assert outcomes(recorder, "pages") == {"completed": 8 * 300 * 2 * 3}


def test_what_comes_while_steps_are_added_up_is_not_lost():
    """Between the bytecodes of a sum another thread may have its turn."""

    class Busy(list):
        """Somebody adds to it whenever it is read."""

        def __getitem__(self, place):
            found = super().__getitem__(place)
            self.append(100)
            return found

    tally = Tally()
    tally.adds = Busy([1, 2])
    assert [tally.read(), tally.read()] == [3, 103]


def test_steps_of_one_number_count_nothing_once_another_number_has_its_turn():
    """Whoever still holds them finds none; those taken before are counted by what they were for."""
    tally = Tally()
    ones, _ = tally.allow(8)
    assert [next(ones), next(ones)] == [None, None]
    _, (number, tens) = tally.allow(8, 10)
    assert (number, next(tens), next(tens), tally.read()) == (10, None, None, 22)
    assert tally.allow(8, 10) == (ones, (10, tens))
    _, (number, thirties) = tally.allow(8, 30)
    assert (number, next(thirties), list(tens), tally.read()) == (30, None, [], 52)
    tally.close()
    assert [*ones, *thirties, *tally.allow(8)[0], *tally.allow(8, 30)[1][1]] == []
    assert tally.read() == 52


@pytest.mark.parametrize("numbers", [(1,), (32,), (500,), (1, 32), (7, 500, 3)])
def test_steps_of_any_sizes_add_up(recorder, numbers):
    """Whether they are alike or change each time."""
    with progress(name="documents") as loop:
        for _ in range(5_000):
            for number in numbers:
                loop.update(number)
        assert loop.n == 5_000 * sum(numbers)
    assert outcomes(recorder) == {"completed": 5_000 * sum(numbers)}


@pytest.mark.skipif(not getattr(sys, "_is_gil_enabled", lambda: True)(), reason="each update takes a lock there")
@pytest.mark.parametrize("number", [1, 32, 512])
def test_updates_that_go_on_and_on_call_nothing(number):
    """But once in a while, when somebody looks up."""
    made = 0

    def called(_frame, event, _argument) -> None:
        nonlocal made
        made += event in ("call", "c_call")

    loop = progress(name="documents")
    for _ in range(5_000):
        loop.update(number)
    sys.setprofile(called)
    try:
        for _ in range(5_000):
            loop.update(number)
    finally:
        sys.setprofile(None)
    assert 5_000 <= made < 5_500
    assert loop.n == 10_000 * number
    loop.close()


def test_what_was_counted_under_one_provider_is_not_told_to_the_next():
    """A loop that goes on counts on there from nothing; one that is over is not told of at all."""
    with progress(total=10, name="documents") as loop:
        with Recorder():
            loop.update(4)
            list(progress(range(3), "over"))
        with Recorder() as recorder:
            loop.update(2)
            assert outcomes(recorder) == {"completed": 2}
            assert outcomes(recorder, "documents/over") == {}


@pytest.mark.row("A19")
def test_counting_the_last_item_ends_nothing_and_blocks_nobody(recorder):
    """Without a `with` a loop is finished by its count; the object may stay."""
    loop = progress(total=10, name="documents")
    for _ in range(10):
        assert not loop.finished
        loop.update()
    assert loop.finished
    assert state(recorder) == "finished"
    loop.close()
    assert state(recorder) == "finished"


def test_a_loop_that_nobody_holds_any_more_reads_stopped(recorder):
    """It must not look as if it still ran."""
    loop = progress(total=10, name="documents")
    loop.update(3)
    assert state(recorder) == "running"
    del loop
    assert state(recorder) == "stopped"
    assert outcomes(recorder) == {"completed": 3}


def test_a_loop_that_was_done_when_nobody_held_it_any_more_reads_finished(recorder):
    """It was left to itself because nothing was left to do."""
    loop = progress(total=3, name="documents")
    loop.update(3)
    del loop
    assert state(recorder) == "finished"


@pytest.mark.row("A4")
def test_each_state_is_a_series_and_each_change_an_event(recorder, clock):
    """On the current span and as a log record."""
    with phase("embed"):
        loop = progress(total=4, name="documents")
        in_phase = {**DOCUMENTS, "llmon.phase": "embed"}
        assert state(recorder) == "running"
        loop.pause()
        assert (state(recorder), loop.state) == ("paused", "paused")
        loop.resume()
        assert state(recorder) == "running"
        loop.cancel()
        assert (state(recorder), loop.state) == ("cancelled", "cancelled")
    changes = [event.attributes["llmon.state"] for event in recorder.spans()["embed"].events]
    assert changes == ["paused", "running", "cancelled"]
    assert [record.attributes["llmon.state"] for record in recorder.logs()] == changes
    assert {record.event_name for record in recorder.logs()} == {"llmon.progress"}
    assert recorder.value(STATE, {**in_phase, "llmon.state": "cancelled"}) == 1


def embed_and_fail(loop):
    """One step with a phase in it, and an exception."""
    with loop:
        loop.update()
        with phase("embed"):
            pass
        raise KeyError("gone")


@pytest.mark.row("A18")
def test_a_with_is_a_span_that_says_how_it_ended(recorder):
    """An exception marks it and passes; what runs inside are its children."""
    with pytest.raises(KeyError):
        embed_and_fail(progress(total=3, name="documents"))
    span = recorder.spans()["documents"]
    assert span.status.status_code is StatusCode.ERROR
    assert span.attributes["error.type"] == "KeyError"
    assert (span.attributes["llmon.state"], span.attributes["llmon.items.completed"]) == ("failed", 1)
    assert recorder.spans()["embed"].parent.span_id == span.context.span_id
    assert state(recorder) == "failed"
    [record] = recorder.logs()
    assert (record.severity_text, record.attributes["llmon.state"]) == ("ERROR", "failed")


@pytest.mark.parametrize("what", [KeyboardInterrupt, SystemExit])
def test_a_loop_that_is_ended_from_outside_says_so(recorder, what):
    """Ctrl-C is no failure, and sys.exit() with no status none either."""
    with pytest.raises(what), progress(total=3, name="documents"):
        raise what
    assert state(recorder) == ("cancelled" if what is KeyboardInterrupt else "stopped")
    assert recorder.spans()["documents"].status.status_code is not StatusCode.ERROR


def test_leaving_early_without_an_exception_reads_stopped(recorder):
    """All is done, or it is not finished."""
    with progress(total=3, name="documents") as loop:
        loop.update(2)
    assert (loop.state, state(recorder)) == ("stopped", "stopped")


@pytest.mark.parametrize("make", [list, iter], ids=["list", "iterator"])
def test_a_loop_that_is_cancelled_gets_no_further_item(recorder, make):
    """From wherever that is said."""
    seen = []
    with progress(make(range(100_000)), "documents") as loop:
        for number in loop:
            seen.append(number)
            if number == 3:
                loop.cancel()
    assert len(seen) < 10
    assert make is iter or seen == [0, 1, 2, 3]
    assert (loop.state, state(recorder)) == ("cancelled", "cancelled")


@pytest.mark.row("A7")
def test_a_pause_counts_for_nothing(recorder, clock):
    """A minute's pause moves the remaining time by less than an item, and neither rate nor elapsed time."""
    with progress(total=100, name="documents") as loop:
        run(loop, clock, 40)
        before = (eta(recorder), loop.elapsed, loop.rate)
        loop.pause()
        clock.now += 60
        assert abs(eta(recorder) - before[0]) < 1
        assert recorder.value(LAST_UPDATE, DOCUMENTS) is None
        clock.now += 60
        loop.resume()
        assert (loop.elapsed, loop.rate) == before[1:]
        run(loop, clock, 1)
        assert abs(eta(recorder) - (before[0] - 1)) < 1


@pytest.mark.parametrize("method", ["default", "linear", "moving", "weighted"])
@pytest.mark.row("A6")
def test_the_remaining_time_follows_a_slow_down(recorder, clock, method):
    """Twenty items after it took twice as long, the estimate is within 15 % (overall: as far off as it must be)."""
    with progress(total=200, name="documents", method=method) as loop:
        for steps, seconds in ((60, 1.0), (20, 2.0)):
            for _ in range(steps):
                run(loop, clock, 1, seconds)
                recorder.points()
        left = eta(recorder)
        truth = 120 * 2.0
        tolerance = 0.15 if method in ("default", "moving") else 0.5
        assert left == pytest.approx(truth, rel=tolerance)
        assert eta(recorder, "0.1") <= left <= eta(recorder, "0.9")


def test_declared_phases_and_an_earlier_run_are_known_to_the_estimate(recorder, clock):
    """What history alone cannot know: the second half takes four times as long."""
    with progress(total=20, name="documents", phases=[(10, 1), (10, 4)]) as loop:
        run(loop, clock, 5)
        assert eta(recorder) == pytest.approx(45, rel=0.1)
        run(loop, clock, 5)
        run(loop, clock, 10, 4.0)
        profile = json.loads(json.dumps(loop.profile()))
    with progress(total=20, name="documents", profile=profile) as loop:
        assert eta(recorder) == pytest.approx(50, rel=0.1)
    with pytest.raises(EtaError, match="expected one of"):
        progress([1, 2], "documents", method="guess")


@pytest.mark.parametrize("phases", [[(0, 1), (20, 4)], [(20, 4), (0, 1)], [(0, 1), (0, 6)]])
def test_a_phase_without_items_is_none(recorder, clock, caplog, phases):
    """As where one of two folders is empty."""
    with progress(total=20, name="documents", phases=phases) as loop:
        run(loop, clock, 10)
        assert eta(recorder) == pytest.approx(10, rel=0.1)
        run(loop, clock, 10)
    assert not caplog.records


@pytest.mark.row("A9")
@pytest.mark.row("A22")
def test_what_an_object_says_is_what_is_exported(recorder, clock):
    """n, total, elapsed, finished, rate, eta and its band are computed where they are asked for."""
    with progress(total=100, name="documents") as loop:
        assert (loop.n, loop.elapsed, loop.rate, loop.eta, loop.remaining, loop.finished) == (
            0,
            0,
            None,
            None,
            None,
            False,
        )
        run(loop, clock, 25, 2.0)
        assert (loop.n, loop.elapsed, loop.rate, loop.finished) == (25, 50, 0.5, False)
        assert loop.eta == eta(recorder) == pytest.approx(150, rel=0.05)
        assert (loop.remaining.low, loop.remaining.high) == (eta(recorder, "0.1"), eta(recorder, "0.9"))
        assert repr(loop).startswith("<progress documents: 25 %, 25 of 100, 30/min, 2 min 30 s left")
        run(loop, clock, 75)
    assert (loop.n, loop.elapsed, loop.finished, loop.eta) == (100, 125, True, 0)
    assert loop.rate == 0.8
    assert eta(recorder) is None


def test_an_object_says_what_came_of_its_items(recorder):
    """By outcome, with tokens; of one that has parts only, their items."""
    loop = progress(total=10, name="documents")
    assert (loop.n, loop.failed, loop.skipped, loop.tokens) == (0, 0, 0, 0)
    with loop:
        loop.update(4, tokens=90)
        loop.update(2, outcome="failed")
        loop.update(outcome="skipped")
        assert (loop.n, loop.failed, loop.skipped, loop.tokens) == (7, 2, 1, 90)
    with progress(name="library") as whole, progress(total=8, name="book", within=whole) as part:
        part.update(3)
        done = {"llmon.operation": "library"}
        assert whole.n == recorder.value("llmon.progress.done", done) == 3


def test_the_last_update_is_the_time_at_which_it_got_on(recorder, clock):
    """As Unix time, for a rule on loops that hang; absent once the loop has ended."""
    with progress(total=10, name="documents") as loop:
        run(loop, clock, 3)
        assert recorder.value(LAST_UPDATE, DOCUMENTS) == pytest.approx(time.time(), abs=5)
        clock.now += 500
        assert recorder.value(LAST_UPDATE, DOCUMENTS) == pytest.approx(time.time() - 500, abs=5)
    assert recorder.value(LAST_UPDATE, DOCUMENTS) is None


@pytest.mark.row("A20")
@pytest.mark.parametrize("how", ["list", "iterator", "steps"])
def test_a_log_record_comes_every_so_many_items(recorder, clock, how):
    """Total by n of them, each with how far it is, and what was told of an item last."""
    if how == "steps":
        with progress(total=100, name="documents", every=10) as loop:
            for number in range(100):
                clock.now += 0.1
                loop.update(info={"page": number})
    else:
        items = list(range(100)) if how == "list" else iter(range(100))
        for _ in progress(items, "documents", total=100, every=10):
            clock.now += 0.1
    records = [record for record in recorder.logs() if record.attributes["llmon.state"] in ("running", "finished")]
    assert [record.attributes["llmon.done"] for record in records] == list(range(10, 101, 10))
    assert records[4].attributes["llmon.rate"] == pytest.approx(10)
    assert records[4].attributes["llmon.total"] == 100
    assert how != "steps" or records[4].attributes["page"] == 49


def test_a_log_record_comes_every_so_many_seconds(recorder, clock):
    """Whatever is done meanwhile."""
    for _ in progress(iter(range(100)), "documents", every="30s"):
        clock.now += 1
    assert [record.attributes["llmon.done"] for record in recorder.logs()] == [30, 60, 90]


@pytest.mark.row("A3")
def test_what_is_told_of_an_item_is_on_the_span_and_on_no_metric(recorder):
    """An event; the series stay as many as they are."""
    with phase("embed"):
        loop = progress(total=10, name="documents")
        loop.update(tokens=3)
        recorder.points()
        before = {name: len(points) for name, points in recorder.points().items() if "progress" in name}
        for number in range(5):
            loop.update(info={"processed_item": f"doc-{number}"})
        assert {name: len(points) for name, points in recorder.points().items() if "progress" in name} == before
    events = recorder.spans()["embed"].events
    assert [event.attributes["processed_item"] for event in events] == [f"doc-{number}" for number in range(5)]
    loop.close()


@pytest.mark.row("A13")
def test_a_loop_within_an_item_of_another_moves_that_on(recorder, clock):
    """The metric's name is a path, the spans a tree, and the whole gets on while an item is at hand."""
    with progress(total=4, name="epochs") as epochs:
        for _ in range(2):
            with progress(total=10, name="batches") as batches:
                run(batches, clock, 10)
            epochs.update()
        with progress(total=10, name="batches") as batches:
            run(batches, clock, 5)
            assert epochs.n == 2
            assert epochs.eta == pytest.approx(15, rel=0.1)
            batches.update(5)
        epochs.update(2)
    assert recorder.value(DONE, {"llmon.operation": "epochs"}) == 4
    assert outcomes(recorder, "epochs/batches") == {"completed": 30}
    assert recorder.spans()["batches"].parent.span_id == recorder.spans()["epochs"].context.span_id


def test_plain_nested_loops_are_a_tree_too(recorder, clock):
    """Without any `with`; the names stay plain, since nothing says that one belongs to the other."""
    outer = progress(range(4), "epochs")
    for number in outer:
        for _ in progress(range(10), "batches"):
            clock.now += 1
            if number == 2:
                recorder.points()
        if number == 2:
            break
    assert outcomes(recorder, "batches") == {"completed": 30}
    assert eta(recorder, name="epochs") is None


@pytest.mark.parametrize("weights", [(None, None), (3, 1)])
def test_parts_of_a_job_weigh_as_much_as_they_have_items_or_as_is_said(recorder, weights):
    """A loop without items of its own is as far as its parts."""
    with progress(name="job") as job:
        download = progress(total=30, name="download", within=job, weight=weights[0])
        train = progress(total=10, name="train", within=job, weight=weights[1])
        assert (download.state, train.state) == ("waiting", "waiting")
        download.update(15)
        ratio = recorder.value(DONE, {"llmon.operation": "job"}) / recorder.value(TOTAL, {"llmon.operation": "job"})
        assert ratio == 15 / 40 if weights[0] is None else 1.5 / 4
        download.update(15)
        train.update(10)
        assert job.n == 0 or job.finished
    assert (job.state, state(recorder, "job"), state(recorder, "job/train")) == ("finished",) * 3


def test_a_thread_takes_part_where_it_is_told_to(recorder):
    """Threads do not inherit the `with` they are started in."""
    with progress(total=2, name="shards") as shards:

        def shard() -> None:
            with progress(total=5, name="pages", within=shards) as pages:
                pages.update(5)
            shards.update()

        threads = [threading.Thread(target=shard) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert outcomes(recorder, "shards/pages") == {"completed": 10}
    assert shards.finished


NONSENSE = {
    "negative total": (lambda: progress([1], "documents", total=-3), "total=-3: expected 0 or more; going on as if"),
    "no total": (lambda: progress([1], "documents", total=float("nan")), "total=nan: expected 0 or more"),
    "negative initial": (lambda: progress([1], "documents", initial=-3), "initial=-3: expected 0 or more; going on"),
    "negative step": (lambda: progress(total=3, name="documents").update(-1), "n=-1: expected 0 or more; not counted"),
    "negative tokens": (lambda: progress(total=3, name="documents").update(tokens=-1), "tokens=-1: expected 0 or more"),
    "no rhythm": (lambda: progress([1], "documents", every=len([1]) // 10), "every=0: expected more than 0; going on"),
    "no time": (lambda: progress([1], "documents", every="0s"), "every='0s': expected more than 0; going on without"),
    "negative time": (
        lambda: progress([1], "documents", every=timedelta(-1)),
        "expected more than 0; going on without",
    ),
    "negative phase": (lambda: progress([1], "documents", phases=[(-1, 1)]), "items of a phase=-1: expected 0 or more"),
    "no weight": (
        lambda: progress([1], "documents", phases=[(1, 0)]),
        "weight of a phase=0: expected a number above 0",
    ),
    "odd outcome": (lambda: progress(total=3, name="documents").update(1, "good"), "outcome='good': expected one of"),
    "resumed though it runs": (lambda: progress(total=3, name="documents").resume(), "cannot resume: it is running"),
    "paused before": (lambda: progress([1], "documents").pause(), "cannot pause: it is waiting"),
}


@pytest.mark.parametrize("kind", NONSENSE)
def test_what_makes_no_sense_is_a_warning(recorder, caplog, kind):
    """And never ends a program."""
    call, told = NONSENSE[kind]
    call()
    assert told in caplog.text
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_more_than_all_is_counted_and_told(recorder, caplog):
    """Things were done, whatever the total was; there is nothing left."""
    with progress(total=3, name="documents") as loop:
        loop.update(5)
        assert (loop.n, loop.total, loop.eta, loop.state) == (5, 3, 0, "finished")
    assert outcomes(recorder) == {"completed": 5}
    assert "5 of 3 are done, more than all; give another total=" in caplog.text


def test_an_update_after_the_end_is_told_and_not_counted(recorder, caplog):
    """Of any kind."""
    with progress(total=5, name="documents") as loop:
        loop.update(3)
    loop.update()
    loop.update(2)
    loop.update(outcome="failed")
    assert "is over (stopped): an update came too late" in caplog.text
    assert (loop.n, outcomes(recorder)) == (3, {"completed": 3})


def test_an_update_in_a_loop_over_items_adds_nothing(recorder, caplog):
    """The habit from other bars would count twice."""
    with progress(range(3), "documents") as loop:
        for _ in loop:
            loop.update()
    assert outcomes(recorder) == {"completed": 3}
    assert "counts its items by itself: update() added nothing" in caplog.text


class Incomparable:
    """As an array of several numbers."""

    __hash__ = None

    def __eq__(self, other):
        raise RuntimeError("ambiguous")


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: progress(total="3", name="documents"), "total='3': expected a number"),
        (lambda: progress(total=3, name="documents", initial="x"), "initial='x': expected a number"),
        (lambda: progress(total=3, name="documents").update("1"), "n='1': expected a number"),
        (lambda: progress(total=3, name="documents").update([1]), "n=a list: expected a number"),
        (lambda: progress(total=3, name="documents").update(Incomparable()), "n=a Incomparable: expected a number"),
        (lambda: progress(total=3, name="documents").update(1, outcome=5), "outcome=5: expected one of"),
        (lambda: progress(total=3, name="documents", every=1.5), "every=1.5: expected a number of items, or a time"),
        (lambda: progress(total=3, name="documents", phases=5), "phases=5: expected pairs of items and weight"),
        (lambda: progress(total=3, name="documents", phases=[5]), "phase 5: expected a pair of items and weight"),
        (lambda: progress(total=3, name="documents", phases=[("5", 1)]), "items of a phase='5': expected a number"),
        (lambda: progress(total=3, name="documents", phases=[(5, "1")]), "weight of a phase='1': expected a number"),
        (lambda: progress(total=3, name="documents", within=3), "within is a int, expected another progress"),
    ],
)
def test_a_wrong_type_is_an_error_at_the_call(call, told):
    """With what was found, and what is expected."""
    with pytest.raises(TypeError, match=told):
        call()


@pytest.mark.parametrize("every", ["soon", "-1s", True])
def test_a_rhythm_that_is_none_is_an_error_at_the_call(every):
    """Either a number of items, or a time."""
    with pytest.raises((ValueError, TypeError), match="expected a number of items, or a time such as '30s'"):
        progress(total=3, name="documents", every=every)


def test_the_total_may_be_learnt_later(recorder):
    """As while a crawler finds pages."""
    with progress(total=3, name="documents") as loop:
        loop.update(3)
        assert loop.finished
        loop.total = 6
        assert not loop.finished
        assert recorder.value(TOTAL, DOCUMENTS) == 6
        loop.update(3)
    assert loop.finished


def test_entered_twice_is_entered_once(recorder, caplog):
    """The inner `with` is part of the outer one."""
    with progress(total=3, name="documents") as loop:
        with loop:
            loop.update()
        assert loop.state == "running"
        loop.update(2)
    assert loop.finished
    assert "is entered already: this entry is part of it" in caplog.text
    assert len(recorder.finished) == 1


def test_many_loops_that_nobody_collects_leave_nothing_behind(recorder):
    """Those that are over are added up, and forgotten."""
    from otel_llmon.progress import reporting

    for _ in range(1_000):
        for _ in progress((1, 2), "documents"):
            pass
    assert len(reporting._live) <= reporting.CROWD
    assert outcomes(recorder) == {"completed": 2_000}
    assert not reporting._live


def test_who_knows_only_where_it_is_may_say_that(recorder, caplog):
    """Items and total are set; what would go back, or is no position, changes nothing and is told."""
    with progress(name="documents") as loop:
        loop.n, loop.total = 40, 100
        loop.n = 50
        loop.n = 50
        assert outcomes(recorder) == {"completed": 50}
        assert recorder.value(DONE, DOCUMENTS) / recorder.value(TOTAL, DOCUMENTS) == 0.5
        loop.n = 30
        loop.n = float("nan")
        assert (loop.n, outcomes(recorder)) == (50, {"completed": 50})
        assert "n is 50 and cannot go back to 30; nothing changed" in caplog.text
        with pytest.raises(TypeError, match="n="):
            loop.n = "60"
