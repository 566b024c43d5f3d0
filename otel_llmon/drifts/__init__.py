"""DriftWatch: what a model is fed and says is counted into windows, compared with its reference, and told.

Rows are counted where they come in; windows that are full are compared on the observers' beat. What was counted since
the start leaves as counters, from which a backend finds the drift of all processes together.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from otel_llmon import metering, observers, telemetry
from otel_llmon.drifts import bins
from otel_llmon.drifts.reporting import Report, together
from otel_llmon.drifts.telling import Shown
from otel_llmon.errors import LlmonError, SettingsError
from otel_llmon.events import errors
from otel_llmon.metering import Reading, cells, values
from otel_llmon.metering.leaving import Left, emptied, twin
from otel_llmon.scores import columns, given
from otel_llmon.scores.columns import Floats
from otel_llmon.scores.dense import Tally
from otel_llmon.scores.drift import Drift, Limits, compare
from otel_llmon.scores.performance import Change, Mean, Share, performance
from otel_llmon.scores.profile import Profile, Reference
from otel_llmon.scores.sequential import Detector
from otel_llmon.semconv import Metric
from otel_llmon.semconv import attributes as key
from otel_llmon.semconv import drift as rows
from otel_llmon.telemetry import state

__all__ = ["DriftWatch"]

BLOCK = 256
"""Rows of numbers that wait for each other: many are counted for the price of few."""
WAITING = 4
"""Full windows that wait for the beat; whoever fills one more compares the first."""

BEAT = "drift"
clock = time.monotonic
_COUNTED = frozenset((*bins.COUNTS, *bins.CONSTANTS))
_watches: list[weakref.ref[DriftWatch]] = []
_left: Left[DriftWatch] = Left()
_unjudged: deque[DriftWatch] = deque()
_taking = threading.RLock()

TOLD, MOST_TOLD = 120.0, 16
"""Seconds for which the verdict of a watch that is gone is told, unless its model has another, and of how many."""


class DriftWatch:
    """Watch the rows of one model: `add()` them, and what becomes of them is told by itself.

    Every `window` rows are compared with the reference; `limits` say what counts as drift. `weights` say how much each
    feature matters. At most `top` features have series of their own, those that have changed before the others.
    The reference may be the file of one. Raises SettingsError for what cannot be.
    """

    def __init__(  # noqa: PLR0913  # an option each
        self,
        reference: Reference | str | os.PathLike[str],
        model: str,
        version: str = "",
        *,
        window: int = 1000,
        limits: Limits | None = None,
        weights: Mapping[str, float] | None = None,
        top: int = 20,
    ) -> None:
        _see_to_left()
        self.reference = given.reference(reference)
        self._names = [feature.name for feature in self.reference.features]
        given.whole(window=window, top=top)
        _check(self.reference, limits, weights or {})
        self.model, self.version = given.named(values.text(model)), values.text(version)
        self.facts = {key.MODEL: self.model} | ({key.MODEL_VERSION: self.version} if version else {})
        self.of = tuple(self.facts.values())
        self.window, self.limits, self.weights, self.top = int(window), limits, dict(weights or {}), int(top)
        self._renew()
        _left.hold(self, twin(self))
        _register(self)

    def _counted(self) -> bool:
        return bool(self._open.rows or self._before.rows or self._filled or self._waiting or self._report.said)

    def _renew(self) -> None:
        """Begin with nothing: in a forked child what was counted so far is its parent's."""
        self._lock, self._judging = threading.RLock(), threading.RLock()
        self._open, self._before = Profile(self.reference), Profile(self.reference)
        self._nothing = self._handed = Tally.of(self._open)
        self._ledger = bins.ledger(self.reference, self.facts)
        self._waiting: deque[Profile] = deque()
        self._block: Floats = np.empty((min(BLOCK, self.window), len(self.reference.numeric)))
        self._filled = 0
        self._last: Drift | None = None
        self._detector = Detector(self.reference)
        self._report = Report(self, Shown(self.reference, self.top, self.weights))

    @property
    def numeric(self) -> tuple[str, ...]:
        """The features that `add_matrix` takes, in their order."""
        return self.reference.numeric

    # what comes in

    def add(self, table: Any) -> None:
        """Count the rows of a table: columns by name, a frame, a matrix. What is none is counted and told once."""
        if not state.level:
            return
        try:
            found = columns.read(table, names=self._names)
            self._add(found, columns.rows_of(found))
        except Exception as exc:
            self._refuse(exc)

    def add_matrix(self, matrix: Floats) -> None:
        """Count rows of numbers: a column for each of the reference's `numeric` features, in their order.

        The fast way for few rows at a time; NaN stands for no value.
        """
        if not state.level:
            return
        try:
            self._add(matrix, self._rows(matrix))
        except Exception as exc:
            self._refuse(exc)

    def _rows(self, matrix: Floats) -> int:
        if matrix.ndim != 2 or matrix.shape[1] != self._block.shape[1]:
            width = self._block.shape[1]
            raise columns.ColumnsError(f"found shape {matrix.shape}, expected rows by {width} numeric features")
        return len(matrix)

    def _refuse(self, exc: Exception) -> None:
        """Count it, and tell the first of its kind; what foreign code says of it may quote a value."""
        errors.at("drift").add()
        said = str(exc) if isinstance(exc, LlmonError) else type(exc).__name__
        telemetry.warn_once("drift of %s: rows left out: %s", self.model, said)

    def _add(self, found: Any, rows: int) -> None:
        """Count rows into the window that is open, and into the next ones where it is full.

        Rows that came together and are more than a window are one window: what a batch says is said once.
        """
        metering.follow_provider()
        with self._lock:
            start = 0
            while start < rows:
                room = self.window - self._open.rows - self._filled
                left = rows - start
                take = left if left < room else room if room < self.window else left - left % self.window
                self._count(found, start, start + take)
                start += take
                if self._open.rows + self._filled >= self.window:
                    self._close()
        while len(self._waiting) > WAITING:
            self.judge()

    def _count(self, found: Any, start: int, end: int) -> None:
        if isinstance(found, Mapping):
            self._open.add({name: column[start:end] for name, column in found.items()})
        elif end - start > len(self._block) - self._filled:
            self._drain()
            self._open.add_matrix(found[start:end])
        else:
            self._block[self._filled : self._filled + end - start] = found[start:end]
            self._filled += end - start

    def _drain(self) -> None:
        """Count the rows that wait."""
        if self._filled:
            filled, self._filled = self._filled, 0
            self._open.add_matrix(self._block[:filled])

    def _close(self) -> None:
        """Put the open window among those that wait for a verdict."""
        self.hand_over()
        self._handed = self._nothing
        self._waiting.append(self._open)
        self._before, self._open = self._open, Profile(self.reference)

    # what is said of it

    def judge(self) -> None:
        """Compare the full windows that wait; this is done on every beat."""
        with self._judging:
            while self._waiting:
                window = self._waiting.popleft()
                self._last = compare(window, self.limits)
                alarmed = self._detector.alarm
                alarm = self._detector.add(window) and not alarmed
                self._report.judged(self, self._last, alarm=alarm)

    @property
    def last(self) -> Drift | None:
        """Return the verdict on the last whole window; None before the first one is full."""
        self.judge()
        return self._last

    @property
    def detector(self) -> Detector:
        """Return what watches without end, over all whole windows."""
        self.judge()
        return self._detector

    def check(self) -> Drift | None:
        """Return what the newest rows say, and tell it: a span, an event, and the metrics until the next verdict.

        These are the rows of the window that is open, and of the one before it. None where there are no rows.
        """
        if not state.level:
            return None
        self.judge()
        with self._lock:
            self._drain()
            newest = self._before + self._open
        if not newest.rows:
            return None
        return self._report.checked(lambda: compare(newest, self.limits))

    def performance(
        self, value: Share | Mean | float, baseline: Share | Mean | float, *, higher_is_better: bool = True
    ) -> Change | None:
        """Tell how much worse the model has become, from labels: negative where it is better, which is no drift.

        With `Share` or `Mean`, which know their rows, the change says whether chance explains it.
        """
        try:
            change = _change(baseline, value, higher_is_better=higher_is_better)
        except Exception as exc:
            self._refuse(exc)
            return None
        self._report.changed(change)
        return change

    def hand_over(self) -> None:
        """Let the ledger have what was counted since the last time."""
        with self._lock:
            self._drain()
            now = Tally.of(self._open)
            self._ledger.grow(now, self._handed)
            self._handed = now


