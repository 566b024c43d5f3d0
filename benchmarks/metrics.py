"""One update of a counter and of a histogram, with three attributes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from opentelemetry import metrics

from benchmarks.figures import Figure
from benchmarks.scenes import ATTRIBUTES, pipeline
from benchmarks.timing import Loop
from otel_llmon.metering import Counter, Histogram
from otel_llmon.semconv import SECONDS, Metric

COUNTER = Counter(Metric("llmon.bench.counter", "counter", "1", "Counts.", tuple(ATTRIBUTES)))
HISTOGRAM = Histogram(Metric("llmon.bench.histogram", "histogram", "s", "Durations.", tuple(ATTRIBUTES), SECONDS))


@contextmanager
def ours() -> Iterator[dict[str, Any]]:
    """Our instruments, reporting through our exporter."""
    with pipeline() as made:
        yield made | {
            "attributes": ATTRIBUTES,
            "counter": COUNTER,
            "histogram": HISTOGRAM,
            "bound_counter": COUNTER.bind(ATTRIBUTES),
            "bound_histogram": HISTOGRAM.bind(ATTRIBUTES),
        }


@contextmanager
def sdk() -> Iterator[dict[str, Any]]:
    """The SDK's instruments of the same kinds, with the same edges."""
    with pipeline(plain=True) as made:
        meter = metrics.get_meter("benchmarks")
        yield made | {
            "attributes": ATTRIBUTES,
            "counter": meter.create_counter("bench.counter"),
            "histogram": meter.create_histogram("bench.histogram", explicit_bucket_boundaries_advisory=list(SECONDS)),
        }


_SDK_ADD = Loop("counter.add(1, attributes)", sdk, 1_000)
_SDK_RECORD = Loop("histogram.record(0.2, attributes)", sdk, 1_000)

FIGURES = (
    Figure("counter, bound series", Loop("bound_counter.add(1)", ours, 50_000), _SDK_ADD, 1 / 50),
    Figure("counter, by mapping", Loop("counter.add(1, attributes)", ours, 20_000), _SDK_ADD, 1 / 20),
    Figure("histogram, bound series", Loop("bound_histogram.record(0.2)", ours, 20_000), _SDK_RECORD, 1 / 25),
    Figure("histogram, by mapping", Loop("histogram.record(0.2, attributes)", ours, 10_000), _SDK_RECORD, 1 / 15),
)
