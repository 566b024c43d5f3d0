"""What is kept: nothing past an age, no more than a size, and of a metric's past fewer and fewer points.

Age is the time since a record arrived, not the time that it names: an old recording can be looked at too. A trace is
removed as a whole. Cumulative points and gauges older than an hour are thinned to one a minute, older than a day to one
in ten minutes: the last of each stretch stays, so that no total is lost. Deltas are left, since each counts.
"""

from __future__ import annotations

import math
import sqlite3
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from otel_llmon.viewer.inserting import Inserter

MINUTE, HOUR, DAY = 60, 3600, 86_400

BREATH = 0.25
"""Seconds of removing, after which waiting batches have their turn."""

_SLICE = 100
"""Traces that are removed in one commit, unless they are large; of logs and points, ten times as many."""

_THINNING = ((HOUR, MINUTE), (DAY, 10 * MINUTE))
"""Points older than this many seconds: one in so many seconds."""


class Limits(NamedTuple):
    """At most so many bytes of database, and records at most so many seconds old."""

    size: int
    age: float


DEFAULT = Limits(2 * 1024**3, 7 * DAY)

_OLDEST = {
    "traces": "SELECT min(arrived) FROM traces",
    "logs": "SELECT arrived FROM logs ORDER BY id LIMIT 1",
    "points": "SELECT min(arrived) FROM points",
}


class Retention:
    """Removes through an inserter's connection what is past the limits."""

    def __init__(self, inserter: Inserter, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self._inserter = inserter
        self._connection = inserter.connection
        self._limits = limits
        self._clock = clock
        self._thinned = dict.fromkeys(_THINNING, 0)
        self._swept: float | None = None

    def keep(self, now: int) -> bool:
        """Remove what is too old or does not fit, as far as a breath goes; return whether anything was."""
        deadline = self._clock() + BREATH
        removed = 0
        while (surplus := self._surplus(now)) is not None:
            removed += self._remove(*surplus)
            if self._clock() > deadline:
                return True
        if self._swept is None or self._clock() - self._swept >= MINUTE:
            self._swept = self._clock()
            removed += self._sweep(now)
        return bool(removed)

    def _surplus(self, now: int) -> tuple[str, float] | None:
        """Return the signal that has the oldest record, where it has to go, and how far others may go with it."""
        ages = {
            signal: row[0]
            for signal, query in _OLDEST.items()
            if (row := self._connection.execute(query).fetchone()) is not None and row[0] is not None
        }
        oldest = min(ages, key=ages.__getitem__, default=None)
        if oldest is None:
            return None
        if ages[oldest] < now - self._limits.age:
            return oldest, now - self._limits.age
        return (oldest, math.inf) if self._used() > self._limits.size else None

    def _used(self) -> int:
        return (self._pragma("page_count") - self._pragma("freelist_count")) * self._pragma("page_size")

    def _pragma(self, name: str) -> int:
        return int(self._connection.execute(f"PRAGMA {name}").fetchone()[0])

    def _remove(self, signal: str, before: float) -> int:
        """Remove one slice of the oldest that arrived before this second; return how many rows."""
        with self._inserter.removal() as fewer:
            removed = _REMOVERS[signal](self._connection, before)
            for name, count in removed.items():
                fewer[name] -= count
        return sum(removed.values())

    def _sweep(self, now: int) -> int:
        """Thin out points, and remove what only records named that are gone; return how many points went."""
        removed = sum(self._thin(age, step, now) for age, step in _THINNING)
        with self._inserter.removal():
            self._connection.execute("DELETE FROM requests WHERE arrived < ?", (now - HOUR,))
            for statement in _UNUSED:
                self._connection.execute(statement)
        if self._pragma("page_count") * self._pragma("page_size") > self._limits.size:
            self._connection.execute("PRAGMA incremental_vacuum").fetchall()
        return removed

    def _thin(self, age: int, step: int, now: int) -> int:
        """Keep the last point of each stretch of time, of what got old enough for that since the last time."""
        until = (now - age) // step * step
        since, self._thinned[age, step] = self._thinned[age, step], until
        values = {"since": since * 10**9, "until": until * 10**9, "step": step * 10**9}
        with self._inserter.removal() as fewer:
            removed = _count(self._connection, _THIN, [values])
            fewer["points"] -= removed
        return removed


def _remove_traces(connection: sqlite3.Connection, before: float) -> dict[str, int]:
    query = "SELECT trace_id, spans FROM traces WHERE arrived < ? ORDER BY arrived LIMIT ?"
    found = connection.execute(query, (before, _SLICE)).fetchall()
    spans, traces = 0, []
    for trace_id, count in found:
        if spans > 20 * _SLICE:  # a trace may be large: one such is a slice
            break
        spans += count
        traces.append((trace_id,))
    removed = _count(connection, "DELETE FROM spans WHERE trace_id = ?", traces)
    _count(connection, "DELETE FROM trace_origins WHERE trace_id = ?", traces)
    return {"spans": removed, "traces": _count(connection, "DELETE FROM traces WHERE trace_id = ?", traces)}


def _remove_logs(connection: sqlite3.Connection, before: float) -> dict[str, int]:
    statement = "DELETE FROM logs WHERE id IN (SELECT id FROM logs ORDER BY id LIMIT ?) AND arrived < ?"
    return {"logs": _count(connection, statement, [(10 * _SLICE, before)])}


def _remove_points(connection: sqlite3.Connection, before: float) -> dict[str, int]:
    query = "SELECT series, time FROM points WHERE arrived < ? ORDER BY arrived LIMIT ?"
    found = connection.execute(query, (before, 10 * _SLICE)).fetchall()
    return {"points": _count(connection, "DELETE FROM points WHERE series = ? AND time = ?", found)}


_REMOVERS = {"traces": _remove_traces, "logs": _remove_logs, "points": _remove_points}

_THIN = """
DELETE FROM points WHERE (series, time) IN (
    SELECT p.series, p.time FROM metrics AS m
    JOIN series AS s ON s.metric = m.id
    JOIN points AS p ON p.series = s.id AND p.time >= :since AND p.time < :until
    WHERE NOT m.delta AND EXISTS (
        SELECT 1 FROM points AS q
        WHERE q.series = p.series AND q.time > p.time AND q.time < (p.time / :step + 1) * :step
    )
)
"""

_UNUSED = (
    "DELETE FROM series WHERE NOT EXISTS (SELECT 1 FROM points WHERE series = series.id)",
    "DELETE FROM metrics WHERE NOT EXISTS (SELECT 1 FROM series WHERE metric = metrics.id)",
    """
    DELETE FROM origins WHERE NOT EXISTS (SELECT 1 FROM trace_origins WHERE origin = origins.id)
    AND NOT EXISTS (SELECT 1 FROM logs WHERE origin = origins.id)
    AND NOT EXISTS (SELECT 1 FROM series WHERE origin = origins.id)
    """,
)


def _count(connection: sqlite3.Connection, statement: str, rows: list[Any]) -> int:
    before = connection.total_changes
    connection.executemany(statement, rows)
    return connection.total_changes - before
