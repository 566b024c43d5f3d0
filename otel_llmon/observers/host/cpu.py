"""CPU of the machine: time by mode, how much of it is in use, how many there are, how long the queue is."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any

from otel_llmon.metering import Told
from otel_llmon.observers.reading import LINUX, File, Group, Window, all_told, psutil
from otel_llmon.semconv import host as rows
from otel_llmon.semconv.attributes import CPU_MODE, CPU_NUMBER, WINDOW

MODES = ("user", "nice", "system", "idle", "iowait", "interrupt", "steal")
"""What does not overlap; the kernel's irq and softirq are upstream's `interrupt`, and guests are in `user`."""

WINDOWS = ("1m", "5m", "15m")
_WINDOWS = [{WINDOW: window} for window in WINDOWS]
_TICK = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
_MODES: list[dict[str, Any]] = [{CPU_MODE: mode} for mode in MODES]
_ROWS = (rows.CPU_TIME, rows.CPU_UTILIZATION, rows.CPU_COUNT, rows.CPU_PHYSICAL_COUNT)

_Numbers = tuple[Sequence[float], Sequence[float]]
"""Seconds in the order of MODES, and their shares of the last window, which are empty where it has no length."""


@dataclass(frozen=True, slots=True)
class CPU:
    """CPU time in seconds by mode since the machine started, and the modes' shares of the last window."""

    time: Mapping[str, float]
    utilization: Mapping[str, float]
    logical_count: int | None = None
    physical_count: int | None = None
    number: int | None = None
    """Of a single CPU; None of all together."""

    @property
    def busy(self) -> float:
        """Return the share of the time in which something ran."""
        return 1.0 - self.utilization.get("idle", 0.0) - self.utilization.get("iowait", 0.0)


@dataclass(frozen=True, slots=True)
class Load:
    """How many tasks ran or waited, on average."""

    average: Mapping[str, float]


def watch(proc: str = "/proc", *, linux: bool = LINUX, clock: Callable[[], float] = time.monotonic) -> Group[CPU]:
    """Return the group of all CPUs together."""
    file = File(f"{proc}/stat")
    window = Window(len(MODES), clock, float("-inf"))
    logical, physical = os.cpu_count(), _cores()
    counts = _counts(logical, physical)

    def read() -> _Numbers:
        times = _ticks(file.read().split(b"\n", 1)[0]) if linux else _foreign()
        return times, _shares(times, window)

    def tell(numbers: _Numbers) -> list[Told]:
        return _told(numbers, _MODES) + counts

    def shape(numbers: _Numbers) -> CPU:
        return _cpu(numbers, logical, physical)

    return Group(_ROWS, read, tell, [file] if linux else [], shape)


def watch_each(
    proc: str = "/proc", *, linux: bool = LINUX, clock: Callable[[], float] = time.monotonic
) -> Group[tuple[CPU, ...]]:
    """Return the group of each CPU by itself, which stands in the place of all together."""
    file = File(f"{proc}/stat", 1 << 14)
    windows: dict[int, Window] = {}
    keys: dict[int, list[dict[str, Any]]] = {}
    logical, physical = os.cpu_count(), _cores()
    counts = _counts(logical, physical)

    def read() -> dict[int, _Numbers]:
        found = _each(file.read()) if linux else dict(enumerate(_foreign_each()))
        for number in found.keys() - windows.keys():
            windows[number] = Window(len(MODES), clock, float("-inf"))
            keys[number] = [{CPU_MODE: mode, CPU_NUMBER: number} for mode in MODES]
        return {number: (times, _shares(times, windows[number])) for number, times in found.items()}

    def tell(cpus: dict[int, _Numbers]) -> list[Told]:
        found = list(counts)
        for number, numbers in cpus.items():
            found += _told(numbers, keys[number])
        return found

    def shape(cpus: dict[int, _Numbers]) -> tuple[CPU, ...]:
        return tuple(_cpu(numbers, logical, physical, number) for number, numbers in cpus.items())

    return Group(_ROWS, read, tell, [file] if linux else [], shape)


def watch_load(proc: str = "/proc", *, linux: bool = LINUX) -> Group[Load]:
    """Return the group of the load average."""
    file = File(f"{proc}/loadavg", 256)

    def read() -> Load:
        average = [float(word) for word in file.read().split()[:3]] if linux else os.getloadavg()
        return Load(dict(zip(WINDOWS, average, strict=True)))

    def tell(load: Load) -> list[Told]:
        return all_told(repeat(rows.LOAD_AVERAGE), load.average.values(), _WINDOWS)

    return Group((rows.LOAD_AVERAGE,), read, tell, [file] if linux else [])


def _shares(times: Sequence[float], window: Window) -> Sequence[float]:
    _, spent = window.since(times)
    whole = sum(spent)
    return [part / whole for part in spent] if whole else ()


def _cpu(numbers: _Numbers, logical: int | None, physical: int | None, number: int | None = None) -> CPU:
    times, shares = (dict(zip(MODES, values, strict=False)) for values in numbers)
    return CPU(times, shares, logical, physical, number)


def _told(numbers: _Numbers, keys: list[dict[str, Any]]) -> list[Told]:
    times, shares = numbers
    return all_told(repeat(rows.CPU_TIME), times, keys) + all_told(repeat(rows.CPU_UTILIZATION), shares, keys)


def _counts(logical: int | None, physical: int | None) -> list[Told]:
    counts = ((rows.CPU_COUNT, logical), (rows.CPU_PHYSICAL_COUNT, physical))
    return [(row, count, {}) for row, count in counts if count is not None]


def _ticks(line: bytes) -> tuple[float, ...]:
    """Return the seconds of a line of /proc/stat, in the order of MODES; early kernels have no `steal`."""
    user, nice, system, idle, iowait, irq, softirq, steal = [*map(int, line.split(None, 9)[1:9]), 0][:8]
    interrupt = irq + softirq
    return user / _TICK, nice / _TICK, system / _TICK, idle / _TICK, iowait / _TICK, interrupt / _TICK, steal / _TICK


def _each(text: bytes) -> dict[int, tuple[float, ...]]:
    lines = [line.split(b"\n", 1)[0] for line in text.split(b"\ncpu")[1:]]
    return {int(line[: line.index(b" ")]): _ticks(line) for line in lines}


def _foreign() -> tuple[float, ...]:
    return _named(psutil().cpu_times())


def _foreign_each() -> list[tuple[float, ...]]:
    return [_named(times) for times in psutil().cpu_times(percpu=True)]


def _named(times: object) -> tuple[float, ...]:
    """Return psutil's times in the order of MODES; what a system does not know is 0 there, and not told."""
    interrupt = sum(getattr(times, name, 0.0) for name in ("irq", "softirq", "interrupt", "dpc"))
    return tuple(interrupt if mode == "interrupt" else getattr(times, mode, 0.0) for mode in MODES)


def _cores() -> int | None:
    count: int | None = psutil().cpu_count(logical=False)
    return count
