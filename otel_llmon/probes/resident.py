"""How much physical memory this process has, and had at most: exact where the kernel's mark can be reset."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable
from typing import Any, Protocol

from otel_llmon.errors import NoDataError
from otel_llmon.probes.files import Kept


class Resident(Protocol):
    """Physical memory in bytes. Nothing here is safe to call from two threads at once."""

    exact: bool
    """Whether the mark is reset; where not, it only tells of new records."""
    record: int
    """The highest that was ever seen, where it is not exact."""

    def now(self) -> int:
        """Return what there is now."""

    def high(self, now: int) -> int:
        """Return the highest since the reset, as far as it can be known; `now` is what there is now."""

    @property
    def close(self) -> Callable[[], None]:
        """Let go of what is open."""

    def reset(self) -> None:
        """Forget how high it was."""


class Resettable:
    """Linux: `clear_refs` takes VmHWM down to what is resident now.

    VmHWM stands in a page that is slow to make. getrusage() gives the same mark in a tenth of the time, but never less
    than the mark of the program that called exec() to become this one. So it is believed where it is above the lowest
    that it has been seen at, or where no more than that is there now; otherwise the page is read.
    """

    exact = True
    record = 0

    def __init__(self, proc: str, usage: Callable[[], int]) -> None:
        self._clear = Kept(f"{proc}/self/clear_refs", os.O_WRONLY)  # first: it is the one that may not be had
        self._statm = Kept(f"{proc}/self/statm")
        self._status = Kept(f"{proc}/self/status")
        self._usage = usage
        self._floor: float = math.inf
        self._page = os.sysconf("SC_PAGE_SIZE")
        self.reset()

    def now(self) -> int:
        """Return what there is now."""
        return int(self._statm.read(64).split(None, 2)[1]) * self._page

    def high(self, now: int) -> int:
        """Return the highest since the reset."""
        high = self._usage()
        if high <= now:
            return now
        if high > self._floor:
            return high
        self._floor = high
        return told(self._status)[1]

    def reset(self) -> None:
        """Forget how high it was."""
        self._clear.write(b"5")

    def close(self) -> None:
        """Close the files."""
        for file in (self._clear, self._statm, self._status):
            file.close()


class Rising:
    """Elsewhere the mark only rises: a new record is a peak, and else the highest that was read has to do."""

    exact = False

    def __init__(self, read: Callable[[], tuple[int, int]], close: Callable[[], None] = lambda: None) -> None:
        self.close = close
        self._read = read
        self.record = read()[1]

    def now(self) -> int:
        """Return what there is now."""
        return self._read()[0]

    def high(self, now: int) -> int:
        """Return the new record, or what there is now."""
        record = self._read()[1]
        if record > self.record:
            self.record = record
            return record
        return now

    def reset(self) -> None:
        """Count records from here on."""
        self.record = self._read()[1]


def told(status: Kept) -> tuple[int, int]:
    """Return VmRSS and VmHWM, in bytes."""
    page = status.read(4096)
    fields = page[page.index(b"VmHWM:") :][:64].split()
    if fields[3] != b"VmRSS:":
        raise ValueError(f"found {fields[3]!r} after VmHWM, expected VmRSS")
    return int(fields[4]) * 1024, int(fields[1]) * 1024


def resident(proc: str = "/proc", platform: str = sys.platform) -> Resident:
    """Return the best source that there is here; raises NoDataError where there is none."""
    if not platform.startswith("linux"):
        return Rising(_psutil())
    from resource import RUSAGE_SELF, getrusage

    try:
        return Resettable(proc, lambda: getrusage(RUSAGE_SELF).ru_maxrss * 1024)
    except OSError:  # an old kernel, or a container's that lets nobody write there
        status = Kept(f"{proc}/self/status")
        return Rising(lambda: told(status), status.close)


def _psutil() -> Callable[[], tuple[int, int]]:
    import psutil

    process = psutil.Process()

    def on_windows() -> tuple[int, int]:
        memory: Any = process.memory_info()
        return memory.rss, memory.peak_wset

    if hasattr(process.memory_info(), "peak_wset"):
        return on_windows
    try:
        from resource import RUSAGE_SELF, getrusage
    except ImportError as exc:
        raise NoDataError("this system tells no peak of memory") from exc
    unit = 1 if sys.platform == "darwin" else 1024
    return lambda: (process.memory_info().rss, getrusage(RUSAGE_SELF).ru_maxrss * unit)
