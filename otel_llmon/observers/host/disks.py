"""Disks of the machine: bytes, operations and busy time. Totals count hardware, so nothing counts twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from otel_llmon.errors import NoDataError
from otel_llmon.metering import Reading
from otel_llmon.observers.reading import LINUX, File, Group, psutil
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
    """Return the group of all disks together."""
    every, files = _reader(proc, sys, linux=linux)
    return Group(_ROWS, lambda: _sum(every()), _tell, files)


def watch_each(proc: str = "/proc", sys: str = "/sys", *, linux: bool = LINUX) -> Group[tuple[Disk, ...]]:
    """Return the group of each disk by itself, which stands in the place of all together."""
    every, files = _reader(proc, sys, linux=linux)

    def tell(disks: tuple[Disk, ...]) -> Iterator[Reading]:
        for disk in disks:
            yield from _tell(disk)

    return Group(_ROWS, every, tell, files)


def _reader(proc: str, sys: str, *, linux: bool) -> tuple[Callable[[], tuple[Disk, ...]], list[File]]:
    if not linux:
        return _foreign, []
    file, kinds = File(f"{proc}/diskstats"), Kinds(sys)
    return lambda: kinds.whole(_parsed(file.read())), [file]


class Kinds:
    """Which names are disks: those of hardware, else those that are no part of another."""

    def __init__(self, sys: str) -> None:
        self._block = Path(sys, "block")
        self._known: dict[str, int] = {}

    def whole(self, disks: Mapping[str, Disk]) -> tuple[Disk, ...]:
        """Return the disks that count."""
        kinds = {name: self._kind(name) for name in disks}
        best = max(kinds.values(), default=0)
        if not best:
            raise NoDataError("no disks")
        return tuple(disks[name] for name, kind in kinds.items() if kind == best)

    def _kind(self, name: str) -> int:
        if name not in self._known:
            place = self._block / name.replace("/", "!")
            hardware = (place / "device").exists()
            self._known[name] = 2 if hardware else int(place.exists() and not name.startswith(_IMAGINED))
        return self._known[name]


def _parsed(text: bytes) -> dict[str, Disk]:
    found = {}
    for line in text.splitlines():
        words = line.split(None, 13)
        reads, read, writes, written, busy = (int(words[index]) for index in (3, 5, 7, 9, 12))
        name = words[2].decode()
        found[name] = Disk(read * SECTOR, written * SECTOR, reads, writes, busy / 1000, name)
    return found


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
    return Disk(
        sum(disk.read for disk in disks),
        sum(disk.written for disk in disks),
        sum(disk.reads for disk in disks),
        sum(disk.writes for disk in disks),
        sum(disk.busy for disk in disks),
    )


def _tell(disk: Disk) -> Iterator[Reading]:
    device = {} if disk.device is None else {SYSTEM_DEVICE: disk.device}
    read, write = {DISK_DIRECTION: "read", **device}, {DISK_DIRECTION: "write", **device}
    yield Reading(rows.DISK_IO, disk.read, read)
    yield Reading(rows.DISK_IO, disk.written, write)
    yield Reading(rows.DISK_OPERATIONS, disk.reads, read)
    yield Reading(rows.DISK_OPERATIONS, disk.writes, write)
    yield Reading(rows.DISK_IO_TIME, disk.busy, device)
