"""This process: CPU, memory, threads, open files, disk, page faults, context switches and the garbage collector.

On Linux most of it is one `getrusage()`, and the rest two files of /proc that stay open; elsewhere psutil is asked.
"""

from __future__ import annotations

import gc
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import repeat
from typing import Any

from otel_llmon.metering import Reading
from otel_llmon.observers import cgroup, sockets
from otel_llmon.observers.reading import LINUX, File, Group, Window, all_told, psutil, told
from otel_llmon.observers.sockets import Connections
from otel_llmon.semconv import process as rows
from otel_llmon.semconv.attributes import CPU_MODE, DISK_DIRECTION, GC_GENERATION, PAGING_FAULT, PROCESS_SWITCH

if sys.platform != "win32":
    import resource

MODES = ("user", "system")
_COUNTED = ("collections", "collected", "uncollectable")
"""What the garbage collector counts, in the order of Collector's fields."""

_ROWS = (
    rows.PROCESS_CPU_TIME,
    rows.PROCESS_CPU_UTILIZATION,
    rows.PROCESS_MEMORY_USAGE,
    rows.PROCESS_MEMORY_VIRTUAL,
    rows.PROCESS_THREADS,
    rows.PROCESS_FILES,
    rows.PROCESS_UPTIME,
    rows.PROCESS_SWITCHES,
    rows.PROCESS_FAULTS,
    rows.PROCESS_DISK_IO,
)


@dataclass(frozen=True, slots=True)
class Usage:
    """What this process uses, and has used since it started; what the system does not tell is None or empty."""

    cpu_time: Mapping[str, float]
    cpu_utilization: Mapping[str, float]
    memory: int
    virtual: int
    threads: int
    files: int | None
    uptime: float
    switches: Mapping[str, int]
    faults: Mapping[str, int]
    disk_io: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Collector:
    """Python's garbage collector, generation by generation."""

    collections: tuple[int, ...]
    collected: tuple[int, ...]
    uncollectable: tuple[int, ...]


def watch(
    proc: str = "/proc",
    *,
    linux: bool = LINUX,
    clock: Callable[[], float] = time.monotonic,
    cpus: Callable[[], float] = cgroup.cpus,
) -> Group[Usage]:
    """Return the group of what this process uses. `cpus` says how many CPUs are the whole of its utilization."""
    statm, io, source = File(f"{proc}/self/statm", 128), File(f"{proc}/self/io", 512), psutil()
    owner, begun, window = 0, 0.0, Window(2, clock)
    process: Any = None

    def read() -> Usage:
        nonlocal owner, begun, window, process
        if owner != os.getpid():  # a forked child takes over its parent's observer
            process = source.Process()
            owner = os.getpid()
            begun = clock() - _age(proc, process, linux=linux)
            window = Window(len(MODES), clock, begun)
        times, found = _linux(proc, statm, io) if linux else _foreign(process)
        elapsed, spent = window.since(times)
        whole = elapsed * cpus()
        shares = [part / whole for part in spent] if whole else ()
        cpu_time, utilization = (dict(zip(MODES, values, strict=False)) for values in (times, shares))
        return Usage(cpu_time, utilization, uptime=clock() - begun, **found)

    return Group(_ROWS, read, _tell, [statm, io] if linux else [])


def watch_collector() -> Group[Collector]:
    """Return the group of the garbage collector."""

    def read() -> Collector:
        stats = gc.get_stats()
        return Collector(*(tuple([one[word] for one in stats]) for word in _COUNTED))

    keys = [{GC_GENERATION: generation} for generation in range(len(gc.get_stats()))]

    def tell(collector: Collector) -> list[Reading]:
        return [
            *all_told(repeat(rows.GC_COLLECTIONS), collector.collections, keys),
            *all_told(repeat(rows.GC_COLLECTED), collector.collected, keys),
            *(told for told in all_told(repeat(rows.GC_UNCOLLECTABLE), collector.uncollectable, keys) if told.value),
        ]

    return Group((rows.GC_COLLECTIONS, rows.GC_COLLECTED, rows.GC_UNCOLLECTABLE), read, tell)


GROUPS: Mapping[str, Callable[[], Group[Any]]] = {
    "usage": watch,
    "gc": watch_collector,
    "connections": sockets.watch_own,
}
USUAL = ("usage", "gc")


@dataclass(frozen=True, slots=True)
class Process:
    """This process as it was read last."""

    usage: Usage | None = None
    gc: Collector | None = None
    connections: Connections | None = None


