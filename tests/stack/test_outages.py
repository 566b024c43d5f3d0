"""Nothing that the Collector took is lost: not while a backend is away, not when the Collector itself is killed."""

from __future__ import annotations

import re
import time

import pytest
from servers import until

OUTAGE = 120.0
STEPS = 1000
WORK = f"""
    import otel_llmon as llmon
    from opentelemetry import trace

    llmon.configure("outage")
    with llmon.pipeline("run"):
        print(format(trace.get_current_span().get_span_context().trace_id, "032x"))
        for number in llmon.progress(range({STEPS}), "steps"):
            with llmon.phase("step", {{"number": number}}):
                llmon.event("stepped", {{"number": number}})
"""


@pytest.mark.timeout(420)
def test_every_span_log_and_count_is_there_after_outages_and_a_killed_collector(servers, program):
    """Loki hangs for two minutes, Jaeger too, Prometheus is down; then the Collector is killed while much waits."""
    stack = servers()
    runs = [_run(program, stack)]
    until(lambda: len(_lines(stack, runs[0])) == STEPS)
    stack.pause("loki")
    stack.pause("jaeger")
    stack.end("prometheus")
    began = time.monotonic()
    runs.append(_run(program, stack))
    while time.monotonic() - began < OUTAGE:
        time.sleep(1)
    runs.append(_run(program, stack))
    assert _waiting(stack) > 0, "the queue is what this test is about"
    stack.kill("collector")
    stack.resume("loki")
    stack.resume("jaeger")
    stack.start()
    for run in runs:
        assert until(lambda run=run: _steps(stack, run) == set(range(STEPS)), 60)
        assert until(lambda run=run: {line.attributes["number"] for line in _lines(stack, run)} == _numbers(), 60)
    counted = 'sum(max_over_time(llmon_progress_items_total{service_name="outage"}[1h]))'
    assert until(lambda: stack.prometheus.query(counted).value == len(runs) * STEPS, 60)


def _run(program, stack):
    done = program(WORK, **stack.environ)
    assert done.returncode == 0, done.stderr
    assert "not sent" not in done.stderr
    [trace_id] = re.findall(r"^[0-9a-f]{32}$", done.stdout, re.MULTILINE)
    return trace_id


def _steps(stack, run):
    found = stack.jaeger.trace(run)
    return {span.attributes["number"] for span in found.named("step")} if found else set()


def _numbers():
    return {str(number) for number in range(STEPS)}


def _lines(stack, run):
    return stack.loki.lines(f'{{service_name="outage"}} | trace_id="{run}"', limit=5000)


def _waiting(stack):
    from otel_llmon.backends import Collector

    samples = Collector(stack.urls["collector_health"], metrics_url=stack.urls["collector_metrics"]).metrics()
    return sum(sample.value for sample in samples if sample.name == "otelcol_exporter_queue_size")
