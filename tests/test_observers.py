"""Observers are read on a beat; one that fails costs its own readings."""

from __future__ import annotations

import sys
import threading
import types

import psutil
import pytest

from otel_llmon import gauge, observers, snapshot
from otel_llmon.errors import NoDataError, SettingsError
from otel_llmon.metering import Reading
from otel_llmon.observers import attach
from otel_llmon.semconv import Metric

ONE = Metric("llmon.test.one", "gauge", "1", "A test's.")
TWO = Metric("llmon.test.two", "gauge", "1", "Another.")


@pytest.fixture
def sampler(rows):
    """The sampler, with nothing attached before and after."""
    observers.detach_all()
    yield observers.sampler
    observers.detach_all()
    observers.sampler.beat = 10.0
    observers.sampler.clock = observers.time.monotonic


def module(name, observe, *rows_):
    """An observer as a module has it."""
    return types.SimpleNamespace(__name__=name, ROWS=rows_, observe=observe)


def read() -> None:
    """Have every observer read once, now."""
    assert observers.read_now(20)


def test_an_observer_is_read_at_once_and_again_on_demand(recorder, sampler):
    """What it yielded last is what is exported."""
    values = iter([1, 2])
    attach(module("t", lambda: [Reading(ONE, next(values))], ONE), every=3600)
    while recorder.value(ONE.name) is None:
        pass
    read()
    assert recorder.value(ONE.name) == 2


@pytest.mark.row("C31")
def test_a_source_that_raises_costs_its_own_readings_and_is_counted(recorder, sampler, caplog):
    """The others are reported; the failure is counted each time and said once."""

    def broken():
        yield Reading(ONE, 1)
        raise OSError("gone")

    attach(module("broken", broken, ONE), module("fine", lambda: [Reading(TWO, 2)], TWO), every=3600)
    read()
    read()
    assert recorder.value(TWO.name) == 2
    assert ONE.name not in recorder.points()
    assert recorder.value("llmon.self.errors", {"llmon.source": "broken"}) >= 2
    assert caplog.text.count("observer broken fails: OSError: gone") == 1


def test_an_observer_that_cannot_be_made_here_leaves_the_others(recorder, sampler, caplog):
    """A machine without /proc, or without a descriptor left: one line, counted, and the program goes on."""

    def unmade():
        raise OSError("no /proc")

    broken = module("broken", list, ONE)
    broken.watch = unmade
    attach(broken, module("fine", lambda: [Reading(TWO, 2)], TWO), every=3600)
    read()
    assert recorder.value(TWO.name) == 2
    assert recorder.value("llmon.self.errors", {"llmon.source": "broken"}) == 1
    assert "observer broken: not read: OSError: no /proc" in caplog.text


def test_a_source_comes_back_when_it_works_again(recorder, sampler):
    """No restart is needed."""
    works = [False]

    def observe():
        if not works[0]:
            raise OSError
        yield Reading(ONE, 1)

    attach(module("t", observe, ONE), every=3600)
    read()
    assert ONE.name not in recorder.points()
    works[0] = True
    read()
    assert recorder.value(ONE.name) == 1


def test_a_source_that_hangs_costs_its_own_readings_and_is_counted(recorder, sampler, caplog):
    """Another thread goes on with the others; when the source returns, it is read again."""
    now = [0.0]
    sampler.clock = lambda: now[0]
    stuck, release = threading.Event(), threading.Event()

    def hangs():
        stuck.set()
        release.wait(60)
        yield Reading(ONE, 1)

    attach(module("hangs", hangs, ONE), every=3600)
    assert stuck.wait(20)
    attach(module("fine", lambda: [Reading(TWO, 2)], TWO))
    now[0] += observers.PATIENCE + 1
    assert recorder.value("llmon.self.errors", {"llmon.source": "hangs"}) is None
    read()
    assert recorder.value(TWO.name) == 2
    assert recorder.value("llmon.self.errors", {"llmon.source": "hangs"}) == 1
    assert "observer hangs hangs: no answer" in caplog.text
    assert ONE.name not in recorder.points()
    release.set()
    while recorder.value(ONE.name) != 1:
        read()


def test_a_source_with_nothing_to_say_is_no_failure(recorder, sampler):
    """No data is absent: no zero, no error."""

    def nothing():
        raise NoDataError("no such device")

    attach(module("t", nothing, ONE), every=3600)
    read()
    assert ONE.name not in recorder.points()
    assert recorder.value("llmon.self.errors", {"llmon.source": "t"}) is None


def test_stale_readings_are_left_out(recorder, sampler):
    """A value from three beats ago is not repeated as if it were new."""
    now = [100.0]
    sampler.clock = lambda: now[0]
    attach(module("t", lambda: [Reading(ONE, 1)], ONE), every=3600)
    read()
    assert recorder.value(ONE.name) == 1
    now[0] += 3 * 3600
    assert ONE.name not in recorder.points()


def test_all_observers_share_one_thread(sampler):
    """Ten sources, one thread."""
    for number in range(10):
        gauge(f"llmon.test.number{number}", lambda: 1)
    read()
    assert [thread.name for thread in threading.enumerate()].count("llmon-observers") == 1


def test_an_observer_that_is_not_known_is_an_error_that_names_the_others():
    """The caller can put it right."""
    with pytest.raises(SettingsError, match="observer 'gpus': expected one of auto, cgroup, efficiency, "):
        attach("gpus")


