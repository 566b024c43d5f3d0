"""Disks of the machine: bytes, operations and busy time. Totals count hardware, so nothing counts twice."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from otel_llmon.errors import NoDataError
from otel_llmon.metering import Reading
from otel_llmon.observers.reading import LINUX, File, Group, psutil, told
from otel_llmon.semconv import host as rows
from otel_llmon.semconv.attributes import DISK_DIRECTION, SYSTEM_DEVICE

SECTOR = 512
"""Bytes of a sector in /proc/diskstats, whatever the disk has."""

_IMAGINED = ("loop", "ram", "zram")
_ROWS = (rows.DISK_IO, rows.DISK_OPERATIONS, rows.DISK_IO_TIME)


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
    return Group((rows.DISK_IO,), lambda: _sum(every()), _bytes, files)


def watch_each(proc: str = "/proc", sys: str = "/sys", *, linux: bool = LINUX) -> Group[tuple[Disk, ...]]:
    """Return the group of each disk by itself, which stands in the place of all together."""
    every, files = _reader(proc, sys, linux=linux)

    def tell(disks: tuple[Disk, ...]) -> list[Reading]:
        return [reading for disk in disks for reading in _tell(disk)]

    return Group(_ROWS, every, tell, files)


def _reader(proc: str, sys: str, *, linux: bool) -> tuple[Callable[[], tuple[Disk, ...]], list[File]]:
    if not linux:
        return _foreign, []
    file, kinds = File(f"{proc}/diskstats"), Kinds(sys)
    return lambda: kinds.whole(file.read()), [file]


class Kinds:
    """Which names are disks: those of hardware, else those that are no part of another."""

    def __init__(self, sys: str) -> None:
        self._block = Path(sys, "block")
        self._known: dict[bytes, int] = {}

    def whole(self, text: bytes) -> tuple[Disk, ...]:
        """Return the disks of /proc/diskstats that count."""
        lines = [line.split(None, 13) for line in text.splitlines()]
        kinds = [self._kind(words[2]) for words in lines]
        best = max(kinds, default=0)
        if not best:
            raise NoDataError("no disks")
        return tuple(_parsed(words) for words, kind in zip(lines, kinds, strict=True) if kind == best)

    def _kind(self, word: bytes) -> int:
        if word not in self._known:
            name = word.decode()
            place = self._block / name.replace("/", "!")
            hardware = (place / "device").exists()
            self._known[word] = 2 if hardware else int(place.exists() and not name.startswith(_IMAGINED))
        return self._known[word]


def _parsed(words: list[bytes]) -> Disk:
    reads, read, writes, written, busy = (int(words[index]) for index in (3, 5, 7, 9, 12))
    return Disk(read * SECTOR, written * SECTOR, reads, writes, busy / 1000, words[2].decode())


def _foreign() -> tuple[Disk, ...]:
    found = psutil().disk_io_counters(perdisk=True)
    if not found:
        raise NoDataError("no disks")
    return tuple(
        Disk(
            disk.read_bytes, disk.write_bytes, disk.read_count, disk.write_count,
            getattr(disk, "busy_time", disk.read_time + disk.write_time) / 1000, name,
        )
        for name, disk in found.items()
    )  # fmt: skip


def _sum(disks: tuple[Disk, ...]) -> Disk:
    if len(disks) == 1:
        [one] = disks
        return Disk(one.read, one.written, one.reads, one.writes, one.busy)
    return Disk(
        sum(disk.read for disk in disks),
        sum(disk.written for disk in disks),
        sum(disk.reads for disk in disks),
        sum(disk.writes for disk in disks),
        sum(disk.busy for disk in disks),
    )


@functools.lru_cache(maxsize=1024)
def _keys(device: str | None) -> tuple[dict[str, str], ...]:
    which = {} if device is None else {SYSTEM_DEVICE: device}
    return {DISK_DIRECTION: "read", **which}, {DISK_DIRECTION: "write", **which}, which


def _bytes(disk: Disk) -> list[Reading]:
    read, write, _ = _keys(disk.device)
    return [told((rows.DISK_IO, disk.read, read)), told((rows.DISK_IO, disk.written, write))]


def _tell(disk: Disk) -> list[Reading]:
    read, write, device = _keys(disk.device)
    return [
        *_bytes(disk),
        told((rows.DISK_OPERATIONS, disk.reads, read)),
        told((rows.DISK_OPERATIONS, disk.writes, write)),
        told((rows.DISK_IO_TIME, disk.busy, device)),
    ]
