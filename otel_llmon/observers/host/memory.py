"""Memory of the machine, and its swap space."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat, takewhile

from otel_llmon.metering import Told
from otel_llmon.observers.reading import LINUX, File, Group, all_told, psutil
from otel_llmon.semconv import host as rows
from otel_llmon.semconv.attributes import PAGING_STATE, SYSTEM_MEMORY_STATE

STATES = ("used", "free", "cached", "buffers")
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
        return Group(_ROWS, lambda: _parsed(file.read()), _tell, [file], _memory)
    return Group(_ROWS, _foreign, _tell, (), _memory)


_Numbers = tuple[int, Sequence[int], int | None, Sequence[int]]
"""All there is, by state in the order of STATES, what could still be had, swap space that is used and that is free."""


def _memory(numbers: _Numbers) -> Memory:
    limit, usage, available, swap = numbers
    return Memory(limit, dict(zip(STATES, usage, strict=False)), available, dict(zip(STATES, swap, strict=False)))


def _parsed(text: bytes) -> _Numbers:
    found = {name: int(size) * 1024 for name, size in _FIELDS.findall(b"\n" + text)}
    total, free, buffers = found[b"MemTotal"], found[b"MemFree"], found.get(b"Buffers", 0)
    cached = found.get(b"Cached", 0) + found.get(b"SReclaimable", 0)
    used = max(total - free - buffers - cached, 0)
    swap = _swap(found.get(b"SwapTotal", 0), found.get(b"SwapFree", 0))
    return total, (used, free, cached, buffers), found.get(b"MemAvailable"), swap


def _foreign() -> _Numbers:
    memory, swap = psutil().virtual_memory(), psutil().swap_memory()
    usage = [*takewhile(bool, (getattr(memory, state, 0) for state in STATES[1:]))]  # as far as they are known
    return memory.total, (memory.total - sum(usage), *usage), None, _swap(swap.total, swap.free)


def _swap(total: int, free: int) -> Sequence[int]:
    return (total - free, free) if total else ()


_STATES = [{SYSTEM_MEMORY_STATE: state} for state in STATES]
_SWAP = [{PAGING_STATE: state} for state in STATES[:2]]


def _tell(numbers: _Numbers) -> list[Told]:
    limit, usage, available, swap = numbers
    found: list[Told] = [(rows.MEMORY_LIMIT, limit, {})]
    if available is not None:
        found.append((rows.MEMORY_AVAILABLE, available, {}))
    found += all_told(repeat(rows.MEMORY_USAGE), usage, _STATES)
    found += all_told(repeat(rows.MEMORY_UTILIZATION), [size / limit for size in usage], _STATES)
    if swap:
        found += all_told(repeat(rows.PAGING_USAGE), swap, _SWAP)
        found += all_told(repeat(rows.PAGING_UTILIZATION), [size / sum(swap) for size in swap], _SWAP)
    return found
