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
FORKING = """
    import multiprocessing, time
    from pathlib import Path
    import otel_llmon as llmon

    def work(rank):
        for _ in range(25):
            with llmon.phase("dig"):
                pass
        with llmon.progress(name="metres") as metres:
            metres.n, metres.total = 10 * rank, 100
            metres.n = 10 * rank + 5
            while not Path("seen").exists():
                time.sleep(0.02)

    llmon.configure("forked")
    for _ in range(10):
        with llmon.phase("plan"):
            pass
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=work, args=(rank,)) for rank in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
"""
NAMED = """
    import otel_llmon as llmon

    with llmon.phase("dig"):
        pass
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


@pytest.mark.row("M2")
def test_a_worker_is_known_by_its_id_and_its_instance(stack, program):
    """As labels of what it reports."""
    for worker in ("left", "right"):
        resource = f"llmon.worker.id={worker}"
        environ = {"OTEL_SERVICE_NAME": "named", "OTEL_RESOURCE_ATTRIBUTES": resource, **stack.environ}
        done = program(NAMED, instrumented=True, **environ)
        assert done.returncode == 0, done.stderr
    dug = 'sum by (llmon_worker_id, service_instance_id) (llmon_phase_duration_seconds_count{service_name="named"})'
    found = until(lambda: len(series := stack.prometheus.query(dug).series) == 2 and series)
    assert {series.labels["llmon_worker_id"]: series.value for series in found} == {"left": 1, "right": 1}
    assert len({series.labels["service_instance_id"] for series in found}) == 2


@pytest.mark.row("M4")
@pytest.mark.row("M9")
def test_forked_workers_are_instances_and_nothing_counts_twice(stack, program):
    """What the parent did before they were forked is its own; how far each is, it says as a position."""
    command = program.command(FORKING)
    with program.start(command, OTEL_METRIC_EXPORT_INTERVAL="500", **stack.environ) as parent:
        try:
            assert_each_counts_its_own(stack)
        finally:
            (program.folder / "seen").touch()
        _, err = parent.communicate(timeout=30)
    assert parent.returncode == 0, err


def assert_each_counts_its_own(stack):
    """Four workers dug and none of them planned; each is where it said it is."""

    def by_instance(query):
        found = stack.prometheus.query(f"sum by (service_instance_id) ({query})")
        return {series.labels["service_instance_id"]: series.value for series in found}

    dug, planned = (
        f'llmon_phase_duration_seconds_count{{service_name="forked",llmon_phase="{name}"}}' for name in ("dig", "plan")
    )
    assert sorted(until(lambda: len(found := by_instance(dug)) == 4 and found).values()) == [25] * 4
    assert list(until(lambda: by_instance(planned)).values()) == [10]
    assert not set(by_instance(planned)) & set(by_instance(dug))
    metres = '{service_name="forked",llmon_operation="metres"}'
    assert until(lambda: sorted(by_instance(f"llmon_progress_done{metres}").values()) == [5, 15, 25, 35])
    assert sorted(by_instance(f"llmon_progress_items_total{metres}").values()) == [5, 15, 25, 35]
    assert list(by_instance(f"llmon_progress_total{metres}").values()) == [100] * 4
