"""Finding text in what spans and log records hold: first in their bytes, which is quick, then in what these mean."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any

from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span


class Needle:
    """A text to look for, in any case of its letters."""

    def __init__(self, connection: sqlite3.Connection, text: str) -> None:
        self._connection = connection
        self._text = text.lower()
        self._bytes = self._text.encode("utf-8", "replace")
        self._plain = self._text.isascii()
        self._number = _as_number(text)
        self._origins = {
            number
            for number, service, body in connection.execute("SELECT id, service, resource FROM origins")
            if self._text in service.lower() or self._holds(body, Resource)
        }

    def is_in_trace(self, row: tuple[Any, ...]) -> bool:
        """Tell whether a trace's row, its services, or any of its spans mention it."""
        trace_id = row[1]
        origins = self._connection.execute("SELECT origin FROM trace_origins WHERE trace_id = ?", (trace_id,))
        if self._origins and any(number in self._origins for (number,) in origins):
            return True
        spans = self._connection.execute("SELECT body FROM spans WHERE trace_id = ?", (trace_id,))
        return any(self._holds(body, Span) for (body,) in spans)

    def is_in_log(self, row: tuple[Any, ...]) -> bool:
        """Tell whether a log record's row mentions it."""
        _, _, origin, body = row
        return origin in self._origins or self._holds(body, LogRecord)

    def _holds(self, body: bytes, kind: Any) -> bool:
        return self._may_hold(body) and any(self._text in text.lower() for text in _texts(kind.FromString(body)))

    def _may_hold(self, body: bytes) -> bool:
        """Text stands in protobuf as it is, and numbers do not."""
        if self._number:
            return True
        return self._bytes in (body.lower() if self._plain else body.decode("utf-8", "replace").lower().encode())


def _as_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return text.lower() in ("true", "false")
    return True


def _texts(message: Any) -> Iterator[str]:
    """Yield the texts and numbers that a person would look for: names, messages, attribute values."""
    waiting = [message]
    while waiting:
        for field, value in waiting.pop().ListFields():
            if field.name in ("value", "values", "attributes", "events", "links", "status", "body") or field.name in (
                "array_value",
                "kvlist_value",
            ):
                waiting += value if field.is_repeated else [value]
            elif field.name in ("name", "message", "event_name", "severity_text", "string_value"):
                yield value
            elif field.name in ("int_value", "double_value", "bool_value"):
                yield str(value)
