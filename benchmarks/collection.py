"""Collecting 1,000 series: counters beside the SDK's observables, histograms beside its synchronous ones."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from opentelemetry import metrics
from opentelemetry.metrics import Observation

from benchmarks.figures import Figure
from benchmarks.metrics import COUNTER, HISTOGRAM
from benchmarks.scenes import ATTRIBUTES, pipeline
from benchmarks.timing import Loop
from otel_llmon.semconv import SECONDS

SERIES = 1_000
_SETS = [ATTRIBUTES | {"route": f"/predict/{number}"} for number in range(SERIES)]
_VALUES = (0.002, 0.03, 0.2, 4.0)


@contextmanager
def our_counters() -> Iterator[dict[str, Any]]:
    """1,000 series of our counter."""
    with pipeline() as made:
        for attributes in _SETS:
            COUNTER.add(1, attributes)
        yield made


@contextmanager
def sdk_observables() -> Iterator[dict[str, Any]]:
    """An observable counter whose callback makes 1,000 observations."""
    with pipeline(plain=True) as made:
        metrics.get_meter("benchmarks").create_observable_counter(
            "bench.counter", [lambda _: [Observation(1, attributes) for attributes in _SETS]]
        )
        yield made


@contextmanager
def our_histograms() -> Iterator[dict[str, Any]]:
    """1,000 series of our histogram."""
    with pipeline() as made:
        for attributes in _SETS:
            series = HISTOGRAM.bind(attributes)
            for value in _VALUES:
                series.record(value)
        yield made


@contextmanager
def sdk_histograms() -> Iterator[dict[str, Any]]:
    """1,000 series of the SDK's histogram."""
    with pipeline(plain=True) as made:
        histogram = metrics.get_meter("benchmarks").create_histogram(
            "bench.histogram", explicit_bucket_boundaries_advisory=list(SECONDS)
        )
        for attributes in _SETS:
            for value in _VALUES:
                histogram.record(value, attributes)
        yield made


def _collect(place: Any) -> Loop:
    return Loop("reader.collect()", place, times=3, per=SERIES)


FIGURES = (
    Figure("collecting a counter's series", _collect(our_counters), _collect(sdk_observables), 1.5),
    Figure("collecting a histogram's series", _collect(our_histograms), _collect(sdk_histograms), 2.0),
)
