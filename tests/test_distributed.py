"""One trace over threads, pools, queues and processes; which worker this is; the host is counted once."""

from __future__ import annotations

import functools
import os
import pickle
import queue
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from signal import SIGUSR1

import pytest
from opentelemetry import trace
from processes import needs_instrumented_children, until

from otel_llmon import carry, child_environ, continued, inject, phase, pipeline, telemetry
from otel_llmon.lifecycle.workers import detected
from otel_llmon.observers.lease import Lease, destination
from otel_llmon.observers.sources import sources

HOST = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "HOSTNAME": "train-7-x2b"}


def work(name="work"):
    """A phase."""
    with phase(name):
        return trace.get_current_span().get_span_context().trace_id


def parents(recorder):
    """The name of each span's parent, by the span's name."""
    names = {span.context.span_id: span.name for span in recorder.finished}
    return {span.name: names.get(span.parent.span_id) if span.parent else None for span in recorder.finished}


def test_a_thread_s_phases_are_children_of_the_span_it_was_started_in(recorder):
    """And take part in the run of the pipeline; without carry() they would be a trace of their own."""
    with pipeline("ingest") as run, phase("spread"):
        thread = threading.Thread(target=carry(work))
        thread.start()
        thread.join()
    assert parents(recorder) == {"work": "spread", "spread": "ingest", "ingest": None}
    assert {share.name for share in run.report().phases} == {"work", "spread"}


def test_a_pool_calls_one_carried_function_many_times_at_once(recorder):
    """Each call has a copy of the context."""
    with pipeline("ingest"), ThreadPoolExecutor(4) as pool:
        traces = set(pool.map(carry(work), [f"work {number}" for number in range(20)]))
    assert len(traces) == 1
    assert all(parent == "ingest" for name, parent in parents(recorder).items() if name.startswith("work"))
    assert not trace.get_current_span().get_span_context().is_valid


def test_a_pickled_function_goes_on_in_the_trace_with_the_pipeline_s_name(recorder):
    """As in another process."""
    with pipeline("ingest"):
        message = pickle.dumps(carry(work))
    pickle.loads(message)()
    assert parents(recorder)["work"] == "ingest"
    assert recorder.spans()["work"].attributes["llmon.pipeline"] == "ingest"


def test_a_message_carries_the_trace_over_a_queue(recorder):
    """As headers of any make: text, bytes, pairs, any case."""
    messages = queue.Queue()
    with phase("send"):
        messages.put(inject({"kind": "job"}))
    headers = messages.get()
    for shape in (headers, {name.upper(): value for name, value in headers.items()}):
        with continued(shape):
            work("receive")
    with continued([(name, value.encode()) for name, value in headers.items()]):
        work("receive bytes")
    assert parents(recorder) == {"send": None, "receive": "send", "receive bytes": "send"}


def test_headers_that_tell_of_nothing_begin_a_trace(recorder):
    """Whatever came in: the work goes on."""
    for headers in ({}, {"traceparent": "nonsense"}, [("traceparent", b"\xff\xfe")]):
        with continued(headers):
            work()
    assert len({span.context.trace_id for span in recorder.finished}) == 3


def test_a_message_without_headers_begins_a_trace(recorder, caplog, monkeypatch):
    """None is one without; of what are no headers one line tells, and the worker goes on."""
    monkeypatch.setattr(telemetry, "_told", {})
    for headers in (None, {}, ()):
        with continued(headers):
            work()
    assert not caplog.records
    for headers in ("x", 3, ["traceparent"], object()):
        with continued(headers):
            work()
    assert len({span.context.trace_id for span in recorder.finished}) == 7
    [line] = caplog.messages
    assert line.startswith("continued: found str, expected a mapping or pairs: taken as none: ")


def test_an_environment_that_is_none_is_refused_at_the_call():
    """Before a child is started with it."""
    with pytest.raises(TypeError, match="child_environ: found int, expected a mapping"):
        child_environ(3)


def test_a_coroutine_function_is_refused_at_the_call():
    """A task takes its context along by itself."""

    async def answer():
        pass

    class Answer:
        async def __call__(self):
            pass

    for wrong in (answer, Answer(), functools.partial(answer)):
        with pytest.raises(TypeError, match="a task takes its context along"):
            carry(wrong)


