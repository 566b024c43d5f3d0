"""The GPU probe: through a stand-in for NVIDIA's module, and on a real GPU in the test that is marked so."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from processes import CONFIGURE
from sink import attributes

from otel_llmon.probes.gpu import visible

NVML = """
import os, time

NVML_ERROR_NOT_SUPPORTED, NVML_ERROR_NO_PERMISSION = 3, 4
how, calls, clock = os.environ.get("FAKE", ""), [], [0]
USED = {"GPU-aa": (10, 30, 20), "GPU-bb": (1, 2, 3)}
BUSY = {"GPU-aa": (100, 50, 90), "GPU-bb": (0, 50, 30)}

class NVMLError(Exception):
    def __init__(self, value):
        super().__init__(f"error {value}")
        self.value = value

class Answer:
    def __init__(self, **fields):
        vars(self).update(fields)

def nvmlInit():
    if how == "no driver":
        raise NVMLError(9)
    if how == "hangs":
        time.sleep(60)

def nvmlDeviceGetCount():
    return len(USED)

def nvmlDeviceGetHandleByIndex(index):
    return list(USED)[index]

def nvmlDeviceGetUUID(gpu):
    return gpu

def turn(gpu):
    return min(calls.count(gpu) - 1, 2)

def nvmlDeviceGetMemoryInfo(gpu):
    calls.append(gpu)
    if how == "lost" and calls.count(gpu) > 1:
        raise NVMLError(15)
    return Answer(used=USED[gpu][turn(gpu)] << 30)

def nvmlDeviceGetUtilizationRates(gpu):
    if how == "divided":
        raise NVMLError(NVML_ERROR_NOT_SUPPORTED)
    return Answer(gpu=BUSY[gpu][turn(gpu)])
"""
ON_A_GPU = """
import otel_llmon, threading, time
handle = otel_llmon.configure("app")
import pynvml
from otel_llmon import phase

with phase("embed"):
    deadline = time.monotonic() + {patience}
    while len(pynvml.calls) < {calls} and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.05)
with phase("after"):
    pass
print(len(pynvml.calls), [thread.name for thread in threading.enumerate() if "gpu" in thread.name])
"""
MEMORY, BUSY = "llmon.gpu.memory.peak", "llmon.gpu.utilization.mean"


@pytest.mark.parametrize(
    ("how", "seen", "calls", "expected"),
    [
        ("", None, 6, {MEMORY: 32 << 30, BUSY: 3.2 / 6}),
        ("", "1", 3, {MEMORY: 3 << 30, BUSY: 0.8 / 3}),
        ("", "GPU-b,GPU-a", 6, {MEMORY: 32 << 30, BUSY: 3.2 / 6}),
        ("", "0,7,1", 3, {MEMORY: 30 << 30, BUSY: 2.4 / 3}),
        ("", "", 0, {}),
        ("divided", None, 6, {MEMORY: 32 << 30}),
        ("lost", "0", 2, {MEMORY: 10 << 30, BUSY: 1.0}),
        ("no driver", None, 0, {}),
        ("hangs", None, 0, {}),
    ],
)
def test_a_gpu_is_sampled_while_a_phase_runs(program, sink, how, seen, calls, expected):  # noqa: PLR0917
    """Peak of the sum over visible GPUs, mean of what they were busy; what none of them says is absent, never 0."""
    program.write("pynvml.py", NVML)
    environ = {"FAKE": how, "OTEL_LLMON_LEVEL": "profiling", "CUDA_VISIBLE_DEVICES": seen}
    source = ON_A_GPU.format(calls=calls, patience=20)
    done = program(source, **{name: value for name, value in environ.items() if value is not None})
    assert done.returncode == 0, done.stderr
    spans = {span.name: attributes(span) for span in sink.spans()}
    found = {key: float(value) for key, value in spans["embed"].items() if key.startswith("llmon.gpu")}
    assert found == pytest.approx(expected)
    assert sink.totals("llmon.phase.gpu.memory.peak") == (MEMORY in expected) + (MEMORY in spans["after"])
    assert sink.totals("llmon.self.errors") == (how == "lost")
    assert "llmon.cpu.time" in spans["embed"]


@pytest.mark.parametrize("wanted", [None, "", "0", "1,0", "GPU-b", "GPU-", "-1", "1,1,x,0", " 1 "])
def test_visible_gpus_are_those_that_cuda_would_see(wanted):
    """Up to the first that is not there, or that could be more than one."""
    nvml = SimpleNamespace(
        nvmlDeviceGetCount=lambda: 2,
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetUUID=("GPU-aa", "GPU-bb").__getitem__,
    )
    expected = {None: [0, 1], "0": [0], "1,0": [1, 0], "GPU-b": [1], "1,1,x,0": [1, 1], " 1 ": [1]}
    assert visible(nvml, wanted) == expected.get(wanted, [])


@pytest.mark.gpu
def test_a_real_gpu_says_what_a_phase_needed(program, sink):
    """A gibibyte that is taken and given back in the phase."""
    pynvml = pytest.importorskip("pynvml")
    torch = pytest.importorskip("torch")
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as exc:
        pytest.skip(f"no NVIDIA GPU: {exc}")
    assert torch.cuda.is_available()
    source = """
    import time, torch
    from otel_llmon import phase
    torch.ones(1, device="cuda")
    with phase("before", probes=["gpu"]):
        time.sleep(0.5)
    with phase("embed", probes=["gpu"]):
        held = torch.ones(1 << 28, device="cuda")
        end = time.monotonic() + 2
        while time.monotonic() < end:
            held.mul_(1.0)
        torch.cuda.synchronize()
    """
    done = program(CONFIGURE + source.replace("\n    ", "\n"), timeout=100)
    assert done.returncode == 0, done.stderr
    spans = {span.name: attributes(span) for span in sink.spans()}
    taken = float(spans["embed"][MEMORY]) - float(spans["before"][MEMORY])
    assert taken == pytest.approx(1 << 30, rel=0.1)
    assert 0 < float(spans["embed"][BUSY]) <= 1
