"""Watches and monitors that are let go of: what they have counted is told all the same."""

from __future__ import annotations

import gc
import os

import numpy as np
import pytest

from otel_llmon import ModelMonitor, drifts, observers, quality
from otel_llmon.drifts import DriftWatch, bins
from otel_llmon.quality import QualityWatch
from otel_llmon.scores.reference import Reference
from otel_llmon.semconv import attributes as key
from otel_llmon.testing import Clock, Recorder

RANDOM = np.random.default_rng(5)
REFERENCE = Reference.fit({"a": RANDOM.normal(size=1000), "b": RANDOM.normal(size=1000)}, correlation=False)


@pytest.fixture
def recorder():
    """Telemetry in memory."""
    with Recorder() as recorder:
        yield recorder


@pytest.fixture
def clock(monkeypatch):
    """The clock by which verdicts are told for a while."""
    clock = Clock()
    monkeypatch.setattr(drifts, "clock", clock)
    return clock


def table(rows, moved=0.0):
    """Rows of the reference, some of them moved."""
    return {"a": RANDOM.normal(moved, 1, rows), "b": RANDOM.normal(size=rows)}


def rows_told(points, **facts):
    """Return how many rows the counters of bins say there were."""
    last = [point for point in points.get("llmon.drift.bin.rows", ()) if key.BIN_NEXT not in point.attributes]
    wanted = {f"llmon.{name}": value for name, value in facts.items()}
    found = {point.value for point in last if wanted.items() <= dict(point.attributes).items()}
    return found.pop() if len(found) == 1 else found


def verdicts(points):
    """Return the models that have a verdict."""
    return {point.attributes[key.MODEL] for point in points.get("llmon.drift.share", ())}


def events(recorder):
    """Return the names of the log records."""
    return [record.event_name for record in recorder.logs()]


@pytest.mark.parametrize("cycle", [False, True], ids=["counted", "cycle"])
def test_what_a_drift_watch_has_counted_is_told_when_it_is_gone(recorder, clock, cycle):
    """Rows for good, as counters have it, its verdict for a while."""
    watch = DriftWatch(REFERENCE, "m", "1", window=500)
    watch.add(table(1100, moved=3.0))
    ring = [watch]
    if cycle:
        ring.append(ring)
    del watch, ring
    gc.collect()
    assert observers.read_now(10)
    for _ in range(2):
        points = recorder.points()
        assert rows_told(points) == 1100
        assert verdicts(points) == {"m"}
    assert events(recorder) == ["drift.detected", "drift.alarm"]
    clock.now = drifts.TOLD + 1
    points = recorder.points()
    assert rows_told(points) == 1100
    assert verdicts(points) == set()


def test_a_new_watch_goes_on_where_the_last_one_ended(recorder, clock):
    """It speaks for its model, and adds to the same counters."""
    for place in range(3):
        watch = DriftWatch(REFERENCE, "m", "1", window=100)
        watch.add(table(100 + place))
    other = DriftWatch(Reference.fit(table(500), correlation=False), "m", "1")
    del watch
    points = recorder.points()
    assert rows_told(points, reference=REFERENCE.hash) == 303
    assert verdicts(points) == set()
    now = {point.attributes[key.STATE] for point in points["llmon.drift.state"] if point.value}
    assert now == {"not judged"}
    assert other.last is None


def test_a_watch_that_never_counted_leaves_nothing(recorder):
    """Its counters would be zeros for ever."""
    watch = DriftWatch(REFERENCE, "m")
    assert "llmon.drift.bin.rows" in recorder.points()
    del watch
    assert "llmon.drift.bin.rows" not in recorder.points()


def test_rows_that_wait_are_told_when_their_monitor_is_gone(recorder):
    """To drift and to quality; the window that was open is judged."""

    def main():
        monitor = ModelMonitor("m", "1", REFERENCE)
        for _ in range(70):
            monitor.log({"a": 99.0, "b": 0.0}, "yes")

    main()
    points = recorder.points()
    assert rows_told(points) == 70
    assert [point.value for point in points["llmon.quality.rows"]] == [70]
    points = recorder.points()
    assert [point.value for point in points["llmon.quality.healthy"]] == [0]
    assert events(recorder).count("llmon.quality.violation") == 1


