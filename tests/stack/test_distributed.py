"""Several workers, as the backends see them: one trace, sums, ranks, and one that died."""

from __future__ import annotations

import pytest
from servers import until

WORKER = """
    import time
    import otel_llmon as llmon

    llmon.configure("crew")
    for _ in llmon.progress(range(10), "steps", total=20):
        pass
    time.sleep(60)
"""
PARENT = """
    import subprocess, sys
    import otel_llmon as llmon
    from opentelemetry import trace

    llmon.configure("foreman")
    with llmon.pipeline("job"):
        code = "import otel_llmon as l; l.configure('hand')\\nwith l.phase('dig'): pass"
        subprocess.run([sys.executable, "-c", code], env=llmon.child_environ(), check=True)
        print(format(trace.get_current_span().get_span_context().trace_id, "032x"))
"""


@pytest.fixture
def crew(stack, program):
    """Three workers that go on until they are ended."""
    settings = {**stack.environ, "OTEL_METRIC_EXPORT_INTERVAL": "500", "WORLD_SIZE": "3"}
    workers = [program.start(program.command(WORKER), RANK=str(rank), **settings) for rank in range(3)]
    yield workers
    for worker in workers:
        worker.kill()
        worker.communicate()


@pytest.mark.row("M5", "M6", "M7", "M11")
def test_sums_ranks_and_a_worker_that_died(stack, crew):
    """As docs/distributed.md writes the queries."""

    def asked(query):
        return stack.prometheus.query(query)

    done = 'sum(llmon_progress_items_total{service_name="crew"})'
    assert until(lambda: asked(done).value == 30)
    assert asked(f'{done} / sum(llmon_progress_total{{service_name="crew"}})').value == 0.5
    ranks = asked('sum by (llmon_rank) (llmon_progress_items_total{service_name="crew"})')
    assert {series.labels["llmon_rank"]: series.value for series in ranks} == {"0": 10, "1": 10, "2": 10}
    alive = 'count(time() - timestamp(llmon_self_series{service_name="crew"}) < 3)'
    assert until(lambda: asked(alive).value == 3)
    crew[1].kill()
    assert until(lambda: asked(alive).value == 2)
    assert asked('sum(rate(llmon_progress_items_total{service_name="crew"}[5m]))').value > 0


@pytest.mark.row("M8")
def test_a_subprocess_is_in_the_same_trace(stack, program):
    """One trace, two services."""
    done = program(PARENT, **stack.environ)
    assert done.returncode == 0, done.stderr
    trace = until(lambda: (found := stack.jaeger.trace(done.stdout.strip())) and len(found.spans) == 2 and found)
    assert {span.service for span in trace.spans} == {"foreman", "hand"}
    assert trace.root.name == "job"
