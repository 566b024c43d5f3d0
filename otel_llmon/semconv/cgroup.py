"""Metrics of the container, or control group, that this process runs in: upstream's `container.*`, and its limits as ours."""

from __future__ import annotations

from otel_llmon.semconv import Metric
from otel_llmon.semconv.attributes import CPU_MODE, PRESSURE_KIND, RESOURCE

CONTAINER_CPU_TIME = Metric(
    "container.cpu.time", "counter", "s", "CPU seconds that the container used, by mode.", (CPU_MODE,), since="boot"
)
CONTAINER_CPU_LIMIT = Metric(
    "llmon.container.cpu.limit", "gauge", "{cpu}", "CPUs that the container may use; absent where it may use all."
)
CONTAINER_CPU_UTILIZATION = Metric(
    "llmon.container.cpu.utilization",
    "gauge",
    "1",
    "CPU seconds used since the last reading over those that the limit allows; absent without a limit.",
)
CONTAINER_PERIODS = Metric(
    "llmon.container.cpu.periods",
    "counter",
    "{period}",
    "Periods of the CPU limit in which the container wanted to run.",
    since="boot",
)
CONTAINER_THROTTLED_PERIODS = Metric(
    "llmon.container.cpu.throttled_periods",
    "counter",
    "{period}",
    "Periods in which the container was made to wait, because it had used up its limit.",
    since="boot",
)
CONTAINER_THROTTLED_TIME = Metric(
    "llmon.container.cpu.throttled_time",
    "counter",
    "s",
    "Seconds that CPUs of the container were made to wait.",
    since="boot",
)
CONTAINER_MEMORY_USAGE = Metric(
    "container.memory.usage", "updowncounter", "By", "Memory that counts for the container, its files' cache included."
)
CONTAINER_MEMORY_WORKING_SET = Metric(
    "container.memory.working_set",
    "updowncounter",
    "By",
    "The same without cache that nobody used lately: what must fit below the limit.",
)
CONTAINER_MEMORY_LIMIT = Metric(
    "llmon.container.memory.limit", "gauge", "By", "Memory that the container may use; absent where it may use all."
)
CONTAINER_MEMORY_UTILIZATION = Metric(
    "llmon.container.memory.utilization", "gauge", "1", "Working set over limit; absent without a limit."
)
CONTAINER_MEMORY_PEAK = Metric("llmon.container.memory.peak", "gauge", "By", "Most memory that the container ever had.")
CONTAINER_OOM_KILLS = Metric(
    "llmon.container.memory.oom_kills",
    "counter",
    "{process}",
    "Processes of the container that were killed for want of memory.",
    since="boot",
)
CONTAINER_PRESSURE = Metric(
    "llmon.container.pressure",
    "counter",
    "s",
    "Seconds that tasks of the container waited for a resource; version 2 of control groups only.",
    (RESOURCE, PRESSURE_KIND),
    since="boot",
)
