"""Reading eight made-up GPUs: driver calls and CPU time of a sample, and a collection while the driver is slow.

The peer asks plain pynvml for the same values, one call each, with handles looked up each time, as exporters do. The
library below both is the tests' (tests/fake_nvml.c), so a driver's own time is in neither.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.figures import MILLISECOND, Figure

GPUS = 8
SOURCE = Path(__file__).parents[1] / "tests/fake_nvml.c"
FACTS = {
    "uuid": "GPU-{}",
    "name": "NVIDIA H100 80GB HBM3",
    "busy": 40,
    "memory.busy": 15,
    "memory.used": 10 << 30,
    "memory.total": 80 << 30,
    "temperature": 61,
    "clock.sm": 1755,
    "clock.memory": 2619,
    "throttle": 4,
    "power": 350_000,
    "processes": "self:1024,4711:2048",
    "activity": "self:37",
    **{f"field.{number}": 1_000_000 for number in (83, 186, 82, 3, 4, 94, 138, 139, 197, 198, 74, 269)},
}
OURS = """
import os, json, time
from otel_llmon.observers import gpu
observe = gpu.watch()
said, calls = len(list(observe())), os.environ.get("FAKE_NVML_CALLS")
list(observe())
before = sum(1 for _ in open(calls)) if calls else 0
most, began = 0, time.thread_time_ns()
for _ in range(TIMES):
    list(observe())
    if calls:
        now = sum(1 for _ in open(calls))
        most, before = max(most, now - before), now
cpu = (time.thread_time_ns() - began) / TIMES
print(json.dumps({"cpu": cpu, "calls": (most - 1) / GPUS, "readings": said}))
"""
PEER = """
import os, json, time
import pynvml as n
n.nvmlInit()
FIELDS = [83, 186, 82, 3, 4, 94, (138, 0xFFFFFFFF), (139, 0xFFFFFFFF), 197, 198, 74, 75, 76, 77, 79, 269, 270, 271, 38]
def sample():
    for index in range(n.nvmlDeviceGetCount()):
        gpu = n.nvmlDeviceGetHandleByIndex(index)
        about = {"id": n.nvmlDeviceGetUUID(gpu), "name": n.nvmlDeviceGetName(gpu)}
        found = [n.nvmlDeviceGetUtilizationRates(gpu), n.nvmlDeviceGetMemoryInfo(gpu)]
        found += [n.nvmlDeviceGetTemperature(gpu, 0)]
        found += [n.nvmlDeviceGetFieldValues(gpu, [field])[0] for field in FIELDS]
        found += [n.nvmlDeviceGetClockInfo(gpu, clock) for clock in (1, 2)]
        found += [n.nvmlDeviceGetCurrentClocksThrottleReasons(gpu), n.nvmlDeviceGetComputeRunningProcesses(gpu)]
        found += [n.nvmlDeviceGetProcessUtilization(gpu, 0)]
calls = os.environ.get("FAKE_NVML_CALLS")
sample()
before = sum(1 for _ in open(calls)) if calls else 0
began = time.thread_time_ns()
for _ in range(TIMES):
    sample()
cpu = (time.thread_time_ns() - began) / TIMES
calls = (sum(1 for _ in open(calls)) - before) / TIMES if calls else 0
print(json.dumps({"cpu": cpu, "calls": calls / GPUS}))
"""
COLLECTED = """
import json, time
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from otel_llmon import metering, observers
reader = InMemoryMetricReader()
metrics.set_meter_provider(MeterProvider([reader]))
metering.bind()
observers.attach("gpu", every=1)  # a sample takes 0.8 s of waiting
def names():
    resources = getattr(reader.get_metrics_data(), "resource_metrics", ())
    return {metric.name for resource in resources for scope in resource.scope_metrics for metric in scope.metrics}
while "hw.gpu.utilization" not in names():
    time.sleep(0.01)
longest = 0
for _ in range(TIMES):
    began = time.monotonic_ns()
    reader.get_metrics_data()
    longest = max(longest, time.monotonic_ns() - began)
    time.sleep(0.02)
print(json.dumps({"wall": longest}))
"""


@functools.cache
def _place() -> Path:
    """Return a folder with the library and its script; it stays until the measuring ends."""
    folder = Path(_kept().name)
    subprocess.run(
        ["cc", "-O2", "-shared", "-fPIC", "-o", str(folder / "libnvidia-ml.so.1"), str(SOURCE), "-lpthread"], check=True
    )
    facts = {f"gpu{n}.{key}": str(value).format(n) for n in range(GPUS) for key, value in FACTS.items()}
    for name, more in (("fast", {}), ("slow", {"latency_us": "20000"})):
        lines = {"count": str(GPUS), **facts, **more}
        (folder / name).write_text("".join(f"{key} {value}\n" for key, value in lines.items()))
    return folder


@functools.cache
def _kept() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="llmon-gpus-")


@functools.cache
def _environ(script: str, *, counted: bool) -> Mapping[str, str]:
    place = _place()
    made = {**os.environ, "LD_LIBRARY_PATH": str(place), "FAKE_NVML": str(place / script)}
    made.pop("OTEL_SERVICE_NAME", None)
    return {**made, "FAKE_NVML_CALLS": str(place / "calls")} if counted else made


@dataclass(frozen=True)
class _Run:
    """A program of its own, and what it says under a name."""

    source: str
    says: str
    times: int
    script: str = "fast"
    most: int | None = 3

    def __call__(self) -> float:
        """Run it."""
        environ = _environ(self.script, counted=self.says == "calls")
        source = self.source.replace("TIMES", str(self.times)).replace("GPUS", str(GPUS))
        done = subprocess.run(
            [sys.executable, "-c", source], env=environ, check=True, capture_output=True, text=True, timeout=60
        )
        said: dict[str, Any] = json.loads(done.stdout)
        return float(said[self.says])


FIGURES = (
    Figure("driver calls for a GPU and sample", _Run(OURS, "calls", 60), _Run(PEER, "calls", 10), None, 5.0, "calls"),
    Figure(f"sample of {GPUS} GPUs, CPU", _Run(OURS, "cpu", 500), _Run(PEER, "cpu", 500), 1.0),
    Figure(
        f"longest collection, {GPUS} GPUs, 20 ms a driver call",
        _Run(COLLECTED, "wall", 100, "slow"),
        None,
        None,
        20 * MILLISECOND,
    ),
)
