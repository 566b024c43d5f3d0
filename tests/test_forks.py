"""Child processes of every kind: what they did arrives once, under an identity of their own."""

from __future__ import annotations

import pytest
from processes import CONFIGURE, needs_instrumented_children
from sink import all_of

PROGRAM = """
import concurrent.futures, multiprocessing, os, sys
import work

context = multiprocessing.get_context({start!r})

def operations(_=0):
    {in_child}
    work.work(25)

def with_processes():
    children = [context.Process(target=operations) for _ in range(2)]
    for child in children:
        child.start()
    for child in children:
        child.join()
    assert [child.exitcode for child in children] == [0, 0]

def with_a_pool():
    pool = context.Pool(2)
    pool.map(operations, range(2), chunksize=1)
    pool.close()
    pool.join()

def with_a_pool_that_is_terminated():
    with context.Pool(2) as pool:
        pool.map(operations, range(2), chunksize=1)

def with_an_executor():
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as pool:
        list(pool.map(operations, range(2)))

def with_os_fork():
    children = []
    for _ in range(2):
        child = os.fork()
        if not child:
            operations()
            sys.exit()
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]

def with_grandchildren():
    child = context.Process(target=with_processes)
    child.start()
    child.join()
    assert child.exitcode == 0

if __name__ == "__main__":
    {in_parent}
    work.work(10)
    {method}()
"""


@pytest.fixture
def run(program):
    """A function that runs a parent, which does 10 operations, and two children, which do 25 each."""

    def run(method, *, start="fork", instrumented=False, **environ):
        if instrumented and start != "fork":
            needs_instrumented_children()
        in_parent = "pass" if instrumented else CONFIGURE
        in_child = "pass" if start == "fork" else in_parent
        source = PROGRAM.format(method=method, start=start, in_parent=in_parent, in_child=in_child)
        ended = program(source, instrumented=instrumented, timeout=60, **environ)
        assert (ended.returncode, ended.stderr) == (0, "")

    return run


def assert_each_has_its_own_identity(sink, processes):
    """Instance ids and process ids belong together, one by one."""
    pairs = sink.processes()
    instances, pids = (set(column) for column in zip(*pairs, strict=True))
    assert len(pairs) == len(instances) == len(pids)
    assert processes - 1 <= len(pids) <= processes  # one worker of a pool may take both tasks


@pytest.mark.parametrize("instrumented", [False, True], ids=["configured", "instrumented"])
@pytest.mark.parametrize(
    "method",
    [
        "with_processes",
        "with_a_pool",
        "with_a_pool_that_is_terminated",
        "with_an_executor",
        "with_os_fork",
        "with_grandchildren",
    ],
)
def test_what_forked_children_did_arrives_once(method, instrumented, run, sink):
    """A forked child reports all of its own operations and none of its parent's, without a line of code in it."""
    run(method, instrumented=instrumented)
    assert sink.operations() == all_of(60)
    assert_each_has_its_own_identity(sink, 3)


@pytest.mark.parametrize("instrumented", [False, True], ids=["configured", "instrumented"])
@pytest.mark.parametrize("start", ["spawn", "forkserver"])
@pytest.mark.parametrize(
    "method", ["with_processes", "with_a_pool", "with_a_pool_that_is_terminated", "with_an_executor"]
)
def test_what_other_children_did_arrives_once(method, start, instrumented, run, sink):
    """A child that starts anew reports like any process: it is instrumented, or calls configure()."""
    run(method, start=start, instrumented=instrumented)
    assert sink.operations() == all_of(60)
    assert_each_has_its_own_identity(sink, 3)


@pytest.mark.parametrize("method", ["with_processes", "with_os_fork"])
def test_deltas_of_forked_children_add_up(method, run, sink):
    """With delta temporality too, a child's first report begins at its fork."""
    run(method, OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE="delta")
    assert sink.operations() == all_of(60)


@pytest.mark.parametrize("start", ["fork", "spawn", "forkserver"])
@pytest.mark.parametrize("instrumented", [False, True], ids=["configured", "instrumented"])
def test_an_instance_id_of_the_users_is_told_apart_by_process(start, instrumented, run, sink):
    """The user's id stays recognisable, and no two processes share it."""
    run(
        "with_processes",
        start=start,
        instrumented=instrumented,
        OTEL_RESOURCE_ATTRIBUTES="service.instance.id=worker-7,team=a",
    )
    assert sink.operations() == all_of(60)
    assert_each_has_its_own_identity(sink, 3)
    assert {instance.rpartition("-")[0] for instance in sink.instances()} == {"worker-7"}
    assert {resource["team"] for resource in sink.resources()} == {"a"}


FORKS = """
import os, signal, sys, threading, time
import otel_llmon
handle = otel_llmon.configure("app", observers=[])
from work import work

def record():
    while True:
        work(5)
        time.sleep(0.001)

for _ in range(2):
    threading.Thread(target=record, daemon=True).start()
hung, failed, running = [], [], {}

def reap():
    for child, since in list(running.items()):
        done, status = os.waitpid(child, os.WNOHANG)
        if not done and time.monotonic() - since > 20:
            os.kill(child, signal.SIGKILL)
            hung.append(child)
            done, status = os.waitpid(child, 0)
        if done:
            del running[child]
            if status:
                failed.append(status)

for number in range(1000):
    child = os.fork()
    if not child:
        try:
            work(2)
            handle.flush(10)
        finally:
            os._exit(0)
    running[child] = time.monotonic()
    while len(running) >= 4:
        reap()
        time.sleep(0.001)
while running:
    reap()
    time.sleep(0.001)
print(len(hung), len(failed), flush=True)
handle.flush(10)
os._exit(0)
"""


LATE = """
import sys, otel_llmon
handle = otel_llmon.configure("app")
from work import work
handle.flush(10)
before = set(sys.modules)
work(5)
handle.flush(10)
print(*sorted(name for name in set(sys.modules) - before if not name.startswith("otel_llmon.scores")))
"""


WITHOUT_SDK = """
import os, otel_llmon
otel_llmon.configure("app")
from work import work
child = os.fork()
if child:
    assert os.waitpid(child, 0)[1] == 0
work(5)
"""


def test_forking_is_safe_where_the_sdk_is_disabled(program):
    """What stands in for it keeps its meters in another way."""
    ended = program(WITHOUT_SDK, OTEL_SDK_DISABLED="true")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


def test_no_thread_of_ours_imports_anything_later(program, sink):
    """A child that is forked amid an import waits for its end, for ever; what loops load late is loaded by a fork."""
    ended = program(LATE)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "\n", "")
    assert sink.operations()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_forking_while_other_threads_record_never_hangs(program, sink):
    """1,000 children, forked while two threads hold the SDK's locks and ours in turn, all record, flush and end."""
    ended = program(FORKS, timeout=240, OTEL_LLMON_EVENT_RATE="0")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "0 0\n", "")
    mine = {instance for instance, _ in sink.processes()}
    assert len(mine) == 1001
