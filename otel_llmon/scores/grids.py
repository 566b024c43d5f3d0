"""Rows of numbers, all columns looked at at once: the way for few rows at a time."""

from __future__ import annotations

from typing import Any

import numpy as np

from otel_llmon.scores.checking import Check, Outcome
from otel_llmon.scores.columns import HUGE, ColumnsError, Floats
from otel_llmon.scores.contents import Values
from otel_llmon.scores.quality import Checks, ask
from otel_llmon.scores.soundness import SCHEMA, Counts

PLAIN = ("missing", "finite", "type")
"""Checks that a number answers by being one."""


class Grid:
    """Counts of rows of the numeric features of a reference, in its order, until they are taken."""

    def __init__(self, checks: Checks) -> None:
        reference = checks.reference
        self._names = reference.numeric if reference else ()
        self._absent = sorted(checks.expected - set(self._names))
        plans = [checks.plan_of(name).checks for name in self._names]
        slots = sorted({check.name for plan in plans for check in plan if _is_range(check)})
        self._lows, self._highs = np.full((2, len(slots), len(self._names)), np.nan)
        for place, plan in enumerate(plans):
            for check in plan:
                if check.bounds and _is_range(check):
                    slot = slots.index(check.name)
                    self._lows[slot, place], self._highs[slot, place] = check.bounds
        self._asked = [
            [
                ((name, check.name), slots.index(check.name) if _is_range(check) else -1)
                for check in plan
                if check.bounds
            ]
            for name, plan in zip(self._names, plans, strict=True)
        ]
        self._alone = [
            (place, name, check)
            for place, (name, plan) in enumerate(zip(self._names, plans, strict=True))
            for check in plan
            if not check.bounds
        ]
        self._clear()

    def _clear(self) -> None:
        columns = len(self._names)
        self.rows = 0
        self._missing, self._infinite = np.zeros((2, columns), dtype=np.int64)
        self._failed = np.zeros(self._lows.shape, dtype=np.int64)
        self._least, self._most = np.full(columns, np.inf), np.full(columns, -np.inf)
        self._counts = Counts()

    def expect(self, rows: Floats) -> None:
        """Raise ColumnsError for what has no column for each numeric feature of the reference."""
        if rows.ndim != 2 or rows.shape[1] != len(self._names) or not self._names:
            raise ColumnsError(f"an array of shape {rows.shape}: expected rows by {len(self._names)} numeric features")

    def add(self, rows: Floats, now: float) -> None:
        """Count rows, NaN for none; raises ColumnsError where they are none of the reference's."""
        self.expect(rows)
        if not len(rows):
            return
        for place, name, check in self._alone:
            ask(self._counts, name, (check,), (Values(rows[:, place], rows[:, place]),), now)
        low, high = rows.min(axis=0), rows.max(axis=0)
        if not ((low >= -HUGE).all() and (high <= HUGE).all()):
            infinite = np.abs(rows) > HUGE
            self._infinite += infinite.sum(axis=0)
            self._missing += np.isnan(rows).sum(axis=0)
            rows = np.where(infinite, np.nan, rows)
            low, high = np.fmin.reduce(rows), np.fmax.reduce(rows)
        np.fmin(self._least, low, out=self._least)
        np.fmax(self._most, high, out=self._most)
        self.rows += len(rows)
        for slot, (least, most) in enumerate(zip(self._lows, self._highs, strict=True)):
            below, above = np.flatnonzero(low < least), np.flatnonzero(high > most)
            if len(below):
                self._failed[slot, below] += (rows[:, below] < least[below]).sum(axis=0)
            if len(above):
                self._failed[slot, above] += (rows[:, above] > most[above]).sum(axis=0)

    def take(self) -> Counts:
        """Return what was counted, and begin anew."""
        counts = self._counts
        counts.rows, counts.tables = self.rows, 1
        missing, infinite = self._missing.tolist(), self._infinite.tolist()
        failed: Any = self._failed.tolist()
        least, most = self._least.tolist(), self._most.tolist()
        for place, (name, asked) in enumerate(zip(self._names, self._asked, strict=True)):
            gone, odd = missing[place], infinite[place]
            there = self.rows - gone
            for asked_of, slot in asked:
                check = asked_of[1]
                seen = self.rows if check == "missing" else there if slot < 0 else there - odd
                wrong = failed[slot][place] if slot >= 0 else gone if check == "missing" else odd
                counts.seen[asked_of] = seen
                if wrong and check != "type":
                    counts.failed[asked_of] = wrong
            counts.types[name]["number"] += there
            if least[place] <= most[place]:
                counts.extend(name, least[place], most[place])
            counts.seen[name, SCHEMA] = self.rows
        for name in self._absent:
            counts.add(name, SCHEMA, Outcome(self.rows, self.rows))
            counts.absent[name] += 1
        self._clear()
        return counts


def _is_range(check: Check) -> bool:
    return check.bounds is not None and check.name not in PLAIN
