"""The console: what a program logs as one line of JSON each, with the ids of the span, for whoever has no backend."""

from __future__ import annotations

import json
import logging
import math
import os
from datetime import UTC, datetime
from typing import Any

from opentelemetry import trace

from otel_llmon import telemetry
from otel_llmon.bridging import OWN_FIELDS, failure_of
from otel_llmon.context import bound
from otel_llmon.metering import values
from otel_llmon.semconv.attributes import SERVICE_NAME


class JsonFormatter(logging.Formatter):
    """Makes one line of JSON of a record: time, level, logger, message, service, trace_id, span_id, fields, error.

    `fields` holds what came by `extra=` and by `bind()`. What is not known is absent. Any value will do: what JSON has
    no form for becomes text, and all of it is ASCII, so that every console can print it.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        span = trace.get_current_span().get_span_context()
        extra = {name: value for name, value in vars(record).items() if name not in OWN_FIELDS}
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": values.text(record.name),
            "message": _message(record),
            "service": _service(),
            "trace_id": trace.format_trace_id(span.trace_id) if span.is_valid else None,
            "span_id": trace.format_span_id(span.span_id) if span.is_valid else None,
            "fields": {name: _jsonable(value) for name, value in {**bound(), **telemetry.clean(extra)}.items()},
            "error": {name.rpartition(".")[2]: text for name, text in failure_of(record).items()},
        }
        return json.dumps({name: value for name, value in line.items() if value not in (None, {})})


def _message(record: logging.LogRecord) -> str:
    try:
        return values.text(record.getMessage(), telemetry.state.longest)
    except Exception:  # arguments that do not fit: what there is says more than nothing
        return values.text(f"{record.msg} {record.args}", telemetry.state.longest)


def _service() -> str | None:
    """Return the service's name as spans carry it, or as the environment says."""
    resource = getattr(trace.get_tracer_provider(), "resource", None)
    found = resource.attributes.get(SERVICE_NAME) if resource is not None else os.environ.get("OTEL_SERVICE_NAME")
    return None if found is None else values.text(found)


def _jsonable(value: Any) -> Any:
    """Return a value that is in JSON: it has neither nan nor inf."""
    if isinstance(value, list | tuple):
        return [_jsonable(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
