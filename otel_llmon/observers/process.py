"""This process: CPU, memory, threads, open files, disk, page faults, context switches and the garbage collector.

On Linux most of it is one `getrusage()`, and the rest two files of /proc that stay open; elsewhere psutil is asked.
"""

from __future__ import annotations

import gc
import os
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from operator import itemgetter
from typing import Any

from otel_llmon.metering import Told
from otel_llmon.observers import cgroup, sockets
from otel_llmon.observers.reading import LINUX, File, Group, Window, all_told, psutil
from otel_llmon.observers.sockets import Connections
from otel_llmon.semconv import process as rows
from otel_llmon.semconv.attributes import CPU_MODE, DISK_DIRECTION, GC_GENERATION, PAGING_FAULT, PROCESS_SWITCH

if sys.platform != "win32":
    import resource

MODES = ("user", "system")
_counted = itemgetter("collections", "collected", "uncollectable")
"""What the garbage collector counts, in the order of Collector's fields."""

_SINGLE = (
    rows.PROCESS_MEMORY_USAGE,
    rows.PROCESS_MEMORY_VIRTUAL,
    rows.PROCESS_THREADS,
    rows.PROCESS_FILES,
    rows.PROCESS_UPTIME,
)
_PAIRS = (
    rows.PROCESS_CPU_TIME,
    rows.PROCESS_CPU_UTILIZATION,
    rows.PROCESS_SWITCHES,
    rows.PROCESS_FAULTS,
    rows.PROCESS_DISK_IO,
)

_Pairs = tuple[Sequence[Any], ...]
_Numbers = tuple[tuple[int, int, int, int | None, float], _Pairs]
"""Those of _SINGLE, and those of _PAIRS, of which each may be empty."""
_Found = tuple[tuple[int, int, int, int | None], _Pairs]
"""What is read of them: all but the time since the start, and the shares of CPU time."""


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
    files, source = [File(f"{proc}/self/{name}", 512) for name in ("statm", "io", "task", "fd")], psutil()
    owner, begun, window = 0, 0.0, Window(2, clock)
    process: Any = None

    def read() -> _Numbers:
        nonlocal owner, begun, window, process
        if owner != os.getpid():  # a forked child takes over its parent's observer
            process = source.Process()
            owner = os.getpid()
            begun = clock() - _age(proc, process, linux=linux)
            window = Window(len(MODES), clock, begun)
        single, (times, *others) = _linux(*files) if linux else _foreign(process)
        elapsed, spent = window.since(times)
        whole = elapsed * cpus()
        shares = [part / whole for part in spent] if whole else ()
        return (*single, clock() - begun), (times, shares, *others)

    return Group(_SINGLE + _PAIRS, read, _tell, files if linux else [], _usage)


def watch_collector() -> Group[Collector]:
    """Return the group of the garbage collector."""

    def read() -> list[tuple[int, ...]]:
        return [*zip(*map(_counted, gc.get_stats()), strict=True)]

    keys = [{GC_GENERATION: generation} for generation in range(len(gc.get_stats()))]

    def tell(numbers: list[tuple[int, ...]]) -> list[Told]:
        collections, collected, uncollectable = numbers
        found = all_told(repeat(rows.GC_COLLECTIONS), collections, keys)
        found += all_told(repeat(rows.GC_COLLECTED), collected, keys)
        if any(uncollectable):
            found += [told for told in all_told(repeat(rows.GC_UNCOLLECTABLE), uncollectable, keys) if told[1]]
        return found

    def shape(numbers: list[tuple[int, ...]]) -> Collector:
        return Collector(*numbers)

    return Group((rows.GC_COLLECTIONS, rows.GC_COLLECTED, rows.GC_UNCOLLECTABLE), read, tell, (), shape)


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


def _linux(statm: File, io: File, task: File, fd: File) -> _Found:
    used = resource.getrusage(resource.RUSAGE_SELF)
    virtual, resident = statm.read().split(None, 2)[:2]
    disk = _disk_io(io)
    threads = task.stat().st_nlink - 2  # a folder for each: adding them up is dearer
    files = fd.stat().st_size or len(os.listdir(fd.path)) - 1  # noqa: PTH208  # since 6.2 without listing them
    single = int(resident) * _PAGE, int(virtual) * _PAGE, threads, files
    times, switches = (used.ru_utime, used.ru_stime), (used.ru_nvcsw, used.ru_nivcsw)
    return single, (times, switches, (used.ru_majflt, used.ru_minflt), disk)


def _disk_io(io: File) -> Sequence[int]:
    """Return bytes from and to disks, of which getrusage() was seen to miss some; nothing where that is not shown."""
    try:
        found = _DISK_IO.search(io.read())
    except OSError:
        return ()
    if found is None:
        raise ValueError("no bytes from and to disks")
    return int(found[1]), int(found[2])


_DISK_IO = re.compile(rb"\nread_bytes: (\d+)\nwrite_bytes: (\d+)")


_PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


def _foreign(process: Any) -> _Found:
    with process.oneshot():
        times, memory = process.cpu_times(), process.memory_info()
        switches = process.num_ctx_switches()
        files = process.num_fds() if hasattr(process, "num_fds") else None
        io = process.io_counters() if hasattr(process, "io_counters") else None  # not on macOS
        disk = (io.read_bytes, io.write_bytes) if io else ()
        single = memory.rss, memory.vms, process.num_threads(), files
        return single, ((times.user, times.system), (switches.voluntary, switches.involuntary), (), disk)


def _age(proc: str, process: Any, *, linux: bool) -> float:
    """Return for how long this process has run, by a clock that nobody sets where there is one."""
    if not linux:
        return max(time.time() - float(process.create_time()), 0.0)
    with open(f"{proc}/self/stat", "rb") as file:  # noqa: PTH123  # no Path at a fork
        ticks = int(file.read().rpartition(b")")[2].split()[19])
    return max(time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK"), 0.0)


_PAIRED = (
    (CPU_MODE, MODES),
    (CPU_MODE, MODES),
    (PROCESS_SWITCH, ("voluntary", "involuntary")),
    (PAGING_FAULT, ("major", "minor")),
    (DISK_DIRECTION, ("read", "write")),
)
"""What tells the two numbers of a pair apart, in the order of _PAIRS."""
_KEYS = [[{key: name} for name in names] for key, names in _PAIRED]


def _tell(numbers: _Numbers) -> list[Told]:
    single, pairs = numbers
    found: list[Told] = [(row, value, {}) for row, value in zip(_SINGLE, single, strict=True) if value is not None]
    for row, values, keys in zip(_PAIRS, pairs, _KEYS, strict=True):
        found += zip(repeat(row), values, keys, strict=False)
    return found


def _usage(numbers: _Numbers) -> Usage:
    (memory, virtual, threads, files, uptime), pairs = numbers
    named = [dict(zip(names, values, strict=False)) for (_, names), values in zip(_PAIRED, pairs, strict=True)]
    cpu_time, utilization, switches, faults, disk_io = named
    return Usage(cpu_time, utilization, memory, virtual, threads, files, uptime, switches, faults, disk_io)
