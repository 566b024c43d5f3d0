"""The series of one model and version, looked up once; they change with the provider."""

from __future__ import annotations

from collections.abc import Container, Iterable
from typing import Any, NamedTuple

from otel_llmon import metering, telemetry
from otel_llmon.metering import Reading
from otel_llmon.metering.binding import api, current
from otel_llmon.metering.cells import CountSeries, HistogramSeries
from otel_llmon.models.reports import ModelReport, spread
from otel_llmon.scores import confusion
from otel_llmon.semconv import attributes as key
from otel_llmon.semconv import models as rows

LARGEST_ROOT = 2.0**490
"""What is further off has no square that could be added up."""
OVER, UNDER = "over", "under"
JOINED, UNKNOWN, DROPPED = "joined", "unknown", "dropped"

_predictions = metering.Counter(rows.PREDICTIONS)
_labeled = metering.Counter(rows.PREDICTIONS_LABELED)
_measured = metering.Counter(rows.PREDICTIONS_MEASURED)
_error = metering.Counter(rows.PREDICTION_ERROR)
_squares = metering.Counter(rows.PREDICTION_SQUARES)
_confidence = metering.Histogram(rows.PREDICTION_CONFIDENCE)
_duration = metering.Histogram(rows.PREDICTION_DURATION)
_failures = metering.Counter(rows.PREDICTION_FAILURES)
_outcomes = metering.Counter(rows.PREDICTION_OUTCOMES)
waits = metering.Gauge(rows.PREDICTION_WAITING)
_anomalies = metering.Counter(rows.PREDICTION_ANOMALIES)
_violations = metering.Counter(rows.PREDICTION_VIOLATIONS)

Model = tuple[str, str | None]
"""A model's name and version."""


class Lane(NamedTuple):
    """The series that every prediction needs."""

    predictions: dict[str | None, CountSeries]
    confidence: HistogramSeries
    duration: HistogramSeries


def lane(model: Model) -> Lane:
    """Return the series of this model."""
    if api._METER_PROVIDER is not current.provider:
        metering.bind()
    try:
        return _predictions.memo[model]  # type: ignore[no-any-return]
    except KeyError:
        made = Lane({}, _confidence.at(*model), _duration.at(*model))
        return _predictions.remember(model, made)


def count(model: Model, label: str | None, number: int = 1) -> None:
    """Count predictions of one class."""
    series = lane(model).predictions
    try:
        series[label].add(number)
    except KeyError:
        series[label] = made = _predictions.at(*model, label)
        made.add(number)


def label(model: Model, predicted: str, actual: str) -> None:
    """Count a class whose truth is known."""
    _labeled.at(*model, predicted, actual).add(1)


def miss(model: Model, apart: float) -> float | None:
    """Count by how far a number was off; return it, None where it is beyond all numbers."""
    if not -LARGEST_ROOT < apart < LARGEST_ROOT:
        return None
    _measured.at(*model).add(1)
    _error.at(*model, OVER if apart > 0 else UNDER).add(float(abs(apart)))
    _squares.at(*model).add(float(apart * apart))
    return apart


def fail(model: Model, error: str) -> None:
    """Count a prediction that raised."""
    _failures.at(*model, error).add(1)


def outcome(model: Model, state: str, number: int = 1) -> None:
    """Count what became of truths, and of predictions that waited for one."""
    _outcomes.at(*model, state).add(number)


def anomaly(model: Model, number: int = 1) -> None:
    """Count anomalous predictions."""
    _anomalies.at(*model).add(number)


def refuse(model: Model, part: str, why: str) -> None:
    """Count what cannot be taken of a prediction, and tell the first of its kind."""
    _violations.at(*model, part).add()
    once = f"model {model[0]!r}: {part}: ".replace("%", "%%")
    telemetry.warn_once(once + "%s; further ones are only counted", why)


def waiting(found: Iterable[tuple[Model, int]]) -> list[Reading]:
    """Return how many predictions of each model wait."""
    sums: dict[Model, int] = {}
    for model, number in found:
        sums[model] = sums.get(model, 0) + number
    return [Reading(rows.PREDICTION_WAITING, number, _attributes(model)) for model, number in sums.items()]


def _attributes(model: Model) -> dict[str, str]:
    known = zip((key.MODEL, key.MODEL_VERSION), model, strict=True)
    return {name: value for name, value in known if value is not None}


def report(model: Model, waiting: int, unnamed: Container[str], drift: Any, quality: Any) -> ModelReport:
    """Return what the series of this model hold; `unnamed` classes are many in one."""
    classes = _by(_predictions, model, key.PREDICTED)
    pairs = _pairs(model)
    sums = _by(_error, model, key.DIRECTION)
    measured, squares = (_total(instrument, model) for instrument in (_measured, _squares))
    known = lane(model)
    return ModelReport(
        model=model[0],
        version=model[1],
        predictions=int(_total(_predictions, model)),
        classes={name: int(number) for name, number in classes.items() if name},
        confusion=pairs,
        scores=confusion.quality(pairs, unnamed),
        errors=confusion.errors(measured, sums.get(OVER, 0), sums.get(UNDER, 0), squares),
        confidence=spread(known.confidence.read(), known.confidence.edges),
        duration=spread(known.duration.read(), known.duration.edges),
        failures=int(_total(_failures, model)),
        outcomes={state: int(number) for state, number in _by(_outcomes, model, key.STATE).items()},
        waiting=waiting,
        anomalies=int(_total(_anomalies, model)),
        violations={part: int(number) for part, number in _by(_violations, model, key.REASON).items()},
        drift=drift,
        quality=quality,
    )


def _of(instrument: metering.Counter, model: Model) -> list[tuple[Any, float]]:
    """Return the attributes and the sum of each series of this model."""
    return [
        (series.attributes, series.read() or 0)
        for series in instrument.all()
        if (series.attributes.get(key.MODEL), series.attributes.get(key.MODEL_VERSION)) == model
    ]


def _total(instrument: metering.Counter, model: Model) -> float:
    return sum(number for _, number in _of(instrument, model))


def _by(instrument: metering.Counter, model: Model, what: str) -> dict[str, float]:
    return {attributes.get(what, ""): number for attributes, number in _of(instrument, model)}


def _pairs(model: Model) -> dict[tuple[str, str], int]:
    return {
        (attributes[key.PREDICTED], attributes[key.ACTUAL]): int(number) for attributes, number in _of(_labeled, model)
    }
