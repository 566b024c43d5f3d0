"""What ends a viewer, in one line."""

from __future__ import annotations

import sqlite3

from otel_llmon.errors import LlmonError

FULL, IO, CORRUPT, NOT_A_DATABASE, READ_ONLY, CANNOT_OPEN, PERMISSION = 13, 10, 11, 26, 8, 14, 3
"""SQLite's primary result codes that no later attempt puts right."""

_WAYS_OUT = {
    FULL: "the disk is full, free some space or give another folder with --data",
    IO: "cannot be written, check the disk (is it full?) or give another folder with --data",
    CORRUPT: "damaged",
    NOT_A_DATABASE: "damaged",
    READ_ONLY: "cannot be written, check its permissions or give another folder with --data",
    CANNOT_OPEN: "cannot be opened, check its permissions or give another folder with --data",
    PERMISSION: "cannot be opened, check its permissions or give another folder with --data",
}


class ViewerError(LlmonError):
    """The viewer cannot start, or cannot go on."""


def code(exc: sqlite3.Error) -> int:
    """Return SQLite's primary result code, 0 where Python gives none."""
    return int(getattr(exc, "sqlite_errorcode", 0) or 0) & 0xFF


def is_final(exc: sqlite3.Error) -> bool:
    """Tell whether the database will not take anything any more."""
    return code(exc) in _WAYS_OUT


def is_damage(exc: sqlite3.Error) -> bool:
    """Tell whether the file is no sound database."""
    return code(exc) in (CORRUPT, NOT_A_DATABASE)


def in_words(path: object, exc: sqlite3.Error) -> str:
    """Return what a person can do about it."""
    return f"{path}: {_WAYS_OUT.get(code(exc), str(exc))}"
