"""Reading the machine and the process, beside OpenTelemetry's instrumentation of system metrics with its defaults."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from opentelemetry.instrumentation.system_metrics import _DEFAULT_CONFIG, SystemMetricsInstrumentor
from opentelemetry.metrics import NoOpMeter, NoOpMeterProvider

from benchmarks.figures import MILLISECOND, Figure
from benchmarks.timing import Loop
from otel_llmon.observers.sources import sources

ALIKE = ("host.cpus", "host.memory", "host.disks", "host.interfaces", "process.usage", "process.gc")
"""What the other reports: by CPU, disk and interface."""

_TWICE = ("process.runtime.", "system.network.connections", "system.thread_count")
"""What it reports under a second name as well, and what has no like among ours."""


@contextmanager
def our_readings() -> Iterator[dict[str, Any]]:
    """The observers alone, of the points that the other has too."""
    groups = [make()[0] for make in sources(ALIKE).values()]

    def collect() -> None:
        for group in groups:
            list(group())

    yield {"collect": collect}


class _Callbacks(NoOpMeter):
    """A meter that keeps what it would call."""

    def __init__(self) -> None:
        super().__init__("callbacks")
        self.kept: list[Callable[..., Any]] = []

    def _keep(self, name: str, callbacks: Any = None, *_: Any, **__: Any) -> None:  # noqa: ARG002
        self.kept += callbacks or []

    create_observable_counter = create_observable_up_down_counter = create_observable_gauge = _keep  # type: ignore[assignment]


class _Provider(NoOpMeterProvider):
    def __init__(self) -> None:
        self.meter = _Callbacks()

    def get_meter(self, *_: Any, **__: Any) -> _Callbacks:
        return self.meter


@contextmanager
def peer_readings() -> Iterator[dict[str, Any]]:
    """The other's callbacks alone, without what it says twice, and without the sockets of everybody."""
    config = {name: value for name, value in _DEFAULT_CONFIG.items() if not name.startswith(_TWICE)}
    provider = _Provider()
    instrumentor = SystemMetricsInstrumentor(config=config)
    instrumentor.instrument(meter_provider=provider)

    def collect() -> None:
        for callback in provider.meter.kept:
            list(callback(None))

    try:
        yield {"collect": collect}
    finally:
        instrumentor.uninstrument()
        SystemMetricsInstrumentor._instance = None  # it would keep its configuration


DROP = """
import math, time
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult, PeriodicExportingMetricReader

class Drop(MetricExporter):
    def export(self, data, *_, **__):
        global points
        metrics = [one for each in data.resource_metrics for scope in each.scope_metrics for one in scope.metrics]
        points = sum(len(metric.data.data_points) for metric in metrics)
        return MetricExportResult.SUCCESS
    def force_flush(self, *_, **__): return True
    def shutdown(self, *_, **__): pass

def reader_of(exporter):
    global provider
    reader = PeriodicExportingMetricReader(exporter, math.inf)
    provider = MeterProvider([reader], shutdown_on_exit=False)
    return reader

def measure(collect, times):
    for _ in range(times // 10):
        collect()
    began = time.thread_time_ns()
    for _ in range(times):
        collect()
    took = time.thread_time_ns() - began
    assert points > 60, f"only {points} points"
    print(took / times)
"""
OURS = """
from opentelemetry import metrics
from otel_llmon import exporting, metering, observers
reader = reader_of(exporting.MetricExporter(Drop()))
metrics.set_meter_provider(provider)
metering.bind()
observers.attach("host", "process", every=3600)
observers.read_now(10)
read, sources = observers.sampler._read, list(observers.sampler.sources.values())
def collect():
    for source in sources:
        read(source)
    reader.collect()
measure(collect, 200)
"""
PEER = """
from opentelemetry.instrumentation.system_metrics import SystemMetricsInstrumentor
reader = reader_of(Drop())
SystemMetricsInstrumentor().instrument(meter_provider=provider)
measure(reader.collect, 20)
"""
THREADS = """
import threading
for _ in range(490):
    threading.Thread(target=threading.Event().wait, daemon=True).start()
"""


def _said(code: str) -> float:
    """Return the number that a fresh program prints."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, env=environ)
    return float(done.stdout)


@dataclass(frozen=True)
class Collection:
    """A program with nothing but one of the two: nanoseconds of a pass over what is read, and the SDK's collection.

    `processes` are started beside it.
    """

    code: str
    processes: int = 0
    most: int | None = 15

    def __call__(self) -> float:
        """Return CPU time of the thread that collects."""
        sleep = "/bin/sleep"
        begun = [os.posix_spawn(sleep, [sleep, "120"], {}) for _ in range(self.processes)]
        try:
            return _said(DROP + self.code)
        finally:
            for pid in begun:
                os.kill(pid, 9)
            for pid in begun:
                os.waitpid(pid, 0)


MEMORY = """
import os
import otel_llmon
from otel_llmon import observers
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
os.environ["OTEL_METRICS_EXPORTER"] = os.environ["OTEL_TRACES_EXPORTER"] = os.environ["OTEL_LOGS_EXPORTER"] = "none"
otel_llmon.configure("memory", observers=())
before = resident()
observers.attach("host", "process", every=3600)
observers.read_now(20)
print(resident() - before)
"""


@dataclass(frozen=True)
class Resident:
    """KiB of physical memory that a process has more after its first pass over the usual observers."""

    most: int | None = 5

    def __call__(self) -> float:
        """Return it, of a fresh process."""
        return _said(MEMORY) / 1024


_OURS = Collection(OURS)

FIGURES = (
    Figure("collecting host and process, SDK included", _OURS, Collection(PEER), 1 / 40),
    Figure(
        "reading the same points, SDK excluded",
        Loop("collect()", our_readings, times=20),
        Loop("collect()", peer_readings, times=5),
        1 / 8,
    ),
    Figure("the same collection amid 500 processes more", Collection(OURS, 500), _OURS, 1.15),
    Figure("the same collection amid 490 threads more", Collection(THREADS + OURS), _OURS, 1.15),
    Figure("a collection every 10 s, of 0.1 % of a core", _OURS, plus=10 * MILLISECOND),
    Figure("memory that the observers add", Resident(), plus=12 * 1024, unit="KiB"),
)
