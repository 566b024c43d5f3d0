"""How fast a loop is now, and when it is to say so."""

from __future__ import annotations

import re
from collections import deque
from typing import TYPE_CHECKING, Self

from otel_llmon.metering import values

if TYPE_CHECKING:
    from datetime import timedelta

WINDOW = 30.0
"""Seconds that the pace is taken over, or longer where that holds few items."""
FEW = 10
GAP = 0.01
"""Seconds between two log records, at least."""
NEVER = 2**63
"""Items that no loop comes to."""
APART = 1.0
"""Seconds between two marks."""
_WANTED = "expected a number of items, or a time such as '30s' or '5min'"
_UNITS = {"s": 1.0, "min": 60.0, "h": 3600.0}


class Pace:
    """Items per second of late."""

    __slots__ = ("_first", "_marks")

    def __init__(self, done: float) -> None:
        self._first = done
        self._marks = deque([(0.0, done)])

    def note(self, active: float, done: float) -> bool:
        """Note how far the loop is; return whether it got on since the last time."""
        marks, last = self._marks, self._marks[-1]
        if done < last[1]:
            marks.clear()
        if not marks or done > last[1]:
            if len(marks) > 1 and last[0] - marks[-2][0] < APART:
                marks.pop()
            marks.append((active, done))
            while len(marks) > 2 and marks[1][0] <= active - WINDOW and done - marks[1][1] >= FEW:
                marks.popleft()
            return True
        return False

    def rate(self, active: float, done: float, *, over: bool) -> float | None:
        """Return items per second of late, or of the whole run where that is over; None while nothing is known."""
        since, before = (0.0, self._first) if over else self._marks[0]
        return (done - before) / (active - since) if active > since and done > before else None


class Every:
    """When to speak: every so many items, or every so many seconds."""

    __slots__ = ("_items", "_next", "_seconds", "_told")

    def __init__(self, items: int | None, seconds: float | None) -> None:
        self._items = items
        self._seconds = seconds
        self._told = self._next = 0.0

    @classmethod
    def of(cls, every: int | str | timedelta) -> Self | None:
        """Return it for a number of items, or a time like `30s` or `5min`; None where that is not above 0.

        Raise ValueError or TypeError for what is neither.
        """
        if isinstance(every, int) and not isinstance(every, bool):
            return cls(min(every, NEVER), None) if every > 0 else None
        if hasattr(every, "total_seconds"):
            seconds = every.total_seconds()
        elif isinstance(every, str):
            found = re.fullmatch(r"(\d+(?:\.\d+)?) ?(s|min|h)", every.strip())
            if found is None:
                raise ValueError(f"every={values.shown(every)}: {_WANTED}")
            seconds = float(found[1]) * _UNITS[found[2]]
        else:
            raise TypeError(f"every={values.shown(every)}: {_WANTED}")
        return cls(None, seconds) if seconds > 0 else None

    def afresh(self) -> Self:
        """Return the same for another loop."""
        return type(self)(self._items, self._seconds)

    def begin(self, now: float, done: float) -> None:
        """Count from here on."""
        self._told = done
        self._next = now + (self._seconds or 0.0)

    def limit(self, size: int, done: float) -> int:
        """Return how many items may pass, so that the next moment to speak is not missed."""
        return size if self._items is None else max(min(size, int(self._items - done % self._items)), 1)

    def due(self, now: float, done: float) -> bool:
        """Return whether it is time to speak, once for each time."""
        if self._items is not None:
            due = done // self._items > self._told // self._items
            self._told = max(done, self._told)
            if not due:
                return False
        if now < self._next:
            return False
        self._next = now + (self._seconds or GAP)
        return True
