"""Metrics of data quality."""

from __future__ import annotations

from otel_llmon.semconv import Metric
from otel_llmon.semconv.attributes import CHECK, FEATURE, KIND, MODEL, MODEL_VERSION, OUTCOME

QUALITY_VALUES = Metric(
    "llmon.quality.values",
    "counter",
    "{value}",
    "Values that were looked at, by check and by whether they passed.",
    (MODEL, MODEL_VERSION, FEATURE, CHECK, OUTCOME),
    cap=1900,
)
QUALITY_ROWS = Metric(
    "llmon.quality.rows",
    "counter",
    "{row}",
    "Rows that were looked at.",
    (MODEL, MODEL_VERSION),
)
QUALITY_VIOLATIONS = Metric(
    "llmon.quality.violations",
    "counter",
    "{violation}",
    "Features that violated a check in a window or a batch, and what was wrong with batches as wholes.",
    (MODEL, MODEL_VERSION, KIND),
)
QUALITY_SCORE = Metric(
    "llmon.quality.score",
    "gauge",
    "1",
    "Product of the shares of values that passed each check, in the last window or batch: 1 is as in the reference.",
    (MODEL, MODEL_VERSION),
)
QUALITY_HEALTHY = Metric(
    "llmon.quality.healthy",
    "gauge",
    "{model}",  # with "1" Prometheus would call it a ratio
    "1 where the last window or batch violated nothing, 0 where it did.",
    (MODEL, MODEL_VERSION),
)
QUALITY_LAST_BATCH = Metric(
    "llmon.quality.last_batch",
    "gauge",
    "s",
    "When rows were last looked at, in seconds since 1970.",
    (MODEL, MODEL_VERSION),
)