def test_what_runs_after_its_call_is_refused_at_the_call():
    """A generator's code runs where somebody goes over it; a class may be called, whatever its instances are."""

    class Answers:
        def __call__(self):
            yield

    async def answers():
        yield

    for wrong in (Answers(), Answers().__call__, answers):
        with pytest.raises(TypeError, match="carry the one that goes over it"):
            carry(wrong)
    with pytest.raises(TypeError, match="carry: found 3, expected a function"):
        carry(3)
    assert isinstance(carry(Answers)(), Answers)


@pytest.mark.row("M8")
def test_a_child_process_goes_on_in_the_trace(program, sink):
    """Whatever it is: the environment carries the trace, and configure() follows it."""
    program.write("child.py", "import otel_llmon as l; l.configure('child')\nwith l.phase('below'): pass")
    done = program("""
        import subprocess, sys
        import otel_llmon as llmon

        llmon.configure("parent")
        with llmon.phase("above"):
            subprocess.run([sys.executable, "child.py"], env=llmon.child_environ(), check=True)
    """)
    assert done.returncode == 0, done.stderr
    above, below = (next(span for span in sink.spans() if span.name == name) for name in ("above", "below"))
    assert (below.trace_id, below.parent_span_id) == (above.trace_id, above.span_id)


def test_outside_of_any_span_a_child_s_environment_is_as_it_was():
    """There is nothing to carry."""
    assert child_environ({"A": "b"}) == {"A": "b"}


def test_processes_of_a_pool_take_part_in_the_trace(program, sink):
    """Multiprocessing pickles what it calls."""
    done = program("""
        import multiprocessing
        import otel_llmon as llmon

        def square(number):
            llmon.configure("pool")
            with llmon.phase("square"):
                return number * number

        if __name__ == "__main__":
            llmon.configure("pool")
            with llmon.pipeline("squares"), multiprocessing.get_context("spawn").Pool(2) as pool:
                print(pool.map(llmon.carry(square), range(4)))
                pool.close()
                pool.join()
    """)
    assert done.stdout.strip() == "[0, 1, 4, 9]", done.stderr
    assert len({span.trace_id for span in sink.spans()}) == 1
    assert [span.name for span in sink.spans()].count("square") == 4


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        (
            {"RANK": "3", "LOCAL_RANK": "1", "WORLD_SIZE": "8", "TORCHELASTIC_RUN_ID": "run"},
            {
                "llmon.rank": 3,
                "llmon.local_rank": 1,
                "llmon.world_size": 8,
                "llmon.job.id": "run",
                "llmon.worker.id": "3",
            },
        ),
        (
            {"SLURM_JOB_ID": "77", "SLURM_PROCID": "0", "SLURM_NTASKS": "2", "SLURM_LOCALID": "0"},
            {
                "llmon.rank": 0,
                "llmon.local_rank": 0,
                "llmon.world_size": 2,
                "llmon.job.id": "77",
                "llmon.worker.id": "0",
            },
        ),
        (
            {"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "4"},
            {"llmon.rank": 1, "llmon.world_size": 4, "llmon.worker.id": "1"},
        ),
        (
            {**HOST, "JOB_COMPLETION_INDEX": "5", "POD_NAMESPACE": "ml", "NODE_NAME": "n1"},
            {
                "llmon.rank": 5,
                "llmon.worker.id": "5",
                "k8s.pod.name": "train-7-x2b",
                "k8s.namespace.name": "ml",
                "k8s.node.name": "n1",
            },
        ),
        ({"RAY_JOB_ID": "01", "RAY_WORKER_ID": "ab"}, {"llmon.job.id": "01", "llmon.worker.id": "ab"}),
        ({"RANK": "3"}, {}),
        ({"RANK": "three", "WORLD_SIZE": "8"}, {"llmon.world_size": 8}),
        ({"HOSTNAME": "laptop"}, {}),
    ],
)
def test_a_worker_is_known_by_what_its_launcher_set(environ, expected):
    """A variable that happens to be called RANK is none; one that is no number is left out."""
    assert detected(environ) == expected


def test_a_dask_worker_is_known_by_its_name(monkeypatch):
    """Dask is looked at where it is loaded, and never imported."""

    class Worker:
        name = "tcp://10.0.0.3:1234"

    class Module:
        get_worker = staticmethod(lambda: Worker)

    monkeypatch.setitem(sys.modules, "distributed.worker", Module)
    assert detected({}) == {"llmon.worker.id": "tcp://10.0.0.3:1234"}


