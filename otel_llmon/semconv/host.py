"""Metrics of the machine: upstream's `system.*`, and the load average, which has no name there."""

from __future__ import annotations

from otel_llmon.semconv import Metric
from otel_llmon.semconv.attributes import (
    CPU_MODE,
    CPU_NUMBER,
    DISK_DIRECTION,
    NETWORK_DIRECTION,
    NETWORK_INTERFACE,
    NETWORK_STATE,
    NETWORK_TRANSPORT,
    PAGING_STATE,
    SYSTEM_DEVICE,
    SYSTEM_FILESYSTEM_STATE,
    SYSTEM_FILESYSTEM_TYPE,
    SYSTEM_MEMORY_STATE,
    SYSTEM_MOUNTPOINT,
    WINDOW,
)

_FILESYSTEM = (SYSTEM_FILESYSTEM_STATE, SYSTEM_DEVICE, SYSTEM_MOUNTPOINT, SYSTEM_FILESYSTEM_TYPE)
_DISK = (DISK_DIRECTION, SYSTEM_DEVICE)
_NETWORK = (NETWORK_DIRECTION, NETWORK_INTERFACE)

CPU_TIME = Metric(
    "system.cpu.time", "counter", "s", "CPU seconds of the machine, by mode.", (CPU_MODE, CPU_NUMBER), since="boot"
)
CPU_UTILIZATION = Metric(
    "system.cpu.utilization",
    "gauge",
    "1",
    "Share of the machine's CPU time since the last reading, at first since it started, by mode; all modes add up to 1.",
    (CPU_MODE, CPU_NUMBER),
)
CPU_COUNT = Metric("system.cpu.logical.count", "updowncounter", "{cpu}", "Logical CPUs of the machine.")
CPU_PHYSICAL_COUNT = Metric("system.cpu.physical.count", "updowncounter", "{cpu}", "Cores of the machine.")
CPU_FREQUENCY = Metric("system.cpu.frequency", "gauge", "Hz", "How fast the CPUs run now, on average.", (CPU_NUMBER,))
LOAD_AVERAGE = Metric("llmon.system.load_average", "gauge", "{task}", "Tasks that run or wait, on average.", (WINDOW,))

MEMORY_USAGE = Metric(
    "system.memory.usage",
    "updowncounter",
    "By",
    "Memory of the machine, by state; the states add up to all there is.",
    (SYSTEM_MEMORY_STATE,),
)
MEMORY_UTILIZATION = Metric(
    "system.memory.utilization", "gauge", "1", "Share of the machine's memory, by state.", (SYSTEM_MEMORY_STATE,)
)
MEMORY_LIMIT = Metric("system.memory.limit", "updowncounter", "By", "Memory that the machine has.")
MEMORY_AVAILABLE = Metric(
    "system.memory.linux.available",
    "updowncounter",
    "By",
    "Memory that programs could still get without swapping, as Linux estimates it.",
)
PAGING_USAGE = Metric(
    "system.paging.usage", "updowncounter", "By", "Swap space, by state; absent where there is none.", (PAGING_STATE,)
)
PAGING_UTILIZATION = Metric(
    "system.paging.utilization", "gauge", "1", "Share of the swap space, by state.", (PAGING_STATE,)
)

FILESYSTEM_USAGE = Metric(
    "system.filesystem.usage", "updowncounter", "By", "Space of a filesystem, by state.", _FILESYSTEM
)
FILESYSTEM_UTILIZATION = Metric(
    "system.filesystem.utilization",
    "gauge",
    "1",
    "Share of a filesystem's space that is used, of what is not reserved: what `df` says.",
    _FILESYSTEM,
)

DISK_IO = Metric("system.disk.io", "counter", "By", "Bytes from and to the machine's disks.", _DISK, since="boot")
DISK_OPERATIONS = Metric(
    "system.disk.operations", "counter", "{operation}", "Reads and writes of the machine's disks.", _DISK, since="boot"
)
DISK_IO_TIME = Metric(
    "system.disk.io_time",
    "counter",
    "s",
    "Seconds in which a disk was busy, added up over the disks.",
    (SYSTEM_DEVICE,),
    since="boot",
)

NETWORK_IO = Metric("system.network.io", "counter", "By", "Bytes that came and went.", _NETWORK, since="boot")
NETWORK_PACKETS = Metric(
    "system.network.packet.count", "counter", "{packet}", "Packets that came and went.", _NETWORK, since="boot"
)
NETWORK_DROPPED = Metric(
    "system.network.packet.dropped",
    "counter",
    "{packet}",
    "Packets dropped although nothing was wrong with them.",
    _NETWORK,
    since="boot",
)
NETWORK_ERRORS = Metric(
    "system.network.errors", "counter", "{error}", "Packets that something was wrong with.", _NETWORK, since="boot"
)
CONNECTIONS = Metric(
    "system.network.connection.count",
    "updowncounter",
    "{connection}",
    "Sockets of everybody in this network namespace, by state.",
    (NETWORK_STATE, NETWORK_TRANSPORT),
)
