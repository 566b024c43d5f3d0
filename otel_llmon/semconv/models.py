"""Metrics of models in service: predictions, what became of them, and how far off they were."""

from __future__ import annotations

from otel_llmon.semconv import SECONDS, Metric
from otel_llmon.semconv.attributes import ACTUAL, DIRECTION, ERROR_TYPE, MODEL, MODEL_VERSION, PREDICTED, REASON, STATE

_MODEL = (MODEL, MODEL_VERSION)

PREDICTIONS = Metric(
    "llmon.predictions",
    "counter",
    "{prediction}",
    "Predictions by class; those that are numbers or texts have none.",
    (*_MODEL, PREDICTED),
)
PREDICTIONS_LABELED = Metric(
    "llmon.predictions.labeled",
    "counter",
    "{prediction}",
    "Predictions whose truth is known, by both: the confusion matrix.",
    (*_MODEL, PREDICTED, ACTUAL),
    cap=1900,
)
PREDICTIONS_MEASURED = Metric(
    "llmon.predictions.measured",
    "counter",
    "{prediction}",
    "Predicted numbers whose truth is known.",
    _MODEL,
)
PREDICTION_ERROR = Metric(
    "llmon.prediction.error",
    "counter",
    "{error}",
    "Sum of how far predicted numbers lay from the truth, over it and under it.",
    (*_MODEL, DIRECTION),
)
PREDICTION_SQUARES = Metric(
    "llmon.prediction.error.squared",
    "counter",
    "{error}",
    "Sum of the squares of the same.",
    _MODEL,
)
PREDICTION_CONFIDENCE = Metric(
    "llmon.prediction.confidence",
    "histogram",
    "1",
    "How sure a model was of its prediction, 0 to 1.",
    _MODEL,
    (
        0.05,
        0.1,
        0.15,
        0.2,
        0.25,
        0.3,
        0.35,
        0.4,
        0.45,
        0.5,
        0.55,
        0.6,
        0.65,
        0.7,
        0.75,
        0.8,
        0.85,
        0.9,
        0.95,
        0.99,
        1.0,
    ),
)
PREDICTION_DURATION = Metric(
    "llmon.prediction.duration",
    "histogram",
    "s",
    "How long a prediction took.",
    _MODEL,
    (0.00005, 0.0001, 0.00025, 0.0005, *SECONDS[:-4]),
)
PREDICTION_FAILURES = Metric(
    "llmon.prediction.failures",
    "counter",
    "{prediction}",
    "Predictions that were asked for and ended in an exception.",
    (*_MODEL, ERROR_TYPE),
)
PREDICTION_OUTCOMES = Metric(
    "llmon.prediction.outcomes",
    "counter",
    "{outcome}",
    "Truths told later, and predictions that waited for theirs in vain.",
    (*_MODEL, STATE),
)
PREDICTION_WAITING = Metric(
    "llmon.prediction.waiting",
    "gauge",
    "{prediction}",
    "Predictions of this process that wait for their truth.",
    _MODEL,
)
PREDICTION_ANOMALIES = Metric(
    "llmon.prediction.anomalies",
    "counter",
    "{prediction}",
    "Predictions with a number as the model's reference all but excludes.",
    _MODEL,
)
PREDICTION_VIOLATIONS = Metric(
    "llmon.prediction.violations",
    "counter",
    "{violation}",
    "What was told of a prediction and could not be taken, by which part of it.",
    (*_MODEL, REASON),
)