@pytest.mark.row("M2", "M11")
def test_rank_and_worker_are_resource_attributes_that_the_user_may_set_otherwise(program, sink):
    """OTEL_RESOURCE_ATTRIBUTES goes before what was found."""
    program("import otel_llmon as l; l.configure('job'); l.event('here')", RANK="2", WORLD_SIZE="4")
    given = {"OTEL_RESOURCE_ATTRIBUTES": "llmon.worker.id=mine"}
    program("import otel_llmon as l; l.configure('job'); l.event('here')", RANK="3", WORLD_SIZE="4", **given)
    found = {(each["llmon.rank"], each["llmon.worker.id"]) for each in sink.resources("logs")}
    assert found == {("2", "2"), ("3", "mine")}


@pytest.mark.parametrize("instrumented", [True, False])
def test_a_spawned_worker_that_sets_its_own_rank_is_known_by_it(program, sink, instrumented):
    """As with torch.multiprocessing: under `opentelemetry-instrument` everything stands before the rank is known."""
    if instrumented:
        needs_instrumented_children()
    source = """
        import multiprocessing, os
        import otel_llmon as llmon

        def work(rank):
            os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2"}
            llmon.configure("crew", observers=())
            list(llmon.progress(range(10), "steps"))
            llmon.event("here")

        if __name__ == "__main__":
            llmon.configure("crew", observers=())
            workers = [multiprocessing.get_context("spawn").Process(target=work, args=(rank,)) for rank in range(2)]
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join()
            llmon.event("there")
    """
    given = {"OTEL_RESOURCE_ATTRIBUTES": "llmon.world_size=many", "OTEL_LLMON_OBSERVERS": ""}
    done = program(source, instrumented=instrumented, **given)
    assert done.returncode == 0, done.stderr
    for signal in ("logs", "metrics"):
        found = {(each.get("llmon.rank"), each["llmon.world_size"]) for each in sink.resources(signal)}
        assert found >= {("0", "many"), ("1", "many")}
    assert {each.get("llmon.rank") for each in sink.resources("logs")} == {"0", "1", None}


def test_a_lease_has_one_holder_until_it_is_given_back(tmp_path):
    """Who did not get it asks again after half a second, who had it never. Another group's lease is another one."""
    now = [0.0]
    first, second, other = (Lease(name, tmp_path, lambda: now[0]) for name in ("a", "a", "b"))
    assert first.held()
    assert first.held()
    assert not second.held()
    assert other.held()
    first.give_back()
    assert not first.held()
    assert not second.held()
    now[0] += 1
    assert not first.held()
    assert second.held()


PLACE = "OTEL_EXPORTER_OTLP_ENDPOINT"
METRICS = "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"
TO = "OTEL_METRICS_EXPORTER"
NAMED = "OTEL_SERVICE_NAME"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({PLACE: "http://a:4318", NAMED: "x"}, {PLACE: "http://a:4318/", NAMED: "y"}),
        ({PLACE: "http://localhost:4318"}, {PLACE: "http://127.0.0.1:4318"}),
        ({PLACE: "http://localhost:4318"}, {PLACE: "localhost:4317"}),
        ({PLACE: "http://[::1]:4318"}, {TO: "otlp"}),
        ({PLACE: "http://A.example/otlp"}, {METRICS: "https://a.example/otlp/v1/metrics", PLACE: "http://b"}),
        ({PLACE: "http://a", TO: "console,otlp"}, {PLACE: "http://a"}),
        ({NAMED: "x"}, {"OTEL_RESOURCE_ATTRIBUTES": "a=b, service.name=x"}),
        ({NAMED: "x"}, {NAMED: "x", PLACE: "http://a", TO: "prometheus"}),
    ],
)
def test_who_shares_a_lease(one, other):
    """Programs that send to the same place, of whatever name and however they write it."""
    assert destination(one) == destination(other) is not None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({PLACE: "http://a:4318"}, {PLACE: "http://b:4318"}),
        ({PLACE: "http://a:4318"}, {PLACE: "http://a:9999"}),
        ({PLACE: "http://a/one"}, {PLACE: "http://a/two"}),
        ({PLACE: "http://a:nonsense"}, {PLACE: "http://a:4318"}),
        ({NAMED: "x"}, {NAMED: "y"}),
    ],
)
def test_who_shares_none(one, other):
    """Each of two places is told of the machine."""
    assert destination(one) != destination(other)


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {PLACE: "http://a", TO: "none"},
        {PLACE: "http://a", TO: "console"},
        {PLACE: "http://a", "OTEL_SDK_DISABLED": "TRUE"},
    ],
)
def test_whose_metrics_go_nowhere_keeps_nobody_from_reporting(environ):
    """Nor does one of whom nobody can tell where they go."""
    assert Lease.of(environ, "host.memory") is None


