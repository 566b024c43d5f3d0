"""The container, or control group, that this process runs in: CPU and memory beside their limits, versions 1 and 2.

A limit may stand on a group further up; then that group's use is what counts against it, and is what is told.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from otel_llmon.errors import NoDataError
from otel_llmon.metering import Told
from otel_llmon.observers import hierarchy
from otel_llmon.observers.reading import SHORTEST, Group, Window
from otel_llmon.semconv import Metric
from otel_llmon.semconv import cgroup as rows
from otel_llmon.semconv.attributes import CPU_MODE, PRESSURE_KIND, RESOURCE

_IN_CONTAINER = re.compile(r"/docker[-/]|/kubepods|containerd-|/libpod|/lxc[./]|/garden/|/ecs/")
_MARKS = (".dockerenv", "run/.containerenv")


@dataclass(frozen=True, slots=True)
class ContainerCPU:
    """CPU of the container; limit in CPUs, and use as a share of it. None where there is no limit, or nothing told."""

    time: Mapping[str, float]
    limit: float | None
    utilization: float | None
    periods: int | None
    throttled_periods: int | None
    throttled_time: float | None


@dataclass(frozen=True, slots=True)
class ContainerMemory:
    """Memory of the container in bytes, and how many of its processes were killed for want of it."""

    usage: int
    working_set: int
    limit: int | None
    peak: int | None
    oom_kills: int | None

    @property
    def utilization(self) -> float | None:
        """Return the working set's share of the limit."""
        return None if not self.limit else self.working_set / self.limit


@dataclass(frozen=True, slots=True)
class Pressure:
    """Seconds that tasks waited, by resource and kind: `("memory", "full")`."""

    stalled: Mapping[tuple[str, str], float]


CPU_ROWS = (
    rows.CONTAINER_CPU_TIME,
    rows.CONTAINER_CPU_LIMIT,
    rows.CONTAINER_CPU_UTILIZATION,
    rows.CONTAINER_PERIODS,
    rows.CONTAINER_THROTTLED_PERIODS,
    rows.CONTAINER_THROTTLED_TIME,
)
MEMORY_ROWS = (
    rows.CONTAINER_MEMORY_USAGE,
    rows.CONTAINER_MEMORY_WORKING_SET,
    rows.CONTAINER_MEMORY_LIMIT,
    rows.CONTAINER_MEMORY_UTILIZATION,
    rows.CONTAINER_MEMORY_PEAK,
    rows.CONTAINER_OOM_KILLS,
)


def watch_cpu(root: str = "/", *, clock: Callable[[], float] = time.monotonic) -> Group[ContainerCPU]:
    """Return the group of the container's CPU. What it used before the first reading belongs to no known time."""
    find = hierarchy.Finder("cpu", root, clock)
    path, window = "", Window(1, clock)

    def read() -> ContainerCPU:
        nonlocal path, window
        place = find()
        if path != place.path:
            path, window = place.path, Window(1, clock)
        said = place.cpu()
        share = None
        if said.total is not None:
            elapsed, [spent] = window.since((said.total,))
            share = spent / (elapsed * said.limit) if said.limit and elapsed >= SHORTEST else None
        modes = {"user": said.user, "system": said.system}
        times = {mode: seconds for mode, seconds in modes.items() if seconds is not None}
        return ContainerCPU(times, said.limit, share, said.periods, said.throttled_periods, said.throttled_time)

    return Group(CPU_ROWS, read, _tell_cpu, [find])


def watch_memory(root: str = "/") -> Group[ContainerMemory]:
    """Return the group of the container's memory."""
    find = hierarchy.Finder("memory", root)

    def read() -> ContainerMemory:
        said = find().memory()
        return ContainerMemory(said.usage, max(said.usage - said.inactive, 0), said.limit, said.peak, said.oom_kills)

    return Group(MEMORY_ROWS, read, _tell_memory, [find])


