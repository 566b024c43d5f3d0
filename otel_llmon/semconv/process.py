"""Metrics of this process: upstream's `process.*`."""

from __future__ import annotations

from otel_llmon.semconv import Metric
from otel_llmon.semconv.attributes import CPU_MODE

PROCESS_CPU_TIME = Metric(
    "process.cpu.time", "counter", "s", "CPU seconds that this process used, by mode.", (CPU_MODE,), since="process"
)
PROCESS_CPU_UTILIZATION = Metric(
    "process.cpu.utilization",
    "gauge",
    "1",
    "CPU seconds used since the last reading, by mode, over elapsed seconds times the machine's CPUs.",
    (CPU_MODE,),
)
PROCESS_MEMORY_USAGE = Metric("process.memory.usage", "updowncounter", "By", "Physical memory in use.")
PROCESS_MEMORY_VIRTUAL = Metric("process.memory.virtual", "updowncounter", "By", "Virtual memory reserved.")
PROCESS_THREADS = Metric("process.thread.count", "updowncounter", "{thread}", "Threads of this process.")
PROCESS_FILES = Metric(
    "process.unix.file_descriptor.count",
    "updowncounter",
    "{file_descriptor}",
    "File descriptors that are open.",
)
PROCESS_UPTIME = Metric("process.uptime", "gauge", "s", "Seconds since this process started.")
