"""Metrics of training runs."""

from __future__ import annotations

from otel_llmon.semconv import Metric
from otel_llmon.semconv.attributes import KIND, MODEL, OUTCOME, PIPELINE, QUANTITY, SPLIT

_RUN = (PIPELINE, MODEL)
_PART = (*_RUN, SPLIT)

TRAINING_LOSS = Metric(
    "llmon.training.loss",
    "gauge",
    "{loss}",  # with "1" Prometheus would call it a ratio
    "Newest loss; absent while it is no finite number.",
    _PART,
)
TRAINING_ACCURACY = Metric(
    "llmon.training.accuracy",
    "gauge",
    "1",
    "Newest accuracy, 0 to 1.",
    _PART,
)
TRAINING_RATE = Metric(
    "llmon.training.learning_rate",
    "gauge",
    "{rate}",  # likewise
    "Learning rate of the newest step.",
    _RUN,
)
TRAINING_NORM = Metric(
    "llmon.training.gradient_norm",
    "gauge",
    "{norm}",  # likewise
    "Norm of the gradient at the newest step; absent while it is no finite number.",
    _RUN,
)
TRAINING_EPOCH = Metric(
    "llmon.training.epoch",
    "gauge",
    "{epoch}",
    "Number of the newest epoch.",
    _RUN,
)
TRAINING_STEPS = Metric(
    "llmon.training.steps",
    "counter",
    "{step}",
    "Steps that are done.",
    _PART,
)
TRAINING_SAMPLES = Metric(
    "llmon.training.samples",
    "counter",
    "{sample}",
    "Samples that the steps went through.",
    _PART,
)
TRAINING_TOKENS = Metric(
    "llmon.training.tokens",
    "counter",
    "{token}",
    "Tokens that the steps went through.",
    _PART,
)
TRAINING_NOT_FINITE = Metric(
    "llmon.training.not_finite",
    "counter",
    "{value}",
    "Losses, gradient norms and the like that were NaN or infinite.",
    (*_PART, QUANTITY),
)
TRAINING_TIME = Metric(
    "llmon.training.time",
    "counter",
    "s",
    "Time of training runs by what it went into; the productive part of all is the goodput.",
    (*_RUN, KIND),
)
TRAINING_CHECKPOINTS = Metric(
    "llmon.training.checkpoints",
    "counter",
    "{checkpoint}",
    "Checkpoints that were saved.",
    _RUN,
)
TRAINING_JOBS = Metric(
    "llmon.training.jobs",
    "counter",
    "{job}",
    "Training runs that ended, by how; under `llmon run --job` those that were killed too.",
    (*_RUN, OUTCOME),
)
