"""Whether a table's values are what they should be: counts per feature and check, which add up, and what they say.

What is counted never raises, but for a table that is none: a column that is gone, a value of another type and a check
that fails are findings. `Checks.report(counts)` says what they come to.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from otel_llmon.scores import checking, columns, renaming
from otel_llmon.scores.checking import (
    Check,
    CheckError,
    Outcome,
    binary,
    finite,
    fresh,
    matches,
    missing,
    of_type,
    one_of,
    outliers,
    positive,
    probability,
    satisfies,
    unique,
    within,
)
from otel_llmon.scores.columns import HUGE, Column
from otel_llmon.scores.contents import Values, Vectors
from otel_llmon.scores.counting import NAMED
from otel_llmon.scores.features import Feature
from otel_llmon.scores.reference import Reference
from otel_llmon.scores.soundness import SCHEMA, Counts, Finding, Report, report

__all__ = [
    "Check", "CheckError", "Checks", "Counts", "Finding", "Report", "binary", "finite", "fresh", "matches", "missing",
    "of_type", "one_of", "outliers", "positive", "probability", "satisfies", "unique", "within",
]  # fmt: skip

SOME = 0.1
"""The share of a column that may be missing where nobody says anything else."""
ALL = "*"
"""Stands for every column."""
ROW = "row"
"""What all columns together are called."""

MOST_COLUMNS = 2_000
"""Columns that nobody named and that are counted by their own name."""
OTHER = "other"
"""What all others are counted as."""

Key = str | tuple[str, ...]
Wanted = Mapping[Key, Check | Sequence[Check]]


class Plan(NamedTuple):
    """What is asked of some columns."""

    columns: tuple[str, ...]
    checks: tuple[Check, ...]


class Checks:
    """What is asked of a table: whether it is as the reference was, and what else is said per column.

    `wanted` has checks by column; a tuple of columns is asked as one, the empty one stands for all, and "*" for each.
    A check takes the place of another one of its name. Raises CheckError for what cannot be asked.

        Checks(reference, {"age": within(0, 120), "mail": [missing(0.1), matches(".+@.+")], ("id", "day"): unique()})
    """

    def __init__(self, reference: Reference | None = None, wanted: Wanted | None = None) -> None:
        self.reference = reference
        if not isinstance(wanted, Mapping | None):
            raise CheckError(f"checks: found {type(wanted).__name__}, expected checks by column, or Checks")
        said = {key: _listed(key, checks) for key, checks in (wanted or {}).items()}
        self._each = [*([] if reference else [missing(SOME), finite()]), *said.pop(ALL, [])]
        self._names = known = [feature.name for feature in reference.features] if reference else []
        self.features = {
            name: self._plan(name, said.get(name, []))
            for name in dict.fromkeys([*(key for key in said if isinstance(key, str)), *known])
        }
        """What is asked of each column that should be there, those that somebody named first."""
        self.groups = {_label(key): Plan(key, tuple(said[key])) for key in said if isinstance(key, tuple)}
        """What is asked of several columns at once."""
        self._others: dict[str, Plan] = {}
        self.expected = frozenset(self.features).union(*(plan.columns for plan in self.groups.values()))
        """The columns that should be there."""

    def count(self, table: Any, *, now: float | None = None) -> Counts:
        """Return the counts of a table; raises ColumnsError for what is none. `now` is the time, for `fresh()`."""
        raw = columns.raw(table, names=self._names)
        found = columns.read(raw)
        rows = columns.rows_of(found)
        counts = Counts(rows=rows, tables=1, empty=int(not rows))
        moment = time.time() if now is None else now
        values = {name: self._values(name, raw[name], column) for name, column in found.items()}
        for name, column in values.items():
            if name in self.expected or not self.reference:
                self._look(counts, self._counted_as(name), column, moment)
        for label, plan in self.groups.items():
            parts = [values.get(name) for name in plan.columns or values]
            if parts and None not in parts:
                ask(counts, label, plan.checks, parts, moment)
        self._schema(counts, found, rows)
        return counts

    def _look(self, counts: Counts, name: str, values: Values, now: float) -> None:
        """Count a column; where it has numbers only, their extremes answer most of what is asked."""
        column, low, high = values.column, math.nan, math.nan
        if isinstance(column, np.ndarray) and column.ndim == 1 and len(column) and values.numeric:
            low, high = float(np.minimum.reduce(column)), float(np.maximum.reduce(column))
        whole = low >= -HUGE and high <= HUGE
        if whole:
            values.present, values.finite, values.infinite = len(column), column, column[:0]  # type: ignore[assignment]
        left = []
        for check in self.plan_of(name).checks:
            if whole and check.bounds and check.bounds[0] <= low and high <= check.bounds[1]:
                counts.seen[name, check.name] += len(column)
            else:
                left.append(check)
        if not whole:
            there = values.finite if values.numeric else ()
            low, high = (float(np.min(there)), float(np.max(there))) if len(there) else (math.nan, math.nan)
        counts.extend(name, low, high)
        counts.types[name] = values.types
        feature = self._feature(name)
        if feature and feature.levels and values.counted:
            counts.hold(name, next(iter(values.counted)) if len(values.counted) == 1 else None)
        ask(counts, name, left, [values], now)

    def report(self, counts: Counts) -> Report:
        """Return what counts come to."""
        return report(counts, self.plan_of, self.reference)

    def plan_of(self, name: str) -> Plan:
        """Return what is asked of a column or of several."""
        known = self.features.get(name) or self.groups.get(name) or self._others.get(name)
        return self._others.setdefault(name, self._plan(name, [])) if known is None else known

    def _counted_as(self, name: str) -> str:
        if name in self.features or name in self._others or len(self._others) < MOST_COLUMNS:
            return name
        return OTHER

    def _plan(self, name: str, said: Sequence[Check]) -> Plan:
        feature = self._feature(name)
        usual = checking.of_reference(feature) if feature else []
        chosen = {check.name: check for check in (*usual, *self._each, *said)}
        fitted = [check.fitted(feature) if check.fitted else check for check in chosen.values()]
        for check, made in zip(chosen.values(), fitted, strict=True):
            if made is None and check in said:
                raise CheckError(f"{check.name} of {name!r}: no reference says what is usual there; give one that does")
        checks = [check for check in fitted if check is not None]
        return Plan((name,), tuple(checks))

    def _values(self, name: str, raw: Any, column: Column) -> Values:
        feature = self._feature(name)
        if feature and feature.kind == "embedding" and feature.cloud:
            return Vectors(raw, column, feature.cloud.width)
        return Values(raw, column)

    def _schema(self, counts: Counts, found: Mapping[str, Column], rows: int) -> None:
        """Count columns that should be there, and those that should not; a table without rows says which, too."""
        gone = self.expected - found.keys() if found else frozenset()
        for name in self.expected:
            counts.add(name, SCHEMA, Outcome(rows, rows if name in gone else 0))
        counts.absent.update(dict.fromkeys(gone, 1))
        if self.reference:
            new = sorted(found.keys() - self.expected)
            counts.added.update(dict.fromkeys(new[:NAMED], 1))
            if gone and new:
                missed = {name: self._feature(name) for name in sorted(gone)}
                counts.renamed |= renaming.renamed(missed, {name: found[name] for name in new})

    def _feature(self, name: str) -> Feature | None:
        return self.reference[name] if self.reference and name in self.reference else None


def ask(counts: Counts, name: str, checks: Iterable[Check], parts: Iterable[Any], now: float) -> None:
    """Count what checks find; one that fails is counted as that."""
    for check in checks:
        try:
            outcome = check.count(*parts, now=now) if check.timed else check.count(*parts)
        except Exception as exc:  # a function of the user's, or values that nothing can be done with
            counts.errors[name, check.name, type(exc).__name__] += 1
        else:
            counts.add(name, check.name, outcome)


def _listed(key: Any, checks: Any) -> list[Check]:
    if not all(isinstance(name, str) for name in (key if isinstance(key, tuple) else (key,))):
        raise CheckError(f"checks of {key!r}: expected the name of a column, or a tuple of names")
    found = list(checks) if isinstance(checks, list | tuple) else [checks]
    label = _label(key)
    for check in found:
        if not isinstance(check, Check):
            raise CheckError(f"checks of {label!r}: found {check!r}, expected checks such as missing() or within(0, 1)")
        if check.name == SCHEMA or [one.name for one in found].count(check.name) > 1:
            raise CheckError(f"checks of {label!r}: found {check.name!r} twice; give one of them a name of its own")
        if isinstance(key, tuple) and not check.several:
            raise CheckError(f"checks of {label!r}: found {check.name!r}, which looks at one column only")
    return found


def _label(key: Key) -> str:
    return key if isinstance(key, str) else ", ".join(key) or ROW
