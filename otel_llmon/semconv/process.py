"""Metrics of this process: upstream's `process.*` and `cpython.*`."""

from __future__ import annotations

from otel_llmon.semconv import Metric
from otel_llmon.semconv.attributes import (
    CPU_MODE,
    DISK_DIRECTION,
    GC_GENERATION,
    NETWORK_STATE,
    NETWORK_TRANSPORT,
    PAGING_FAULT,
    PROCESS_SWITCH,
)

PROCESS_CPU_TIME = Metric(
    "process.cpu.time", "counter", "s", "CPU seconds that this process used, by mode.", (CPU_MODE,), since="process"
)
PROCESS_CPU_UTILIZATION = Metric(
    "process.cpu.utilization",
    "gauge",
    "1",
    "CPU seconds used since the last reading, at first since the process started, by mode, over elapsed seconds times the CPUs that the process may use; 1 at the limit of its container.",
    (CPU_MODE,),
)
PROCESS_MEMORY_USAGE = Metric("process.memory.usage", "updowncounter", "By", "Physical memory in use.")
PROCESS_MEMORY_VIRTUAL = Metric("process.memory.virtual", "updowncounter", "By", "Virtual memory reserved.")
PROCESS_THREADS = Metric("process.thread.count", "updowncounter", "{thread}", "Threads of this process.")
PROCESS_FILES = Metric(
    "process.unix.file_descriptor.count", "updowncounter", "{file_descriptor}", "File descriptors that are open."
)
PROCESS_UPTIME = Metric("process.uptime", "gauge", "s", "Seconds since this process started.")
PROCESS_SWITCHES = Metric(
    "process.context_switches",
    "counter",
    "{context_switch}",
    "Times that a thread waited for something, or had to make way.",
    (PROCESS_SWITCH,),
    since="process",
)
PROCESS_FAULTS = Metric(
    "process.paging.faults", "counter", "{fault}", "Page faults of this process.", (PAGING_FAULT,), since="process"
)
PROCESS_DISK_IO = Metric(
    "process.disk.io",
    "counter",
    "By",
    "Bytes that this process had to fetch from a disk, and gave to be written to one.",
    (DISK_DIRECTION,),
    since="process",
)
PROCESS_CONNECTIONS = Metric(
    "llmon.process.connections",
    "updowncounter",
    "{connection}",
    "Sockets of this process, by state.",
    (NETWORK_STATE, NETWORK_TRANSPORT),
)

GC_COLLECTIONS = Metric(
    "cpython.gc.collections",
    "counter",
    "{collection}",
    "Collections of a generation since the interpreter started.",
    (GC_GENERATION,),
    since="process",
)
GC_COLLECTED = Metric(
    "cpython.gc.collected_objects",
    "counter",
    "{object}",
    "Objects collected in a generation.",
    (GC_GENERATION,),
    since="process",
)
GC_UNCOLLECTABLE = Metric(
    "cpython.gc.uncollectable_objects",
    "counter",
    "{object}",
    "Objects in a generation that could not be collected; absent while there are none.",
    (GC_GENERATION,),
    since="process",
)
