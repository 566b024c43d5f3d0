"""Pipelines to measure in: real providers of the SDK, whose exporters drop everything."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from opentelemetry import trace
from opentelemetry._logs import _internal as _logs_api
from opentelemetry.metrics import _internal as _metrics_api
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, Sampler

from otel_llmon import exporting, metering, telemetry

ATTRIBUTES = {"model": "m-7b", "route": "/predict", "outcome": "success"}
"""The three attributes of every operation here."""


class _Drop:
    def force_flush(self, *_: Any, **__: Any) -> bool:
        return True

    def shutdown(self, *_: Any, **__: Any) -> None:
        pass


class DropSpans(_Drop, SpanExporter):
    """Takes spans and forgets them."""

    def export(self, spans: Sequence[Any]) -> SpanExportResult:  # noqa: ARG002
        """Forget a batch."""
        return SpanExportResult.SUCCESS


class DropLogs(_Drop, exporting.AnyLogExporter):  # type: ignore[misc]  # as in exporting
    """Takes log records and forgets them."""

    def export(self, batch: Sequence[Any]) -> Any:  # noqa: ARG002
        """Forget a batch."""
        return exporting.LogResult.SUCCESS


class DropMetrics(_Drop, MetricExporter):
    """Takes metrics and forgets them."""

    def export(self, *_: Any, **__: Any) -> MetricExportResult:
        """Forget a collection."""
        return MetricExportResult.SUCCESS


@contextmanager
def pipeline(
    level: int = telemetry.DETAILED, *, plain: bool = False, sampler: Sampler = ALWAYS_ON
) -> Iterator[dict[str, Any]]:
    """Put fresh providers in place of the global ones for a while; with `plain`, without our exporter wrapper.

    Yields the reader, to collect from, and `settle`, which exports what is queued.
    """
    resource = Resource({"service.name": "bench"})
    exporter = DropMetrics()
    reader = PeriodicExportingMetricReader(exporter if plain else exporting.MetricExporter(exporter), math.inf)
    meters = MeterProvider([reader], resource, shutdown_on_exit=False)
    tracers = TracerProvider(sampler=sampler, resource=resource, shutdown_on_exit=False)
    tracers.add_span_processor(BatchSpanProcessor(DropSpans()))
    loggers = LoggerProvider(resource, shutdown_on_exit=False)
    loggers.add_log_record_processor(BatchLogRecordProcessor(DropLogs()))

    def settle() -> None:
        tracers.force_flush()
        loggers.force_flush()

    before = trace._TRACER_PROVIDER, _metrics_api._METER_PROVIDER, _logs_api._LOGGER_PROVIDER, telemetry.state.level
    _set(tracers, meters, loggers, level)
    try:
        yield {"reader": reader, "settle": settle}
    finally:
        _set(*before)
        for provider in (tracers, loggers, meters):
            provider.shutdown()


def _set(tracers: Any, meters: Any, loggers: Any, level: int) -> None:
    """Set the API's variables: its functions set each provider once in a process."""
    trace._TRACER_PROVIDER = tracers
    _metrics_api._METER_PROVIDER = meters
    _logs_api._LOGGER_PROVIDER = loggers
    telemetry.state.level = level
    metering.clear()
    metering.bind()