SNAPSHOT = Process


_Found = tuple[tuple[float, float], dict[str, Any]]
"""CPU seconds in the order of MODES, and the other fields of Usage that are read."""


def _linux(proc: str, statm: File, io: File) -> _Found:
    used = resource.getrusage(resource.RUSAGE_SELF)
    virtual, resident = statm.read().split(None, 2)[:2]
    disk = _disk_io(io)  # before files are counted, of which it opens one
    return (used.ru_utime, used.ru_stime), {
        "memory": int(resident) * _PAGE,
        "virtual": int(virtual) * _PAGE,
        "threads": os.stat(f"{proc}/self/task").st_nlink - 2,  # noqa: PTH116  # a folder for each thread: adding them up is dearer
        "files": _open_files(proc),
        "switches": {"voluntary": used.ru_nvcsw, "involuntary": used.ru_nivcsw},
        "faults": {"major": used.ru_majflt, "minor": used.ru_minflt},
        "disk_io": disk,
    }


def _disk_io(io: File) -> dict[str, int]:
    """Return bytes from and to disks, of which getrusage() was seen to miss some; nothing where that is not shown."""
    try:
        words = io.read().split()
    except OSError:
        return {}
    counted = dict(zip(words[::2], words[1::2], strict=True))
    return {"read": int(counted[b"read_bytes:"]), "write": int(counted[b"write_bytes:"])}


_PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


def _open_files(proc: str) -> int:
    """Return how many descriptors are open; Linux tells since 6.2 without listing them."""
    return os.stat(f"{proc}/self/fd").st_size or len(os.listdir(f"{proc}/self/fd")) - 1  # noqa: PTH116, PTH208  # as above


def _foreign(process: Any) -> _Found:
    with process.oneshot():
        times, memory = process.cpu_times(), process.memory_info()
        switches = process.num_ctx_switches()
        return (times.user, times.system), {
            "memory": memory.rss,
            "virtual": memory.vms,
            "threads": process.num_threads(),
            "files": process.num_fds() if hasattr(process, "num_fds") else None,
            "switches": {"voluntary": switches.voluntary, "involuntary": switches.involuntary},
            "faults": {},
            "disk_io": _foreign_io(process),
        }


def _foreign_io(process: Any) -> dict[str, int]:
    if not hasattr(process, "io_counters"):  # as on macOS
        return {}
    counted = process.io_counters()
    return {"read": counted.read_bytes, "write": counted.write_bytes}


def _age(proc: str, process: Any, *, linux: bool) -> float:
    """Return for how long this process has run, by a clock that nobody sets where there is one."""
    if not linux:
        return max(time.time() - float(process.create_time()), 0.0)
    with open(f"{proc}/self/stat", "rb") as file:  # noqa: PTH123  # no Path at a fork
        ticks = int(file.read().rpartition(b")")[2].split()[19])
    return max(time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK"), 0.0)


def _keys(key: str, *names: str) -> list[dict[str, str]]:
    """Return the attributes of values in the order of `names`, as a Usage has them."""
    return [{key: name} for name in names]


_MODE = _keys(CPU_MODE, *MODES)
_SWITCH = _keys(PROCESS_SWITCH, "voluntary", "involuntary")
_FAULT = _keys(PAGING_FAULT, "major", "minor")
_DIRECTION = _keys(DISK_DIRECTION, "read", "write")


def _tell(usage: Usage) -> list[Reading]:
    found = [
        told((rows.PROCESS_MEMORY_USAGE, usage.memory, {})),
        told((rows.PROCESS_MEMORY_VIRTUAL, usage.virtual, {})),
        told((rows.PROCESS_THREADS, usage.threads, {})),
        told((rows.PROCESS_UPTIME, usage.uptime, {})),
    ]
    if usage.files is not None:
        found.append(told((rows.PROCESS_FILES, usage.files, {})))
    for row, values, keys in (
        (rows.PROCESS_CPU_TIME, usage.cpu_time, _MODE),
        (rows.PROCESS_CPU_UTILIZATION, usage.cpu_utilization, _MODE),
        (rows.PROCESS_SWITCHES, usage.switches, _SWITCH),
        (rows.PROCESS_FAULTS, usage.faults, _FAULT),
        (rows.PROCESS_DISK_IO, usage.disk_io, _DIRECTION),
    ):
        found += all_told(repeat(row), values.values(), keys)
    return found
