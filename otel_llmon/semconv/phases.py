"""Metrics of pipelines and phases."""

from __future__ import annotations

from otel_llmon.semconv import SECONDS, Metric
from otel_llmon.semconv.attributes import ERROR_TYPE, OUTCOME, PHASE, PIPELINE

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