def _check(reference: Reference, limits: Any, weights: Any) -> None:
    if not isinstance(limits, Limits | None):
        raise SettingsError(f"limits: found {type(limits).__name__}, expected Limits")
    if not isinstance(weights, Mapping):
        raise SettingsError(f"weights: found {type(weights).__name__}, expected a number by feature")
    unknown = sorted(set(weights) - {feature.name for feature in reference.features})
    if unknown:
        raise SettingsError(f"weights: found {unknown[0]!r}, expected features of the reference")
    for name, weight in weights.items():
        if not isinstance(weight, int | float | np.number) or not 0 <= weight < np.inf:
            raise SettingsError(f"weights: found {weight!r} for {name!r}, expected a number of 0 or more")


def _change(before: Share | Mean | float, now: Share | Mean | float, *, higher_is_better: bool) -> Change:
    if isinstance(before, Share | Mean) and isinstance(now, Share | Mean):
        return performance(before, now, higher_is_better=higher_is_better)
    was, value = (
        each.hits / each.rows if isinstance(each, Share) else each.value if isinstance(each, Mean) else float(each)
        for each in (before, now)
    )
    worse = was - value if higher_is_better else value - was
    if not np.isfinite(worse):
        raise SettingsError(f"performance: found {value!r} after {was!r}, expected finite numbers")
    return Change(was, value, worse, float("nan"), None)


