"""A lease: of the processes of one service on one machine, one holds it, and when that ends, the next."""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

if sys.platform != "win32":
    from fcntl import LOCK_EX, LOCK_NB, flock


class Lease:
    """Held by whoever asked first and still lives; where there are no locks, everybody holds it."""

    def __init__(self, name: str, folder: Path | None = None) -> None:
        digest = hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()[:16]
        user = os.getuid() if hasattr(os, "getuid") else 0
        self.path = (folder or Path(tempfile.gettempdir())) / f"otel-llmon-{user}-{digest}.lock"
        self._file = -1
        self._owner = 0

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Lease | None:
        """Return the lease of a service that has a name and sends somewhere; programs without one are strangers."""
        service = environ.get("OTEL_SERVICE_NAME")
        return cls(f"{service} {environ.get('OTEL_EXPORTER_OTLP_ENDPOINT', '')}") if service else None

    def held(self) -> bool:
        """Take the lease if nobody has it; return whether it is this process's."""
        if sys.platform == "win32" or self._owner == os.getpid():  # there, each process counts for itself
            return True
        if self._file >= 0:  # a forked child: its parent's lock is not its own
            os.close(self._file)
            self._file = -1
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
        """Let another process have it."""
        if self._file >= 0 and self._owner == os.getpid():
            os.close(self._file)
        self._file, self._owner = -1, 0
