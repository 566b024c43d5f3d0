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
from typing import Any

from opentelemetry import trace

from otel_llmon import metering, telemetry
from otel_llmon.events import errors, event, note
from otel_llmon.metering import values
from otel_llmon.scores.columns import ColumnsError
from otel_llmon.scores.quality import OTHER, Checks, Counts, Finding, Report, Wanted
from otel_llmon.scores.reference import Reference
from otel_llmon.semconv import attributes as key
from otel_llmon.semconv import quality as rows
from otel_llmon.telemetry import state

SPAN, EVENT = "quality check", "llmon.quality.violation"
PASSED, FAILED = "passed", "failed"
UNREADABLE = "unreadable"
"""Kind of the finding that a batch is no table."""

_values = metering.Counter(rows.QUALITY_VALUES)
_rows = metering.Counter(rows.QUALITY_ROWS)
_violations = metering.Counter(rows.QUALITY_VIOLATIONS)
_score = metering.Gauge(rows.QUALITY_SCORE)
_healthy = metering.Gauge(rows.QUALITY_HEALTHY)
_last_batch = metering.Gauge(rows.QUALITY_LAST_BATCH)
_watches: weakref.WeakSet[QualityWatch] = weakref.WeakSet()


class QualityWatch:
    """Looks at the inputs of a model, batch by batch or row by row.

    What it asks is whether they are as in the `reference`, and what `checks` say: a mapping of columns to checks, or
    `scores.quality.Checks`. Rows that are added make up windows of `window` rows, each of which has a score and is
    healthy or not; the first `top` features, those with checks of their own before the others, have series of their
    own. With `values=True` ranges stand on spans, and values that failed in events.

    Make one for each model and keep it. Raises CheckError for what cannot be asked.
    """

    def __init__(  # noqa: PLR0913  # an option each
        self,
        model: str,
        version: str = "",
        *,
        reference: Reference | None = None,
        checks: Checks | Wanted | None = None,
        window: int = 1000,
        top: int = 20,
        values: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.model, self.version = model, version
        self.checks = checks if isinstance(checks, Checks) else Checks(reference, checks)
        self.last: Report | None = None
        """What the last whole window, or the last batch that was checked, came to."""
        self._size, self._top, self._told, self._clock = window, top, values, clock
        self._who = model, version or None
        self._named: set[str] = set()
        self._open = Counts()
        self._lock = threading.Lock()
        _watches.add(self)

    def add(self, table: Any) -> None:
        """Look at some rows; what is no table is counted as that."""
        if not state.level:
            return
        try:
            self._take(self.checks.count(table, now=self._clock()))
        except ColumnsError as exc:
            self._refuse(exc)
        except Exception as exc:  # a column of a foreign type must not reach the caller's work
            self._fail(exc)

    def check(self, table: Any) -> Report:
        """Look at a batch by itself and return what it comes to; what is no table is a violation of that name."""
        if not state.level:
            return self._judged(table)[0]
        with telemetry.tracer().start_as_current_span(SPAN, attributes=self._labels()) as span:
            report, counts = self._judged(table)
            if counts is not None:
                self._count(counts)
            self._close(report)
            self._mark(span, report)
        return report

    def report(self) -> Report:
        """Return what the rows since the last whole window come to; where there are none, what that one came to."""
        with self._lock:
            counts = Counts() + self._open
        return self.last if self.last and not counts.tables else self.checks.report(counts)

    def _judged(self, table: Any) -> tuple[Report, Counts | None]:
        try:
            counts = self.checks.count(table, now=self._clock())
            return self.checks.report(counts), counts
        except ColumnsError as exc:
            finding = Finding(UNREADABLE, detail=str(exc))
            return Report(0, None, {}, (finding,), (), Counts()), None

    def _take(self, counts: Counts) -> None:
        """Add to the window, and close it where it is whole."""
        self._count(counts)
        whole = None
        with self._lock:
            self._open += counts
            if self._open.rows >= self._size:
                whole, self._open = self._open, Counts()
        if whole is not None:
            self._close(self.checks.report(whole))

    def _count(self, counts: Counts) -> None:
        """Count values in as many series as there may be."""
        found: Counter[tuple[str, str, str]] = Counter()
        for (feature, check), seen in counts.seen.items():
            failed = counts.failed.get((feature, check), 0)
            name = self._name(feature)
            found[name, check, PASSED] += seen - failed
            found[name, check, FAILED] += failed
        for series, number in found.items():
            _values.at(*self._who, *series).add(number)
        _rows.at(*self._who).add(counts.rows)
        _last_batch.at(*self._who).set(self._clock())

    def _name(self, feature: str) -> str:
        """Return the feature's name, for as many features as have series of their own."""
        if feature in self._named:
            return feature
        with self._lock:
            if len(self._named) < self._top:
                if not self._named:
                    self._named.update([*self.checks.groups, *self.checks.features][: self._top])
                else:
                    self._named.add(feature)
            return feature if feature in self._named else OTHER

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
                    f"{found.feature}: {found.kind}: {values.text(found.example)}"
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
        facts: dict[str, Any] = {key.QUALITY_ROWS: report.rows}
        if report.score is not None:
            facts[key.QUALITY_RESULT] = report.score
        if report.worst:
            facts[key.QUALITY_WORST] = report.worst
        if report.violations:
            facts[key.QUALITY_VIOLATED] = [
                ": ".join(part for part in (found.feature, found.kind) if part) for found in report.violations
            ]
        return facts

    def _refuse(self, exc: ColumnsError) -> None:
        _violations.at(*self._who, UNREADABLE).add(1)
        telemetry.warn_once("quality of %s: not counted: %s", self.model, exc)

    def _fail(self, exc: Exception) -> None:
        errors.at(f"quality of {self.model}").add()
        telemetry.warn_once("quality of %s: not counted: %s: %s", self.model, type(exc).__name__, exc)

    def _settle(self) -> None:
        """Judge what is left at the end."""
        with self._lock:
            whole, self._open = self._open, Counts()
        if whole.rows:
            self._close(self.checks.report(whole))

    def _after_fork(self) -> None:
        """Begin anew in a child: what was added before is its parent's."""
        self._lock = threading.Lock()
        self._open, self.last = Counts(), None


def _settle(*, last: bool) -> None:
    for watch in list(_watches) if last else ():
        watch._settle()


telemetry.settlers.append(_settle)


def _after_fork() -> None:
    for watch in list(_watches):
        watch._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
