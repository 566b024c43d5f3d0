"""CPU of the machine: time by mode, how much of it is in use, how many there are, how long the queue is."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from otel_llmon.metering import Reading
from otel_llmon.observers.reading import LINUX, File, Group, Window, psutil, told
from otel_llmon.semconv import host as rows
from otel_llmon.semconv.attributes import CPU_MODE, CPU_NUMBER, WINDOW

MODES = ("user", "nice", "system", "idle", "iowait", "interrupt", "steal")
"""What does not overlap; the kernel's irq and softirq are upstream's `interrupt`, and guests are in `user`."""

WINDOWS = ("1m", "5m", "15m")
_WINDOW = {window: {WINDOW: window} for window in WINDOWS}
_TICK = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
_MODES: list[dict[str, Any]] = [{CPU_MODE: mode} for mode in MODES]


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

    def read() -> CPU:
        times = _ticks(file.read().split(b"\n", 1)[0]) if linux else _foreign()
        return _cpu(times, window, logical, physical)

    kinds = (rows.CPU_TIME, rows.CPU_UTILIZATION, rows.CPU_COUNT, rows.CPU_PHYSICAL_COUNT)
    return Group(kinds, read, _tell, [file] if linux else [])


def watch_each(
    proc: str = "/proc", *, linux: bool = LINUX, clock: Callable[[], float] = time.monotonic
) -> Group[tuple[CPU, ...]]:
    """Return the group of each CPU by itself, which stands in the place of all together."""
    file = File(f"{proc}/stat", 1 << 14)
    windows: dict[int, Window] = {}
    logical, physical = os.cpu_count(), _cores()

    def read() -> tuple[CPU, ...]:
        found = _each(file.read()) if linux else dict(enumerate(_foreign_each()))
        for number in found.keys() - windows.keys():
            windows[number] = Window(len(MODES), clock, float("-inf"))
        return tuple(_cpu(times, windows[number], logical, physical, number) for number, times in found.items())

    keys: dict[int | None, list[dict[str, Any]]] = {}

    def tell(cpus: tuple[CPU, ...]) -> list[Reading]:
        found = _counts(cpus[0]) if cpus else []
        for cpu in cpus:
            if cpu.number not in keys:
                keys[cpu.number] = [{CPU_MODE: mode, CPU_NUMBER: cpu.number} for mode in MODES]
            found += _shares(cpu, keys[cpu.number])
        return found

    kinds = (rows.CPU_TIME, rows.CPU_UTILIZATION, rows.CPU_COUNT, rows.CPU_PHYSICAL_COUNT)
    return Group(kinds, read, tell, [file] if linux else [])


def watch_load(proc: str = "/proc", *, linux: bool = LINUX) -> Group[Load]:
    """Return the group of the load average."""
    file = File(f"{proc}/loadavg", 256)

    def read() -> Load:
        average = [float(word) for word in file.read().split()[:3]] if linux else os.getloadavg()
        return Load(dict(zip(WINDOWS, average, strict=True)))

    def tell(load: Load) -> list[Reading]:
        return [told((rows.LOAD_AVERAGE, tasks, _WINDOW[window])) for window, tasks in load.average.items()]

    return Group((rows.LOAD_AVERAGE,), read, tell, [file] if linux else [])


def _cpu(
    times: tuple[float, ...], window: Window, logical: int | None, physical: int | None, number: int | None = None
) -> CPU:
    _, spent = window.since(times)
    whole = sum(spent)
    shares = {mode: part / whole for mode, part in zip(MODES, spent, strict=True)} if whole else {}
    return CPU(dict(zip(MODES, times, strict=True)), shares, logical, physical, number)


def _tell(cpu: CPU) -> list[Reading]:
    return _shares(cpu, _MODES) + _counts(cpu)


def _shares(cpu: CPU, keys: list[dict[str, Any]]) -> list[Reading]:
    """Return the readings by mode; both mappings are in the order of MODES, as `keys` are, or empty."""
    found = [told((rows.CPU_TIME, value, key)) for value, key in zip(cpu.time.values(), keys, strict=False)]
    return found + [
        told((rows.CPU_UTILIZATION, value, key)) for value, key in zip(cpu.utilization.values(), keys, strict=False)
    ]


def _counts(cpu: CPU) -> list[Reading]:
    counts = ((rows.CPU_COUNT, cpu.logical_count), (rows.CPU_PHYSICAL_COUNT, cpu.physical_count))
    return [told((row, count, {})) for row, count in counts if count is not None]


def _ticks(line: bytes) -> tuple[float, ...]:
    """Return the seconds of a line of /proc/stat, in the order of MODES; early kernels have no `steal`."""
    user, nice, system, idle, iowait, irq, softirq, steal = [*map(int, line.split()[1:9]), 0][:8]
    return tuple(ticks / _TICK for ticks in (user, nice, system, idle, iowait, irq + softirq, steal))


def _each(text: bytes) -> dict[int, tuple[float, ...]]:
    lines = text.split(b"\ncpu")[1:]
    return {int(line.split(None, 1)[0]): _ticks(line.split(b"\n", 1)[0]) for line in lines}


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
