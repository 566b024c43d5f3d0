"""The embedded viewer: takes OTLP, keeps it in one file, shows it in a browser. `llmon view` runs it.

Nothing here is loaded by `import otel_llmon`.
"""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from otel_llmon.viewer import retention, schema
from otel_llmon.viewer.app import App
from otel_llmon.viewer.database import default_folder
from otel_llmon.viewer.errors import ViewerError
from otel_llmon.viewer.intake import Intake
from otel_llmon.viewer.receiver import Receiver
from otel_llmon.viewer.retention import Limits
from otel_llmon.viewer.store import Store
from otel_llmon.viewer.tee import Tee

__all__ = ["Limits", "Viewer", "ViewerError"]

Address = tuple[str, int]


class Viewer:
    """Runs as long as its `with` lasts: OTLP/HTTP at `otlp`, the page at `page`; port 0 means any that is free.

    Entering raises ViewerError where a port is taken, the folder cannot be written or another viewer uses it.
    """

    def __init__(  # noqa: PLR0913, PLR0917  # an option each
        self,
        data: str | os.PathLike[str] | None = None,
        otlp: Address = ("127.0.0.1", 4318),
        page: Address = ("127.0.0.1", 4319),
        tee: str | None = None,
        limits: Limits = retention.DEFAULT,
        intake: Intake | None = None,
    ) -> None:
        self.folder = Path(data) if data is not None else default_folder()
        self._otlp = otlp
        self._page = page
        self._tee_url = tee
        self._limits = limits
        self._intake = intake or Intake()
        self._closers: list[Any] = []
        self._ended = threading.Event()
        self._why = ""

    def __enter__(self) -> Self:
        from importlib.metadata import version

        self._version = version("otel-llmon")
        self._started = time.time_ns()
        try:
            self._open()
        except BaseException:
            self._close()
            raise
        return self

    def _open(self) -> None:
        self._store = Store(self.folder, self._limits, self._fail)
        self._closers.append(self._store.close)
        self._tee = Tee(self._tee_url) if self._tee_url else None
        if self._tee is not None:
            self._closers.append(self._tee.close)
        self._app = App(self._page, self._store, self.status)
        self._closers.append(self._app.stop)
        self._receiver = Receiver(self._otlp, self._store, self._intake, self._tee)
        self._closers.append(self._receiver.stop)
        self.otlp_url, self.page_url = self._receiver.url, self._app.url
        self._app.is_whole = lambda: not self._why
        if self._tee is not None and urlsplit(self._tee.url).netloc == urlsplit(self.otlp_url).netloc:
            raise ViewerError(f"--tee {self._tee.url}: is this viewer itself, give a Collector's address")
        self._receiver.start()
        self._app.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace_back: TracebackType | None
    ) -> None:
        self._close()

    def _close(self) -> None:
        """Take nothing more, answer what is under way, commit it, close: in the reverse order of opening."""
        while self._closers:
            self._closers.pop()()

    def _fail(self, why: str) -> None:
        self._why = why
        self._ended.set()

    def wait(self) -> None:
        """Wait for the day when nothing can be kept any more, and raise ViewerError then."""
        while not self._ended.wait(0.5):
            pass  # a signal that comes just before a wait without an end would not be noticed in it
        raise ViewerError(self._why)

    def status(self) -> dict[str, Any]:
        """Return what `/api/status` says."""
        return {
            "version": self._version,
            "schema": schema.VERSION,
            "otlp_url": self.otlp_url,
            "page_url": self.page_url,
            "started": str(self._started),
            **self._store.totals(),
            "queue": {"waiting": self._intake.waiting, "capacity": self._intake.capacity},
            "database": {"bytes": self._store.database.bytes(), "path": str(self._store.database.path)},
            **({"tee": self._tee.facts()} if self._tee is not None else {}),
        }
