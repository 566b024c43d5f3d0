"""Memory of the machine, and its swap space."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import repeat

from otel_llmon.metering import Reading
from otel_llmon.observers.reading import LINUX, File, Group, all_told, psutil, told
from otel_llmon.semconv import host as rows
from otel_llmon.semconv.attributes import PAGING_STATE, SYSTEM_MEMORY_STATE

_FIELDS = re.compile(rb"\n(MemTotal|MemFree|MemAvailable|Buffers|Cached|SwapTotal|SwapFree|SReclaimable): +(\d+)")
"""It begins at a line's end, which is found in half the time that a beginning is."""

_ROWS = (
    rows.MEMORY_USAGE,
    rows.MEMORY_UTILIZATION,
    rows.MEMORY_LIMIT,
    rows.MEMORY_AVAILABLE,
    rows.PAGING_USAGE,
    rows.PAGING_UTILIZATION,
)


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes by state, which add up to `limit`; what could still be had; swap space, empty where there is none."""

    limit: int
    usage: Mapping[str, int]
    available: int | None
    swap: Mapping[str, int]

    @property
    def utilization(self) -> Mapping[str, float]:
        """Return the states' shares."""
        return {state: size / self.limit for state, size in self.usage.items()}

    @property
    def swap_utilization(self) -> Mapping[str, float]:
        """Return the states' shares of the swap space."""
        whole = sum(self.swap.values())
        return {state: size / whole for state, size in self.swap.items()}


def watch(proc: str = "/proc", *, linux: bool = LINUX) -> Group[Memory]:
    """Return the group of the machine's memory."""
    file = File(f"{proc}/meminfo")
    if linux:
        return Group(_ROWS, lambda: _parsed(file.read()), _tell, [file])
    return Group(_ROWS, _foreign, _tell)


def _parsed(text: bytes) -> Memory:
    found = {name: int(size) * 1024 for name, size in _FIELDS.findall(b"\n" + text)}
    total, free, buffers = found[b"MemTotal"], found[b"MemFree"], found.get(b"Buffers", 0)
    cached = found.get(b"Cached", 0) + found.get(b"SReclaimable", 0)
    used = max(total - free - buffers - cached, 0)
    return Memory(
        total,
        {"used": used, "free": free, "cached": cached, "buffers": buffers},
        found.get(b"MemAvailable"),
        _swap(found.get(b"SwapTotal", 0), found.get(b"SwapFree", 0)),
    )


def _foreign() -> Memory:
    memory, swap = psutil().virtual_memory(), psutil().swap_memory()
    known = {state: getattr(memory, state, 0) for state in ("free", "cached", "buffers")}
    usage = {state: size for state, size in known.items() if size}
    return Memory(
        memory.total, {"used": memory.total - sum(usage.values()), **usage}, None, _swap(swap.total, swap.free)
    )


def _swap(total: int, free: int) -> dict[str, int]:
    return {"used": total - free, "free": free} if total else {}


_STATE = {state: {SYSTEM_MEMORY_STATE: state} for state in ("used", "free", "cached", "buffers")}
_SWAP = [{PAGING_STATE: state} for state in ("used", "free")]


def _tell(memory: Memory) -> list[Reading]:
    states = [_STATE[state] for state in memory.usage]
    found = [told((rows.MEMORY_LIMIT, memory.limit, {}))]
    found += all_told(repeat(rows.MEMORY_USAGE), memory.usage.values(), states)
    found += all_told(repeat(rows.MEMORY_UTILIZATION), memory.utilization.values(), states)
    if memory.available is not None:
        found.append(told((rows.MEMORY_AVAILABLE, memory.available, {})))
    if memory.swap:
        found += all_told(repeat(rows.PAGING_USAGE), memory.swap.values(), _SWAP)
        found += all_told(repeat(rows.PAGING_UTILIZATION), memory.swap_utilization.values(), _SWAP)
    return found