def watch_pressure(root: str = "/") -> Group[Pressure]:
    """Return the group of what the container's tasks wait for."""
    find = hierarchy.Finder("pressure", root)

    def read() -> Pressure:
        stalled = find().pressure()
        if not stalled:
            raise NoDataError("no pressure: it is in version 2 of control groups only")
        return Pressure(stalled)

    def tell(pressure: Pressure) -> Iterator[Told]:
        for (resource, kind), seconds in pressure.stalled.items():
            yield rows.CONTAINER_PRESSURE, seconds, {RESOURCE: resource, PRESSURE_KIND: kind}

    return Group((rows.CONTAINER_PRESSURE,), read, tell, [find])


GROUPS: Mapping[str, Callable[[], Group[Any]]] = {"cpu": watch_cpu, "memory": watch_memory, "pressure": watch_pressure}
USUAL = ("cpu", "memory", "pressure")


@dataclass(frozen=True, slots=True)
class Container:
    """The container as it was read last."""

    cpu: ContainerCPU | None = None
    memory: ContainerMemory | None = None
    pressure: Pressure | None = None


SNAPSHOT = Container


def contained(root: str = "/", environ: Mapping[str, str] = os.environ) -> bool:
    """Tell whether this process runs in a container: an engine left its mark, or its control groups name one.

    A mark alone is not enough: images of virtual machines are made from containers', and still have it.
    """
    if "KUBERNETES_SERVICE_HOST" in environ or _IN_CONTAINER.search(_text(root, "proc/self/cgroup")):
        return True
    overlaid = any(line.split(" ")[1:3] == ["/", "overlay"] for line in _text(root, "proc/self/mounts").splitlines())
    kernel = _text(root, "proc/2/comm").strip() == "kthreadd"  # only a machine's own processes see it
    return (overlaid or not kernel) and (any(Path(root, mark).exists() for mark in _MARKS) or (overlaid and not kernel))


def _text(root: str, name: str) -> str:
    with suppress(OSError):
        return Path(root, name).read_text("utf-8", "replace")
    return ""


def limited(root: str = "/") -> bool:
    """Tell whether a control group limits this process's CPU or memory."""
    with suppress(NoDataError):
        if hierarchy.tightest("cpu", root).cpu_limit() is not None:
            return True
        return hierarchy.tightest("memory", root).memory_limit() is not None
    return False


def cpus(root: str = "/") -> float:
    """Return how many CPUs this process may use: those it is bound to, or less where a group's quota is less."""
    looked, found = _cpus.get(root, (float("-inf"), 0.0))
    if time.monotonic() - looked > hierarchy.LOOK_AGAIN:
        found = float(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
        with suppress(NoDataError):
            found = min(hierarchy.tightest("cpu", root).cpu_limit() or found, found)
        _cpus[root] = time.monotonic(), found
    return found


_cpus: dict[str, tuple[float, float]] = {}


def _tell_cpu(cpu: ContainerCPU) -> Iterator[Told]:
    for mode, seconds in cpu.time.items():
        yield rows.CONTAINER_CPU_TIME, seconds, {CPU_MODE: mode}
    yield from _known(
        (rows.CONTAINER_CPU_LIMIT, cpu.limit),
        (rows.CONTAINER_CPU_UTILIZATION, cpu.utilization),
        (rows.CONTAINER_PERIODS, cpu.periods),
        (rows.CONTAINER_THROTTLED_PERIODS, cpu.throttled_periods),
        (rows.CONTAINER_THROTTLED_TIME, cpu.throttled_time),
    )


def _tell_memory(memory: ContainerMemory) -> Iterator[Told]:
    yield from _known(
        (rows.CONTAINER_MEMORY_USAGE, memory.usage),
        (rows.CONTAINER_MEMORY_WORKING_SET, memory.working_set),
        (rows.CONTAINER_MEMORY_LIMIT, memory.limit),
        (rows.CONTAINER_MEMORY_UTILIZATION, memory.utilization),
        (rows.CONTAINER_MEMORY_PEAK, memory.peak),
        (rows.CONTAINER_OOM_KILLS, memory.oom_kills),
    )


def _known(*values: tuple[Metric, float | None]) -> Iterator[Told]:
    return ((row, value, {}) for row, value in values if value is not None)
