"""The viewer that comes with us: the JSON on its page's port."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from otel_llmon.backends._http import Backend, BackendError, segment
from otel_llmon.backends.records import Event, Exemplar, Link, Log, Span, Trace


@dataclass(frozen=True, slots=True)
class Status:
    """What the viewer holds, and where it listens."""

    version: str
    otlp_url: str
    spans: int
    logs: int
    points: int
    traces: int
    rejected: int
    waiting: int
    """Batches in its queue."""
    path: str


@dataclass(frozen=True, slots=True)
class Summary:
    """One line of the list of traces; `duration` is in nanoseconds."""

    trace_id: str
    root: str
    service: str
    start: int
    duration: int
    spans: int
    errors: int
    complete: bool


@dataclass(frozen=True, slots=True)
class Point:
    """A point of a metric: a value, or a histogram's buckets."""

    time: int
    value: float | None = None
    count: int | None = None
    sum: float | None = None
    edges: tuple[float, ...] = ()
    buckets: tuple[int, ...] = ()
    start: int | None = None
    """Since when it counts; None for a level, and where nobody said."""


@dataclass(frozen=True, slots=True)
class Series:
    """One series of a metric, cumulative as it was received."""

    service: str
    attributes: Mapping[str, Any]
    points: tuple[Point, ...]
    exemplars: tuple[Exemplar, ...] = ()


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric that the viewer has seen."""

    name: str
    unit: str
    kind: str
    description: str
    services: tuple[str, ...] = ()


class Embedded(Backend):
    """The viewer."""

    name = "viewer"

    def ready(self) -> bool:
        """Tell whether both of its ports serve."""
        try:
            answer = self.ask("/healthz")
        except BackendError:
            return False
        return answer.status == 200 and answer.text.strip() == "ok"

    def status(self) -> Status:
        """Return what it holds, and where it listens."""
        raw = self._object("/api/status")
        return self.made(
            lambda: Status(
                **{
                    name: raw[name] for name in ("version", "otlp_url", "spans", "logs", "points", "traces", "rejected")
                },
                waiting=raw["queue"]["waiting"],
                path=raw["database"]["path"],
            )
        )

    def version(self) -> str:
        """Return its version."""
        return self.status().version

    def services(self) -> list[str]:
        """Return the services that have sent something."""
        raw = self._object("/api/services")
        return self.made(lambda: [str(name) for name in raw["services"]])

    def traces(  # noqa: PLR0913  # the filters that there are
        self,
        *,
        service: str | None = None,
        search: str | None = None,
        errors: bool = False,
        min_seconds: float | None = None,
        since: int | None = None,
        before: int | None = None,
        limit: int = 50,
    ) -> list[Summary]:
        """Return the newest traces that match; times are unix nanoseconds."""
        params = {
            "service": service,
            "search": search,
            "status": "error" if errors else None,
            "min_duration": None if min_seconds is None else round(min_seconds * 1e9),
            "since": since,
            "before": before,
            "limit": limit,
        }
        raw = self._object("/api/traces", params)
        names = ("trace_id", "root", "service", "duration", "spans", "errors", "complete")
        return self.made(
            lambda: [
                Summary(**{name: each[name] for name in names}, start=int(each["start"])) for each in raw["traces"]
            ]
        )

    def trace(self, trace_id: str) -> Trace | None:
        """Return a trace, or None where there is none of this id."""
        raw = self._object_or_none(f"/api/traces/{segment(trace_id)}")
        if raw is None:
            return None
        return self.made(lambda: Trace(raw["trace_id"], tuple(_span(each, raw["trace_id"]) for each in raw["spans"])))

    def logs(  # noqa: PLR0913  # likewise
        self,
        *,
        trace_id: str | None = None,
        service: str | None = None,
        search: str | None = None,
        severity: int | None = None,
        since: int | None = None,
        before: int | None = None,
        limit: int = 100,
    ) -> list[Log]:
        """Return the newest log records that match; `severity` is the least number, times are unix nanoseconds."""
        params = {
            "trace_id": trace_id,
            "service": service,
            "search": search,
            "severity": severity,
            "since": since,
            "before": before,
            "limit": limit,
        }
        raw = self._object("/api/logs", params)
        return self.made(lambda: [_log(each) for each in raw["logs"]])

    def metrics(self) -> list[Metric]:
        """Return the metrics that it has seen."""
        raw = self._object("/api/metrics")
        return self.made(lambda: [_metric(each) for each in raw["metrics"]])

    def series(self, metric: str, *, since: int | None = None, service: str | None = None) -> list[Series]:
        """Return the series of a metric; of one that it has not seen, none."""
        raw = self._object_or_none(f"/api/metrics/{segment(metric)}", {"since": since, "service": service})
        return [] if raw is None else self.made(lambda: [_series(each) for each in raw["series"]])

    def _object(self, path: str, params: Mapping[str, Any] | None = None) -> dict[str, Any]:
        found: dict[str, Any] = self.shaped(self.get(path, params), dict)
        return found

    def _object_or_none(self, path: str, params: Mapping[str, Any] | None = None) -> dict[str, Any] | None:
        """Return what is there, or None where the viewer says that it is not."""
        answer = self.ask(path, params)
        if answer.status == 404 and answer.content_type == "application/json":
            return None
        found: dict[str, Any] = self.shaped(self.parsed(answer), dict)
        return found


def _span(raw: Mapping[str, Any], trace_id: str) -> Span:
    start = int(raw["start"])
    return Span(
        trace_id=trace_id,
        span_id=raw["span_id"],
        parent_id=raw["parent_id"],
        name=raw["name"],
        kind=raw["kind"],
        service=raw["service"],
        start=start,
        end=start + int(raw["duration"]),
        status=raw["status"],
        message=raw["message"] or "",
        scope=raw["scope"] or "",
        attributes=raw["attributes"],
        resource=raw["resource"],
        events=tuple(Event(each["name"], int(each["time"]), each["attributes"]) for each in raw["events"]),
        links=tuple(Link(each["trace_id"], each["span_id"], each["attributes"]) for each in raw["links"]),
    )


def _log(raw: Mapping[str, Any]) -> Log:
    body = raw["body"]
    return Log(
        time=int(raw["time"]),
        body=body if isinstance(body, str) else str(body),
        level=raw["level"] or "",
        service=raw["service"],
        trace_id=raw["trace_id"] or None,
        span_id=raw["span_id"] or None,
        attributes=raw["attributes"],
        resource=raw["resource"],
    )


def _metric(raw: Mapping[str, Any]) -> Metric:
    return Metric(raw["name"], raw["unit"], raw["kind"], raw["description"], tuple(raw["services"]))


def _series(raw: Mapping[str, Any]) -> Series:
    return Series(
        raw["service"],
        raw["attributes"],
        tuple(
            Point(
                int(point["time"]),
                value=point.get("value"),
                count=point.get("count"),
                sum=point.get("sum"),
                edges=tuple(point.get("edges") or ()),
                buckets=tuple(point.get("buckets") or ()),
                start=int(point["start"]) if "start" in point else None,
            )
            for point in raw["points"]
        ),
        tuple(
            Exemplar(each["value"], int(each["time"]), each["trace_id"], each["span_id"], raw["attributes"])
            for each in raw.get("exemplars") or ()
        ),
    )
