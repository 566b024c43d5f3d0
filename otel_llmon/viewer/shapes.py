"""From stored messages to what the page reads: plain objects.

Instants are strings, since a browser rounds such numbers.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable
from typing import Any

from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope, KeyValueList
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    ExponentialHistogramDataPoint,
    HistogramDataPoint,
    NumberDataPoint,
    SummaryDataPoint,
)
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from otel_llmon.semconv.attributes import QUANTILE

_KINDS = ("unspecified", "internal", "server", "client", "producer", "consumer")
_STATUS = ("unset", "ok", "error")
_LEVELS = ("TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL")
_EXACT = 2**53
_EVENT_NAME = "event.name"  # where older SDKs put it
_LLM = "gen_ai."

_POINTS: dict[str, Any] = {
    "gauge": NumberDataPoint,
    "counter": NumberDataPoint,
    "updowncounter": NumberDataPoint,
    "histogram": HistogramDataPoint,
    "exponential_histogram": ExponentialHistogramDataPoint,
    "summary": SummaryDataPoint,
}


def attributes(pairs: Iterable[Any]) -> dict[str, Any]:
    """Return attributes as a plain object."""
    return {pair.key: plain(pair.value) for pair in pairs}


def attributes_of(held: bytes) -> dict[str, Any]:
    """Return the attributes of a stored series."""
    return attributes(KeyValueList.FromString(held).values)


def resource(body: bytes) -> dict[str, Any]:
    """Return the attributes of a stored resource."""
    return attributes(Resource.FromString(body).attributes)


def scope(body: bytes) -> str:
    """Return the name of a stored scope."""
    return str(InstrumentationScope.FromString(body).name)


def plain(value: Any) -> Any:  # noqa: PLR0911  # a kind each
    """Return an AnyValue as JSON has it; what JSON or a browser cannot hold exactly becomes text."""
    kind = value.WhichOneof("value")
    match kind:
        case None:
            return None
        case "array_value":
            return [plain(item) for item in value.array_value.values]
        case "kvlist_value":
            return attributes(value.kvlist_value.values)
        case "bytes_value":
            return base64.b64encode(value.bytes_value).decode()
        case "int_value":
            return value.int_value if abs(value.int_value) < _EXACT else str(value.int_value)
        case "double_value":
            return value.double_value if math.isfinite(value.double_value) else str(value.double_value)
    return getattr(value, kind)


def span(body: bytes, service: str, scope_name: str, resource_attributes: dict[str, Any]) -> dict[str, Any]:
    """Return a stored span."""
    found = Span.FromString(body)
    own = attributes(found.attributes)
    return {
        "span_id": found.span_id.hex(),
        "parent_id": found.parent_span_id.hex() if any(found.parent_span_id) else None,
        "name": found.name,
        "kind": _KINDS[found.kind] if found.kind < len(_KINDS) else str(found.kind),
        "service": service,
        "start": str(found.start_time_unix_nano),
        "duration": max(found.end_time_unix_nano - found.start_time_unix_nano, 0),
        "status": _STATUS[found.status.code] if found.status.code < len(_STATUS) else "unset",
        "message": found.status.message,
        "scope": scope_name,
        "attributes": own,
        "resource": resource_attributes,
        "events": [
            {"name": event.name, "time": str(event.time_unix_nano), "attributes": attributes(event.attributes)}
            for event in found.events
        ],
        "links": [
            {
                "trace_id": link.trace_id.hex(),
                "span_id": link.span_id.hex(),
                "attributes": attributes(link.attributes),
            }
            for link in found.links
        ],
        "llm": any(key.startswith(_LLM) for key in own),
    }


def log(time: int, body: bytes, service: str, scope_name: str, resource_attributes: dict[str, Any]) -> dict[str, Any]:
    """Return a stored log record."""
    found = LogRecord.FromString(body)
    own = attributes(found.attributes)
    return {
        "time": str(time),
        "severity": found.severity_number,
        "level": found.severity_text or level(found.severity_number),
        "body": plain(found.body),
        "event": getattr(found, "event_name", "") or own.get(_EVENT_NAME) or None,
        "service": service,
        "trace_id": found.trace_id.hex() or None,
        "span_id": found.span_id.hex() or None,
        "scope": scope_name,
        "attributes": own,
        "resource": resource_attributes,
    }


def level(severity: int) -> str:
    """Return the word for a severity number, empty where there is none."""
    return _LEVELS[min((severity - 1) // 4, 5)] if severity > 0 else ""


def number(value: Any) -> float | int | None:
    """Return a number as JSON has it; one that is none, or infinite, is not there."""
    return value if value is not None and math.isfinite(value) else None


def point(
    kind: str, time: int, start: int | None, value: Any, body: bytes | None
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return a stored point, and its exemplars."""
    instants = {"time": str(time)} if start is None else {"time": str(time), "start": str(start)}
    found: Any = _POINTS[kind].FromString(body) if body else None
    shown = [_exemplar(one) for one in getattr(found, "exemplars", ())]
    if kind == "summary":
        quantiles = [{QUANTILE: one.quantile, "value": number(one.value)} for one in found.quantile_values]
        return {**instants, "count": found.count, "sum": number(found.sum), "quantiles": quantiles}, shown
    if kind not in ("histogram", "exponential_histogram"):
        return {**instants, "value": number(value)}, shown
    edges, buckets = (
        ([number(edge) for edge in found.explicit_bounds], list(found.bucket_counts))
        if kind == "histogram"
        else _explicit(found)
    )
    return {
        **instants,
        "count": found.count,
        "sum": number(found.sum) if found.HasField("sum") else None,
        "edges": edges,
        "buckets": buckets,
        "min": number(found.min) if found.HasField("min") else None,
        "max": number(found.max) if found.HasField("max") else None,
    }, shown


def _exemplar(found: Any) -> dict[str, Any]:
    kind = found.WhichOneof("value")
    return {
        "time": str(found.time_unix_nano),
        "value": number(getattr(found, kind)) if kind else None,
        "trace_id": found.trace_id.hex() or None,
        "span_id": found.span_id.hex() or None,
    }


def _explicit(found: Any) -> tuple[list[float], list[int]]:
    """Return an exponential histogram's buckets with their edges written out.

    Bucket i holds what is above base**i and at most base**(i+1), and base is 2**(2**-scale); negatives mirror that.
    """
    below = _side(found.negative, found.scale)
    above = _side(found.positive, found.scale)
    edges: list[float] = []
    counts: list[int] = []
    for low, high, count in reversed(below):
        _add(edges, counts, -high, -low, count)
    if found.zero_count or not (below or above):
        _add(edges, counts, 0.0 - found.zero_threshold, found.zero_threshold, found.zero_count)
    for low, high, count in above:
        _add(edges, counts, low, high, count)
    return edges, [*counts, 0]


def _side(buckets: Any, scale: int) -> list[tuple[float, float, int]]:
    return [
        (_power(buckets.offset + index, scale), _power(buckets.offset + index + 1, scale), count)
        for index, count in enumerate(buckets.bucket_counts)
        if count
    ]


def _power(index: int, scale: int) -> float:
    try:
        return float(2.0 ** (index * 2.0**-scale))
    except OverflowError:
        return 1.7976931348623157e308


def _add(edges: list[float], counts: list[int], low: float, high: float, count: int) -> None:
    """Append a bucket from low to high; a gap before it becomes an empty bucket."""
    if not edges or edges[-1] < low:
        edges.append(low)
        counts.append(0)
    if high > edges[-1]:
        edges.append(high)
        counts.append(count)
    else:
        counts[-1] += count
