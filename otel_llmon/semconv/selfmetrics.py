"""Metrics about this package: what it refused, what failed, what was lost on the way out."""

from __future__ import annotations

from otel_llmon.semconv import Metric
from otel_llmon.semconv.attributes import REASON, SIGNAL, SOURCE

SELF_ERRORS = Metric(
    "llmon.self.errors",
    "counter",
    "{error}",
    "Failures inside an observer, a gauge or this package; the watched program went on.",
    (SOURCE,),
)
SELF_REFUSED = Metric(
    "llmon.self.refused",
    "counter",
    "{measurement}",
    "Measurements that were no numbers, not finite, or negative where that makes no sense.",
    (SOURCE, REASON),
)
SELF_EXPORTED = Metric(
    "llmon.self.exported",
    "counter",
    "{item}",
    "Spans, log records and batches of metrics that were handed over.",
    (SIGNAL,),
)
SELF_LOST = Metric(
    "llmon.self.lost",
    "counter",
    "{item}",
    "Spans, log records and batches of metrics that could not be sent.",
    (SIGNAL,),
)
SELF_CPU = Metric(
    "llmon.self.cpu.time",
    "counter",
    "s",
    "CPU seconds that telemetry took in threads beside the program's: to read the observers, to encode and to send.",
    (SOURCE,),
)
SELF_SERIES = Metric(
    "llmon.self.series",
    "gauge",
    "{series}",
    "Series that this process holds; always there, so that every collection has something to report.",
)
