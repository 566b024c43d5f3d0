"""What a watch says of its verdicts: readings until the next one, an event where it changes, a span where one asks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from otel_llmon import telemetry
from otel_llmon.drifts import telling
from otel_llmon.drifts.telling import Shown
from otel_llmon.events import event, note
from otel_llmon.metering import Reading, values
from otel_llmon.scores.drift import Drift
from otel_llmon.scores.performance import Change
from otel_llmon.semconv import attributes as key
from otel_llmon.semconv import drift as rows
from otel_llmon.semconv.events import DRIFT_ALARM, DRIFT_CHECKED, DRIFT_DETECTED, DRIFT_ENDED

if TYPE_CHECKING:
    from otel_llmon.drifts import DriftWatch
    from otel_llmon.scores.sequential import Detector

SPAN = "drift check"
NAMED = 16
"""Features that an event or a span names."""


class Report:
    """What one watch has to say now."""

    def __init__(self, watch: DriftWatch, shown: Shown, clock: Callable[[], float] = time.monotonic) -> None:
        self._reference, self._facts, self._weights = watch.reference, watch.facts, watch.weights
        self._shown, self._clock = shown, clock
        self._born = _age(watch.reference.created)
        self._drift: Drift | None = None
        self._changed = False
        self._change: Change | None = None
        self._detector: Detector | None = None
        """What has watched all windows; it says what it has found when somebody asks, which is rarer than windows."""
        self._states: dict[str, dict[str, int]] = {}
        self._at = 0.0
        self._told: Sequence[Reading] | None = ()
        """What is told of the last verdict; None until somebody asks: windows may be many between two collections."""
        self._enter(dict.fromkeys(shown.names, telling.UNJUDGED))

    def judged(self, watch: DriftWatch, drift: Drift, *, alarm: bool) -> None:
        """Take over the verdict on a whole window; say that something has changed, or is again as it was."""
        self._detector = detector = watch._detector
        self.verdict(drift)
        if drift.changed is not None and drift.changed is not self._changed:  # a window that says nothing ends nothing
            self._changed = drift.changed
            event((DRIFT_DETECTED if drift.changed else DRIFT_ENDED).name, self._fields(drift))
        if alarm:
            event(DRIFT_ALARM.name, self._fields(drift) | {"windows": detector.windows})

    def checked(self, compare: Callable[[], Drift]) -> Drift:
        """Compare in a span, and tell the verdict."""
        with telemetry.tracer().start_as_current_span(SPAN, attributes=dict(self._facts)) as span:
            drift = compare()
            fields = self._fields(drift) | {"verdict": _word(drift.changed)}
            span.set_attributes({key.REFERENCE: drift.reference, key.ROWS: drift.rows, key.STATE: _word(drift.changed)})
            event(DRIFT_CHECKED.name, fields)
            note(DRIFT_CHECKED.name, fields)
        self.verdict(drift)
        return drift

    def verdict(self, drift: Drift) -> None:
        """Take over a verdict."""
        self._drift, self._at = drift, self._clock()
        self._shown.follow(drift)
        self._enter(telling.states(drift, self._reference, self._shown))
        self._told = None

    def changed(self, change: Change) -> None:
        """Take over how the model performs."""
        self._change = change
        self._told = None

    @property
    def said(self) -> bool:
        """Return whether there is a verdict, or a change of how the model performs."""
        return self._drift is not None or self._change is not None

    def _enter(self, found: Mapping[str, str]) -> None:
        """Remember which state each feature is in, and was in before."""
        for name in [name for name in self._states if name not in found]:
            del self._states[name]
        for name, now in found.items():
            self._states[name] = dict.fromkeys(self._states.get(name, ()), 0) | {now: 1}

    def _all(self) -> Iterator[Reading]:
        drift, facts = self._drift, self._facts
        yield from telling.of_change(self._change, facts)
        if drift is None:
            return
        yield from telling.of_features(drift, self._reference, self._shown, facts)
        yield from telling.of_correlation(drift, facts)
        yield from telling.of_parts(telling.parts(drift, self._change), facts)
        if self._detector is not None:
            evidence = {telling.ALL: self._detector.score, **self._detector.scores()}
            yield from telling.of_evidence(evidence, self._shown, facts)
        weighted = drift.weighted(self._weights)
        for row, number in ((rows.DRIFT_SHARE, drift.share), (rows.DRIFT_WEIGHTED, weighted)):
            if number is not None:
                yield Reading(row, number, facts)

    def readings(self, *, mixed: bool) -> Iterator[Reading]:
        """Yield what is to be told now; `mixed` where another watch of this model has another reference."""
        told = self._told
        if told is None:
            self._told = told = tuple(self._all())
        yield from told
        now = self._clock()
        for name, states in list(self._states.items()):
            for word, number in (dict.fromkeys(states, 0) | {telling.MIXED: 1} if mixed else states).items():
                yield Reading(
                    rows.DRIFT_STATE, number, {**self._facts, key.FEATURE: values.text(name), key.STATE: word}
                )
        if self._drift is not None:
            yield Reading(rows.DRIFT_AGE, now - self._at, self._facts)
        if self._born is not None:
            age = time.time() - self._born
            yield Reading(rows.REFERENCE_AGE, age, {**self._facts, key.REFERENCE: self._reference.hash})

    def _fields(self, drift: Drift) -> dict[str, Any]:
        changed = [found for found in drift.features.values() if found.changed]
        changed.sort(key=lambda found: found.p_value)
        fields = {
            "model": self._facts[key.MODEL],
            "version": self._facts.get(key.MODEL_VERSION),
            "reference": drift.reference,
            "rows": drift.rows,
            "share": drift.share,
            "features": [f"{found.name}: {found.verdict}" for found in changed[:NAMED]],
            "correlation": drift.correlation.changed if drift.correlation else None,
            "evidence": None if self._detector is None else self._detector.score,
        }
        return {name: value for name, value in fields.items() if value is not None}


def _word(changed: bool | None) -> str:  # noqa: FBT001  # three words for three values
    return {True: "drifted", False: "stable", None: "insufficient"}[changed]


def _age(created: str | None) -> float | None:
    """Return when a reference was fitted, in unix seconds; None where it does not say, or not in ISO's form."""
    try:
        return datetime.fromisoformat(created).astimezone().timestamp() if created else None
    except (TypeError, ValueError):
        return None


def together(watches: Sequence[DriftWatch]) -> Iterator[Reading]:
    """Yield what all watches say: of several of one model the newest speaks."""
    newest = {watch.of: watch for watch in watches}
    for of, watch in newest.items():
        hashes = {each.reference.hash for each in watches if each.of == of}
        yield from watch._report.readings(mixed=len(hashes) > 1)
