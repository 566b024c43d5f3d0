"""Metrics of what work uses, what it costs, and how well it is done."""

from __future__ import annotations

from otel_llmon.semconv import SECONDS, Metric
from otel_llmon.semconv.attributes import (
    BENCHMARK,
    BUILD,
    COMPONENT,
    GEN_AI_REQUEST_MODEL,
    OUTCOME,
    PART,
    PHASE,
    PIPELINE,
    RESOURCE,
    VCS_REVISION,
)

_PLACE = (PHASE, PIPELINE)

RESOURCE_TIME = Metric(
    "llmon.resource.time",
    "counter",
    "s",
    "Seconds in which a CPU worked for a phase, or in which the process held a GPU during it; those of a phase inside another count for the inner one only.",
    (RESOURCE, *_PLACE),
)
RESOURCE_UTILIZATION = Metric(
    "llmon.resource.utilization",
    "gauge",
    "1",
    "Seconds in which a resource worked for phases since the last reading, over elapsed seconds times what there is of it.",
    (RESOURCE,),
)
RESOURCE_MEMORY = Metric(
    "llmon.resource.memory",
    "counter",
    "By.s",
    "Bytes of memory that a phase held, times the seconds for which it held them.",
    _PLACE,
)
RESOURCE_ENERGY = Metric("llmon.resource.energy", "counter", "J", "Energy that a phase used.", _PLACE)
CARBON = Metric("llmon.resource.carbon", "counter", "g", "CO2 for the energy that a phase used.", _PLACE)
COST = Metric(
    "llmon.cost",
    "counter",
    "{USD}",
    "What a phase's resources and model calls cost, by the prices in the settings.",
    (RESOURCE, *_PLACE, GEN_AI_REQUEST_MODEL),
)

EFFICIENCY_SCORE = Metric(
    "llmon.efficiency.score",
    "gauge",
    "1",
    "How well a phase or pipeline is done, from 0 to 1: the sum of its parts times their weights.",
    _PLACE,
)
EFFICIENCY_PART = Metric(
    "llmon.efficiency.part", "gauge", "1", "A part of the efficiency score, from 0 to 1.", (PART, *_PLACE)
)
EFFICIENCY_WEIGHT = Metric(
    "llmon.efficiency.weight",
    "gauge",
    "1",
    "How much a part counts in the efficiency score; those that are known add up to 1.",
    (PART, *_PLACE),
)

CONVEYANCE = Metric("llmon.conveyance", "gauge", "{score}", "Conveyance: W * R * H / T * Ctx^alpha.", _PLACE)
CONVEYANCE_W = Metric("llmon.conveyance.w", "gauge", "{score}", "W of Conveyance: what is conveyed.", _PLACE)
CONVEYANCE_R = Metric("llmon.conveyance.r", "gauge", "{score}", "R of Conveyance: where it is placed.", _PLACE)
CONVEYANCE_H = Metric("llmon.conveyance.h", "gauge", "{score}", "H of Conveyance: who can take it in.", _PLACE)
CONVEYANCE_T = Metric("llmon.conveyance.t", "gauge", "s", "T of Conveyance: how long it takes.", _PLACE)
CONVEYANCE_CTX = Metric("llmon.conveyance.ctx", "gauge", "{score}", "Ctx of Conveyance: the context.", _PLACE)
CONVEYANCE_ALPHA = Metric("llmon.conveyance.alpha", "gauge", "{score}", "Alpha of Conveyance: Ctx's exponent.", _PLACE)
CONVEYANCE_CONTEXT = Metric(
    "llmon.conveyance.context",
    "gauge",
    "{score}",
    "A component of Ctx: L, I, A or G.",
    (COMPONENT, *_PLACE),
)

_BENCHMARK = (BENCHMARK, BUILD, VCS_REVISION, OUTCOME)

BENCHMARK_DURATION = Metric(
    "llmon.benchmark.duration",
    "histogram",
    "s",
    "How long a run of a benchmark took.",
    _BENCHMARK,
    SECONDS,
)
BENCHMARK_CPU_TIME = Metric(
    "llmon.benchmark.cpu.time",
    "histogram",
    "s",
    "CPU seconds of a run of a benchmark, its children's included.",
    _BENCHMARK,
    SECONDS,
)
