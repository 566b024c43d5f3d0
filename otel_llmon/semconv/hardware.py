"""Metrics of hardware that several observers tell of: upstream's `hw.*`."""

from __future__ import annotations

from otel_llmon.semconv import Metric
from otel_llmon.semconv.attributes import GPU_INDEX, HW_ID, HW_NAME, HW_SENSOR, HW_TYPE

HW_TEMPERATURE = Metric(
    "hw.temperature", "gauge", "Cel", "Degrees of a component.", (HW_ID, HW_NAME, GPU_INDEX, HW_TYPE, HW_SENSOR)
)
