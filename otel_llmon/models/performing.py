"""Whether a model has become worse: what its truths say of the last predictions, against what it could once."""

from __future__ import annotations

import threading
from math import sqrt
from typing import TYPE_CHECKING, Any

from otel_llmon import telemetry
from otel_llmon.errors import SettingsError
from otel_llmon.scores.performance import Mean, Share

if TYPE_CHECKING:
    from otel_llmon.drifts import DriftWatch

Measure = Share | Mean | float


class Performance:
    """Windows of predictions whose truth is known; each whole one is compared with the baseline.

    The baseline is a share of right answers, or the mean distance of numbers from the truth.
    """

    def __init__(self, watch: DriftWatch | None, baseline: Any, window: int) -> None:
        if isinstance(baseline, bool) or not isinstance(baseline, Share | Mean | float | int):
            raise SettingsError(f"baseline={baseline!r}: expected a number, a Share or a Mean")
        if watch is None:
            raise SettingsError(
                "baseline: found no reference, expected one: how right a model is stands beside the drift of its inputs"
            )
        self._watch, self._baseline, self._window = watch, baseline, window
        self._other = {Share: True, Mean: False}.get(type(baseline))
        """Whether it is numbers, or classes, that the baseline is none of; None where it may be of either."""
        self.forget()

    def forget(self) -> None:
        """Begin anew, as a forked child does."""
        self._lock = threading.RLock()
        self._rows, self._sum, self._squares = 0, 0.0, 0.0

    def right(self, *, right: bool) -> None:
        """Take note of a class whose truth is known."""
        self._add(float(right), numbers=False)

    def miss(self, apart: float) -> None:
        """Take note of by how far a number was off."""
        self._add(abs(apart), numbers=True)

    def _add(self, value: float, *, numbers: bool) -> None:
        if numbers is self._other:
            said, of = type(self._baseline).__name__, "numbers" if numbers else "classes"
            telemetry.warn_once(
                "model %r: baseline is a %s, and predictions are %s, expected %s: nothing is compared",
                self._watch.model,
                said,
                of,
                "Mean(error, deviation, rows)" if numbers else "Share(right, rows)",
            )
            return
        with self._lock:
            self._rows += 1
            self._sum += value
            self._squares += value * value
            if self._rows < self._window:
                return
            rows, mean, squares = self._rows, self._sum / self._rows, self._squares / self._rows
            hits, self._rows, self._sum, self._squares = round(self._sum), 0, 0.0, 0.0
        now = Mean(mean, sqrt(max(squares - mean * mean, 0.0)), rows) if numbers else Share(hits, rows)
        self._watch.performance(now, self._baseline, higher_is_better=not numbers)
