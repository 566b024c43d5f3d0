"""Rows into tables, so that what comes twice is there once, and what lists show is kept up with it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from hashlib import blake2b
from typing import Any

from otel_llmon.viewer.records import LATEST, Origin, PointRow, SpanRow, Taken

_REMEMBERED = 20_000
"""Origins, metrics and series whose numbers are kept in memory."""

_SPAN = (
    "INSERT OR IGNORE INTO spans (trace_id, span_id, parent_id, start, finish, error, name, body, origin)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_NEW_SPANS = "SELECT trace_id, span_id, parent_id, start, finish, error, name, x'' FROM spans WHERE id > ?"
_HAS_TRACE = "SELECT EXISTS (SELECT 1 FROM traces WHERE trace_id = ?)"
_TRACE = """
INSERT INTO traces (trace_id, start, finish, spans, errors, rank, root, origin, arrived)
VALUES (:trace_id, :start, :finish, :spans, :errors, :rank, :root, :origin, :arrived)
ON CONFLICT (trace_id) DO UPDATE SET
    start = min(start, excluded.start), finish = max(finish, excluded.finish), spans = spans + excluded.spans,
    errors = errors + excluded.errors, arrived = excluded.arrived, rank = min(rank, excluded.rank),
    root = CASE WHEN excluded.rank < rank THEN excluded.root ELSE root END,
    origin = CASE WHEN excluded.rank < rank THEN excluded.origin ELSE origin END
