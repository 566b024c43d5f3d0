"""The store: one thread writes, in commits that take all that waits; who hands a batch over hears when it is safe."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from otel_llmon.viewer import retention
from otel_llmon.viewer.database import Database
from otel_llmon.viewer.errors import ViewerError, in_words, is_damage, is_final
from otel_llmon.viewer.inserting import Inserter
from otel_llmon.viewer.records import Taken
from otel_llmon.viewer.retention import Limits, Retention

_OF_THE_BATCH = (sqlite3.ProgrammingError, sqlite3.InterfaceError, sqlite3.IntegrityError, sqlite3.DataError)
"""What SQLite raises of values, where all else is of the file."""


class StoreError(Exception):
    """A batch was not kept; it may be sent again."""


class UnfitError(StoreError):
    """A batch cannot be kept, however often it is sent."""


@dataclass(eq=False, slots=True)
class Batch:
    """A request on its way into the database."""

    signal: str
    taken: Taken
    digest: bytes
    done: threading.Event = field(default_factory=threading.Event)
    error: StoreError | None = None


class Store:
    """What arrived, in a file in `folder`. Raises ViewerError where there can be none.

    `failed` is called once, from the writer's thread, with a line that says why nothing can be kept any more.
    """

    def __init__(
        self,
        folder: Path,
        limits: Limits = retention.DEFAULT,
        failed: Callable[[str], None] = lambda _: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.database = Database(folder)
        self._failed = failed
        self._clock = clock
        self._waiting: deque[Batch] = deque()
        self._something = threading.Condition()
        self._committed = threading.Condition()
        self._version = 0
        self._open = True
        self._why = "the viewer is closing"
        self._connection = self.database.writer()
        self._inserter = Inserter(self._connection)
        self._retention = Retention(self._inserter, limits)
        self._thread = threading.Thread(target=self._run, name="llmon-viewer-writer", daemon=True)
        self._thread.start()

    def put(self, signal: str, taken: Taken, digest: bytes) -> None:
        """Keep a batch; return when it is committed. Raises StoreError, or UnfitError, where it is not."""
        batch = Batch(signal, taken, digest)
        with self._something:
            if not self._open:
                raise StoreError(self._why)
            self._waiting.append(batch)
            self._something.notify()
        batch.done.wait()
        if batch.error is not None:
            raise batch.error

    @property
    def is_open(self) -> bool:
        """Whether batches are taken."""
        return self._open

    def totals(self) -> Mapping[str, int]:
        """Return how many spans, logs, points and traces there are, and how many records were refused."""
        return self._inserter.totals

    def wait_for_change(self, seen: int, timeout: float) -> int:
        """Return the number of the last commit, once it is another than `seen` or the time is over."""
        with self._committed:
            self._committed.wait_for(lambda: self._version != seen or not self._open, timeout)
            return self._version

    def close(self) -> None:
        """Commit what waits, and close the file."""
        with self._something:
            self._open = False
            self._something.notify()
        self._thread.join()
        with self._committed:
            self._committed.notify_all()
        self._connection.close()
        self.database.close()

    def _run(self) -> None:
        while (batches := self._next()) is not None:
            try:
                self._write(batches)
                self.database.verify()
                if self._retention.keep(int(self._clock())):
                    self._tell()
            except ViewerError as exc:
                self._give_up(str(exc))
                return
            except sqlite3.Error as exc:
                if is_final(exc):
                    self._give_up(in_words(self.database.path, exc), damaged=is_damage(exc))
                    return
            except Exception as exc:  # a bug of ours: nobody may wait for a thread that is gone
                self._give_up(f"{self.database.path}: {type(exc).__name__}: {exc}")
                return

    def _next(self) -> list[Batch] | None:
        """Wait for batches; nothing after a second without any, None at the end."""
        with self._something:
            self._something.wait_for(lambda: self._waiting or not self._open, 1.0)
            batches = list(self._waiting)
            self._waiting.clear()
            return batches if batches or self._open else None

    def _write(self, batches: list[Batch]) -> None:
        if not batches:
            return
        try:
            self._commit(batches)
        except ViewerError as exc:
            self._dismiss(batches, StoreError(str(exc)))
            raise
        except Exception as exc:
            if isinstance(exc, sqlite3.Error) and not isinstance(exc, _OF_THE_BATCH):
                self._dismiss(batches, StoreError(in_words(self.database.path, exc)))
                raise
            if len(batches) > 1:  # one of them cannot be written: the others need not suffer
                for batch in batches:
                    self._write([batch])
                return
            self._dismiss(batches, UnfitError(f"{type(exc).__name__}: {exc}"))

    def _commit(self, batches: list[Batch]) -> None:
        with self._inserter.transaction(int(self._clock())) as insert:
            for batch in batches:
                insert(batch.signal, batch.taken, batch.digest)
        self.database.verify()
        self._dismiss(batches, None)
        self._tell()

    def _dismiss(self, batches: list[Batch], error: StoreError | None) -> None:
        for batch in batches:
            batch.error = error
            batch.done.set()

    def _tell(self) -> None:
        with self._committed:
            self._version += 1
            self._committed.notify_all()

    def _give_up(self, why: str, *, damaged: bool = False) -> None:
        with self._something:
            self._open, self._why = False, why
            self._dismiss(list(self._waiting), StoreError(why))
            self._waiting.clear()
        if damaged:
            self._connection.close()
            why += f", set aside as {self.database.set_aside().name}, start again"
        self._failed(why)
