"""How many values passed which check, added up over tables, and what that comes to: a score, findings, warnings."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from otel_llmon.scores.checking import Check, Outcome
from otel_llmon.scores.columns import LONGEST
from otel_llmon.scores.counting import NAMED, first
from otel_llmon.scores.features import REST, Feature
from otel_llmon.scores.reference import FEWEST, Reference
from otel_llmon.scores.usual import RARE

if TYPE_CHECKING:
    from otel_llmon.scores.quality import Plan

SCHEMA = "schema"
"""The check that a column is there at all."""
EMPTY, FEW, MISSING_COLUMN, ADDED_COLUMN, RENAMED_COLUMN, CONSTANT, FAILED = (
    "empty", "few_rows", "missing_column", "added_column", "renamed_column", "constant", "check_failed",
)  # fmt: skip
"""Kinds of findings that no check is named after."""

SHOWN = 20
"""Findings that a printed report has."""

Place = tuple[str, str]
"""A feature, and a check."""


@dataclass
class Counts:
    """What became of the values of some tables: `a + b` is what both together give, but for what compares rows.

    `types` says how many values a feature had of each type, `lows` and `highs` where its numbers lay, `examples` one
    value that failed, `only` the one level of a category that has no other, None where it has; `absent` and `added`
    count tables, `errors` checks that could not be made.
    """

    rows: int = 0
    tables: int = 0
    empty: int = 0
    seen: Counter[Place] = field(default_factory=Counter)
    failed: Counter[Place] = field(default_factory=Counter)
    absent: Counter[str] = field(default_factory=Counter)
    added: Counter[str] = field(default_factory=Counter)
    renamed: dict[str, str] = field(default_factory=dict)
    types: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    lows: dict[str, float] = field(default_factory=dict)
    highs: dict[str, float] = field(default_factory=dict)
    only: dict[str, str | None] = field(default_factory=dict)
    errors: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    examples: dict[Place, Any] = field(default_factory=dict, compare=False)

    def add(self, feature: str, check: str, outcome: Outcome) -> None:
        """Count what a check found."""
        place, (seen, failed, example) = (feature, check), outcome
        self.seen[place] = self.seen.get(place, 0) + seen
        if failed:
            self.failed[place] += failed
            self.examples.setdefault(place, example)

    def extend(self, feature: str, low: float, high: float) -> None:
        """Take note of where numbers lie; NaN is nowhere."""
        if low <= self.lows.get(feature, low):
            self.lows[feature] = low
        if high >= self.highs.get(feature, high):
            self.highs[feature] = high

    def hold(self, feature: str, level: str | None) -> None:
        """Take note of the only level of a category; None where there are several."""
        self.only[feature] = level if self.only.get(feature, level) == level else None

    def __iadd__(self, other: Counts) -> Self:
        self.rows += other.rows
        self.tables += other.tables
        self.empty += other.empty
        for name in ("seen", "failed", "absent", "errors"):
            getattr(self, name).update(getattr(other, name))
        self.added = Counter(first(self.added + other.added))
        for feature, found in other.types.items():
            self.types[feature].update(found)
        for feature, low in other.lows.items():
            self.extend(feature, low, other.highs[feature])
        for feature, level in other.only.items():
            self.hold(feature, level)
        for feature, name in other.renamed.items():
            self.renamed[feature] = min(name, self.renamed.get(feature, name))
        for place, example in other.examples.items():
            self.examples.setdefault(place, example)
        return self

    def __add__(self, other: Counts) -> Counts:
        both = Counts()
        both += self
        both += other
        return both


@dataclass(frozen=True)
class Finding:
    """Something that is not as it should be: `failed` of `seen` values of a feature, or of all tables where it is none.

    `example` is a value that failed: it stays in this process, and is in no text and no telemetry.
    """

    kind: str
    feature: str = ""
    seen: int = 0
    failed: int = 0
    detail: str = ""
    example: Any = field(default=None, compare=False)

    @property
    def share(self) -> float:
        """Return the share that failed."""
        return self.failed / self.seen if self.seen else 0.0

    def __str__(self) -> str:
        told = f"{self.failed} of {self.seen} ({self.share:.1%})" if self.seen else ""
        return ": ".join(part for part in (self.feature, self.kind, told, self.detail) if part)


@dataclass(frozen=True)
class Report:
    """What the counts of some tables come to.

    `score` is the product of `parts`, the share of values that passed each kind of check, beside what passed in the
    reference; None where there was no row. `violations` make it unhealthy, `warnings` do not.
    """

    rows: int
    score: float | None
    parts: Mapping[str, float]
    violations: tuple[Finding, ...]
    warnings: tuple[Finding, ...]
    counts: Counts

    @property
    def healthy(self) -> bool:
        """Return whether nothing is violated."""
        return not self.violations

    @property
    def worst(self) -> str:
        """Return the kind of check that lowers the score most; nothing where none does."""
        found = min(self.parts, key=lambda name: self.parts[name], default="")
        return found if found and self.parts[found] < 1 else ""

    @property
    def types(self) -> dict[str, str]:
        """Return the types of each feature's values, the most frequent one first."""
        return {name: ", ".join(kind for kind, _ in found.most_common()) for name, found in self.counts.types.items()}

    @property
    def ranges(self) -> dict[str, tuple[float, float]]:
        """Return where each feature's numbers lie."""
        return {name: (low, self.counts.highs[name]) for name, low in self.counts.lows.items()}

    def passed(self, feature: str, check: str) -> float | None:
        """Return the share of a feature's values that passed a check; None where it saw none."""
        seen = self.counts.seen[feature, check]
        return 1 - self.counts.failed[feature, check] / seen if seen else None

    def __str__(self) -> str:
        score = "no rows" if self.score is None else f"score {self.score:.3f}"
        worst = f" ({self.worst} {self.parts[self.worst]:.3f})" if self.worst else ""
        head = f"{'healthy' if self.healthy else 'not healthy'}, {self.rows} rows, {score}{worst}"
        more = [f"  {finding}" for finding in self.violations] + [f"  warning: {finding}" for finding in self.warnings]
        rest = [f"  and {len(more) - SHOWN} more"] if len(more) > SHOWN else []
        return "\n".join([head, *more[:SHOWN], *rest])