def test_two_watches_of_a_main_function_lose_nothing(recorder):
    """Though they are of one model, and none is the last."""

    def main():
        watches = [QualityWatch("m", reference=REFERENCE) for _ in range(2)]
        for watch in watches:
            watch.add({"a": [99.0] * 40, "b": [0.0] * 40})

    main()
    points = recorder.points()
    assert [point.value for point in points["llmon.quality.rows"]] == [80]
    assert events(recorder) == ["llmon.quality.violation"] * 2


def test_a_monitor_for_each_request_takes_bounded_room(recorder):
    """And none of their rows is lost, whatever their versions are."""
    for place in range(150):
        monitor = ModelMonitor("m", "1", REFERENCE)
        monitor.log({"a": 0.5, "b": 0.5}, "yes")
        monitor.log({"a": 0.5, "b": "word"}, "yes")
        DriftWatch(REFERENCE, "many", str(place)).add(table(1))
    del monitor
    gc.collect()
    for kind, most in ((QualityWatch, quality.MOST_UNTOLD), (DriftWatch, drifts.MOST_TOLD)):
        assert sum(isinstance(each, kind) for each in gc.get_objects()) <= 2 * (most + 3), kind  # each and its twin
    assert len(bins.ledgers()) <= bins.KEPT + 3
    points = recorder.points()
    assert rows_told(points, model="m", feature="a") == 300
    assert [point.value for point in points["llmon.quality.rows"]] == [300]


def test_what_was_counted_for_another_provider_is_not_told_to_this_one():
    """As between two tests."""
    with Recorder():
        monitor, watch = ModelMonitor("m", "1", REFERENCE), QualityWatch("m", reference=REFERENCE)
        assert observers.read_now(10)  # no beat is on its way
        monitor.log({"a": 0.5, "b": 0.5}, "yes")
        watch.add({"a": [0.5], "b": [0.5]})
        monitor.drift.add(table(10))
    del monitor, watch
    with Recorder() as recorder:
        points = recorder.points() | recorder.points()
        assert not points.keys() & {"llmon.drift.bin.rows", "llmon.quality.rows", "llmon.quality.healthy"}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_what_was_left_is_not_told_by_a_forked_child(recorder):
    """It is its parent's."""
    DriftWatch(REFERENCE, "m").add(table(10))
    monitor = ModelMonitor("m", "1", REFERENCE)
    monitor.log({"a": 0.5, "b": 0.5}, "yes")
    del monitor
    child = os.fork()
    if not child:
        try:
            os._exit(int(rows_told(recorder.points()) != set()))
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    points = recorder.points()
    assert [rows_told(points, model="m", feature="a")] == [{10, 1}]


def test_nothing_of_a_main_function_is_lost_at_the_end(program, sink):
    """Neither rows nor verdicts, of a monitor or of a watch by itself."""
    done = program("""
    import numpy as np
    import otel_llmon as llmon
    from otel_llmon.drifts import DriftWatch

    def main():
        llmon.configure("job", observers=[])
        random = np.random.default_rng(1)
        reference = llmon.Reference.fit(random.normal(size=(1000, 2)))
        monitor = llmon.ModelMonitor("churn", "1", reference, sample_rate=0)
        watch = DriftWatch(reference, "alone")
        for _ in range(1777):
            monitor.log(random.normal(3, 1, 2).tolist(), "yes")
        watch.add(random.normal(3, 1, (1500, 2)))

    main()
    """)
    assert done.returncode == 0, done.stderr
    assert sink.totals("llmon.quality.rows") == 1777
    rows, told = {}, set()
    for _, metric, point in sink._points():
        held = {pair.key: pair.value.string_value for pair in point.attributes}
        if metric.name == "llmon.drift.bin.rows" and key.BIN_NEXT not in held:
            rows[held[key.MODEL]] = max(rows.get(held[key.MODEL], 0.0), point.as_double)
        if metric.name == "llmon.drift.share" and point.as_double == 1:
            told.add(held[key.MODEL])
    assert rows == {"churn": 1777, "alone": 1500}
    assert told == {"churn", "alone"}
    detected = [record for record in sink.logs() if record.event_name == "drift.detected"]
    assert len(detected) == 2
