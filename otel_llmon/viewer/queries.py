"""Questions to the database, as the page asks them.

A list of traces never reads what spans hold, unless it searches.
"""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Iterable
from typing import Any, NamedTuple

from otel_llmon.viewer import shapes
from otel_llmon.viewer.accumulating import cumulative, unified
from otel_llmon.viewer.records import LATEST
from otel_llmon.viewer.searching import Needle

MOST_SPANS = 20_000
"""Spans of one trace that are handed out."""

MOST_SERIES = 500
"""Series of one metric that are handed out."""

PATIENCE = 2.0
"""Seconds that a search may look; it can be continued with `next`."""

_EXEMPLARS = 100
_EARLIER = "SELECT EXISTS (SELECT 1 FROM points WHERE series = ? AND time < ?)"
_TRACE_ID = re.compile(r"[0-9a-fA-F]{32}")


class Page(NamedTuple):
    """Which part of a list is wanted: from `since` on, before the cursor, at most `limit`."""

    limit: int
    since: int | None = None
    before: tuple[int, bytes | int] | None = None


class Origins:
    """Resources and scopes by number, each read once per question."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._found: dict[int, tuple[str, str, dict[str, Any]]] = {}

    def __getitem__(self, number: int) -> tuple[str, str, dict[str, Any]]:
        """Return service, name of the scope, and attributes of the resource."""
        if number not in self._found:
            query = "SELECT service, scope, resource FROM origins WHERE id = ?"
            service, scope, resource = self._connection.execute(query, (number,)).fetchone() or ("", b"", b"")
            self._found[number] = service, shapes.scope(scope), shapes.resource(resource)
        return self._found[number]


def services(connection: sqlite3.Connection) -> list[str]:
    """Return the names of all services."""
    return [name for (name,) in connection.execute("SELECT DISTINCT service FROM origins ORDER BY service")]


def traces(  # noqa: PLR0913  # a filter each
    connection: sqlite3.Connection,
    page: Page,
    *,
    service: str = "",
    search: str = "",
    errors: bool = False,
    longest: int = 0,
) -> dict[str, Any]:
    """Return traces, newest first, and where to go on."""
    where, values = _window("start", "trace_id", page)
    if _TRACE_ID.fullmatch(search):
        where, values, search = ["trace_id = ?"], [bytes.fromhex(search)], ""
    if service:
        where.append(
            "EXISTS (SELECT 1 FROM trace_origins AS o WHERE o.trace_id = traces.trace_id"
            " AND o.origin IN (SELECT id FROM origins WHERE service = ?))"
        )
        values.append(service)
    if errors:
        where.append("errors > 0")
    if longest:
        where.append("finish - start >= ?")
        values.append(longest)
    rows = connection.execute(
        "SELECT start, trace_id, finish, spans, errors, rank, root, origin FROM traces"  # noqa: S608  # our own words
        f" WHERE {' AND '.join(where) or '1'} ORDER BY start DESC, trace_id DESC",
        values,
    )
    found, following = _first(rows, page.limit, Needle(connection, search).is_in_trace if search else None)
    names = Origins(connection)
    return {
        "traces": [_trace(row, names) for row in found],
        "next": None if following is None else f"{following[0]}-{following[1].hex()}",
    }


def _trace(row: tuple[Any, ...], names: Origins) -> dict[str, Any]:
    start, trace_id, finish, spans, errors, rank, root, origin = row
    return {
        "trace_id": trace_id.hex(),
        "root": root,
        "service": names[origin][0],
        "start": str(start),
        "duration": finish - start,
        "spans": spans,
        "errors": errors,
        "complete": rank < LATEST,
    }


def trace(connection: sqlite3.Connection, trace_id: bytes) -> dict[str, Any] | None:
    """Return a trace with its spans in order of their start, or None."""
    row = connection.execute("SELECT start, finish, spans FROM traces WHERE trace_id = ?", (trace_id,)).fetchone()
    if row is None:
        return None
    start, finish, count = row
    names = Origins(connection)
    query = "SELECT body, origin FROM spans WHERE trace_id = ? ORDER BY start, id LIMIT ?"
    spans = [shapes.span(body, *names[origin]) for body, origin in connection.execute(query, (trace_id, MOST_SPANS))]
    return {
        "trace_id": trace_id.hex(),
        "start": str(start),
        "duration": finish - start,
        "spans": spans,
        "more": max(count - len(spans), 0),
    }


def logs(  # noqa: PLR0913  # a filter each
    connection: sqlite3.Connection,
    page: Page,
    *,
    trace_id: bytes | None = None,
    service: str = "",
    search: str = "",
    severity: int = 0,
) -> dict[str, Any]:
    """Return log records, newest first, and where to go on."""
    where, values = _window("time", "id", page)
    if trace_id is not None:
        where.append("trace_id = ?")
        values.append(trace_id)
    if service:
        where.append("+origin IN (SELECT id FROM origins WHERE service = ?)")
        values.append(service)
    if severity:
        where.append("severity >= ?")
        values.append(severity)
    # `+` keeps the planner on the index that gives the order, or on the trace's few records
    order = "+time DESC, +id DESC" if trace_id is not None else "time DESC, id DESC"
    rows = connection.execute(
        "SELECT time, id, origin, body FROM logs"  # noqa: S608  # our own words
        f" WHERE {' AND '.join(where) or '1'} ORDER BY {order}",
        values,
    )
    found, following = _first(rows, page.limit, Needle(connection, search).is_in_log if search else None)
    names = Origins(connection)
    return {
        "logs": [shapes.log(row[0], row[3], *names[row[2]]) for row in found],
        "next": None if following is None else f"{following[0]}-{following[1]}",
    }


def _window(time_column: str, id_column: str, page: Page) -> tuple[list[str], list[Any]]:
    where: list[str] = []
    values: list[Any] = []
    if page.since is not None:
        where.append(f"{time_column} >= ?")
        values.append(page.since)
    if page.before is not None:
        where.append(f"({time_column}, {id_column}) < (?, ?)")
        values += page.before
    return where, values


def _first(
    rows: Iterable[tuple[Any, ...]], limit: int, fits: Any = None, clock: Any = time.monotonic
) -> tuple[list[tuple[Any, ...]], tuple[Any, ...] | None]:
    """Return the first rows that fit, and the row after which to go on: None where there are no more."""
    deadline = clock() + PATIENCE
    found: list[tuple[Any, ...]] = []
    last = None
    for row in rows:
        if len(found) == limit or (last and fits and clock() > deadline):
            return found, last
        last = row
        if fits is None or fits(row):
            found.append(row)
    return found, None


def metrics(connection: sqlite3.Connection) -> list[dict[str, Any]]:
    """Return all metrics by name."""
    query = """
    SELECT m.name, m.unit, m.kind, m.description, o.service, count(*),
        max((SELECT max(time) FROM points WHERE series = s.id))
    FROM metrics AS m JOIN series AS s ON s.metric = m.id JOIN origins AS o ON o.id = s.origin
    GROUP BY m.name, m.unit, m.kind, o.service ORDER BY m.name
    """
    found: dict[tuple[str, str, str], dict[str, Any]] = {}
    for name, unit, kind, description, service, count, last in connection.execute(query):
        metric = found.setdefault(
            (name, unit, kind),
            {
                "name": name,
                "unit": unit,
                "kind": kind,
                "description": description,
                "services": [],
                "series": 0,
                "last": "0",
            },
        )
        metric["services"].append(service)
        metric["series"] += count
        metric["last"] = str(max(int(metric["last"]), last or 0))
    return list(found.values())


def metric(
    connection: sqlite3.Connection, name: str, *, since: int = 0, service: str = "", limit: int = 1000
) -> dict[str, Any] | None:
    """Return a metric's series, each with its newest `limit` points in order of time; None where there is none.

    Two metrics of one name that differ in unit or kind are two: the one that came last is returned.

    A point that counts has the `start` since which it does, where its sender said so; a series says whether there are
    `earlier` points than the first that is returned.
    """
    query = """
    SELECT m.name, m.unit, m.kind, m.description FROM metrics AS m JOIN series AS s ON s.metric = m.id
    WHERE m.name = ? ORDER BY (SELECT max(time) FROM points WHERE series = s.id) DESC LIMIT 1
    """
    row = connection.execute(query, (name,)).fetchone()
    if row is None:
        return None
    name, unit, kind, description = row
    names = Origins(connection)
    query = """
    SELECT s.id, s.origin, s.attributes, m.delta
    FROM metrics AS m JOIN series AS s ON s.metric = m.id JOIN origins AS o ON o.id = s.origin
    WHERE (m.name, m.unit, m.kind) = (?, ?, ?) AND ? IN ('', o.service) ORDER BY s.id DESC LIMIT ?
    """
    rows = connection.execute(query, (name, unit, kind, service, MOST_SERIES + 1)).fetchall()
    found = []
    for number, origin, held, delta in rows[:MOST_SERIES]:
        points, exemplars = _points(connection, (number, since, limit), kind, is_delta=bool(delta))
        if points:
            service_name, _, resource = names[origin]
            found.append(
                {
                    "service": service_name,
                    "resource": resource,
                    "attributes": shapes.attributes_of(held),
                    "earlier": bool(connection.execute(_EARLIER, (number, int(points[0]["time"]))).fetchone()[0]),
                    "points": points,
                    "exemplars": exemplars,
                }
            )
    return {
        "name": name,
        "unit": unit,
        "kind": kind,
        "description": description,
        "series": found,
        "more": len(rows) > MOST_SERIES,
    }


def _points(
    connection: sqlite3.Connection, wanted: tuple[int, int, int], kind: str, *, is_delta: bool
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    query = "SELECT time, start, value, body FROM points WHERE series = ? AND time >= ? ORDER BY time DESC LIMIT ?"
    points: list[dict[str, Any]] = []
    exemplars: list[dict[str, Any]] = []
    for row in reversed(connection.execute(query, wanted).fetchall()):
        point, shown = shapes.point(kind, *row)
        points.append(point)
        exemplars += shown
    if kind == "exponential_histogram":
        points = unified(points)
    if is_delta and kind != "gauge":
        points = cumulative(points)
    return points, exemplars[-_EXEMPLARS:]