def report(counts: Counts, plan_of: Callable[[str], Plan], reference: Reference | None) -> Report:
    """Return what counts come to; `plan_of` says what was asked of a feature."""
    violations: list[Finding] = [*_of_tables(counts)]
    warnings: list[Finding] = []
    sums: dict[str, list[float]] = {}
    asked: dict[str, dict[str, Check]] = {}
    for place, seen in counts.seen.items():
        feature, name = place
        part = sums.get(name) or sums.setdefault(name, [0.0, 0.0])
        part[1] += seen
        failed = counts.failed.get(place, 0)
        if not failed:
            part[0] += seen
            continue
        if feature not in asked:
            asked[feature] = {check.name: check for check in plan_of(feature).checks}
        check = asked[feature].get(name)
        part[0] += _passed(failed / seen, check) * seen
        if check is not None and check.at_most < 1 and not (check.usual and check.usual.explains(failed, seen)):
            finding = Finding(name, feature, seen, failed, _limit(check), counts.examples.get(place))
            (violations if finding.share > check.at_most else warnings).append(finding)
    violations += _constant(counts, reference) if reference else ()
    if 0 < counts.rows < FEWEST:
        warnings.append(Finding(FEW, detail=f"{counts.rows} rows say little, {FEWEST} say more"))
    parts = {name: passed / seen for name, (passed, seen) in sums.items() if seen}
    score = float(np.prod(list(parts.values()))) if counts.rows else None
    return Report(counts.rows, score, parts, tuple(violations), tuple(warnings), counts)


def _passed(failed: float, check: Check | None) -> float:
    """Return the share that passed, beside the share that passes when all is well."""
    usual = check.usual.share if check is not None and check.usual else 0.0
    return min((1 - failed) / (1 - usual), 1.0) if usual < 1 else 1.0


def _limit(check: Check) -> str:
    parts = [f"at most {check.at_most:.2%}"] if check.at_most else []
    parts += [f"usually {check.usual.share:.2%}"] if check.usual else []
    return ", ".join(parts)


def _of_tables(counts: Counts) -> Iterable[Finding]:
    """Yield what is odd about tables as wholes."""
    if counts.empty:
        yield Finding(EMPTY, seen=counts.tables, failed=counts.empty, detail="tables without a row")
    for feature, tables in sorted(counts.absent.items()):
        name = counts.renamed.get(feature)
        kind, detail = (RENAMED_COLUMN, f"it seems to be {name!r} now") if name else (MISSING_COLUMN, "")
        yield Finding(kind, feature, counts.tables, tables, detail)
    for feature, tables in sorted(counts.added.items())[:NAMED]:
        if feature not in counts.renamed.values():
            yield Finding(ADDED_COLUMN, feature, counts.tables, tables)
    for (feature, check, error), tables in sorted(counts.errors.items()):
        yield Finding(FAILED, feature, counts.tables, tables, f"{check} raised {error}")


def _constant(counts: Counts, reference: Reference) -> Iterable[Finding]:
    """Yield features that have one value only where the reference had two or more, and chance does not explain it."""
    for feature in dict.fromkeys([*counts.lows, *counts.only]):
        share = _only(counts, reference[feature]) if feature in reference else None
        rows = counts.types[feature].total()
        if share is not None and share ** (rows / reference[feature].effect) < RARE:
            yield Finding(CONSTANT, feature, rows, rows)


def _only(counts: Counts, known: Feature) -> float | None:
    """Return the share that the one value of a feature may have had before; None where it has several, or had one."""
    levels, level = known.levels, counts.only.get(known.name)
    if levels is not None and level is not None and len(levels.names) > 1:
        place = levels.places.get(level[:LONGEST], levels.places.get(REST))
        return None if place is None else levels.counts[place] / sum(levels.counts)  # a new one is the set's to find
    if known.kind == "numeric" and known.tracks and counts.lows[known.name] == counts.highs[known.name]:
        before = np.array(known.tracks[0].counts, dtype=np.float64)
        return float(before.max() / before.sum()) if (before > 0).sum() > 1 else None
    return None
