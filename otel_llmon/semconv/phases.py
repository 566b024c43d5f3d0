"""Metrics of pipelines and phases."""

from __future__ import annotations

from otel_llmon.semconv import SECONDS, Metric
from otel_llmon.semconv.attributes import ERROR_TYPE, ITEMS, OUTCOME, PHASE, PIPELINE

PHASE_DURATION = Metric(
    "llmon.phase.duration",
    "histogram",
    "s",
    "How long a phase took.",
    (PHASE, PIPELINE, OUTCOME),
    SECONDS,
)
PHASE_ACTIVE = Metric(
    "llmon.phase.active",
    "updowncounter",
    "{phase}",
    "Phases that are running now.",
    (PHASE, PIPELINE),
)
PHASE_ERRORS = Metric(
    "llmon.phase.errors",
    "counter",
    "{error}",
    "Phases that ended with an exception, by its class.",
    (PHASE, PIPELINE, ERROR_TYPE),
)
PHASE_MISSING = Metric(
    "llmon.phase.missing",
    "counter",
    "{phase}",
    "Phases that a pipeline declared and that never ran, in runs that came to their end.",
    (PHASE, PIPELINE),
)
PHASE_MISPLACED = Metric(
    "llmon.phase.misplaced",
    "counter",
    "{phase}",
    "Phases that ran after one that the pipeline declared to come later.",
    (PHASE, PIPELINE),
)
PIPELINE_DURATION = Metric(
    "llmon.pipeline.duration",
    "histogram",
    "s",
    "How long a run of a pipeline took; its count is the number of runs.",
    (PIPELINE, OUTCOME),
    SECONDS,
)
PIPELINE_ACTIVE = Metric(
    "llmon.pipeline.active",
    "updowncounter",
    "{run}",
    "Runs of a pipeline that are going on now.",
    (PIPELINE,),
)
PIPELINE_ITEMS = Metric(
    "llmon.pipeline.items",
    "counter",
    "{item}",
    "Things that work dealt with, as `count()` was told.",
    (ITEMS, PHASE, PIPELINE),
)
