"""A lease: of the processes on one machine that send to one place, one holds it, and when that ends, the next."""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

if sys.platform != "win32":
    from fcntl import LOCK_EX, LOCK_NB, LOCK_UN, flock

AGAIN = 0.5
"""Seconds after which somebody who did not get it asks again."""


class Lease:
    """Held by whoever asked first and still lives; where there are no locks, everybody holds it."""

    def __init__(self, name: str, folder: Path | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        digest = hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()[:16]
        user = os.getuid() if hasattr(os, "getuid") else 0
        self.path = (folder or Path(tempfile.gettempdir())) / f"otel-llmon-{user}-{digest}.lock"
        self._clock = clock
        self._file = -1
        self._owner = self._asker = 0
        self._asked = float("-inf")
        _all.append(self)

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Lease | None:
        """Return this process's lease on what one process per machine reports to where metrics are sent.

        Where nothing says where that is, those of one service share one; programs without a name are strangers.
        """
        names = ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_SERVICE_NAME")
        where = next((environ[name].rstrip("/") for name in names if environ.get(name)), None)
        if where is None:
            return None
        if where not in _leases:
            _leases[where] = cls(f"machine {where}")
        return _leases[where]

    @property
    def ours(self) -> bool:
        """Whether it was this process's when it was asked for last."""
        return sys.platform == "win32" or self._owner == os.getpid()

    def held(self) -> bool:
        """Take the lease if nobody has it; return whether it is this process's."""
        if sys.platform == "win32" or self._owner == os.getpid():  # there, each process counts for itself
            return True
        if self._asker == os.getpid() and self._clock() - self._asked < AGAIN:
            return False
        self._asker, self._asked = os.getpid(), self._clock()
        self.release()
        try:
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError:
            return True
        try:
            flock(self._file, LOCK_EX | LOCK_NB)
        except OSError:
            os.close(self._file)
            self._file = -1
            return False
        self._owner = os.getpid()
        return True

    def release(self) -> None:
        """Let another process have it. A forked child closes what it took over: its parent's lock is not its own."""
        if self._file >= 0:
            if sys.platform != "win32" and self._owner == os.getpid():
                flock(self._file, LOCK_UN)  # a child that was forked a moment ago may not have closed its own yet
            os.close(self._file)
        self._file, self._owner = -1, 0


_all: list[Lease] = []
_leases: dict[str, Lease] = {}


def _after_fork() -> None:
    """Close what a child took over at once: it may live on without ever asking, and would keep the lock alive."""
    for lease in _all:
        lease.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
