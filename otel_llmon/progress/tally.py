"""Sums that many threads add to without waiting for each other, and without losing anything."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from operator import length_hint
from typing import Any, NoReturn

MOST = 1024
"""How many updates may pass until somebody looks up."""

_gil: Callable[[], bool] = getattr(sys, "_is_gil_enabled", lambda: True)


class Tally:
    """Adds up numbers: `tick()` counts one, `adds.append(n)` counts n.

    Either is a single step of the interpreter, between whose parts no other thread comes. Where one raises
    StopIteration it did not count, and where more than `most` numbers wait somebody is to look up: then `add()` counts
    under a lock, and `allow()` says how many updates may pass until the next time. On builds without the GIL every
    update goes that way.
    """

    __slots__ = ("_base", "_lock", "_size", "_steps", "adds", "most", "tick")

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._base: float = 0
        self._size = 0
        self._steps: Iterator[int] = iter(range(0))
        self.tick: Callable[[], object] = self._steps.__next__
        self.adds: Any = []
        self.most = -1

    def add(self, number: float) -> None:
        """Count any number."""
        with self._lock:
            self._base += number

    def allow(self, ticks: int) -> None:
        """Let so many updates pass, where none is left."""
        with self._lock:
            self._drain()
            ticks = ticks if _gil() else 0
            self.most = ticks - 1
            if self.tick is not _nothing and not length_hint(self._steps):
                self._base += self._size
                self._size = ticks
                self._steps = iter(range(self._size))
                self.tick = self._steps.__next__

    def close(self) -> None:
        """Let nothing pass any more; `add()` still counts."""
        with self._lock:
            self._drain()
            self._base += self._stepped()
            self._size, self._steps = 0, iter(range(0))
            self._shut()

    def hand_over(self) -> None:
        """Let nothing pass, with another lock: in a forked child a thread of the parent may seem to hold this one."""
        self._lock = threading.RLock()
        self._shut()

    def read(self) -> float:
        """Return the sum."""
        with self._lock:
            self._drain()
            return self._base + self._stepped()

    def _shut(self) -> None:
        self.tick, self.adds = _nothing, _Closed()

    def _stepped(self) -> int:
        return self._size - length_hint(self._steps)

    def _drain(self) -> None:
        """Add up what waits; what comes meanwhile does not keep us here."""
        many = len(self.adds)
        if many:
            self._base += sum(self.adds[:many])
            del self.adds[:many]


class _Closed:
    """Takes nothing."""

    def __len__(self) -> int:
        return 0

    def append(self, _: object) -> NoReturn:
        raise StopIteration


def _nothing() -> NoReturn:
    raise StopIteration
