"""What the caller may read of a phase is what its metrics say."""

from __future__ import annotations

from contextlib import suppress

from otel_llmon import phase, pipeline, summaries

DURATION, ERRORS, ITEMS = "llmon.phase.duration", "llmon.phase.errors", "llmon.pipeline.items"


def work(clock):
    """Four calls in two pipelines: one failed, one was cancelled."""
    ends = ((1, "ingest", None), (3, "ingest", TimeoutError()), (5, "repair", None), (7, "repair", KeyboardInterrupt()))
    for seconds, name, error in ends:
        with suppress(TimeoutError, KeyboardInterrupt), pipeline(name), phase("embed") as embedding:
            clock.now += seconds
            embedding.count("documents", 8)
            if error is not None:
                raise error


def test_a_summary_says_what_the_metrics_say(recorder, clock):
    """Over all pipelines; the number of a metric is added up over its series."""
    work(clock)
    found = summaries.of("embed")
    points = recorder.points()
    assert found.count == sum(point.count for point in points[DURATION]) == 4
    assert found.seconds == sum(point.sum for point in points[DURATION]) == 16
    assert found.errors == {"TimeoutError": sum(point.value for point in points[ERRORS])}
    assert found.items == {"documents": sum(point.value for point in points[ITEMS])}
    assert (found.mean, found.error_rate, found.rate("documents")) == (4, 0.25, 2)
    assert found.rate("pages") is None


def test_one_pipeline_may_be_asked_for(recorder, clock):
    """And what nobody did has no summary, rather than one of zeros."""
    work(clock)
    found = summaries.of("embed", "repair")
    assert (found.count, found.seconds, found.errors, found.error_rate) == (2, 12, {}, 0)
    assert summaries.of("embed", "elsewhere") is None
    assert summaries.of("store") is None


def test_a_phase_that_takes_no_time_has_no_rate(recorder, clock):
    """Nothing is divided by it."""
    with phase("instant") as instant:
        instant.count("documents", 3)
    found = summaries.of("instant")
    assert (found.mean, found.items, found.rate("documents")) == (0, {"documents": 3}, None)


def test_a_long_name_is_found_by_itself(recorder, clock):
    """Metrics know it by its beginning."""
    name = "embed " * 100
    with pipeline(name), phase(name):
        clock.now += 2
    assert summaries.of(name, name).seconds == 2
