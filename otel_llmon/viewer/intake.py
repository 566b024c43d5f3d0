"""How much may be on its way in at once: requests and bytes, so that memory has a bound and a full house says so."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

MAX_BODY = 16 << 20
"""Bytes of a body, as sent and as decompressed; records that say next to nothing take thirty times as much memory."""

STEP = 1 << 20
"""Bytes by which a body grows while it is read and decompressed."""


class FullError(Exception):
    """There is no room now."""


class Intake:
    """Places for `capacity` requests whose bodies are there, and room for `limit` bytes of bodies there or coming.

    One of the largest bodies fits, packed and unpacked.
    """

    def __init__(self, capacity: int = 64, limit: int = 2 * MAX_BODY + STEP, patience: float = 1.0) -> None:
        self.capacity = capacity
        self.limit = limit
        self.waiting = 0
        self._patience = patience
        self._bytes = 0
        self._room = threading.Condition()

    @contextmanager
    def room(self) -> Iterator[Room]:
        """Give room that grows with a body, and is given back at the end."""
        room = Room(self)
        try:
            yield room
        finally:
            self.free(room.held)

    @contextmanager
    def place(self) -> Iterator[None]:
        """Give a place, for which a moment is waited; raises FullError."""
        with self._room:
            if not self._room.wait_for(lambda: self.waiting < self.capacity, self._patience):
                raise FullError
            self.waiting += 1
        try:
            yield
        finally:
            with self._room:
                self.waiting -= 1
                self._room.notify_all()

    def take(self, size: int) -> None:
        """Take room for so many bytes, for which a moment is waited; raises FullError."""
        with self._room:
            if not self._room.wait_for(lambda: self._bytes + size <= self.limit, self._patience):
                raise FullError
            self._bytes += size

    def free(self, size: int) -> None:
        """Give room back."""
        with self._room:
            self._bytes -= size
            self._room.notify_all()


class Room:
    """The bytes that one request holds."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake
        self.held = 0

    def grow(self, size: int) -> None:
        """Take more; raises FullError."""
        self._intake.take(size)
        self.held += size
