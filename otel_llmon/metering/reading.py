"""What is read: one value of one metric, with and without names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from otel_llmon.semconv import Metric


class Reading(NamedTuple):
    """One value of one metric, as a source reports it."""

    metric: Metric
    value: float
    attributes: Mapping[str, Any] = {}


Told = tuple[Metric, float, Mapping[str, Any]]
"""What a Reading is without its names: a beat makes a hundred, and making one is ten times as cheap."""

Source = Callable[[], Iterable[Told]]
