"""Leases: of the processes on one machine that send to one place, one reports a group, until it ends or gives it back.

There is one for each group, so that who reports the memory keeps nobody from reporting the GPUs.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from otel_llmon.semconv.attributes import SERVICE_NAME

if sys.platform != "win32":
    from fcntl import LOCK_EX, LOCK_NB, LOCK_UN, flock

AGAIN = 0.5
"""Seconds after which somebody who did not get it asks again."""

HERE = ("localhost", "0.0.0.0", "::", "::1")  # noqa: S104  # nothing is bound to it
DOORS = (4317, 4318)
"""Ports of OTLP, by gRPC and by HTTP: they lead into the same place."""


class Lease:
    """Held by whoever asked first and has not given it back; where there are no locks, everybody holds it."""

    def __init__(self, name: str, folder: Path | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        digest = hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()[:16]
        user = os.getuid() if hasattr(os, "getuid") else 0
        self.path = (folder or Path(tempfile.gettempdir())) / f"otel-llmon-{user}-{digest}.lock"
        self._name, self._clock = name, clock
        self._lock = threading.Lock()
        self._file = -1
        self._owner = self._asker = 0
        self._asked = float("-inf")
        self._over = False
        _all.add(self)

    @classmethod
    def of(cls, environ: Mapping[str, str], group: str) -> Lease | None:
        """Return this process's lease on a group that one process per machine reports to where metrics are sent.

        None where they are sent nowhere, or nobody can tell where to.
        """
        where = destination(environ)
        if where is None:
            return None
        name = f"{group} {where}"
        return _leases.get(name) or _leases.setdefault(name, cls(name))

    @property
    def ours(self) -> bool:
        """Whether it was this process's when it was asked for last."""
        return sys.platform == "win32" or self._owner == os.getpid()

    def held(self) -> bool:
        """Take the lease if nobody has it; return whether it is this process's."""
        with self._lock:
            return not self._over and (self.ours or self._taken())  # on Windows, each process counts for itself

    def _taken(self) -> bool:
        if sys.platform == "win32" or (self._asker == os.getpid() and self._clock() - self._asked < AGAIN):
            return False
        self._asker, self._asked = os.getpid(), self._clock()
        self._close()
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

    def give_back(self) -> None:
        """Let another process have it for good: this one reports no more, whatever a thread of its own is about."""
        with self._lock:
            self._over = True
            self._close()
        _leases.pop(self._name, None)

    def after_fork(self) -> None:
        """Close what a child took over: it may live on without ever asking, and would keep its parent's lock alive."""
        self._lock = threading.Lock()
        self._close()

    def _close(self) -> None:
        if self._file >= 0:
            if sys.platform != "win32" and self._owner == os.getpid():
                flock(self._file, LOCK_UN)  # a child that was forked a moment ago may not have closed its own yet
            os.close(self._file)
        self._file, self._owner = -1, 0


def destination(environ: Mapping[str, str]) -> str | None:
    """Return where metrics are sent, alike however it is written; None where nowhere, or nobody can tell.

    Where nothing says it, it is the service's own affair: programs of one name share it, those without are strangers.
    """
    exporters = {name.strip().lower() for name in environ.get("OTEL_METRICS_EXPORTER", "").split(",")} - {""}
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true" or (
        exporters and exporters <= {"none", "console"}
    ):
        return None
    by_otlp = any(name.startswith("otlp") for name in exporters)
    names = ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
    url = next((environ[name] for name in names if environ.get(name)), "http://localhost:4318" if by_otlp else None)
    if url is not None and (by_otlp or not exporters):
        return _place(url)
    service = environ.get("OTEL_SERVICE_NAME") or _named(environ.get("OTEL_RESOURCE_ATTRIBUTES", ""))
    return f"service {service}" if service else None


def _place(url: str) -> str:
    """Return a URL without what makes no difference: how it is spoken, and how this machine is called."""
    try:
        parts = urlsplit(url if "://" in url else f"//{url}")
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return url
    user = parts.netloc.rpartition("@")[0]
    path = parts.path.rstrip("/").removesuffix("/v1/metrics")
    here = host in HERE or host.startswith("127.")
    return f"{user}@{'localhost' if here else host}:{'otlp' if port in DOORS else port}{path}"


def _named(attributes: str) -> str:
    """Return the service's name out of a list of attributes."""
    pairs = (pair.partition("=") for pair in attributes.split(","))
    return next((unquote(value.strip()) for key, _, value in pairs if key.strip() == SERVICE_NAME), "")


_all: weakref.WeakSet[Lease] = weakref.WeakSet()
_leases: dict[str, Lease] = {}


def _after_fork() -> None:
    for lease in list(_all):
        lease.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
