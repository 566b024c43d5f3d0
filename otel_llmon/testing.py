"""Recorder and Clock: what would be exported, in memory, and a clock that moves when told; for our tests and yours."""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from opentelemetry import trace
from opentelemetry._logs import _internal as _logs_api
from opentelemetry.metrics import _internal as _metrics_api
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import Counter, Histogram, MeterProvider, ObservableCounter
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    MetricExporter,
    MetricExportResult,
    MetricsData,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, Sampler

from otel_llmon import exporting, metering, telemetry
from otel_llmon.semconv.attributes import SERVICE_NAME

_SUMS = (Counter, Histogram, ObservableCounter)
"""Instruments that have deltas."""


class Clock:
    """A clock that stands still until `now` is changed: `clock.now += 2.5`."""

    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def __call__(self) -> float:
        """Return the time that was set."""
        return self.now


class _KeepSpans(SpanExporter):
    def __init__(self) -> None:
        self.kept: list[ReadableSpan] = []

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.kept += spans
        return SpanExportResult.SUCCESS

    def force_flush(self, timeout_millis: int = 30_000) -> bool:  # noqa: ARG002  # nothing waits here
        return True

    def shutdown(self) -> None:
        pass


class _KeepMetrics(MetricExporter):
    def __init__(
        self, temporality: dict[type, AggregationTemporality] | None, aggregation: dict[type, Any] | None
    ) -> None:
        super().__init__(temporality, aggregation)
        self.kept: list[MetricsData] = []

    def export(self, metrics_data: MetricsData, *_: Any, **__: Any) -> MetricExportResult:
        self.kept.append(metrics_data)
        return MetricExportResult.SUCCESS

    def force_flush(self, *_: Any, **__: Any) -> bool:
        return True

    def shutdown(self, *_: Any, **__: Any) -> None:
        pass


class _KeepLogs(exporting.AnyLogExporter):  # type: ignore[misc]  # as in exporting
    def __init__(self) -> None:
        self.kept: list[Any] = []

    def export(self, batch: Sequence[Any]) -> Any:
        self.kept += batch
        return exporting.LogResult.SUCCESS

    def force_flush(self, timeout_millis: int = 30_000) -> bool:  # noqa: ARG002  # nothing waits here
        return True

    def shutdown(self) -> None:
        pass


class Recorder:
    """Telemetry in memory: a context manager that takes the place of the global providers, and puts them back.

    `plain` leaves our exporter wrapper out, as a user's own pipeline does. With `delta`, each reading of points is
    what came since the last one.
    """

    def __init__(self, *, plain: bool = False, delta: bool = False, sampler: Sampler = ALWAYS_ON) -> None:
        resource = Resource({SERVICE_NAME: "recorder"})
        self._spans, self._logs = _KeepSpans(), _KeepLogs()
        temporality: Any = dict.fromkeys(_SUMS, AggregationTemporality.DELTA) if delta else None
        self._metrics = _KeepMetrics(temporality, None)
        exporter = self._metrics if plain else exporting.MetricExporter(self._metrics)
        self.reader = PeriodicExportingMetricReader(exporter, export_interval_millis=math.inf)
        self.tracer_provider = TracerProvider(sampler=sampler, resource=resource, shutdown_on_exit=False)
        self.tracer_provider.add_span_processor(SimpleSpanProcessor(self._spans))
        self.meter_provider = MeterProvider([self.reader], resource, shutdown_on_exit=False)
        self.logger_provider = LoggerProvider(resource, shutdown_on_exit=False)
        self.logger_provider.add_log_record_processor(SimpleLogRecordProcessor(self._logs))

    def __enter__(self) -> Self:
        self._before = trace._TRACER_PROVIDER, _metrics_api._METER_PROVIDER, _logs_api._LOGGER_PROVIDER
        self._level = telemetry.state.level
        telemetry.state.level = telemetry.DETAILED
        self._set(self.tracer_provider, self.meter_provider, self.logger_provider)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace_back: TracebackType | None
    ) -> None:
        telemetry.state.level = self._level
        self._set(*self._before)

    def _set(self, tracers: Any, meters: Any, loggers: Any) -> None:
        """Set the API's variables: its functions set each provider once in a process, and tests come by the dozen."""
        trace._TRACER_PROVIDER = tracers
        _metrics_api._METER_PROVIDER = meters
        _logs_api._LOGGER_PROVIDER = loggers
        metering.clear()
        metering.bind()

    @property
    def finished(self) -> list[ReadableSpan]:
        """Return the spans in the order in which they ended, those of dropped streams included."""
        telemetry.settle(last=False)
        return list(self._spans.kept)

    def spans(self) -> dict[str, ReadableSpan]:
        """Return the newest ended span of each name."""
        return {span.name: span for span in self.finished}

    def points(self) -> dict[str, list[Any]]:
        """Collect now, and return the data points of every metric."""
        found: dict[str, list[Any]] = {}
        for metric in self.metrics():
            found.setdefault(metric.name, []).extend(metric.data.data_points)
        return found

    def metrics(self) -> list[Any]:
        """Collect now, and return the metrics."""
        self._metrics.kept.clear()
        self.reader.collect()
        return [
            metric
            for data in self._metrics.kept
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        ]

    def value(self, name: str, attributes: dict[str, Any] | None = None) -> float | None:
        """Collect now, and return the value of one series, or its sum; None where there is no such series."""
        for point in self.points().get(name, []):
            if dict(point.attributes) == (attributes or {}):
                return float(point.value if hasattr(point, "value") else point.sum)
        return None

    def logs(self) -> list[Any]:
        """Return the log records in the order in which they came."""
        return [item.log_record for item in self._logs.kept]
