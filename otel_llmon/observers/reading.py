"""What observers of the machine, the process and the container read with: kept files, windows of time, and groups."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Generic, Protocol, TypeVar

from otel_llmon.metering import Told
from otel_llmon.probes.files import Kept
from otel_llmon.semconv import Metric

LINUX = sys.platform == "linux"
SHORTEST = 1.0
"""Seconds that a window has at least: the kernel counts CPU time in steps of 10 ms, which in less are most of it."""

State = TypeVar("State")


def all_told(metrics: Iterable[Metric], values: Iterable[float], attributes: Iterable[Mapping[str, Any]]) -> list[Told]:
    """Return each metric with the value and the attributes beside it, as far as there are values."""
    return list(zip(metrics, values, attributes, strict=False))


class File:
    """A file or folder of /proc or /sys that is read again and again: opened once, and anew in a forked child."""

    def __init__(self, path: str | os.PathLike[str], size: int = 4096) -> None:
        self.path = os.fspath(path)
        self._size = size
        self._kept: Kept | None = None
        self._owner = 0

    def read(self) -> bytes:
        """Return all of it."""
        kept = self._open()
        found = kept.read(self._size)
        while len(found) == self._size:
            self._size *= 2
            found = kept.read(self._size)
        if not found:  # what a kernel tells is never nothing: this descriptor is another's by now
            raise ValueError(f"{self.path}: empty")
        return found

    def stat(self) -> os.stat_result:
        """Return what the kernel says of it, of a folder too."""
        return self._open().stat()

    def _open(self) -> Kept:
        """Return the open file. What /proc/self opens is the opener's, not a child's."""
        if self._kept is None or self._owner != os.getpid():
            self.forget()
            self._kept, self._owner = Kept(self.path), os.getpid()
        return self._kept

    def forget(self) -> None:
        """Open it again at the next reading, as when a program has closed a descriptor that it did not know."""
        kept, self._kept = self._kept, None
        if kept is not None:
            kept.close()


class Window:
    """How much counters have grown lately: since the newest reading before this one that is at least a second old."""

    def __init__(self, size: int, clock: Callable[[], float] = time.monotonic, began: float | None = None) -> None:
        self._clock, self._size = clock, size
        self._kept: list[tuple[float, Sequence[float]]] = [] if began is None else [(began, (0.0,) * size)]

    def since(self, values: Sequence[float]) -> tuple[float, list[float]]:
        """Return the seconds of the window, and by how much each value grew.

        At first that is since `began`, when all of them were nothing; where that is not known, nothing in no time.
        """
        now = self._clock()
        while len(self._kept) > 1 and now - self._kept[1][0] >= SHORTEST:
            del self._kept[0]
        if not self._kept:
            self._kept.append((now, values))
        began, before = self._kept[0]
        if now - self._kept[-1][0] >= SHORTEST:
            self._kept.append((now, values))
        # a counter of the kernel may step back by a tick (iowait does); what went back was not used
        return now - began, [max(value - old, 0.0) for value, old in zip(values, before, strict=True)]


class _Forgets(Protocol):
    def forget(self) -> None:
        """Open again at the next reading."""


class Group(Generic[State]):
    """A part of an observer: what it reads is told as readings, and is a frozen dataclass for whoever asks.

    `read` returns that dataclass, or numbers that `shape` makes one of: a beat needs none, and they cost a microsecond.
    """

    def __init__(
        self,
        rows: Iterable[Metric],
        read: Callable[[], Any],
        tell: Callable[[Any], Iterable[Told]],
        files: Iterable[_Forgets] = (),
        shape: Callable[[Any], State] | None = None,
    ) -> None:
        self.rows = tuple(rows)
        self._read, self._tell, self._files, self._shape = read, tell, tuple(files), shape
        self._last: Any = None

    @property
    def last(self) -> State | None:
        """Return what was read last; None where that failed."""
        last = self._last
        return last if self._shape is None or last is None else self._shape(last)

    def read(self) -> State:
        """Read now; where that fails, once more from files that are opened again."""
        self._look()
        return self.last  # type: ignore[return-value]  # it is there, or that raised

    def _look(self) -> Any:
        self._last = None
        try:
            found = self._read()
        except (OSError, ValueError, LookupError):
            if not self._files:
                raise
            for file in self._files:
                file.forget()
            found = self._read()
        self._last = found
        return found

    def __call__(self) -> Iterable[Told]:
        """Read now, and tell what was read."""
        return self._tell(self._look())


def psutil() -> Any:
    """Return psutil, loaded by whoever attaches: a child forked amid an import in another thread never sees its end."""
    import psutil

    return psutil
