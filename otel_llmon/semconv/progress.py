"""Metrics of loops."""

from __future__ import annotations

from otel_llmon.semconv import Metric
from otel_llmon.semconv.attributes import OPERATION, OUTCOME, PHASE, PIPELINE, QUANTILE, STATE

_LOOP = (OPERATION, PHASE, PIPELINE)

PROGRESS_ITEMS = Metric(
    "llmon.progress.items",
    "counter",
    "{item}",
    "Items that a loop has dealt with.",
    (*_LOOP, OUTCOME),
)
PROGRESS_TOKENS = Metric(
    "llmon.progress.tokens",
    "counter",
    "{token}",
    "Tokens that a loop has dealt with, as it was told by `update(tokens=...)`.",
    _LOOP,
)
PROGRESS_DONE = Metric(
    "llmon.progress.done",
    "gauge",
    "{item}",
    "Items that the newest loop of this name has behind it, with those of an earlier run that it goes on from.",
    _LOOP,
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
    cap=1800,
)
PROGRESS_ETA = Metric(
    "llmon.progress.eta",
    "gauge",
    "s",
    "Seconds that the newest loop of this name still needs, pauses left out: in one of ten cases less than `0.1` says,"
    " in one of ten more than `0.9` says.",
    (*_LOOP, QUANTILE),
)
PROGRESS_LAST_UPDATE = Metric(
    "llmon.progress.last_update",
    "gauge",
    "s",
    "Unix time at which the newest loop of this name was last seen to get on; absent unless it runs.",
    _LOOP,
)
