"""The machine: CPU and memory, through psutil; of the processes of one service, one reports it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from otel_llmon.metering import Reading
from otel_llmon.observers.lease import Lease
from otel_llmon.semconv import host as rows
from otel_llmon.semconv.attributes import CPU_MODE, SYSTEM_MEMORY_STATE

ROWS = (
    rows.CPU_TIME,
    rows.CPU_UTILIZATION,
    rows.CPU_COUNT,
    rows.MEMORY_USAGE,
    rows.MEMORY_UTILIZATION,
    rows.MEMORY_LIMIT,
)
MODES = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
"""psutil's names of the modes that do not overlap; upstream calls irq and softirq together `interrupt`."""

_MEMORY_STATES = ("used", "free", "cached", "buffers")


def watch(psutil: Any = None, lease: Lease | None = None) -> Callable[[], Iterable[Reading]]:
    """Return an observer of the machine. Utilization needs two readings, so the first pass leaves it out.

    It says nothing while another process of this service that sends to the same place holds the lease.
    """
    source = psutil or imported()
    lease = lease or Lease.of(os.environ)
    before: dict[str, float] = {}

    def observe() -> Iterator[Reading]:
        if lease is None or lease.held():
            yield from _cpu(source, before)
            yield from _memory(source)

    return observe


def _cpu(source: Any, before: dict[str, float]) -> Iterator[Reading]:
    times = source.cpu_times()
    now: dict[str, float] = {}
    for mode in MODES:
        if (seconds := getattr(times, mode, None)) is not None:
            name = "interrupt" if "irq" in mode else mode
            now[name] = now.get(name, 0.0) + seconds
    for mode, seconds in now.items():
        yield Reading(rows.CPU_TIME, seconds, {CPU_MODE: mode})
    # /proc/stat may step back by a tick (iowait does); what went back was not used
    spent = {mode: max(seconds - before.get(mode, seconds), 0.0) for mode, seconds in now.items()}
    before.update(now)
    if (total := sum(spent.values())) > 0:
        for mode, seconds in spent.items():
            yield Reading(rows.CPU_UTILIZATION, seconds / total, {CPU_MODE: mode})
    if (count := source.cpu_count()) is not None:
        yield Reading(rows.CPU_COUNT, count)


def _memory(source: Any) -> Iterator[Reading]:
    memory = source.virtual_memory()
    yield Reading(rows.MEMORY_LIMIT, memory.total)
    for state in _MEMORY_STATES:
        if (size := getattr(memory, state, None)) is not None:
            yield Reading(rows.MEMORY_USAGE, size, {SYSTEM_MEMORY_STATE: state})
            yield Reading(rows.MEMORY_UTILIZATION, size / memory.total, {SYSTEM_MEMORY_STATE: state})


def imported() -> Any:
    """Return psutil, loaded by whoever attaches: a child forked amid an import in another thread never sees its end."""
    import psutil

    return psutil
