"""QualityWatch: whether a model's inputs are what they should be, as metrics, spans and events.

No value leaves the process unless `values=True` says so: names of columns, types and numbers of failures do.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

from opentelemetry import trace

from otel_llmon import metering, telemetry
from otel_llmon.errors import LlmonError
from otel_llmon.events import errors, event, note
from otel_llmon.metering import Reading, cells
from otel_llmon.metering.leaving import Left, twin
from otel_llmon.metering.values import text
from otel_llmon.scores import given
from otel_llmon.scores.columns import ColumnsError, Floats
from otel_llmon.scores.grids import Grid
from otel_llmon.scores.quality import OTHER, Checks, Counts, Finding, Report, Wanted
from otel_llmon.scores.reference import Reference
from otel_llmon.scores.soundness import Place
from otel_llmon.semconv import attributes as key
from otel_llmon.semconv import quality as rows
from otel_llmon.telemetry import state

SPAN, EVENT = "quality check", "llmon.quality.violation"
PASSED, FAILED = "passed", "failed"
MOST = 20_000
"""Features and checks whose series is remembered."""
UNREADABLE = "unreadable"
"""Kind of the finding that a batch is no table."""

_last_batch = metering.Gauge(rows.QUALITY_LAST_BATCH)  # the first one, so that its source comes before all others
_values = metering.Counter(rows.QUALITY_VALUES)
_rows = metering.Counter(rows.QUALITY_ROWS)
_violations = metering.Counter(rows.QUALITY_VIOLATIONS)
_score = metering.Gauge(rows.QUALITY_SCORE)
_healthy = metering.Gauge(rows.QUALITY_HEALTHY)
_watches: weakref.WeakSet[QualityWatch] = weakref.WeakSet()
_left: Left[QualityWatch] = Left()
_untold: set[QualityWatch] = set()
"""Watches with rows that the next collection has to count; until then they are held here."""
MOST_UNTOLD = 32
"""Such watches; whoever makes one more counts them all."""


class QualityWatch:
    """Looks at the inputs of a model, batch by batch or row by row.

    What it asks is whether they are as in the `reference` (or the file of one), and what `checks` say: a mapping of
    columns to checks, or `scores.quality.Checks`. Rows that are added make up windows of `window` rows, each of which
    has a score and is healthy or not; the first `top` features, those with checks of their own before the others,
    have series of their own. With `values=True` ranges stand on spans, and values that failed in events.

    Make one for each model and keep it. Raises CheckError for what cannot be asked, and SettingsError.
    """

    def __init__(  # noqa: PLR0913  # an option each
        self,
        model: str,
        version: str = "",
        *,
        reference: Reference | str | os.PathLike[str] | None = None,
        checks: Checks | Wanted | None = None,
        window: int = 1000,
        top: int = 20,
        values: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        given.whole(window=window, top=top)
        self.model, self.version = given.named(text(model)), text(version)
        known = None if reference is None else given.reference(reference)
        self.checks = checks if isinstance(checks, Checks) else Checks(known, checks)
        self.numeric = self.checks.reference.numeric if self.checks.reference else ()
        """The features that `add_matrix` takes, in their order."""
        self.last: Report | None = None
        """What the last whole window, or the last batch that was checked, came to."""
        self._size, self._top, self._told, self._clock = int(window), int(top), values, clock
        self._who = self.model, self.version or None
        self._own = set([*self.checks.groups, *self.checks.features][:top])
        self._series: dict[Place, Place] = {}
        self._open = Counts()
        self._grid = Grid(self.checks)
        self._lock = threading.RLock()
        _make_room()
        _left.hold(self, twin(self))
        with cells.lock:
            _watches.add(self)

    def add(self, table: Any) -> None:
        """Look at some rows; what is no table is counted as that.

        A column costs about as much for ten rows as for a thousand: of many columns, add many rows at once.
        """
        if not state.level:
            return
        try:
            now = self._clock()
            self._take(self.checks.count(table, now=now))
            _last_batch.at(*self._who).set(now)
        except Exception as exc:  # a column of a foreign type must not reach the caller's work
            self._refuse(exc)

    def add_matrix(self, numbers: Floats) -> None:
        """Look at rows of numbers, NaN for none: a column for each of the reference's `numeric` features.

        This is the way for few rows at a time. Features of another kind count as absent, as in a Profile. Checks of
        several columns at once see the rows of one call together, as in `add`.
        """
        if not state.level:
            return
        try:
            if self.checks.groups:
                self._grid.expect(numbers)
                self.add(dict(zip(self.numeric, numbers.T, strict=True)))
                return
            with self._lock:
                now = self._clock()
                if not self._grid.rows:
                    with cells.lock:
                        _untold.add(self)
                self._grid.add(numbers, now)
                enough = self._grid.rows + self._open.rows >= self._size
            _last_batch.at(*self._who).set(now)
            if enough:
                self._take(self._drained())
        except Exception as exc:  # as in add()
            self._refuse(exc)

    def check(self, table: Any) -> Report:
        """Look at a batch by itself and return what it comes to; what is no table is a violation of that name."""
        if not state.level:
            return self._judged(table)[0]
        with telemetry.tracer().start_as_current_span(SPAN, attributes=self._labels()) as span:
            report, counts = self._judged(table)
            if counts is not None:
                self._count(counts)
                _last_batch.at(*self._who).set(self._clock())
            self._close(report)
            self._mark(span, report)
        return report

    def report(self) -> Report:
        """Return what the rows since the last whole window come to; where there are none, what that one came to."""
        self._gather()
        with self._lock:
            counts = Counts() + self._open
        return self.last if self.last and not counts.tables else self.checks.report(counts)

    def _judged(self, table: Any) -> tuple[Report, Counts | None]:
        try:
            now = self._clock()
            counts = self.checks.count(table, now=now)
            return self.checks.report(counts), counts
        except Exception as exc:
            finding = Finding(UNREADABLE, detail=self._said(exc))
            return Report(0, None, {}, (finding,), (), Counts()), None

    def _drained(self) -> Counts:
        with self._lock:
            with cells.lock:
                _untold.discard(self)
            return self._grid.take() if self._grid.rows else Counts()

    def _gather(self) -> None:
        """Count what was not told yet."""
        counts = self._drained()
        if counts.rows:
            self._count(counts)
            with self._lock:
                self._open = self._open + counts if self._open.tables else counts

    def _take(self, counts: Counts) -> None:
        """Add to the window, and close it where it is whole."""
        self._count(counts)
        whole = None
        with self._lock:
            self._open = self._open + counts if self._open.tables else counts
            if self._open.rows >= self._size:
                whole, self._open = self._open, Counts()
        if whole is not None:
            self._close(self.checks.report(whole))

    def _count(self, counts: Counts) -> None:
        """Count values in as many series as there may be."""
        seen: dict[Place, int] = {}
        failed: dict[Place, int] = {}
        for place, number in counts.seen.items():
            series = self._series.get(place) or self._named(*place)
            seen[series] = seen.get(series, 0) + number
        for place, number in counts.failed.items():
            series = self._series.get(place) or self._named(*place)
            failed[series] = failed.get(series, 0) + number
        for series, number in seen.items():
            wrong = failed.get(series, 0)
            _values.at(*self._who, *series, PASSED).add(number - wrong)
            _values.at(*self._who, *series, FAILED).add(wrong)
        _rows.at(*self._who).add(counts.rows)

    def _named(self, feature: str, check: str) -> Place:
        """Return the feature and check that a series is of: the first features have some of their own."""
        with self._lock:
            if len(self._own) < self._top:
                self._own.add(feature)
            found = (feature if feature in self._own else OTHER), check
            if len(self._series) < MOST:
                self._series[feature, check] = found
            return found

    def _close(self, report: Report) -> None:
        """Tell what a window or a batch came to."""
        self.last = report
        if not state.level:
            return
        _score.at(*self._who).set(report.score)
        _healthy.at(*self._who).set(int(report.healthy))
        for kind, number in Counter(finding.kind for finding in report.violations).items():
            _violations.at(*self._who, kind).add(number)
        if not report.healthy:
            facts = self._labels() | self._facts(report)
            note(EVENT, facts)
            if self._told:
                facts[key.QUALITY_EXAMPLES] = [
                    f"{found.feature}: {found.kind}: {text(found.example)}"
                    for found in report.violations
                    if found.example is not None
                ]
            event(EVENT, facts, "warning")

    def _mark(self, span: trace.Span, report: Report) -> None:
        facts = self._facts(report)
        facts[key.QUALITY_HEALTHY] = report.healthy
        facts[key.QUALITY_TYPES] = [f"{name}: {kinds}" for name, kinds in report.types.items()]
        if self._told:
            facts[key.QUALITY_RANGES] = [f"{name}: {low:g} to {high:g}" for name, (low, high) in report.ranges.items()]
        span.set_attributes(telemetry.clean(facts))

    def _labels(self) -> dict[str, Any]:
        return {key.MODEL: self.model, **({key.MODEL_VERSION: self.version} if self.version else {})}

    def _facts(self, report: Report) -> dict[str, Any]:
        facts: dict[str, Any] = {key.ROWS: report.rows}
        if report.score is not None:
            facts[key.QUALITY_RESULT] = report.score
        if report.worst:
            facts[key.QUALITY_WORST] = report.worst
        if report.violations:
            facts[key.QUALITY_VIOLATED] = [
                ": ".join(part for part in (found.feature, found.kind) if part) for found in report.violations
            ]
        return facts

    def _refuse(self, exc: Exception) -> None:
        """Count what cannot be looked at, and tell the first of its kind."""
        if isinstance(exc, ColumnsError):
            _violations.at(*self._who, UNREADABLE).add(1)
        else:
            errors.at(f"quality of {self.model}").add()
        telemetry.warn_once("quality of %s: not counted: %s", self.model, self._said(exc))

    def _said(self, exc: Exception) -> str:
        """Return what went wrong; what foreign code says of it may quote a value."""
        if isinstance(exc, LlmonError):
            return str(exc)
        return f"{type(exc).__name__}: {exc}" if self._told else type(exc).__name__

    def _settle(self) -> None:
        """Judge what is left at the end."""
        self._gather()
        with self._lock:
            whole, self._open = self._open, Counts()
        if whole.rows:
            self._close(self.checks.report(whole))

    def _after_fork(self) -> None:
        """Begin anew in a child: what was added before is its parent's."""
        self._lock = threading.RLock()
        self._open, self._grid, self.last = Counts(), Grid(self.checks), None


def _living() -> list[QualityWatch]:
    with cells.lock:
        return list(_watches)


def _gathered() -> list[Reading]:
    """Count what was not told yet; of its own there is nothing to report."""
    with cells.lock:
        watches = list(_untold)
    for watch in watches:
        watch._gather()
    return []


_last_batch.sources["quality"] = _gathered


def _settle(*, last: bool) -> None:
    for watch in [*_left.taken(), *(_living() if last else ())]:
        watch._settle()


telemetry.settlers.append(_settle)
metering.before_collection.append(partial(_settle, last=False))


def _make_room() -> None:
    """See to watches that are gone: there may be one for each request."""
    if len(_untold) > MOST_UNTOLD:
        _gathered()
    _settle(last=False)


def _after_fork() -> None:
    _left.forget()
    _untold.clear()
    for watch in _living():
        watch._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
