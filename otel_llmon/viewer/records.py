"""From OTLP messages to rows of the database: pure functions, one per signal.

A record keeps its whole message as bytes, so that nothing is lost and little is computed while it comes in; the columns
beside it are what lists and joins need.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from opentelemetry.proto.common.v1.common_pb2 import KeyValueList

from otel_llmon.semconv.attributes import SERVICE_NAME

LATEST = 1 << 62
"""First nanosecond that is no instant to us (the year 2116): sums of two still fit into SQLite's integers."""

_NO_TRACE, _NO_SPAN = bytes(16), bytes(8)
_NO_VALUE = 1  # DataPointFlags: a series that ended, not a number
_DELTA = 1  # AggregationTemporality
_ERROR = 2  # Status.StatusCode


class Origin(NamedTuple):
    """Who sent a record: its resource and its scope, as bytes, and the service that the resource names."""

    service: str
    resource: bytes
    scope: bytes


class Identity(NamedTuple):
    """What makes a metric this one and no other."""

    name: str
    unit: str
    kind: str
    delta: bool


class Taken(NamedTuple):
    """What a request holds: rows by origin, and what could not be taken."""

    parts: list[tuple[Origin, list[tuple[Any, ...]]]]
    rejected: int
    reason: str


class SpanRow(NamedTuple):
    """A span as it is stored."""

    trace_id: bytes
    span_id: bytes
    parent_id: bytes | None
    start: int
    finish: int
    error: bool
    name: str
    body: bytes


class LogRow(NamedTuple):
    """A log record as it is stored."""

    time: int
    severity: int
    trace_id: bytes | None
    span_id: bytes | None
    body: bytes


class PointRow(NamedTuple):
    """A point of a metric as it is stored: a plain number has a value, all else a body."""

    metric: Identity
    description: str
    attributes: bytes
    time: int
    start: int | None
    value: float | int | None
    body: bytes | None


def spans(message: Any, now: int) -> Taken:  # noqa: ARG001  # the three take the same
    """Return the spans of an ExportTraceServiceRequest."""
    parts, rejected, reason = [], 0, ""
    for origin, scope in _scopes(message.resource_spans, "scope_spans"):
        rows: list[tuple[Any, ...]] = []
        for span in scope.spans:
            trace_id, span_id = span.trace_id, span.span_id
            start, finish = span.start_time_unix_nano, span.end_time_unix_nano
            if wrong := _unfit(trace_id, span_id, start, finish):
                rejected, reason = rejected + 1, f"span {span.name[:80]!r}: {wrong}"
                continue
            parent = span.parent_span_id
            rows.append(
                SpanRow(
                    trace_id,
                    span_id,
                    parent if parent != _NO_SPAN and parent else None,
                    start,
                    max(start, finish),
                    span.status.code == _ERROR,
                    span.name,
                    span.SerializeToString(),
                )
            )
        parts.append((origin, rows))
    return Taken(parts, rejected, reason)


def _unfit(trace_id: bytes, span_id: bytes, start: int, finish: int) -> str:
    if len(trace_id) != 16 or trace_id == _NO_TRACE:
        return _no_id("trace id", trace_id, 16)
    if len(span_id) != 8 or span_id == _NO_SPAN:
        return _no_id("span id", span_id, 8)
    if start >= LATEST or finish >= LATEST:
        return "time past the year 2116"
    return ""


def _no_id(what: str, found: bytes, length: int) -> str:
    if not found:
        return f"no {what}, expected {length} bytes"
    if len(found) == length:
        return f"{what} of zeros only"
    return f"{what} '{found[:16].hex()}' of {len(found)} bytes, expected {length}"


def logs(message: Any, now: int) -> Taken:
    """Return the records of an ExportLogsServiceRequest; one that names no time is of `now`."""
    parts, rejected, reason = [], 0, ""
    for origin, scope in _scopes(message.resource_logs, "scope_logs"):
        rows: list[tuple[Any, ...]] = []
        for record in scope.log_records:
            time = record.time_unix_nano or record.observed_time_unix_nano or now
            if time >= LATEST:
                rejected, reason = rejected + 1, "log record: time past the year 2116"
                continue
            trace_id, span_id = record.trace_id, record.span_id
            rows.append(
                LogRow(
                    time,
                    record.severity_number,
                    trace_id if len(trace_id) == 16 and trace_id != _NO_TRACE else None,
                    span_id if len(span_id) == 8 and span_id != _NO_SPAN else None,
                    record.SerializeToString(),
                )
            )
        parts.append((origin, rows))
    return Taken(parts, rejected, reason)


def points(message: Any, now: int) -> Taken:  # noqa: ARG001  # the three take the same
    """Return the points of an ExportMetricsServiceRequest."""
    parts, rejected, reason = [], 0, ""
    for origin, scope in _scopes(message.resource_metrics, "scope_metrics"):
        rows: list[tuple[Any, ...]] = []
        for metric in scope.metrics:
            form = metric.WhichOneof("data")
            if form is None or not metric.name:
                rejected, reason = rejected + 1, f"metric {metric.name[:80]!r}: no name or no data"
                continue
            data = getattr(metric, form)
            identity = Identity(metric.name, metric.unit, _kind(form, data), _is_delta(data))
            for point in data.data_points:
                if point.flags & _NO_VALUE:
                    continue
                if not 0 < point.time_unix_nano < LATEST:
                    rejected, reason = rejected + 1, f"metric {metric.name[:80]!r}: a point without a time"
                    continue
                rows.append(_point(identity, metric.description, point))
        parts.append((origin, rows))
    return Taken(parts, rejected, reason)


def _kind(form: str, data: Any) -> str:
    if form == "sum":
        return "counter" if data.is_monotonic else "updowncounter"
    return form


def _is_delta(data: Any) -> bool:
    return bool(getattr(data, "aggregation_temporality", 0) == _DELTA)


def _point(identity: Identity, description: str, point: Any) -> PointRow:
    attributes = canonical(point.attributes)
    number = point.WhichOneof("value") if identity.kind in ("gauge", "counter", "updowncounter") else None
    value = getattr(point, number) if number else None
    body = None
    if number is None or point.exemplars:
        point.ClearField("attributes")  # the series has them
        body = point.SerializeToString()
    time, start = point.time_unix_nano, point.start_time_unix_nano
    counts = identity.kind != "gauge" and 0 < start <= time
    return PointRow(identity, description, attributes, time, start if counts else None, value, body)


def canonical(attributes: Iterable[Any]) -> bytes:
    """Return attributes as bytes that are equal where the attributes are, whatever their order."""
    held = KeyValueList(values=sorted(attributes, key=lambda pair: pair.key))
    return bytes(held.SerializeToString(deterministic=True))


def _scopes(resources: Sequence[Any], field: str) -> Iterator[tuple[Origin, Any]]:
    for sent in resources:
        service = next((pair.value.string_value for pair in sent.resource.attributes if pair.key == SERVICE_NAME), "")
        resource = sent.resource.SerializeToString()
        for scope in getattr(sent, field):
            yield Origin(service or "unknown_service", resource, scope.scope.SerializeToString()), scope
