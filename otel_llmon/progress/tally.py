"""Sums that many threads add to without waiting for each other, and without losing anything."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from itertools import repeat
from operator import length_hint

MOST = 1024
"""How many updates may pass until somebody looks up."""

Steps = tuple[int, Iterator[None]]
"""A number, and an iterator: each step that somebody takes of that counts the number once."""
NO_STEPS: Steps = (0, repeat(None, 0))

_gil: Callable[[], bool] = getattr(sys, "_is_gil_enabled", lambda: True)


class Tally:
    """Adds up numbers: a step of what `allow()` returned counts the number it is for, `adds.append(n)` counts n.

    Either is a single step of the interpreter, between whose parts no other thread comes. Where no step is left, or
    `most` numbers wait in `adds`, somebody is to look up: then `add()` counts under a lock, and `allow()` says how many
    updates may pass until the next time. On builds without the GIL every update goes that way.
    """

    __slots__ = ("_base", "_lock", "_size", "_steps", "adds", "most")

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._base: float = 0
        self._size: int | None = 0
        """How many steps there were; None where there are to be no more."""
        self._steps = NO_STEPS
        self.adds: list[float] = []
        self.most = 0

    def add(self, number: float) -> None:
        """Count any number."""
        with self._lock:
            self._base += number

    def allow(self, updates: int, number: int) -> Steps:
        """Let so many updates pass, and return steps for `number`: those that are left, else new ones."""
        with self._lock:
            self._drain()
            if self._size is None:
                return NO_STEPS
            self.most = updates if _gil() else 0
            amount, steps = self._steps
            if number != amount or not length_hint(steps):
                self._settle()
                self._size = self.most
                self._steps = number, repeat(None, self.most)
            return self._steps

    def close(self) -> None:
        """Let nothing pass any more; `add()` still counts."""
        with self._lock:
            self._settle()
            self._drain()
            self._size, self.most = None, 0

    def hand_over(self) -> None:
        """Let nothing pass, with another lock: in a forked child a thread of the parent may seem to hold this one."""
        self._lock = threading.RLock()
        self.close()

    def read(self) -> float:
        """Return the sum."""
        with self._lock:
            self._drain()
            amount, steps = self._steps
            return self._base + amount * ((self._size or 0) - length_hint(steps))

    def _settle(self) -> None:
        """Take the steps that are left: whoever holds them finds none, and those taken before are added up."""
        amount, steps = self._steps
        left = len(list(steps))
        self._base += amount * ((self._size or 0) - left)
        self._size, self._steps = 0, NO_STEPS

    def _drain(self) -> None:
        """Add up what waits; what comes meanwhile does not keep us here."""
        many = len(self.adds)
        if many:
            self._base += sum(self.adds[:many])
            del self.adds[:many]
