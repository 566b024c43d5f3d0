"""Metrics of the machine: upstream's `system.*`."""

from __future__ import annotations

from otel_llmon.semconv import Metric
from otel_llmon.semconv.attributes import CPU_MODE, SYSTEM_MEMORY_STATE

CPU_TIME = Metric("system.cpu.time", "counter", "s", "CPU seconds of the machine, by mode.", (CPU_MODE,), since="boot")
CPU_UTILIZATION = Metric(
    "system.cpu.utilization",
    "gauge",
    "1",
    "Share of the machine's CPU time since the last reading, by mode; all modes add up to 1.",
    (CPU_MODE,),
)
CPU_COUNT = Metric("system.cpu.logical.count", "updowncounter", "{cpu}", "Logical CPUs of the machine.")
MEMORY_USAGE = Metric(
    "system.memory.usage",
    "updowncounter",
    "By",
    "Memory of the machine, by state.",
    (SYSTEM_MEMORY_STATE,),
)
MEMORY_UTILIZATION = Metric(
    "system.memory.utilization",
    "gauge",
    "1",
    "Share of the machine's memory, by state.",
    (SYSTEM_MEMORY_STATE,),
)
MEMORY_LIMIT = Metric("system.memory.limit", "updowncounter", "By", "Memory that the machine has.")
