"""A program that makes a name of every request: the servers stay healthy, and the overflow is counted."""

from __future__ import annotations

import pytest
from servers import until

from otel_llmon.stack import READY, ready

NAMES = 1_000_000
SPANS = 20_000
NOISE = f"""
    import otel_llmon as llmon

    llmon.configure("noise")
    for number in range({NAMES}):
        with llmon.phase(f"request-{{number}}"):
            pass
"""
SPAN_NOISE = f"""
    import otel_llmon as llmon

    llmon.configure("spans")
    for number in range({SPANS}):
        with llmon.phase(f"request {{number}} \\u202e {{'x' * 300}}", {{f"key-{{number % 3000}}": number}}):
            if number % 100 == 0:
                llmon.event(f"event-{{number}}", {{f"key-{{number}}": "v" * 1000}})
"""


@pytest.mark.timeout(400)
def test_a_million_names_leave_the_servers_healthy(servers, program):
    """Series stay under their cap, Prometheus under a bound, every server answers, and what is said next is found."""
    stack = servers()
    for source, level in ((NOISE, "basic"), (SPAN_NOISE, "detailed")):
        done = program(source, timeout=240, OTEL_LLMON_LEVEL=level, **stack.environ)
        assert done.returncode == 0, done.stderr
    count = 'count(llmon_phase_duration_seconds_count{service_name="noise"})'
    series = until(lambda: stack.prometheus.query(count).value)
    assert series <= 1001
    counted = 'sum(llmon_phase_duration_seconds_count{service_name="noise"})'
    assert until(lambda: stack.prometheus.query(counted).value == NAMES)
    other = 'llmon_phase_duration_seconds_count{service_name="noise",otel_metric_overflow="true"}'
    assert stack.prometheus.query(other).value == NAMES - 1000
    assert until(lambda: stack.prometheus.query("count(traces_span_metrics_calls_total)").value) <= 2100
    assert stack.prometheus.query('count({__name__=~".+"})').value < 150_000
    assert stack.loki.labels() == ["service_name"]
    assert all(ready(stack.state.stack.ready_url(server)) for server in READY)
    assert all(stack.process(server).memory_info().rss < 1.5e9 for server in READY)
    done = program("import otel_llmon as llmon; llmon.configure('after'); llmon.event('still.here')", **stack.environ)
    assert done.returncode == 0, done.stderr
    assert until(lambda: stack.loki.lines('{service_name="after"}'))
