"""Recorder, Clock and the fixtures are for users' tests as much as for ours."""

from __future__ import annotations

from opentelemetry import metrics, trace

from otel_llmon import phase
from otel_llmon.testing import Recorder

pytest_plugins = ["pytester"]


def test_the_fixtures_come_with_the_package(pytester):
    """A project that has us installed writes this test and nothing else."""
    pytester.makepyfile(
        """
        from otel_llmon import phase

        def test_mine(llmon_recorder, llmon_clock):
            with phase("forward"):
                llmon_clock.now += 2.5
            [point] = llmon_recorder.points()["llmon.phase.duration"]
            assert point.sum == 2.5
        """
    )
    pytester.runpytest_subprocess("-q").assert_outcomes(passed=1)


def test_recorders_one_after_the_other_see_their_own_only():
    """Nothing is left from one test to the next."""
    for name in ("first", "second"):
        with Recorder() as recorder:
            with phase(name):
                pass
            assert set(recorder.spans()) == {name}
            assert [point.count for point in recorder.points()["llmon.phase.duration"]] == [1]


def test_a_recorder_puts_the_providers_back():
    """Also one within another."""
    before = trace.get_tracer_provider(), metrics.get_meter_provider()
    with Recorder() as outer:
        with Recorder():
            pass
        assert trace.get_tracer_provider() is outer.tracer_provider
    assert (trace.get_tracer_provider(), metrics.get_meter_provider()) == before
