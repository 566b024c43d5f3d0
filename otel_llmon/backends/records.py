"""What more than one server keeps: spans, log lines and exemplars. Times are unix nanoseconds, ids lower-case hex."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Attributes = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened within a span."""

    name: str
    time: int
    attributes: Attributes = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Link:
    """Another span that a span points to."""

    trace_id: str
    span_id: str
    attributes: Attributes = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Span:
    """One span."""

    trace_id: str
    span_id: str
    parent_id: str | None
    name: str
    kind: str
    """internal, server, client, producer or consumer"""
    service: str
    start: int
    end: int
    status: str = "unset"
    """unset, ok or error"""
    message: str = ""
    scope: str = ""
    attributes: Attributes = field(default_factory=dict)
    resource: Attributes = field(default_factory=dict)
    events: tuple[Event, ...] = ()
    links: tuple[Link, ...] = ()

    @property
    def seconds(self) -> float:
        """How long it took."""
        return (self.end - self.start) / 1e9


@dataclass(frozen=True, slots=True)
class Trace:
    """The spans of one trace, in the order in which they started."""

    trace_id: str
    spans: tuple[Span, ...]

    @property
    def root(self) -> Span:
        """The span without a parent, or the earliest where that one is missing."""
        known = {span.span_id for span in self.spans}
        return next((span for span in self.spans if span.parent_id not in known), self.spans[0])

    @property
    def seconds(self) -> float:
        """How long it took from the first start to the last end."""
        return (max(span.end for span in self.spans) - self.spans[0].start) / 1e9

    def named(self, name: str) -> tuple[Span, ...]:
        """Return the spans of this name."""
        return tuple(span for span in self.spans if span.name == name)


@dataclass(frozen=True, slots=True)
class Log:
    """One log record. `attributes` are the record's own, `resource` says where it came from."""

    time: int
    body: str
    level: str = ""
    service: str = ""
    trace_id: str | None = None
    span_id: str | None = None
    attributes: Attributes = field(default_factory=dict)
    resource: Attributes = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Exemplar:
    """A measured value and the span in which it was measured."""

    value: float
    time: int
    trace_id: str | None
    span_id: str | None
    labels: Attributes = field(default_factory=dict)
    """Those of the series."""


def traces_of(spans: list[Span]) -> list[Trace]:
    """Return the traces to which these spans belong, newest first."""
    found: dict[str, list[Span]] = {}
    for span in spans:
        found.setdefault(span.trace_id, []).append(span)
    traces = [
        Trace(trace_id, tuple(sorted(members, key=lambda span: span.start))) for trace_id, members in found.items()
    ]
    return sorted(traces, key=lambda trace: trace.spans[0].start, reverse=True)
