"""The three providers, built from `OTEL_*` as OpenTelemetry builds them, with our exporters around its own.

Which names, samplers and ids a variable may hold is the SDK's own affair: its loaders are called, not written again.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from opentelemetry import _logs, metrics, trace
from opentelemetry.sdk import _configuration as sdk
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from otel_llmon import exporting
from otel_llmon.lifecycle import forks, workers
from otel_llmon.settings import Settings


def environment(settings: Settings) -> dict[str, str]:
    """Return the `OTEL_*` defaults that we would have; what is set already stays."""
    wanted = {
        "OTEL_TRACES_EXPORTER": "otlp",
        "OTEL_METRICS_EXPORTER": "otlp",
        "OTEL_LOGS_EXPORTER": "otlp",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_SEMCONV_STABILITY_OPT_IN": "http,database",
        "OTEL_BSP_MAX_QUEUE_SIZE": "8192",
        "OTEL_BLRP_MAX_QUEUE_SIZE": "8192",
    }
    if settings.endpoint is not None:
        wanted["OTEL_EXPORTER_OTLP_ENDPOINT"] = settings.endpoint
    if settings.service is not None and "service.name=" not in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", ""):
        wanted["OTEL_SERVICE_NAME"] = settings.service
    return {name: value for name, value in wanted.items() if not os.environ.get(name)}


@dataclass
class Pipes:
    """The providers that we made, and what must be looked after at the end and in forked children."""

    providers: dict[str, Any] = field(default_factory=dict)
    outlets: list[exporting.Outlet] = field(default_factory=list)
    queues: dict[str, list[Any]] = field(default_factory=dict)
    identity: forks.Identity | None = None


def missing() -> list[str]:
    """Return the signals for which nobody has set a provider."""
    current = {
        "traces": trace.get_tracer_provider(),
        "metrics": metrics.get_meter_provider(),
        "logs": _logs.get_logger_provider(),
    }
    return [signal for signal, provider in current.items() if "Proxy" in type(provider).__name__]


def build(signals: Iterable[str], version: str | None = None) -> Pipes:
    """Make the providers of these signals and set them; `version` is that of the auto-instrumentation, if any."""
    signals = tuple(signals)
    names = {signal: sdk._get_exporter_names(signal) if signal in signals else [] for signal in _BUILDERS}  # type: ignore[arg-type]
    found: dict[str, dict[str, Any]] = dict(zip(_BUILDERS, sdk._import_exporters(*names.values()), strict=True))
    resource = Resource.create({"telemetry.auto.version": version} if version else {})
    resource = Resource(workers.detected()).merge(resource)  # what the user says goes before
    identity = forks.Identity(resource)
    resource = resource.merge(Resource({forks.INSTANCE: identity.instance}))
    pipes = Pipes(identity=identity)
    for signal in signals:
        pipes.providers[signal] = _BUILDERS[signal](pipes, list(found[signal].values()), resource)
    return pipes


def _traces(pipes: Pipes, exporters: list[Callable[[], Any]], resource: Resource) -> TracerProvider:
    provider = TracerProvider(
        sampler=sdk._import_sampler(sdk._get_sampler()),
        id_generator=sdk._import_id_generator(sdk._get_id_generator()),
        resource=resource,
        shutdown_on_exit=False,
        **_configurator("tracer"),
    )
    for make in exporters:
        outlet = exporting.SpanExporter(make=make)
        processor = _SpanBatches(outlet)
        provider.add_span_processor(processor)
        _look_after(pipes, outlet, processor)
    trace.set_tracer_provider(provider)
    return provider


def _metrics(pipes: Pipes, exporters: list[Any], resource: Resource) -> MeterProvider:
    readers: list[MetricReader] = []
    for make in exporters:
        if issubclass(make, MetricReader):
            readers.append(make())
        else:
            outlet = exporting.MetricExporter(make=make)
            readers.append(PeriodicExportingMetricReader(outlet))
            pipes.outlets.append(outlet)
    provider = MeterProvider(readers, resource, shutdown_on_exit=False, **_configurator("meter"))
    metrics.set_meter_provider(provider)
    return provider


def _log_records(pipes: Pipes, exporters: list[Callable[[], Any]], resource: Resource) -> LoggerProvider:
    provider = LoggerProvider(resource, shutdown_on_exit=False, **_configurator("logger"))
    for make in exporters:
        outlet = exporting.LogExporter(make=make)
        processor = _LogBatches(outlet)
        provider.add_log_record_processor(processor)
        _look_after(pipes, outlet, processor)
    _logs.set_logger_provider(provider)
    return provider


_BUILDERS: dict[str, Callable[..., Any]] = {"traces": _traces, "metrics": _metrics, "logs": _log_records}


def _configurator(kind: str) -> dict[str, Any]:
    """Return the experimental switch of scopes that newer SDKs read from the environment."""
    load = getattr(sdk, f"_import_{kind}_configurator", None)
    name = os.environ.get(f"OTEL_PYTHON_{kind.upper()}_CONFIGURATOR")
    return {f"_{kind}_configurator": load(name)} if load is not None and name else {}


def _look_after(pipes: Pipes, outlet: exporting.Outlet, processor: Any) -> None:
    outlet.queue = processor.queue
    pipes.outlets.append(outlet)
    pipes.queues.setdefault(outlet.signal, []).append(processor.queue)


def _queue_of(processor: Any) -> Any:
    """Return the SDK's queue, to count what it drops and what is left in it; it tells neither by itself."""
    return getattr(getattr(processor, "_batch_processor", None), "_queue", ())


class _SpanBatches(BatchSpanProcessor):
    """OpenTelemetry's batches of spans; what its queue has no room for is counted."""

    def __init__(self, outlet: exporting.SpanExporter) -> None:
        super().__init__(outlet)
        self.queue = _queue_of(self)

    def on_end(self, span: Any) -> None:
        """Put a span into the queue."""
        if len(self.queue) >= getattr(self.queue, "maxlen", 1 << 30):
            exporting.dropped("traces")
        super().on_end(span)


class _LogBatches(BatchLogRecordProcessor):
    """OpenTelemetry's batches of log records; what its queue has no room for is counted."""

    def __init__(self, outlet: exporting.LogExporter) -> None:
        super().__init__(outlet)
        self.queue = _queue_of(self)

    def on_emit(self, log_record: Any) -> None:
        """Put a log record into the queue."""
        if len(self.queue) >= getattr(self.queue, "maxlen", 1 << 30):
            exporting.dropped("logs")
        super().on_emit(log_record)
