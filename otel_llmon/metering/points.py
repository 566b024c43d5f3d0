"""Histogram series as the SDK's point classes, so that any exporter can send them, and the true start of counters."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from opentelemetry.sdk.metrics import Exemplar
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    ExponentialHistogram,
    ExponentialHistogramDataPoint,
    Gauge,
    HistogramDataPoint,
    Metric,
    NumberDataPoint,
    Sum,
)
from opentelemetry.sdk.metrics.export import Histogram as HistogramData

from otel_llmon import metering, semconv
from otel_llmon.metering import cells

try:  # its home moved between the SDKs that we support
    from opentelemetry.sdk.metrics._internal.point import Buckets
except ImportError:  # pragma: no cover
    from opentelemetry.sdk.metrics.export import Buckets

_CUMULATIVE = AggregationTemporality.CUMULATIVE
MOST_BUCKETS = 160
"""Buckets of an exponential point, the SDK's default."""


class Points:
    """Makes the points of one exporter; for delta temporality it remembers what it handed over last."""

    def __init__(self, temporality: AggregationTemporality, *, exemplars: bool = True) -> None:
        self.temporality = temporality
        self.exemplars = exemplars
        self.reset()

    def reset(self) -> None:
        """Forget what was handed over, as after a fork."""
        self._since = 0
        self._last: dict[cells.HistogramSeries, tuple[int, cells.Seen]] = {}
        self._born = time.time_ns()

    def readings(self) -> list[Metric]:
        """Return what the SDK does not see: cumulative, as `takes_readings` says."""
        now, new = time.time_ns(), object.__new__
        starts = {origin: self._began(origin) for origin in ("start", "process", "boot")}
        found = []
        for row, readings in metering.handed_over():
            if readings:
                start = None if row.kind == "gauge" else starts[row.since]
                points = []
                for _, value, attributes in readings:
                    point = new(NumberDataPoint)  # the constructors guard each field, which takes most of the time
                    fields = point.__dict__
                    fields["attributes"], fields["value"] = attributes, value
                    fields["start_time_unix_nano"], fields["time_unix_nano"] = start, now
                    fields["exemplars"] = []
                    points.append(point)
                metric = new(Metric)
                fields = metric.__dict__
                fields["name"], fields["description"], fields["unit"] = row.name, row.description, row.unit
                fields["data"] = _data(row.kind, points)
                found.append(metric)
        return found

    def take(self) -> list[Metric]:
        """Return every histogram that has something to say."""
        now = time.time_ns()
        found = []
        for instrument in metering.histograms():
            points = list(self._points(instrument.all(), now))
            if points:
                kind = HistogramData if isinstance(points[0], HistogramDataPoint) else ExponentialHistogram
                data = kind(points, self.temporality)
                found.append(Metric(instrument.row.name, instrument.row.description, instrument.row.unit, data))
        self._since = now
        return found

    def dated(self, metric: Metric) -> Metric:
        """Return a cumulative counter that says since when it counts; anything else as it is.

        The SDK dates an observable counter from its first collection. A backend that counts from the start on, as
        Prometheus may, would see nothing of a short run, and a leap where the machine's count comes in.
        """
        data = metric.data
        if not isinstance(data, Sum) or not data.is_monotonic:
            return metric
        if data.aggregation_temporality is not AggregationTemporality.CUMULATIVE:
            return metric
        origin = _origins().get(metric.name, "start")
        start = self._began(origin)
        points = [
            replace(each, start_time_unix_nano=min(start, each.start_time_unix_nano)) for each in data.data_points
        ]
        return replace(metric, data=replace(data, data_points=points))

    def _began(self, origin: str) -> int:
        """Return since when a counter counts; where that cannot be read, since we do."""
        if origin == "start":
            return self._born
        try:
            return _started(os.getpid()) if origin == "process" else _boot()
        except Exception:  # psutil's own, or of an unreadable /proc
            return self._born

    def _points(self, series: Iterable[cells.HistogramSeries], now: int) -> Iterable[Any]:
        for one in series:
            seen = one.read()
            if seen is None:
                continue
            if self.temporality is AggregationTemporality.CUMULATIVE:
                yield self._point(one, seen, one.start, now)
                continue
            start, before = self._last.get(one, (one.start, None))
            self._last[one] = (now, seen)
            fresh = seen if before is None else _difference(seen, before)
            if fresh.buckets:
                yield self._point(one, fresh, start, now)

    def _point(self, series: cells.HistogramSeries, seen: cells.Seen, start: int, now: int) -> Any:
        common: dict[str, Any] = {
            "attributes": dict(series.attributes),
            "start_time_unix_nano": start,
            "time_unix_nano": now,
            "count": sum(seen.buckets.values()),
            "sum": seen.sum,
            "min": seen.low,
            "max": seen.high,
            "exemplars": [
                Exemplar({}, witness.value, witness.time, witness.span_id, witness.trace_id)
                for witness in seen.witnesses.values()
                if self.exemplars and witness.time > self._since
            ],
        }
        if series.edges:
            counts = [seen.buckets.get(bucket, 0) for bucket in range(len(series.edges) + 1)]
            return HistogramDataPoint(bucket_counts=counts, explicit_bounds=series.edges, **common)
        scale, offset, counts = merged(seen.buckets)
        return ExponentialHistogramDataPoint(
            scale=scale,
            zero_count=seen.buckets.get(cells.ZERO, 0),
            positive=Buckets(offset, counts),
            negative=Buckets(0, []),
            flags=0,
            **common,
        )


@functools.cache
def _origins() -> dict[str, str]:
    return {row.name: row.since for row in semconv.rows() if row.since != "start"}


def _data(kind: str, points: list[NumberDataPoint]) -> Gauge | Sum:
    if kind == "gauge":
        return Gauge(points)
    made = object.__new__(Sum)  # as in readings()
    fields = made.__dict__
    fields["data_points"], fields["aggregation_temporality"] = points, _CUMULATIVE
    fields["is_monotonic"] = kind == "counter"
    return made


@functools.lru_cache(maxsize=1)
def _started(pid: int) -> int:
    import psutil

    return int(psutil.Process(pid).create_time() * 1e9)


@functools.cache
def _boot() -> int:
    import psutil

    return int(psutil.boot_time() * 1e9)


def _difference(seen: cells.Seen, before: cells.Seen) -> cells.Seen:
    """Return what came since `before`. The extremes of that stretch are not known, and OTLP may leave them out."""
    buckets = {bucket: count - before.buckets.get(bucket, 0) for bucket, count in seen.buckets.items()}
    buckets = {bucket: count for bucket, count in buckets.items() if count}
    return cells.Seen(buckets, seen.sum - before.sum, None, None, seen.witnesses)  # type: ignore[arg-type]


def merged(buckets: dict[int, int]) -> tuple[int, int, list[int]]:
    """Return scale, offset and dense counts of exponential buckets, merged two by two until they are few enough."""
    counts = {bucket: count for bucket, count in buckets.items() if bucket != cells.ZERO}
    scale = cells.SCALE
    while counts and max(counts) - min(counts) >= MOST_BUCKETS:
        scale -= 1
        halved: dict[int, int] = {}
        for bucket, count in counts.items():
            halved[bucket >> 1] = halved.get(bucket >> 1, 0) + count
        counts = halved
    offset = min(counts, default=0)
    return scale, offset, [counts.get(bucket, 0) for bucket in range(offset, max(counts, default=-1) + 1)]
