"""What the whole process uses is shared among phases by time; torch's allocator tells what it holds."""

from __future__ import annotations

import sys
import threading
import types

import pytest
from processes import CONFIGURE

from otel_llmon import phase, phases, pipeline
from otel_llmon.observers import torch as torch_observer
from otel_llmon.observers.shares import Shares, Spending

A, B = "GPU-aaaa", "GPU-bbbb"


@pytest.fixture
def shares(clock, recorder):
    """Shares by the clock that phases read."""
    before = list(phases.watchers)
    yield Shares(clock)
    phases.watchers[:] = before


def amounts(recorder, name):
    """A metric by phase."""
    return {point.attributes.get("llmon.phase"): point.value for point in recorder.points().get(name, [])}


def test_the_innermost_phase_has_the_time(shares, clock):
    """Time outside phases is nobody's; nothing is told twice."""
    clock.now += 5
    with pipeline("run"), phase("outer"):
        clock.now += 1
        with phase("inner"):
            clock.now += 2
        clock.now += 4
    clock.now += 3
    elapsed, seconds = shares.take()
    assert elapsed == 15
    assert seconds == {("run", None): 0, ("run", "outer"): 5, ("run", "inner"): 2}
    assert shares.take() == (0, {})


def test_phases_of_several_threads_share_what_there_is(shares, clock):
    """Evenly, as long as both run; all together have no more than the time that passed."""
    come, go = threading.Event(), threading.Event()

    def beside():
        with phase("beside"):
            come.set()
            assert go.wait(20)

    thread = threading.Thread(target=beside)
    with phase("main"):
        clock.now += 1
        thread.start()
        assert come.wait(20)
        clock.now += 4
        go.set()
        thread.join()
        clock.now += 1
    _, seconds = shares.take()
    assert seconds == {(None, "main"): 4, (None, "beside"): 2}


def test_a_phase_that_goes_on_is_counted_so_far(shares, clock):
    """And the rest later."""
    with phase("long"):
        clock.now += 2
        assert shares.take() == (2, {(None, "long"): 2})
        clock.now += 3
    assert shares.take() == (3, {(None, "long"): 3})


def test_what_the_process_holds_is_charged_and_nothing_else(shares, clock, recorder):
    """A GPU that others hold too counts in part; energy that was used before, or of other GPUs, does not count."""
    spending = Spending(shares)
    spending.settle({}, {A: 1000.0, B: 5000.0})
    with phase("load"):
        clock.now += 10
    spending.settle({}, {A: 1500.0, B: 6000.0})
    assert not amounts(recorder, "llmon.resource.time")
    with phase("embed"):
        clock.now += 6
    clock.now += 4
    spending.settle({A: 1, B: 2}, {A: 2500.0, B: 6400.0})
    assert amounts(recorder, "llmon.resource.time") == {"embed": 9}
    assert amounts(recorder, "llmon.resource.energy") == {"embed": pytest.approx((1000 + 200) * 0.6)}


def test_energy_that_is_not_told_or_began_anew_is_not_made_up(shares, clock, recorder):
    """As after a driver was loaded again; time counts all the same."""
    spending = Spending(shares)
    spending.settle({A: 1}, {A: 1000.0})
    with phase("embed"):
        clock.now += 1
    spending.settle({A: 1}, {A: 3.0})
    with phase("embed"):
        clock.now += 1
    spending.settle({A: 1}, {})
    assert amounts(recorder, "llmon.resource.time") == {"embed": 2}
    assert not amounts(recorder, "llmon.resource.energy")


def test_shares_that_nobody_keeps_watch_no_more(clock):
    """The list of watchers keeps nobody."""
    made = Shares(clock)
    watcher = phases.watchers.pop()
    assert watcher() is made
    del made
    assert watcher() is None


def cuda(**other):
    """torch.cuda as a program that uses the second of two GPUs has it."""
    stats = {
        "allocated_bytes.all.current": 1000,
        "allocated_bytes.all.peak": 5000,
        "reserved_bytes.all.current": 2000,
        "reserved_bytes.all.peak": 6000,
        "num_ooms": 2,
        "num_alloc_retries": 3,
    }
    made = {
        "is_initialized": lambda: True,
        "device_count": lambda: 2,
        "memory_stats": lambda number: stats if number else {},
        "memory_reserved": lambda number: 2000 * number,
        "get_device_name": "H100 {}".format,
        "get_device_properties": lambda number: types.SimpleNamespace(uuid=f"{number}-abc"),
    }
    return types.SimpleNamespace(**(made | other))


def test_torchs_allocator_tells_what_it_holds_and_held(monkeypatch):
    """Of the GPUs that it ever took memory on; the UUID is NVML's."""
    monkeypatch.setitem(sys.modules, "torch", types.SimpleNamespace(cuda=cuda()))
    found = {
        (reading.metric.name, reading.attributes.get("llmon.state")): reading.value
        for reading in torch_observer.observe()
    }
    assert found == {
        ("llmon.torch.memory.usage", "allocated"): 1000,
        ("llmon.torch.memory.usage", "reserved"): 2000,
        ("llmon.torch.memory.peak", "allocated"): 5000,
        ("llmon.torch.memory.peak", "reserved"): 6000,
        ("llmon.torch.out_of_memory", None): 2,
        ("llmon.torch.allocation.retries", None): 3,
    }
    assert {reading.attributes["hw.id"] for reading in torch_observer.observe()} == {"GPU-1-abc"}
    assert {reading.attributes["llmon.torch.device"] for reading in torch_observer.observe()} == {"cuda:1"}
    assert torch_observer.held() == {1: "GPU-1-abc"}


@pytest.mark.parametrize(
    "torch",
    [
        types.SimpleNamespace(),
        types.SimpleNamespace(cuda=types.SimpleNamespace()),
        types.SimpleNamespace(cuda=cuda(is_initialized=lambda: False)),
    ],
    ids=["amid its import", "without CUDA", "before CUDA is used"],
)
def test_torch_that_is_not_at_work_is_left_alone(monkeypatch, torch):
    """No CUDA context is made for us."""
    monkeypatch.setitem(sys.modules, "torch", torch)
    assert not list(torch_observer.observe())
    assert not torch_observer.held()


def test_torch_is_never_imported(program, sink):
    """A torch that may be had is not loaded, and nothing is reported of it."""
    program.write("torch/__init__.py", "raise SystemExit('torch was imported')")
    source = CONFIGURE.replace("'app'", "'app', observers=('torch', 'gpu')")
    source += "\nfrom otel_llmon import observers; assert observers.read_now(20); handle.flush()"
    source += "\nimport sys; assert 'torch' not in sys.modules"
    done = program(source)
    assert done.returncode == 0, done.stderr
    assert not {name for name in sink.metrics() if "torch" in name}
