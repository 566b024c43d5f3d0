"""Metrics of what phases needed, as probes saw it."""

from __future__ import annotations

from typing import Final

from otel_llmon.semconv import BYTES, Metric
from otel_llmon.semconv.attributes import PHASE, PIPELINE

PHASE_MEMORY_PEAK = Metric(
    "llmon.phase.memory.peak",
    "histogram",
    "By",
    "Most physical memory that the process held at any moment of a phase; of a pipeline's run where there is no phase.",
    (PHASE, PIPELINE),
    BYTES,
)
PHASE_GPU_MEMORY_PEAK = Metric(
    "llmon.phase.gpu.memory.peak",
    "histogram",
    "By",
    "Most memory in use on the visible GPUs, by whomever, in the samples taken during a phase.",
    (PHASE, PIPELINE),
    BYTES,
)

ALLOCATIONS: Final = "llmon.allocations"
"""The span event that tells which lines hold the most memory."""