def test_a_gauge_reports_what_its_function_returns(recorder, sampler):
    """Under the name, unit and attributes given; None is nothing to report."""
    value = [7]
    gauge("queue.depth", lambda: value[0], unit="{job}", attributes={"queue": "a"}, description="Jobs.")
    gauge("queue.depth", lambda: 9, unit="{job}", attributes={"queue": "b"}, description="Jobs.")
    read()
    [metric] = [metric for metric in recorder.metrics() if metric.name == "queue.depth"]
    assert (metric.unit, metric.description) == ("{job}", "Jobs.")
    assert {point.attributes["queue"]: point.value for point in metric.data.data_points} == {"a": 7, "b": 9}
    value[0] = None
    read()
    assert [point.value for point in recorder.points()["queue.depth"]] == [9]


def test_a_gauge_called_again_is_replaced(recorder, sampler):
    """The newest function counts."""
    gauge("queue.depth", lambda: 1)
    gauge("queue.depth", lambda: 2)
    read()
    assert [point.value for point in recorder.points()["queue.depth"]] == [2]


def test_a_gauge_with_the_name_of_an_observer_takes_nothing_from_it(recorder, sampler):
    """Whatever the program calls its own, what is observed goes on, and so does what is done on the beat."""
    done = []
    observers.each_beat("checks", lambda: done.append(1))
    attach("host.memory", every=3600)
    for name in ("host.memory", "process.jobs", "checks"):
        gauge(name, lambda: 3)
    read()
    assert recorder.value("system.memory.limit") == psutil.virtual_memory().total
    assert [recorder.value(name) for name in ("host.memory", "process.jobs", "checks")] == [3, 3, 3]
    assert done
    assert observers.sampler.sources.keys() >= {"host.memory", "checks"}
    assert snapshot().host.memory.limit == psutil.virtual_memory().total
    assert snapshot().process.usage.threads >= 1


def test_a_gauge_that_fails_or_returns_nonsense_is_counted(recorder, sampler):
    """Its series is absent, the program goes on."""
    gauge("bad.text", lambda: "7")
    gauge("bad.error", lambda: 1 / 0)
    read()
    points = recorder.points()
    assert "bad.text" not in points
    assert "bad.error" not in points
    assert recorder.value("llmon.self.refused", {"llmon.source": "bad.text", "llmon.reason": "type"}) >= 1
    assert recorder.value("llmon.self.errors", {"llmon.source": "bad.error"}) >= 1


def test_a_gauge_that_exits_costs_its_own_readings(recorder, sampler):
    """sys.exit() in a function that is read ends nothing but that reading."""
    gauge("before", lambda: 1)
    gauge("exits", lambda: sys.exit(3))
    gauge("after", lambda: 3)
    read()
    assert {"before", "after"} <= set(recorder.points())
    assert recorder.value("llmon.self.errors", {"llmon.source": "exits"}) >= 1


def test_gauges_of_one_name_are_bounded(recorder, sampler, caplog):
    """What is past the cap is left out, and said once."""
    for number in range(1500):
        gauge("queue.depth", lambda: 1, attributes={"queue": number})
    read()
    assert len(recorder.points()["queue.depth"]) == 1000
    assert caplog.text.count("more than 1000 sets of attributes") == 1


@pytest.mark.parametrize("unit", ["µs", "x" * 64, 7, None])
def test_a_gauge_with_a_unit_that_opentelemetry_does_not_take_is_an_error(unit):
    """It would raise in every pipeline from then on."""
    with pytest.raises(SettingsError, match="expected one like By, s or"):
        gauge("queue.depth", lambda: 1, unit)


@pytest.mark.parametrize("name", ["", "1st", "with space", "x" * 300, 7, None])
def test_a_gauge_with_a_name_that_opentelemetry_does_not_take_is_an_error(name):
    """It would be dropped there; the message says what a name looks like."""
    with pytest.raises(SettingsError, match="expected a name like"):
        gauge(name, lambda: 1)


def test_a_gauge_cannot_take_the_name_of_another_kind():
    """Two kinds of one name would be one broken metric in the backend."""
    with pytest.raises(SettingsError, match="there is a counter of this name"):
        gauge("llmon.self.errors", lambda: 1)
    with pytest.raises(SettingsError, match="expected a function"):
        gauge("queue.depth", 7)


def test_host_and_process_arrive_when_attached_by_name(recorder, sampler):
    """Every row of theirs that this machine has is exported."""
    attach("host", "process", every=3600)
    read()
    assert recorder.value("process.memory.usage") > 0
    assert recorder.value("system.memory.limit") == psutil.virtual_memory().total


def test_a_counter_says_since_when_it_counts(program, sink):
    """The SDK would say: since its first collection. The machine's counts since the machine's start, and so on."""
    done = program("""
        import time
        import psutil
        import otel_llmon as llmon

        before = time.time_ns()
        llmon.configure("dated")
        for _ in llmon.progress(range(3), "things"):
            began = time.time_ns()
        time.sleep(0.1)
        print(before, began, int(psutil.Process().create_time() * 1e9), int(psutil.boot_time() * 1e9))
    """)
    before, began, process, boot = map(int, done.stdout.split())
    starts = sink.starts()
    assert before <= starts["llmon.progress.items"] <= began
    assert starts["process.cpu.time"] == process
    assert starts["system.cpu.time"] == boot


def test_a_source_that_is_done_while_somebody_looks_whether_it_hangs_does_not(recorder, sampler, caplog):
    """The time of day is asked in between; in a program that starts, the one who looks is `configure()`."""
    stuck, release = threading.Event(), threading.Event()

    def waits():
        stuck.set()
        release.wait(60)
        yield Reading(ONE, 1)

    attach(module("waits", waits, ONE), every=3600)
    assert stuck.wait(20)
    [source] = sampler.sources.values()

    def clock():
        release.set()
        while threading.current_thread() is threading.main_thread() and source.busy_since is not None:
            pass
        return 0.0

    sampler.clock = clock
    sampler.ensure()
    assert recorder.value(ONE.name) == 1
    assert not caplog.records
