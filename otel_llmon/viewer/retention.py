"""What is kept: nothing past an age, no more than a size, and of a metric's past fewer and fewer points.

Age is the time since a record arrived, not the time that it names: an old recording can be looked at too. A trace is
removed as a whole. Cumulative points and gauges older than an hour are thinned to one a minute, older than a day to one
in ten minutes: the last of each stretch stays, so that no total is lost. Deltas are left, since each counts.
"""

from __future__ import annotations

import sqlite3
from typing import Any, NamedTuple

from otel_llmon.viewer.inserting import Inserter

MINUTE, HOUR, DAY = 60, 3600, 86_400
_SLICE = 500
"""Traces, logs or points that are removed at once; batches are not held up for longer."""

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


def sweep(inserter: Inserter, limits: Limits, now: int) -> bool:
    """Remove what is too old and what does not fit; return whether anything was."""
    removed = False
    for signal in _OLDEST:
        while (oldest := _oldest(inserter.connection, signal)) is not None and oldest < now - limits.age:
            removed = bool(_remove(inserter, signal, int(now - limits.age)))
    removed |= fit(inserter, limits, now) | _thin(inserter, now)
    with inserter.removal():
        inserter.connection.execute("DELETE FROM requests WHERE arrived < ?", (now - HOUR,))
        if removed:
            _forget_unused(inserter.connection)
    return removed


def fit(inserter: Inserter, limits: Limits, now: int) -> bool:
    """Remove the oldest until the rest fits; return whether anything was."""
    removed = False
    while _used(inserter.connection) > limits.size:
        ages = {signal: oldest for signal in _OLDEST if (oldest := _oldest(inserter.connection, signal)) is not None}
        if not ages:
            break
        removed |= bool(_remove(inserter, min(ages, key=ages.__getitem__), now + 1))
    if removed and _pragma(inserter.connection, "page_count") * _pragma(inserter.connection, "page_size") > limits.size:
        inserter.connection.execute("PRAGMA incremental_vacuum").fetchall()
    return removed


def _used(connection: sqlite3.Connection) -> int:
    pages = _pragma(connection, "page_count") - _pragma(connection, "freelist_count")
    return pages * _pragma(connection, "page_size")


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])


def _oldest(connection: sqlite3.Connection, signal: str) -> int | None:
    row = connection.execute(_OLDEST[signal]).fetchone()
    return None if row is None else row[0]


def _remove(inserter: Inserter, signal: str, before: int) -> int:
    """Remove one slice of what arrived before this second; return how many rows."""
    with inserter.removal() as fewer:
        removed = _REMOVERS[signal](inserter.connection, before)
        for name, count in removed.items():
            fewer[name] -= count
    return sum(removed.values())


def _remove_traces(connection: sqlite3.Connection, before: int) -> dict[str, int]:
    found = connection.execute(
        "SELECT trace_id, spans FROM traces WHERE arrived < ? ORDER BY arrived LIMIT ?", (before, _SLICE)
    ).fetchall()
    # a slice is so many spans, too: a trace of a million is one slice
    spans, traces = 0, []
    for trace_id, count in found:
        if spans > 20 * _SLICE:
            break
        spans += count
        traces.append((trace_id,))
    spans = _count(connection, "DELETE FROM spans WHERE trace_id = ?", traces)
    _count(connection, "DELETE FROM trace_origins WHERE trace_id = ?", traces)
    return {"spans": spans, "traces": _count(connection, "DELETE FROM traces WHERE trace_id = ?", traces)}


def _remove_logs(connection: sqlite3.Connection, before: int) -> dict[str, int]:
    statement = "DELETE FROM logs WHERE arrived < ? AND id IN (SELECT id FROM logs ORDER BY id LIMIT ?)"
    return {"logs": _count(connection, statement, [(before, 4 * _SLICE)])}


def _remove_points(connection: sqlite3.Connection, before: int) -> dict[str, int]:
    found = connection.execute(
        "SELECT series, time FROM points WHERE arrived < ? ORDER BY arrived LIMIT ?", (before, 4 * _SLICE)
    ).fetchall()
    return {"points": _count(connection, "DELETE FROM points WHERE series = ? AND time = ?", found)}


_REMOVERS = {"traces": _remove_traces, "logs": _remove_logs, "points": _remove_points}

_THIN = """
DELETE FROM points WHERE (series, time) IN (
    SELECT p.series, p.time FROM series AS s
    JOIN metrics AS m ON m.id = s.metric AND NOT m.delta
    JOIN points AS p ON p.series = s.id AND p.time >= :since AND p.time < :until
    WHERE EXISTS (
        SELECT 1 FROM points AS q
        WHERE q.series = p.series AND q.time > p.time AND q.time < (p.time / :step + 1) * :step
    )
)
"""


def _thin(inserter: Inserter, now: int) -> bool:
    """Keep the last point of each stretch of time, of what got old enough for it since the last few looks."""
    removed = 0
    for age, step in _THINNING:
        until = (now - age) // step * step
        with inserter.removal() as fewer:
            span = {"since": (until - 4 * HOUR) * 10**9, "until": until * 10**9, "step": step * 10**9}
            count = _count(inserter.connection, _THIN, [span])
            fewer["points"] -= count
        removed += count
    return bool(removed)


def _forget_unused(connection: sqlite3.Connection) -> None:
    """Remove what only records named that are gone."""
    connection.execute("DELETE FROM series WHERE NOT EXISTS (SELECT 1 FROM points WHERE series = series.id)")
    connection.execute("DELETE FROM metrics WHERE NOT EXISTS (SELECT 1 FROM series WHERE metric = metrics.id)")
    connection.execute(
        "DELETE FROM origins WHERE NOT EXISTS (SELECT 1 FROM trace_origins WHERE origin = origins.id)"
        " AND NOT EXISTS (SELECT 1 FROM logs WHERE origin = origins.id)"
        " AND NOT EXISTS (SELECT 1 FROM series WHERE origin = origins.id)"
    )


def _count(connection: sqlite3.Connection, statement: str, rows: list[Any]) -> int:
    before = connection.total_changes
    connection.executemany(statement, rows)
    return connection.total_changes - before
