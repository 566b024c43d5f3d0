"""A small OTLP/HTTP server in this process: it keeps what real processes send, or fails them in a chosen way."""

from __future__ import annotations

import contextlib
import random
import socket
import threading
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

DELTA = 1
OPERATION_METRICS = ("llmon.phase.duration", "llmon.progress.items", "mine.operations", "mine.seconds")
_REQUESTS = {
    "/v1/traces": ExportTraceServiceRequest,
    "/v1/metrics": ExportMetricsServiceRequest,
    "/v1/logs": ExportLogsServiceRequest,
}


class Sink:
    """What arrived. `mode` is `answers`, `503`, `hangs` (reads, never answers) or `refuses` (is not there)."""

    def __init__(self, mode: str = "answers") -> None:
        self.mode = mode
        self.content_types: set[str] = set()
        self._lock = threading.Lock()
        self._requests: list[Any] = []
        self._closed = threading.Event()
        self._server: _Server | None = None
        if mode == "refuses":
            self.port = free_port()
        else:
            self._server = _Server(("127.0.0.1", 0), _Handler)
            self._server.sink = self
            self.port = self._server.server_port
            threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    @property
    def endpoint(self) -> str:
        """Return the value for OTEL_EXPORTER_OTLP_ENDPOINT."""
        return f"http://127.0.0.1:{self.port}"

    def close(self) -> None:
        """Serve no more; what hangs is let go."""
        self._closed.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()

    def take(self, path: str, content_type: str, body: bytes) -> int:
        """Keep a request; return the status to answer with."""
        if self.mode == "hangs":
            self._closed.wait(60)
        if self.mode != "answers":
            return 503
        request = _REQUESTS[path].FromString(body)
        with self._lock:
            self.content_types.add(content_type)
            self._requests.append(request)
        return 200

    def _kept(self, kind: type) -> list[Any]:
        with self._lock:
            return [request for request in self._requests if isinstance(request, kind)]

    def spans(self) -> list[Any]:
        """Return every span that arrived."""
        return [
            span
            for request in self._kept(ExportTraceServiceRequest)
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def logs(self) -> list[Any]:
        """Return every log record that arrived."""
        return [
            record
            for request in self._kept(ExportLogsServiceRequest)
            for resource in request.resource_logs
            for scope in resource.scope_logs
            for record in scope.log_records
        ]

    def resources(self, *signals: str) -> list[dict[str, str]]:
        """Return the attributes of every resource that arrived, of `spans`, `logs` and `metrics` or only of these."""
        kinds = {"spans": ExportTraceServiceRequest, "logs": ExportLogsServiceRequest}
        kinds["metrics"] = ExportMetricsServiceRequest
        return [
            attributes(sent.resource)
            for signal in signals or kinds
            for request in self._kept(kinds[signal])
            for sent in getattr(request, f"resource_{signal}")
        ]

    def instances(self, *signals: str) -> set[str]:
        """Return every `service.instance.id` that arrived."""
        return {resource["service.instance.id"] for resource in self.resources(*signals)}

    def metrics(self) -> set[str]:
        """Return the names of the metrics that arrived."""
        return {metric.name for _, metric, _ in self._points()}

    def totals(self, name: str) -> float:
        """Return a sum's total, or a histogram's count, over all series of all processes.

        Of a cumulative series the latest point counts, of one with deltas every point.
        """
        points: dict[tuple[Any, ...], list[Any]] = defaultdict(list)
        total = 0.0
        for resource, metric, point in self._points():
            if metric.name != name:
                continue
            kind = metric.WhichOneof("data")
            if getattr(metric, kind).aggregation_temporality == DELTA:
                total += _value(point)
            else:
                series = resource.get("service.instance.id"), *sorted(attributes(point).items())
                points[series].append(point)
        return total + sum(_value(max(found, key=lambda point: point.time_unix_nano)) for found in points.values())

    def latest(self) -> dict[str, list[tuple[dict[str, str], float]]]:
        """Return the points of the last batch of metrics, each with its attributes, by the metric's name."""
        found: dict[str, list[tuple[dict[str, str], float]]] = defaultdict(list)
        for request in self._kept(ExportMetricsServiceRequest)[-1:]:
            for resource in request.resource_metrics:
                for scope in resource.scope_metrics:
                    for metric in scope.metrics:
                        points = getattr(metric, metric.WhichOneof("data")).data_points
                        found[metric.name] += [(attributes(point), _value(point)) for point in points]
        return found

    def starts(self) -> dict[str, int]:
        """Return since when each metric counts, in unix nanoseconds, by its name."""
        return {metric.name: point.start_time_unix_nano for _, metric, point in self._points()}

    def operations(self) -> dict[str, float]:
        """Return how many operations of programs/work.py arrived, by each of the ways in which they are told."""
        spans = [span for span in self.spans() if span.name == "operation"]
        return {
            "spans": len(spans),
            "distinct spans": len({span.span_id for span in spans}),
            "logs": sum(record.body.string_value.startswith("operation ") for record in self.logs()),
            **{name: self.totals(name) for name in OPERATION_METRICS},
        }

    def processes(self) -> set[tuple[str, str]]:
        """Return each instance id of programs/work.py with each process id that was seen beside it."""
        return {
            (attributes(sent.resource)["service.instance.id"], attributes(item)["pid"])
            for kind, resources, scopes, items in (
                (ExportTraceServiceRequest, "resource_spans", "scope_spans", "spans"),
                (ExportLogsServiceRequest, "resource_logs", "scope_logs", "log_records"),
            )
            for request in self._kept(kind)
            for sent in getattr(request, resources)
            for scope in getattr(sent, scopes)
            for item in getattr(scope, items)
            if "pid" in attributes(item)
        }

    def _points(self) -> list[tuple[dict[str, str], Any, Any]]:
        return [
            (attributes(resource.resource), metric, point)
            for request in self._kept(ExportMetricsServiceRequest)
            for resource in request.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
            for point in getattr(metric, metric.WhichOneof("data")).data_points
        ]


def all_of(operations: int) -> dict[str, float]:
    """Return what Sink.operations() says when none was lost and none came twice."""
    return dict.fromkeys(("spans", "distinct spans", "logs", *OPERATION_METRICS), operations)


def _value(point: Any) -> float:
    if not hasattr(point, "as_double"):
        return float(point.count)
    return float(getattr(point, point.WhichOneof("value")))


def attributes(holder: Any) -> dict[str, str]:
    """Return the attributes of a decoded span, point, record or resource, values as text."""
    return {pair.key: str(getattr(pair.value, pair.value.WhichOneof("value") or "", "")) for pair in holder.attributes}


def free_port() -> int:
    """Return a port of 127.0.0.1 at which nobody listens, nor at the next one, where a viewer has its page.

    It is below those that the system hands to whoever connects: one of these is somebody else's a moment later.
    """
    while True:
        port = random.randrange(16_384, 32_000)
        with contextlib.suppress(OSError), socket.socket() as one, socket.socket() as next_one:
            one.bind(("127.0.0.1", port))
            next_one.bind(("127.0.0.1", port + 1))
            return port


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    sink: Sink

    def handle_error(self, *_: object) -> None:
        """Say nothing: a process that ends leaves its connections."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers["Content-Encoding"] == "identity":  # the Collector does not know it
            status = 400
        else:
            status = self.server.sink.take(self.path, self.headers["Content-Type"], body)  # type: ignore[attr-defined]
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""
