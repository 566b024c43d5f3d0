"""Metrics of loops with a known end."""

from __future__ import annotations

from otel_llmon.semconv import Metric
from otel_llmon.semconv.attributes import OPERATION, OUTCOME, PHASE, PIPELINE, STATE

_LOOP = (OPERATION, PHASE, PIPELINE)

PROGRESS_ITEMS = Metric(
    "llmon.progress.items",
    "counter",
    "{item}",
    "Items that a loop has dealt with.",
    (*_LOOP, OUTCOME),
)
PROGRESS_TOTAL = Metric(
    "llmon.progress.total",
    "gauge",
    "{item}",
    "Items that the newest loop of this name has in all; absent where nobody knows.",
    _LOOP,
)
PROGRESS_STATE = Metric(
    "llmon.progress.state",
    "gauge",
    "{state}",  # with "1" Prometheus would call it a ratio
    "1 for the state of the newest loop of this name, 0 for the others.",
    (*_LOOP, STATE),
    cap=1500,
)
