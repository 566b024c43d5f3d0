"""The observer `efficiency`: CPU seconds count for the phase whose code used them, and are never counted twice."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import time

import pytest

from otel_llmon import phase, phases, pipeline, telemetry
from otel_llmon.observers.efficiency import Account, watch
from otel_llmon.prices import Prices
from otel_llmon.testing import Clock


@pytest.fixture
def own():
    """The thread's CPU clock."""
    return Clock()


@pytest.fixture
def whole():
    """The process's CPU clock."""
    return Clock()


@pytest.fixture
def observe(own, whole, clock, tmp_path):
    """An observer that reads these clocks, for the length of a test."""
    observe = watch(Account(own, whole, proc=str(tmp_path)), clock)
    yield observe
    del observe
    gc.collect()


def used(recorder):
    """CPU seconds by pipeline and phase."""
    return {
        (point.attributes.get("llmon.pipeline"), point.attributes.get("llmon.phase")): point.value
        for point in recorder.points().get("llmon.resource.time", [])
    }


def test_seconds_count_for_the_innermost_phase(recorder, observe, whole):
    """What a phase inside used is not counted again outside; what no phase used is not counted."""
    whole.now = 100
    with pipeline("ingest"):
        whole.now += 1
        with phase("load"):
            whole.now += 2
            with phase("parse"):
                whole.now += 4
            whole.now += 8
    whole.now += 16
    assert used(recorder) == {("ingest", None): 1, ("ingest", "load"): 10, ("ingest", "parse"): 4}


def test_a_phase_that_fails_has_used_what_it_used(recorder, observe, whole):
    """However it ends."""

    @phase("load")
    def load():
        whole.now += 2
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        load()
    assert used(recorder) == {(None, "load"): 2}


def test_a_generators_consumer_pays_for_itself(recorder, observe, whole):
    """A phase around a generator counts its own steps only."""

    @phase("read")
    def read():
        for _ in range(3):
            whole.now += 1
            yield

    with phase("write"):
        for _ in read():
            whole.now += 10
    assert used(recorder) == {(None, "read"): 3, (None, "write"): 30}


def test_alone_a_phase_has_the_whole_process_and_beside_others_its_own_thread(recorder, observe, own, whole):
    """BLAS and data loaders work for the only phase there is; of two, nobody knows for which."""
    came, done = threading.Event(), threading.Event()

    def other():
        with phase("other"):
            came.set()
            assert done.wait(20)

    thread = threading.Thread(target=other)
    with phase("one"):
        own.now, whole.now = 1, 8
        thread.start()
        assert came.wait(20)
        own.now, whole.now = 2, 16  # clocks of both threads, as far as this test goes
        with phase("inner"):
            own.now, whole.now = 5, 32
        done.set()
        thread.join()
        own.now, whole.now = 6, 48  # for a part of this stretch there were two
        with phase("last"):
            own.now, whole.now = 7, 80
    found = used(recorder)
    assert found[None, "one"] == 3
    assert found[None, "inner"] == 3
    assert found[None, "last"] == 32


def test_tasks_of_an_event_loop_count_for_the_phase_around_it(recorder, observe, whole):
    """Their phases take turns unseen, so none is credited with another's work, even under the same name."""

    async def task(name):
        with phase(name):
            await asyncio.sleep(0)
            whole.now += 1

    async def main():
        await asyncio.gather(task("a"), task("b"))

    with phase("a"):
        asyncio.run(main())
        whole.now += 1
    assert used(recorder) == {(None, "a"): 3}


def test_a_phase_that_goes_on_is_counted_on_the_beat(  # noqa: PLR0917
    recorder, observe, own, whole, clock, tmp_path, monkeypatch
):
    """Else an hour of training would show nothing, and then an hour at once."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    tasks = tmp_path / "self" / "task" / str(threading.get_native_id())
    tasks.mkdir(parents=True)
    tasks.joinpath("schedstat").write_text("3000000000 0 1\n")
    with phase("train"):
        assert list(observe()) == []
        whole.now, own.now, clock.now = 5, 5, 10
        [reading] = observe()
        assert used(recorder) == {(None, "train"): 5}
        assert (reading.metric.name, reading.value) == ("llmon.resource.utilization", 0.25)
    assert used(recorder) == {(None, "train"): 5}


def test_where_the_system_does_not_tell_a_phase_counts_when_it_ends(recorder, observe, whole):
    """No /proc, no guess."""
    with phase("train"):
        whole.now = 5
        assert list(observe()) == []
        assert used(recorder) == {}
    assert used(recorder) == {(None, "train"): 5}


def test_a_clock_that_steps_back_takes_nothing_away(recorder, observe, whole):
    """Counters only grow."""
    with phase("odd"):
        whole.now = -3
    assert used(recorder) == {(None, "odd"): 0}


def test_cpu_seconds_have_their_price(recorder, observe, whole, monkeypatch):
    """As what is spent by hand."""
    monkeypatch.setattr(telemetry.state, "prices", Prices(cpu_hour=3.6))
    with phase("embed"):
        whole.now = 10
    assert recorder.value("llmon.cost", {"llmon.resource": "cpu", "llmon.phase": "embed"}) == pytest.approx(0.01)


def test_it_ends_with_the_observer(recorder, own, whole):
    """Who drops it is measured no longer; a phase that ran meanwhile leaves in peace."""
    before = [reference for reference in phases.watchers if reference() is not None]
    observe = watch(Account(own, whole))
    with phase("seen"):
        whole.now += 1
        assert len(phases.watchers) == len(before) + 1, "those that are gone left with this phase"
        del observe
        gc.collect()
    assert phases.watchers == before
    assert used(recorder) == {}


def test_a_watcher_that_fails_costs_its_measurement(recorder, monkeypatch, caplog):
    """The phase is a span and a duration all the same."""

    class Broken:
        def came(self, place):
            raise OSError("gone")

        went = came

    broken = Broken()
    monkeypatch.setattr(phases, "watchers", [lambda: broken])
    with phase("load"):
        pass
    assert recorder.points()["llmon.phase.duration"][0].count == 1
    assert recorder.value("llmon.self.errors", {"llmon.source": "phases"}) == 2
    assert caplog.messages == ["a phase's measurement is lost: OSError: gone"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_starts_anew(recorder, observe, whole):
    """It neither hangs on its parent's lock nor counts its parent's phases."""
    with phase("parent"):
        if (child := os.fork()) == 0:
            with phase("child"):
                whole.now += 7
            os._exit(0 if used(recorder) == {(None, "child"): 7} else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_real_clocks_are_never_counted_twice(recorder):
    """Four threads in nested phases, beside one that works for nobody: less than the process used, and most of it."""

    def work():
        for _ in range(20):
            with phase("outer"):
                sum(range(20_000))
                with phase("inner"):
                    sum(range(20_000))

    observe = watch()
    began = time.process_time()
    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
        list(observe())
    work()
    spent = time.process_time() - began
    assert 0 < sum(used(recorder).values()) <= spent
    del observe
