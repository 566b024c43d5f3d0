"""Sums that many threads add to without waiting for each other, and without losing anything."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from itertools import repeat
from operator import length_hint

MOST = 1024
"""How many updates may pass until somebody looks up."""

Ones = Iterator[None]
"""Each step that somebody takes counts one."""
Many = tuple[int, Iterator[None]]
"""A number, and an iterator: each step that somebody takes of that counts the number."""

_gil: Callable[[], bool] = getattr(sys, "_is_gil_enabled", lambda: True)


class Tally:
    """Adds up numbers: a step of what `allow()` returned counts the number it is for, `adds.append(n)` counts n.

    Either is a single step of the interpreter, between whose parts no other thread comes. Where no step is left, or
    `most` numbers wait in `adds`, somebody is to look up: then `add()` counts under a lock, and `allow()` says how many
    updates may pass until the next time. On builds without the GIL every update goes that way.
    """

    __slots__ = ("_base", "_closed", "_lock", "_many", "_ones", "adds", "most")

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._base: float = 0
        self._ones = self._many = _NONE
        self._closed = False
        self.adds: list[float] = []
        self.most = 0

    def add(self, number: float) -> None:
        """Count any number."""
        with self._lock:
            self._base += number

    def allow(self, updates: int, number: int = 1) -> tuple[Ones, Many]:
        """Let so many updates by `number` pass; return the steps for ones, and those for another number."""
        with self._lock:
            self._drain()
            if not self._closed:
                self.most = updates if _gil() else 0
                if number == 1:
                    self._ones = self._renewed(self._ones, 1)
                else:
                    self._many = self._renewed(self._many, number)
            return self._ones.left, (self._many.number, self._many.left)

    def close(self) -> None:
        """Let nothing pass any more; `add()` still counts."""
        with self._lock:
            self._closed, self.most = True, 0
            self._ones.end()
            self._many.end()
            self._drain()

    def hand_over(self) -> None:
        """Let nothing pass, with another lock: in a forked child a thread of the parent may seem to hold this one."""
        self._lock = threading.RLock()
        self.close()

    def read(self) -> float:
        """Return the sum."""
        with self._lock:
            self._drain()
            return self._base + self._ones.counted + self._many.counted

    def _renewed(self, steps: _Steps, number: int) -> _Steps:
        """Return steps for `number`: these, where any are left, else new ones."""
        if number == steps.number and length_hint(steps.left):
            return steps
        steps.end()
        self._base += steps.counted
        return _Steps(number, self.most)

    def _drain(self) -> None:
        """Add up what waits; what comes meanwhile does not keep us here."""
        many = len(self.adds)
        if many:
            self._base += sum(self.adds[:many])
            del self.adds[:many]


class _Steps:
    """So many steps, each of which counts a number."""

    __slots__ = ("left", "number", "size")

    def __init__(self, number: int, size: int) -> None:
        self.number = number
        self.size = size
        self.left = repeat(None, size)

    @property
    def counted(self) -> int:
        """What was counted until now."""
        return self.number * (self.size - length_hint(self.left))

    def end(self) -> None:
        """Take the steps that are left: whoever holds them finds none."""
        self.size -= len(list(self.left))


_NONE = _Steps(0, 0)
NO_STEPS: tuple[Ones, Many] = _NONE.left, (0, _NONE.left)