def _register(watch: DriftWatch) -> None:
    with cells.lock:
        _watches[:] = [each for each in _watches if each() is not None]
        _watches.append(weakref.ref(watch))
    metering.follow_provider()
    observers.each_beat(BEAT, _judge)


def _living() -> list[DriftWatch]:
    """Return the watches in the order in which they were made; of equal ones both."""
    return [watch for each in list(_watches) if (watch := each()) is not None]


def _take_in() -> None:
    """Take in what watches that are gone have counted; a collection may do that, and waits for who does."""
    with _taking:
        for watch in _left.taken():
            if not watch._counted():
                continue
            watch.hand_over()
            bins.keep(watch._ledger)
            gone = _gone()
            gone.pop(watch.of, None)
            gone[watch.of] = clock() + TOLD, watch
            for oldest in list(gone)[:-MOST_TOLD]:
                gone.pop(oldest, None)
            _unjudged.append(watch)


def _see_to_left() -> None:
    """Bring to an end what watches that are gone have begun."""
    _take_in()
    for watch in emptied(_unjudged):
        watch.judge()


def _gone() -> dict[tuple[str, ...], tuple[float, DriftWatch]]:
    """Return what is forgotten when all series are: with the provider, and in a forked child."""
    return metering.instrument_of(rows.DRIFT_STATE, sourced=True).memo


def _speaking() -> list[DriftWatch]:
    """Return the watches whose verdicts are told: of a model that has none any more, the last one's for a while."""
    _take_in()
    living = _living()
    models, now, gone = {watch.of for watch in living}, clock(), _gone()
    for model, (until, _) in list(gone.items()):
        if until < now or model in models:
            gone.pop(model, None)
    return [*(watch for _, watch in gone.values()), *living]


def _judge() -> None:
    _see_to_left()
    for watch in _living():
        watch.judge()


def _settle(*, last: bool) -> None:  # noqa: ARG001  # as of all settlers
    _see_to_left()


telemetry.settlers.append(_settle)


def _read(row: Metric) -> list[Reading]:
    """Return what all watches have to tell of one metric."""
    return [reading for reading in _all((row,)) if reading.metric is row]


def _feed() -> Mapping[str, Sequence[Reading]]:
    """Return what all watches have to tell, by metric."""
    found: dict[str, list[Reading]] = {}
    for reading in _all(ROWS):
        found.setdefault(reading.metric.name, []).append(reading)
    return found


def _all(wanted: Sequence[Metric]) -> Iterator[Reading]:
    """Yield what there is to tell, and more of a kind than is wanted where that comes along."""
    watches = _speaking() if state.level else []
    ledgers = bins.ledgers() if state.level else []
    if not watches and not ledgers:
        return
    _see_to_the_beat()
    if not _COUNTED.issuperset(wanted):
        yield from together(watches)
    if not _COUNTED.isdisjoint(wanted):
        for watch in watches:
            watch.hand_over()
    for row in wanted:
        if row in bins.COUNTS:
            for ledger in ledgers:
                yield from ledger.counts(row)
        elif row in bins.CONSTANTS:
            for ledger in {each.reference: each for each in ledgers}.values():
                yield from ledger.constants(row)


def _see_to_the_beat() -> None:
    """Have windows judged again where observers were detached meanwhile, and others were attached."""
    sources = observers.sampler.sources
    if sources and BEAT not in sources:
        observers.each_beat(BEAT, _judge)
    observers.sampler.ensure()


ROWS = tuple(row for row in vars(rows).values() if isinstance(row, Metric))
for _row in ROWS:
    metering.instrument_of(_row, sourced=True).sources[BEAT] = partial(_read, _row)
metering.feeds.append(_feed)


def _after_fork() -> None:
    global _taking  # noqa: PLW0603  # a child has one of its own
    _taking = threading.RLock()
    _left.forget()
    _unjudged.clear()
    bins.forget()
    for watch in _living():
        watch._renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
