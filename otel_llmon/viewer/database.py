"""The file: a folder of its own, locked against a second viewer, set aside when it is damaged or of another schema."""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from queue import Empty, LifoQueue
from urllib.parse import quote

from otel_llmon.errors import reason
from otel_llmon.viewer import schema
from otel_llmon.viewer.errors import ViewerError, in_words, is_damage

_log = logging.getLogger("otel_llmon")
_READERS = 8
"""Connections kept for queries; more are opened when needed, and closed."""


def default_folder(environ: dict[str, str] | os._Environ[str] = os.environ) -> Path:
    """Return `llmon` in the folder where programs keep their state."""
    state = environ.get("XDG_STATE_HOME", "")
    return (Path(state) if Path(state).is_absolute() else Path.home() / ".local" / "state") / "llmon"


class Database:
    """One file of ours in `folder`. Raises ViewerError where there can be none."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "viewer.db"
        self._readers: LifoQueue[sqlite3.Connection] = LifoQueue(_READERS)
        self._lock = _locked(_made(folder))
        try:
            self._prepare()
            self._identity = self._found()
        except BaseException:
            self._lock.close()
            raise

    def _prepare(self) -> None:
        try:
            if found := self._unusable():
                aside = self.set_aside()
                _log.warning("%s: %s, set aside as %s; going on with an empty one", self.path, found, aside.name)
            self._create()
        except sqlite3.Error as exc:
            raise ViewerError(in_words(self.path, exc)) from exc
        except OSError as exc:
            raise ViewerError(f"{self.path}: {reason(exc)}, give another folder with --data") from exc

    def _unusable(self) -> str:
        """Return why the file that is there cannot be used, or nothing."""
        if not self.path.exists() or not self.path.stat().st_size:
            return ""
        self.path.chmod(0o600)
        try:
            with closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
                [application] = connection.execute("PRAGMA application_id").fetchone()
                [version] = connection.execute("PRAGMA user_version").fetchone()
                if (application, version) != (schema.APPLICATION, schema.VERSION):
                    return f"schema {version}, expected {schema.VERSION}" if application else "not made by llmon"
                for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
                    connection.execute(f'SELECT * FROM "{table}" LIMIT 1').fetchall()  # noqa: S608  # its own names
                connection.execute("SELECT value FROM totals WHERE name = 'spans'").fetchone()
        except sqlite3.DatabaseError as exc:
            if is_damage(exc) or "no such table" in str(exc):
                return "damaged"
            raise
        return ""

    def _create(self) -> None:
        # made by us first: SQLite gives its journals the file's mode
        os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))
        with closing(self.writer()) as connection:
            [version] = connection.execute("PRAGMA user_version").fetchone()
            if version != schema.VERSION:
                connection.executescript(
                    f"BEGIN; {schema.TABLES} PRAGMA application_id = {schema.APPLICATION};"
                    f" PRAGMA user_version = {schema.VERSION}; COMMIT;"
                )

    def set_aside(self) -> Path:
        """Rename the file, so that a new one can take its place; return the new name."""
        stamp = datetime.now().astimezone().strftime("%Y%m%dT%H%M%S.%f")
        aside = self.path.with_name(f"viewer-{stamp}.db")
        for end in ("", "-wal", "-shm"):
            beside = self.path.with_name(self.path.name + end)
            if beside.exists():
                beside.rename(aside.with_name(aside.name + end))
        return aside

    def writer(self) -> sqlite3.Connection:
        """Return a connection that writes; there is to be one at a time."""
        connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, timeout=5)
        for pragma in (
            "auto_vacuum = INCREMENTAL",
            "journal_mode = WAL",
            "synchronous = NORMAL",  # what is committed survives the end of the process, however it comes
            "wal_autocheckpoint = 4000",
            "journal_size_limit = 67108864",
            "cache_size = -24000",
            "temp_store = MEMORY",
        ):
            connection.execute(f"PRAGMA {pragma}")
        return connection

    @contextmanager
    def reader(self) -> Iterator[sqlite3.Connection]:
        """Give a connection that reads, in one unchanging view of the data."""
        try:
            connection = self._readers.get_nowait()
        except Empty:
            connection = sqlite3.connect(
                f"file:{quote(str(self.path))}?mode=ro", uri=True, isolation_level=None, check_same_thread=False
            )
            connection.execute("PRAGMA cache_size = -2000")
        try:
            connection.execute("BEGIN")
            yield connection
            connection.execute("COMMIT")
        except BaseException:
            connection.close()
            raise
        if self._readers.full():
            connection.close()
        else:
            self._readers.put(connection)

    def _found(self) -> tuple[int, int] | None:
        try:
            facts = self.path.stat()
        except OSError:
            return None
        return facts.st_dev, facts.st_ino

    def verify(self) -> None:
        """Raise ViewerError where the file is no longer at its path: what is written then is gone with the process."""
        if self._found() != self._identity:
            raise ViewerError(f"{self.path}: removed while it was in use, start again")

    def bytes(self) -> int:
        """Return the size of the file and its journal."""
        files = (self.path, self.path.with_name(self.path.name + "-wal"))
        return sum(file.stat().st_size for file in files if file.exists())

    def close(self) -> None:
        """Close what queries used, and let another viewer in."""
        while not self._readers.empty():
            self._readers.get().close()
        self._lock.close()


def _made(folder: Path) -> Path:
    try:
        if not folder.exists():
            folder.mkdir(0o700, parents=True)
            folder.chmod(0o700)  # whatever the umask
    except OSError as exc:
        raise ViewerError(f"{folder}: {reason(exc)}, give another folder with --data") from exc
    return folder


def _locked(folder: Path) -> sqlite3.Connection:
    """Hold a lock that ends with the process, however it ends, on every system that SQLite knows."""
    file = folder / "viewer.lock"
    try:
        os.close(os.open(file, os.O_CREAT | os.O_RDWR, 0o600))
        connection = sqlite3.connect(file, isolation_level=None, check_same_thread=False, timeout=0)
        connection.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError as exc:
        if "locked" in str(exc):
            raise ViewerError(f"{folder}: another viewer uses it, stop that one or give another with --data") from exc
        raise ViewerError(in_words(file, exc)) from exc
    except sqlite3.Error as exc:
        raise ViewerError(in_words(file, exc)) from exc
    except OSError as exc:
        raise ViewerError(f"{folder}: {reason(exc)}, give another folder with --data") from exc
    return connection
