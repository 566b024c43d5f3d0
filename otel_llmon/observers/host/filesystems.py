"""Filesystems on disks of the machine: the space of each, as `df` says it.

Network filesystems are never asked: they may hang.
"""

from __future__ import annotations

import functools
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from otel_llmon.errors import NoDataError
from otel_llmon.metering import Told
from otel_llmon.observers.reading import LINUX, Group, psutil
from otel_llmon.semconv import host as rows
from otel_llmon.semconv.attributes import (
    SYSTEM_DEVICE,
    SYSTEM_FILESYSTEM_STATE,
    SYSTEM_FILESYSTEM_TYPE,
    SYSTEM_MOUNTPOINT,
)

LOOK_AGAIN = 60.0
"""Seconds after which the list of what is mounted is read again."""

_FULL_BY_NATURE = ("squashfs", "iso9660", "erofs", "udf")
_WITHOUT_DEVICE = ("zfs", "overlay")


@dataclass(frozen=True, slots=True)
class Filesystem:
    """Bytes of one filesystem by state, which add up to all there is."""

    mountpoint: str
    device: str
    type: str
    usage: Mapping[str, int]

    @property
    def utilization(self) -> float:
        """Return the share that is used of what programs may use, as `df` does: what is reserved is not to be had."""
        return self.usage["used"] / (self.usage["used"] + self.usage["free"] or 1)


def watch(
    proc: str = "/proc", *, linux: bool = LINUX, clock: Callable[[], float] = time.monotonic
) -> Group[tuple[Filesystem, ...]]:
    """Return the group of the filesystems; one that vanishes is left out."""
    mounted: list[tuple[str, str, str]] = []
    looked = float("-inf")

    def read() -> tuple[Filesystem, ...]:
        nonlocal looked
        if clock() - looked > LOOK_AGAIN:
            looked = clock()
            mounted[:] = local(Path(proc, "self/mounts").read_text("utf-8", "replace")) if linux else _foreign()
        found = tuple(one for where in mounted if (one := _asked(*where)) is not None)
        if not found:
            raise NoDataError("no filesystems")
        return found

    return Group((rows.FILESYSTEM_USAGE, rows.FILESYSTEM_UTILIZATION), read, _tell)


def local(mounts: str) -> list[tuple[str, str, str]]:
    """Return device, mount point and type of what lies on disks here, each device once; the root comes first."""
    found: dict[str, tuple[str, str, str]] = {}
    for line in filter(None, mounts.split("\n")):  # a name may hold what else ends a line
        device, place, kind = (_unescaped(word) for word in (*line.split(" "), "", "")[:3])
        counts = device.startswith("/dev/") or kind == "zfs" or (kind in _WITHOUT_DEVICE and place == "/")
        if not counts or kind in _FULL_BY_NATURE or not os.path.isdir(place):  # noqa: PTH112  # a Path's raises where it may not look
            continue
        if device not in found or len(place) < len(found[device][1]):
            found[device] = device, place, kind
    return sorted(found.values(), key=lambda one: one[1])


def _unescaped(word: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), word)


def _asked(device: str, place: str, kind: str) -> Filesystem | None:
    try:
        if not hasattr(os, "statvfs"):
            usage = psutil().disk_usage(place)
            return Filesystem(place, device, kind, {"used": usage.used, "free": usage.free})
        said = os.statvfs(place)
    except OSError:  # unmounted since the list was read
        return None
    size = said.f_frsize
    states = {
        "used": (said.f_blocks - said.f_bfree) * size,
        "free": said.f_bavail * size,
        "reserved": (said.f_bfree - said.f_bavail) * size,
    }
    return Filesystem(place, device, kind, states) if said.f_blocks else None


def _foreign() -> list[tuple[str, str, str]]:
    return [(one.device, one.mountpoint, one.fstype) for one in psutil().disk_partitions(all=False)]


def _tell(filesystems: tuple[Filesystem, ...]) -> Iterator[Told]:
    for one in filesystems:
        keys = _keys(one.device, one.mountpoint, one.type)
        for state, size in one.usage.items():
            yield rows.FILESYSTEM_USAGE, size, keys[state]
        yield rows.FILESYSTEM_UTILIZATION, one.utilization, keys["used"]


@functools.lru_cache(maxsize=1024)
def _keys(device: str, place: str, kind: str) -> Mapping[str, Mapping[str, str]]:
    """Return the attributes of a filesystem's numbers, by state."""
    where = {SYSTEM_DEVICE: device, SYSTEM_MOUNTPOINT: place, SYSTEM_FILESYSTEM_TYPE: kind}
    return {state: {SYSTEM_FILESYSTEM_STATE: state, **where} for state in ("used", "free", "reserved")}
