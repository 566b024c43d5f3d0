"""Metrics of drift: what this process found, and the counts from which a backend finds it for a whole fleet."""

from __future__ import annotations

from otel_llmon.semconv import Metric
from otel_llmon.semconv.attributes import (
    BIN,
    BIN_NEXT,
    DIRECTION,
    FEATURE,
    METHOD,
    MODEL,
    MODEL_VERSION,
    PART,
    REFERENCE,
    STATE,
)

_WATCH = (MODEL, MODEL_VERSION)
_COUNTED = (MODEL, MODEL_VERSION, REFERENCE, FEATURE)

DRIFT_SCORE = Metric(
    "llmon.drift.score",
    "gauge",
    "{score}",  # with "1" Prometheus would call it a ratio
    "How far a feature has moved from its reference; the largest of the features that have no series of their own.",
    (*_WATCH, FEATURE, METHOD),
    cap=1900,
)
DRIFT_SCORE_MAX = Metric(
    "llmon.drift.score.max",
    "gauge",
    "{score}",
    "The largest score of all features, whatever its sign.",
    (*_WATCH, METHOD),
)
DRIFT_P_VALUE = Metric(
    "llmon.drift.p_value",
    "gauge",
    "{probability}",
    "How likely chance alone moves a feature as far; the least of the features that have no series of their own.",
    (*_WATCH, FEATURE, METHOD),
    cap=1900,
)
DRIFT_STATE = Metric(
    "llmon.drift.state",
    "gauge",
    "{state}",
    "1 for the verdict on a feature, 0 for those that it had before.",
    (*_WATCH, FEATURE, STATE),
    cap=1900,
)
DRIFT_SHARE = Metric(
    "llmon.drift.share",
    "gauge",
    "1",
    "Share of the features that have changed, of those of which something can be said.",
    _WATCH,
)
DRIFT_WEIGHTED = Metric(
    "llmon.drift.weighted",
    "gauge",
    "1",
    "The same, every feature counting as much as its weight.",
    _WATCH,
)
DRIFT_COMBINED = Metric(
    "llmon.drift.combined",
    "gauge",
    "1",
    "All signs of drift in one number, 1 - (1 - part) (1 - part) ..., and its parts.",
    (*_WATCH, PART),
)
DRIFT_EVIDENCE = Metric(
    "llmon.drift.evidence",
    "gauge",
    "{decade}",
    "Decimal logarithm of the evidence for drift since the start, which may be looked at at any time.",
    (*_WATCH, FEATURE),
)
DRIFT_AGE = Metric(
    "llmon.drift.verdict.age",
    "gauge",
    "s",
    "Time since the last verdict.",
    _WATCH,
)
REFERENCE_AGE = Metric(
    "llmon.drift.reference.age",
    "gauge",
    "s",
    "Time since the reference was fitted.",
    (*_WATCH, REFERENCE),
)

BIN_ROWS = Metric(
    "llmon.drift.bin.rows",
    "counter",
    "{row}",
    "Rows with a value in a bin or in one before it.",
    (*_COUNTED, BIN, BIN_NEXT),
    cap=1900,
    shards=8,
)
BIN_SCORE = Metric(
    "llmon.drift.bin.score",
    "counter",
    "{score}",
    "What the rows' bins say of a score, added up, each by how far it lies above the lowest.",
    (*_COUNTED, METHOD),
    cap=1900,
    shards=4,
)
BIN_SHIFT = Metric(
    "llmon.drift.bin.shift",
    "counter",
    "{spread}",
    "How far values lie above and below the reference's mean, in its spreads, added up over what came between two readings.",
    (*_COUNTED, DIRECTION),
    cap=1900,
    shards=2,
)
REFERENCE_ROWS = Metric(
    "llmon.drift.reference.rows",
    "gauge",
    "{row}",
    "Rows of the reference with a value in a bin or in one before it.",
    (REFERENCE, FEATURE, BIN, BIN_NEXT),
    cap=1900,
    shards=8,
)
REFERENCE_STEP = Metric(
    "llmon.drift.reference.step",
    "gauge",
    "{spread}",
    "How far the mean of the next bin lies from a bin's, in spreads of the reference.",
    (REFERENCE, FEATURE, BIN),
    cap=1900,
    shards=8,
)
REFERENCE_LOWEST = Metric(
    "llmon.drift.reference.lowest",
    "gauge",
    "{score}",
    "The lowest that a bin says of a score.",
    (REFERENCE, FEATURE, METHOD),
    cap=1900,
    shards=4,
)
REFERENCE_REACH = Metric(
    "llmon.drift.reference.reach",
    "gauge",
    "{score}",
    "How far from 0 a bin's word of a score may lie.",
    (REFERENCE, FEATURE, METHOD),
    cap=1900,
    shards=4,
)
REFERENCE_EFFECT = Metric(
    "llmon.drift.reference.effect",
    "gauge",
    "{row}",
    "Rows that count as one, since they depend on each other.",
    (REFERENCE, FEATURE),
    cap=1900,
)
