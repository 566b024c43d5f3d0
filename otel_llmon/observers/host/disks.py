"""Disks of the machine: bytes, operations and busy time. Totals count hardware, so nothing counts twice."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from otel_llmon.errors import NoDataError
from otel_llmon.metering import Told
from otel_llmon.observers.reading import LINUX, File, Group, all_told, psutil
from otel_llmon.semconv import host as rows
from otel_llmon.semconv.attributes import DISK_DIRECTION, SYSTEM_DEVICE

SECTOR = 512
"""Bytes of a sector in /proc/diskstats, whatever the disk has."""

_IMAGINED = ("loop", "ram", "zram")
_ROWS = (rows.DISK_IO, rows.DISK_OPERATIONS, rows.DISK_IO_TIME)

_Numbers = Sequence[Any]
"""In the order of Disk's fields."""


@dataclass(frozen=True, slots=True)
class Disk:
    """What went from and to a disk since the machine started, and for how many seconds it was busy."""

    read: int
    written: int
    reads: int
    writes: int
    busy: float
    device: str | None = None
    """Name of a single disk; None of all together."""


def watch(proc: str = "/proc", sys: str = "/sys", *, linux: bool = LINUX) -> Group[Disk]:
    """Return the group of all disks together: the bytes."""
    every, files = _reader(proc, sys, linux=linux)

    def read() -> _Numbers:
        found = [*every().values()]
        return found[0] if len(found) == 1 else [*map(sum, zip(*found, strict=True))]

    def tell(numbers: _Numbers) -> list[Told]:
        return all_told(_EACH[:2], numbers, _keys(None))

    return Group((rows.DISK_IO,), read, tell, files, _disk)


def watch_each(proc: str = "/proc", sys: str = "/sys", *, linux: bool = LINUX) -> Group[tuple[Disk, ...]]:
    """Return the group of each disk by itself, which stands in the place of all together."""
    every, files = _reader(proc, sys, linux=linux)

    def tell(disks: Mapping[str, _Numbers]) -> list[Told]:
        return [told for name, numbers in disks.items() for told in all_told(_EACH, numbers, _keys(name))]

    def shape(disks: Mapping[str, _Numbers]) -> tuple[Disk, ...]:
        return tuple(_disk(numbers, name) for name, numbers in disks.items())

    return Group(_ROWS, every, tell, files, shape)


def _disk(numbers: _Numbers, device: str | None = None) -> Disk:
    read, written, reads, writes, busy = numbers
    return Disk(read, written, reads, writes, busy, device)


def _reader(proc: str, sys: str, *, linux: bool) -> tuple[Callable[[], Mapping[str, _Numbers]], list[File]]:
    if not linux:
        return _foreign, []
    file, kinds = File(f"{proc}/diskstats"), Kinds(sys)
    return lambda: kinds.whole(file.read()), [file]


class Kinds:
    """Which names are disks: those of hardware, else those that are no part of another."""

    def __init__(self, sys: str) -> None:
        self._block = Path(sys, "block")
        self._known: dict[bytes, int] = {}

    def whole(self, text: bytes) -> dict[str, _Numbers]:
        """Return the numbers of the disks of /proc/diskstats that count."""
        lines = [line.split(None, 3) for line in text.splitlines()]
        kinds = [self._kind(words[2]) for words in lines]
        best = max(kinds, default=0)
        if not best:
            raise NoDataError("no disks")
        return {words[2].decode(): _parsed(words[3]) for words, kind in zip(lines, kinds, strict=True) if kind == best}

    def _kind(self, word: bytes) -> int:
        if word not in self._known:
            name = word.decode()
            place = self._block / name.replace("/", "!")
            hardware = (place / "device").exists()
            self._known[word] = 2 if hardware else int(place.exists() and not name.startswith(_IMAGINED))
        return self._known[word]


def _parsed(text: bytes) -> _Numbers:
    reads, _, read, _, writes, _, written, _, _, busy = map(int, text.split(None, 10)[:10])
    return read * SECTOR, written * SECTOR, reads, writes, busy / 1000


def _foreign() -> dict[str, _Numbers]:
    found = psutil().disk_io_counters(perdisk=True)
    if not found:
        raise NoDataError("no disks")
    return {
        name: (
            disk.read_bytes, disk.write_bytes, disk.read_count, disk.write_count,
            getattr(disk, "busy_time", disk.read_time + disk.write_time) / 1000,
        )
        for name, disk in found.items()
    }  # fmt: skip


_EACH = (rows.DISK_IO, rows.DISK_IO, rows.DISK_OPERATIONS, rows.DISK_OPERATIONS, rows.DISK_IO_TIME)
"""The metrics of a disk's numbers."""


@functools.lru_cache(maxsize=1024)
def _keys(device: str | None) -> tuple[dict[str, str], ...]:
    """Return the attributes of a disk's numbers."""
    which = {} if device is None else {SYSTEM_DEVICE: device}
    read, written = ({DISK_DIRECTION: direction, **which} for direction in ("read", "write"))
    return read, written, read, written, which