def test_each_group_has_a_lease_of_its_own(monkeypatch):
    """But one that stands in for another: both tell of the same thing."""
    monkeypatch.setenv(PLACE, "http://leases")
    groups = ("host.cpu", "host.cpus", "host.memory")
    cpu, cpus, memory = (sources([group])[group]()[0].lease.path for group in groups)
    assert cpu == cpus != memory
    assert Lease.of(os.environ, "gpu").path not in {cpu, memory}


@pytest.mark.row("C32")
def test_who_reports_one_group_keeps_nobody_from_the_others_and_gives_it_back(program, sink):
    """The rest is told by whoever reads it; and when the one ends its telemetry, and lives on, the other tells all."""
    source = """
        import signal, sys, otel_llmon
        from otel_llmon import observers
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
        handle = otel_llmon.configure(sys.argv[1], observers=sys.argv[2].split(","))
        print(observers.read_now(20), flush=True)
        signal.sigwait({signal.SIGUSR1})
        handle.shutdown()
        print("shut down", flush=True)
        signal.pause()
    """
    command = program.command(source)
    settings = {"OTEL_METRIC_EXPORT_INTERVAL": "200", "OTEL_LLMON_OBSERVER_INTERVAL": "0.1"}

    def reporting(metric):
        return {resource["service.name"] for resource, found, _ in sink._points() if found.name == metric}

    begun = []

    def start(*arguments, **more):
        begun.append(program.start([*command, *arguments], **settings, **more))
        assert begun[-1].stdout.readline() == "True\n"
        return begun[-1]

    try:
        start("silent", "host.memory", OTEL_METRICS_EXPORTER="none")
        first = start("first", "host.memory")
        assert until(lambda: reporting("system.memory.limit")) == {"first"}
        start("second", "host.memory,host.load")
        assert until(lambda: reporting("llmon.system.load_average") == {"second"})
        assert reporting("system.memory.limit") == {"first"}
        first.send_signal(SIGUSR1)
        assert first.stdout.readline() == "shut down\n"
        assert until(lambda: "second" in reporting("system.memory.limit"))
    finally:
        for each in begun:
            each.kill()
            each.communicate()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_does_not_keep_its_parents_lease(tmp_path):
    """It may live on when the parent is gone, and never ask."""
    lease, began, end = Lease("a", tmp_path), os.pipe(), os.pipe()
    assert lease.held()
    child = os.fork()
    if not child:
        os.write(began[1], b"x")
        os.read(end[0], 1)
        os._exit(0)
    os.read(began[0], 1)
    os.close(lease._file)  # as the end of the process does
    lease._file = -1
    free = Lease("a", tmp_path).held()
    os.write(end[1], b"x")
    os.waitpid(child, 0)
    assert free


def test_where_no_lock_can_be_made_everybody_counts(tmp_path):
    """Twice is better than never."""
    assert Lease("a", tmp_path / "missing").held()


@pytest.mark.row("C32")
def test_of_four_workers_one_reports_the_machine_and_when_it_ends_another_does(program, sink):
    """All of them report themselves; the first to come holds the lease."""
    source = "import time; import otel_llmon as l; l.configure('counted-once'); time.sleep(60)"
    settings = {"OTEL_METRIC_EXPORT_INTERVAL": "300", "OTEL_LLMON_OBSERVER_INTERVAL": "0.2"}
    begun = []

    def start():
        begun.append(program.start(program.command(source), **settings))

    def reporting(metric):
        return {resource["service.instance.id"] for resource, found, _ in sink._points() if found.name == metric}

    try:
        start()
        first = until(lambda: reporting("system.memory.limit"))
        for _ in range(3):
            start()
        assert until(lambda: len(reporting("process.memory.usage")) == 4)
        assert reporting("system.memory.limit") == first
        begun[0].kill()
        assert until(lambda: len(reporting("system.memory.limit")) == 2)
        assert first < reporting("system.memory.limit")
    finally:
        for worker in begun:
            worker.kill()
            worker.communicate()