"""
_LOG = "INSERT INTO logs (time, severity, trace_id, span_id, body, origin, arrived) VALUES (?, ?, ?, ?, ?, ?, ?)"
_POINT = "INSERT OR IGNORE INTO points (series, time, start, value, body, arrived) VALUES (?, ?, ?, ?, ?, ?)"


class Inserter:
    """Writes through one connection; counts what is there."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self.totals: Mapping[str, int] = dict(connection.execute("SELECT name, value FROM totals"))
        self._now = 0
        self._added: dict[str, int] = {}
        self._known: dict[Any, int] = {}
        self._ways = {"traces": self._spans, "logs": self._logs, "metrics": self._points}

    @contextmanager
    def transaction(self, now: int) -> Iterator[Callable[[str, Taken, bytes], None]]:
        """Give a function that inserts a batch; all of them are committed, or none."""
        self._now = now
        self._added = dict.fromkeys(self.totals, 0)
        with self._begun():
            yield self._insert

    @contextmanager
    def removal(self) -> Iterator[dict[str, int]]:
        """Give a mapping for how many fewer of each there are when all is removed that the caller removes."""
        self._added = dict.fromkeys(self.totals, 0)
        with self._begun():
            yield self._added
        self._known.clear()

    @contextmanager
    def _begun(self) -> Iterator[None]:
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            totals = {name: value + self._added[name] for name, value in self.totals.items()}
            changed = [(totals[name], name) for name, added in self._added.items() if added]
            self.connection.executemany("UPDATE totals SET value = ? WHERE name = ?", changed)
            self.connection.execute("COMMIT")
        except BaseException:
            self._known.clear()  # numbers that were given in vain
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")
            raise
        self.totals = totals

    def _insert(self, signal: str, taken: Taken, digest: bytes) -> None:
        self._added["rejected"] += taken.rejected
        self._ways[signal](taken, digest)

    def _spans(self, taken: Taken, _: bytes) -> None:
        last = self._number("SELECT max(id) FROM spans")
        for origin, rows in taken.parts:
            number = self._origin(origin)
            added = self._many(_SPAN, [(*row, number) for row in rows])
            if not added:
                continue
            self._added["spans"] += added
            # what came before must not be counted again; that it did is rare
            new = rows if added == len(rows) else list(map(SpanRow._make, self.connection.execute(_NEW_SPANS, (last,))))
            self._traces(new, number)
            last += added

    def _traces(self, rows: list[Any], origin: int) -> None:
        found = list(_by_trace(rows, origin, self._now).values())
        ids = [(trace["trace_id"],) for trace in found]
        self._added["traces"] += len(ids) - sum(self._number(_HAS_TRACE, one) for one in ids)
        self.connection.executemany(_TRACE, found)
        self._many("INSERT OR IGNORE INTO trace_origins VALUES (?, ?)", [(*one, origin) for one in ids])

    def _logs(self, taken: Taken, digest: bytes) -> None:
        if not self._many("INSERT OR IGNORE INTO requests VALUES (?, ?)", [(digest, self._now)]):
            return
        for origin, rows in taken.parts:
            known = self._origin(origin), self._now
            self._added["logs"] += self._many(_LOG, [row + known for row in rows])

    def _points(self, taken: Taken, _: bytes) -> None:
        for origin, rows in taken.parts:
            number = self._origin(origin)
            self._added["points"] += self._many(_POINT, [self._pointed(number, row) for row in rows])

    def _pointed(self, origin: int, row: Any) -> tuple[Any, ...]:
        series = self._series(self._metric(row), origin, row.attributes)
        return series, row.time, row.start, row.value, row.body, self._now

    def _origin(self, origin: Origin) -> int:
        if found := self._known.get(origin):
            return found
        digest = _digest(origin.resource, origin.scope)
        self.connection.execute(
            "INSERT OR IGNORE INTO origins (digest, service, resource, scope) VALUES (?, ?, ?, ?)", (digest, *origin)
        )
        return self._remember(origin, self._number("SELECT id FROM origins WHERE digest = ?", (digest,)))

    def _metric(self, row: PointRow) -> int:
        if found := self._known.get(row.metric):
            return found
        self.connection.execute(
            "INSERT OR IGNORE INTO metrics (name, unit, kind, delta, description) VALUES (?, ?, ?, ?, ?)",
            (*row.metric, row.description),
        )
        query = "SELECT id FROM metrics WHERE (name, unit, kind, delta) = (?, ?, ?, ?)"
        return self._remember(row.metric, self._number(query, row.metric))

    def _series(self, metric: int, origin: int, attributes: bytes) -> int:
        if found := self._known.get((metric, origin, attributes)):
            return found
        digest = _digest(b"%d %d" % (metric, origin), attributes)
        self.connection.execute(
            "INSERT OR IGNORE INTO series (digest, metric, origin, attributes) VALUES (?, ?, ?, ?)",
            (digest, metric, origin, attributes),
        )
        number = self._number("SELECT id FROM series WHERE digest = ?", (digest,))
        return self._remember((metric, origin, attributes), number)

    def _remember(self, key: Any, number: int) -> int:
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        self._known[key] = number
        return number

    def _many(self, statement: str, rows: list[tuple[Any, ...]]) -> int:
        """Return how many rows the statement changed."""
        before = self.connection.total_changes
        self.connection.executemany(statement, rows)
        return self.connection.total_changes - before

    def _number(self, query: str, values: Any = ()) -> int:
        return int(self.connection.execute(query, values).fetchone()[0] or 0)


def _digest(*parts: bytes) -> bytes:
    found = blake2b(digest_size=16)
    for part in parts:
        found.update(b"%d:" % len(part))
        found.update(part)
    return found.digest()


def _by_trace(rows: Iterable[SpanRow], origin: int, now: int) -> dict[bytes, dict[str, Any]]:
    """Return what a list shows of the traces that these spans belong to.

    A trace is named after the span of the lowest rank: the first root, else the first span of all.
    """
    found: dict[bytes, dict[str, Any]] = {}
    for trace_id, _, parent_id, start, finish, error, name, _ in rows:
        rank = start if parent_id is None else start + LATEST
        trace = found.get(trace_id)
        if trace is None:
            found[trace_id] = {
                "trace_id": trace_id,
                "start": start,
                "finish": finish,
                "spans": 1,
                "errors": int(error),
                "rank": rank,
                "root": name,
                "origin": origin,
                "arrived": now,
            }
            continue
        trace["spans"] += 1
        trace["errors"] += error
        if start < trace["start"]:
            trace["start"] = start
        if finish > trace["finish"]:
            trace["finish"] = finish
        if rank < trace["rank"]:
            trace["rank"], trace["root"] = rank, name
    return found
