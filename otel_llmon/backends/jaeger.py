"""Jaeger 2: its stable API, `/api/v3`, which answers in OTLP's JSON."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from otel_llmon.backends._http import Backend, BackendError, segment
from otel_llmon.backends.records import Event, Link, Span, Trace, traces_of
from otel_llmon.semconv.attributes import SERVICE_NAME

_KINDS = ("internal", "internal", "server", "client", "producer", "consumer")
_STATUSES = ("unset", "ok", "error")


class Jaeger(Backend):
    """Jaeger's traces. What does not exist there is answered with its page, which is an error here."""

    name = "Jaeger"

    def ready(self) -> bool:
        """Tell whether it answers questions."""
        try:
            self.services()
        except BackendError:
            return False
        return True

    def version(self) -> str | None:
        """Return its version, which only its page tells; None where it does not. Raises BackendError."""
        found = re.search(r'"gitVersion"\s*:\s*"v?([^"]+)"', self.ask("/").text)
        return found[1] if found else None

    def services(self) -> list[str]:
        """Return the services that have sent spans."""
        return sorted(self._listed("/api/v3/services", {}, "services"))

    def operations(self, service: str, kind: str | None = None) -> list[tuple[str, str]]:
        """Return name and kind of every operation of a service."""
        found = self._listed("/api/v3/operations", {"service": service, **_both("", {"span_kind": kind})}, "operations")
        # 2.2 leaves out the kind of internal spans
        return sorted((each.get("name", ""), each.get("spanKind") or "internal") for each in found)

    def trace(self, trace_id: str) -> Trace | None:
        """Return a trace, or None where there is none of this id."""
        return next(iter(self._traces(f"/api/v3/traces/{segment(trace_id)}", {})), None)

    def find(  # noqa: PLR0913  # the filters that there are
        self,
        service: str,
        *,
        start: float,
        end: float,
        operation: str | None = None,
        min_seconds: float | None = None,
        max_seconds: float | None = None,
        limit: int = 20,
    ) -> list[Trace]:
        """Return the newest traces of a service that began between two unix times, in seconds."""
        query = {
            "service_name": service,
            "operation_name": operation,
            "start_time_min": _instant(start),
            "start_time_max": _instant(end),
            "duration_min": None if min_seconds is None else f"{min_seconds:.9f}s",
            "duration_max": None if max_seconds is None else f"{max_seconds:.9f}s",
            "search_depth": limit,
        }
        return self._traces("/api/v3/traces", {**_both("query.", query), "query.num_traces": limit})

    def _listed(self, path: str, params: Mapping[str, Any], name: str) -> list[Any]:
        found = self.shaped(self.get(path, params), dict)
        return list(self.shaped(found.get(name) or [], list))

    def _traces(self, path: str, params: Mapping[str, Any]) -> list[Trace]:
        try:
            found = self.shaped(self.get(path, params), dict)
        except BackendError as exc:
            if exc.status == 404 and "no traces found" in exc.reason.lower():
                return []
            raise
        return self.made(lambda: traces_of(list(_spans(found["result"]))))


def _both(prefix: str, query: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters in both spellings: up to Jaeger 2.18 they have underscores, later ones take that as old."""
    return {
        prefix + spelt: value
        for name, value in query.items()
        for spelt in (name, re.sub(r"_(.)", lambda found: found[1].upper(), name))
    }


def _instant(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def _spans(result: Mapping[str, Any]) -> Iterator[Span]:
    for block in result.get("resourceSpans") or []:
        resource = _attributes(block.get("resource", {}))
        for scope in block.get("scopeSpans") or []:
            for span in scope.get("spans") or []:
                yield _span(span, resource, scope.get("scope", {}).get("name", ""))


def _span(raw: Mapping[str, Any], resource: Mapping[str, Any], scope: str) -> Span:
    status = raw.get("status", {})
    return Span(
        trace_id=_id(raw["traceId"], 32),
        span_id=_id(raw["spanId"], 16),
        parent_id=_id(raw["parentSpanId"], 16) if raw.get("parentSpanId") else None,
        name=raw.get("name", ""),
        kind=_named(_KINDS, raw.get("kind", 0), "SPAN_KIND_"),
        service=str(resource.get(SERVICE_NAME, "")),
        start=int(raw.get("startTimeUnixNano", 0)),
        end=int(raw.get("endTimeUnixNano", 0)),
        status=_named(_STATUSES, status.get("code", 0), "STATUS_CODE_"),
        message=status.get("message", ""),
        scope=scope,
        attributes=_attributes(raw),
        resource=resource,
        events=tuple(
            Event(event.get("name", ""), int(event.get("timeUnixNano", 0)), _attributes(event))
            for event in raw.get("events") or []
        ),
        links=tuple(
            Link(_id(link["traceId"], 32), _id(link["spanId"], 16), _attributes(link))
            for link in raw.get("links") or []
        ),
    )


def _named(names: tuple[str, ...], found: int | str, prefix: str) -> str:
    """Return the word for an enum, which JSON may hold as a number or by its full name."""
    if isinstance(found, str):
        word = found.removeprefix(prefix).lower()
        return names[0] if word == "unspecified" else word
    return names[found] if 0 <= found < len(names) else names[0]


def _id(found: str, digits: int) -> str:
    """Return an id in hex; OTLP says hex, protobuf's own JSON would be base64."""
    return found.lower() if len(found) == digits else base64.b64decode(found).hex()


def _attributes(holder: Mapping[str, Any]) -> dict[str, Any]:
    return {pair["key"]: _value(pair.get("value", {})) for pair in holder.get("attributes") or []}


def _value(raw: Mapping[str, Any]) -> Any:
    """Return what an OTLP value holds."""
    for form, found in raw.items():
        match form:
            case "intValue":
                return int(found)
            case "doubleValue":
                return float(found)
            case "arrayValue":
                return [_value(item) for item in found.get("values") or []]
            case "kvlistValue":
                return {pair["key"]: _value(pair.get("value", {})) for pair in found.get("values") or []}
        return found
    return None
