"""Metrics of health checks."""

from __future__ import annotations

from otel_llmon.semconv import SECONDS, Metric
from otel_llmon.semconv.attributes import OUTCOME, STEP, TARGET, TARGET_TYPE

HEALTH_UP = Metric(
    "llmon.health.up",
    "gauge",
    "{target}",  # with "1" Prometheus would call it a ratio
    "1 where the target is up, 0 where it is down; nothing where nobody knows.",
    (TARGET, TARGET_TYPE),
)
HEALTH_DURATION = Metric(
    "llmon.health.check.duration",
    "histogram",
    "s",
    "How long a check took, its retries included.",
    (TARGET, TARGET_TYPE, OUTCOME),
    SECONDS[:15],
)
HEALTH_STEP = Metric(
    "llmon.health.step.duration",
    "histogram",
    "s",
    "How long a step of a check took; a kept connection has no steps to connect.",
    (TARGET, STEP),
    SECONDS[:15],
)
HEALTH_MODELS = Metric(
    "llmon.health.models",
    "gauge",
    "{model}",
    "Models that a model server offers.",
    (TARGET, TARGET_TYPE),
)
HEALTH_CERTIFICATE = Metric(
    "llmon.health.certificate.remaining",
    "gauge",
    "s",
    "Time until the certificate of the target expires, negative where it has.",
    (TARGET,),
)
