"""The GPU probe: with a stand-in for NVIDIA's library, and on a real GPU in the test that is marked so."""

from __future__ import annotations

import pytest
from processes import CONFIGURE
from sink import attributes

from otel_llmon.nvml import Device, visible

ON_A_GPU = """
import os, otel_llmon, threading, time
from pathlib import Path
handle = otel_llmon.configure("app")
from otel_llmon import phase

asked = Path(os.environ["FAKE_NVML_CALLS"])

def calls():
    return asked.read_text().count("nvmlDeviceGetMemoryInfo") if asked.exists() else 0

with phase("embed"):
    deadline = time.monotonic() + {patience}
    while calls() < {calls} and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.05)
with phase("after"):
    pass
"""
TWO = {
    "count": 2,
    "gpu0.uuid": "GPU-aa",
    "gpu1.uuid": "GPU-bb",
    "gpu0.name": "one",
    "gpu1.name": "other",
    "gpu0.memory.used": f"{10 << 30},{30 << 30},{20 << 30}",
    "gpu1.memory.used": f"{1 << 30},{2 << 30},{3 << 30}",
    "gpu0.busy": "100,50,90",
    "gpu1.busy": "0,50,30",
}
DIVIDED = dict.fromkeys(("gpu0.error.nvmlDeviceGetUtilizationRates", "gpu1.error.nvmlDeviceGetUtilizationRates"), 3)
LOST = {"gpu0.error.nvmlDeviceGetMemoryInfo": "0,15"}
MEMORY, BUSY = "llmon.gpu.memory.peak", "llmon.gpu.utilization.mean"


@pytest.mark.parametrize(
    ("how", "seen", "calls", "expected"),
    [
        ({}, None, 6, {MEMORY: 32 << 30, BUSY: 3.2 / 6}),
        ({}, "1", 3, {MEMORY: 3 << 30, BUSY: 0.8 / 3}),
        ({}, "GPU-b,GPU-a", 6, {MEMORY: 32 << 30, BUSY: 3.2 / 6}),
        ({}, "0,7,1", 3, {MEMORY: 30 << 30, BUSY: 2.4 / 3}),
        ({}, "", 0, {}),
        (DIVIDED, None, 6, {MEMORY: 32 << 30}),
        (LOST, "0", 2, {MEMORY: 10 << 30, BUSY: 1.0}),
        ({"error.nvmlInit": 9}, None, 0, {}),
        ({"hang.nvmlInit": 1}, None, 0, {}),
    ],
)
def test_a_gpu_is_sampled_while_a_phase_runs(program, sink, gpus, how, seen, calls, expected):  # noqa: PLR0917
    """Peak of the sum over visible GPUs, mean of what they were busy; what none of them says is absent, never 0."""
    gpus.say({**TWO, **how})
    environ = {"OTEL_LLMON_LEVEL": "profiling", "OTEL_LLMON_OBSERVERS": "none", "CUDA_VISIBLE_DEVICES": seen}
    environ |= gpus.environ
    source = ON_A_GPU.format(calls=calls, patience=20)
    done = program(source, **{name: value for name, value in environ.items() if value is not None})
    assert done.returncode == 0, done.stderr
    spans = {span.name: attributes(span) for span in sink.spans()}
    found = {key: float(value) for key, value in spans["embed"].items() if key.startswith("llmon.gpu")}
    assert found == pytest.approx(expected)
    assert sink.totals("llmon.phase.gpu.memory.peak") == (MEMORY in expected) + (MEMORY in spans["after"])
    assert sink.totals("llmon.self.errors") == (how is LOST)
    assert "llmon.cpu.time" in spans["embed"]


@pytest.mark.parametrize("wanted", [None, "", "0", "1,0", "GPU-b", "GPU-", "-1", "1,1,x,0", " 1 ", "MIG-c", "2"])
def test_visible_gpus_are_those_that_cuda_would_see(wanted):
    """Up to the first that is not there, or that could be more than one."""
    devices = [
        Device(0, "GPU-aa", "one", "0"),
        Device(1, "GPU-bb", "other", "1"),
        Device(2, "MIG-c", "", "1:0", "GPU-bb"),
    ]
    expected = {None: [0, 1], "0": [0], "1,0": [1, 0], "GPU-b": [1], "1,1,x,0": [1, 1], " 1 ": [1], "MIG-c": [2]}
    assert [device.handle for device in visible(devices, wanted)] == expected.get(wanted, [])


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
