"""OTLP for the viewer's tests: real exporters, messages made by hand, and plain HTTP."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import urllib3
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

PROTOBUF, JSON = {"Content-Type": "application/x-protobuf"}, {"Content-Type": "application/json"}
_http = urllib3.PoolManager(retries=False, timeout=10)


class Said(NamedTuple):
    """An answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """Return the body as JSON."""
        return json.loads(self.body)


def post(url: str, body: bytes, headers: Mapping[str, str] = PROTOBUF, method: str = "POST") -> Said:
    """Send a body."""
    answer = _http.request(method, url, body=body, headers=dict(headers))
    return Said(answer.status, answer.headers, answer.data)


def get(url: str, headers: Mapping[str, str] | None = None, method: str = "GET") -> Said:
    """Ask."""
    answer = _http.request(method, url, headers=dict(headers or {}))
    return Said(answer.status, answer.headers, answer.data)


def ask(viewer: Any, path: str) -> Any:
    """Return what the page would read at `path`."""
    said = get(viewer.page_url + path)
    assert said.status == 200, said
    return said.json


def port(url: str) -> int:
    """Return the port of a URL."""
    found = urlsplit(url).port
    assert found
    return found


@contextmanager
def sdk(url: str, service: str = "shop", compression: Compression = Compression.NoCompression) -> Iterator[Any]:
    """Give a tracer, meter and logger of the real SDK with its own exporters; all is sent at the end."""
    resource = Resource({"service.name": service})
    tracers = TracerProvider(resource=resource, shutdown_on_exit=False)
    tracers.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"{url}/v1/traces", compression=compression)))
    loggers = LoggerProvider(resource, shutdown_on_exit=False)
    loggers.add_log_record_processor(
        BatchLogRecordProcessor(OTLPLogExporter(f"{url}/v1/logs", compression=compression))
    )
    exporter = OTLPMetricExporter(f"{url}/v1/metrics", compression=compression)
    meters = MeterProvider([PeriodicExportingMetricReader(exporter)], resource, shutdown_on_exit=False)
    try:
        yield tracers.get_tracer("shop.tracer"), meters.get_meter("shop.meter"), loggers.get_logger("shop.logger")
    finally:
        for provider in (tracers, loggers, meters):
            provider.shutdown()


def spans(
    *numbers: int, trace: int = 1, service: str = "shop", start: int | None = None, **more: Any
) -> ExportTraceServiceRequest:
    """Return a request of spans with these ids; the first is the others' parent."""
    start = time.time_ns() if start is None else start
    request = ExportTraceServiceRequest()
    resource = request.resource_spans.add()
    pair = resource.resource.attributes.add(key="service.name")
    pair.value.string_value = service
    scope = resource.scope_spans.add()
    for number in numbers:
        scope.spans.add(
            trace_id=trace.to_bytes(16, "big"),
            span_id=number.to_bytes(8, "big"),
            parent_span_id=b"" if number == numbers[0] else numbers[0].to_bytes(8, "big"),
            name=f"span {number}",
            start_time_unix_nano=start + number,
            end_time_unix_nano=start + number + 1000,
            **more,
        )
    return request
