"""Prometheus: queries, exemplars, rules, alerts, targets, and how the server was started."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from otel_llmon.backends._http import Backend, segment
from otel_llmon.backends.records import Exemplar

LONG = 2000
"""Characters from which on a query travels in a body: a URL may have some 8,000."""

Labels = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Bucket:
    """One bucket of a native histogram; `closed` says which ends belong to it: left, right, both or none."""

    low: float
    high: float
    count: float
    closed: str


@dataclass(frozen=True, slots=True)
class NativeHistogram:
    """A native histogram's value."""

    count: float
    sum: float
    buckets: tuple[Bucket, ...] = ()


@dataclass(frozen=True, slots=True)
class Point:
    """A value at a unix time, in seconds."""

    time: float
    value: float | NativeHistogram


@dataclass(frozen=True, slots=True)
class Series:
    """One series of an answer: an instant query's has one point."""

    labels: Labels
    points: tuple[Point, ...]

    @property
    def value(self) -> float | NativeHistogram:
        """The newest value."""
        return self.points[-1].value


@dataclass(frozen=True, slots=True)
class Result:
    """What a query found, and what the server has to say about the query."""

    series: tuple[Series, ...]
    warnings: tuple[str, ...] = ()
    infos: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[Series]:
        return iter(self.series)

    def __len__(self) -> int:
        return len(self.series)

    @property
    def value(self) -> float | NativeHistogram | None:
        """The newest value of the only series, or None where there is none. Raises ValueError where there are more."""
        if len(self.series) > 1:
            raise ValueError(f"found {len(self.series)} series, expected one; add them up, or choose one by its labels")
        return self.series[0].value if self.series else None


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert that is pending or firing in Prometheus."""

    labels: Labels
    annotations: Labels
    state: str
    since: str
    value: float


@dataclass(frozen=True, slots=True)
class Rule:
    """A recording rule, or one that alerts; `health` is ok, unknown or err."""

    group: str
    name: str
    query: str
    kind: str
    health: str
    error: str = ""
    state: str = ""
    labels: Labels = field(default_factory=dict)
    alerts: tuple[Alert, ...] = ()


@dataclass(frozen=True, slots=True)
class Target:
    """Something that is scraped; `health` is up, down or unknown."""

    job: str
    url: str
    health: str
    error: str
    labels: Labels


@dataclass(frozen=True, slots=True)
class Metadata:
    """What is known of a metric."""

    kind: str
    unit: str
    help: str


class Prometheus(Backend):
    """Prometheus' HTTP API."""

    name = "Prometheus"
    ready_path = "/-/ready"

    def version(self) -> str:
        """Return its version."""
        return str(self.shaped(self._data("/status/buildinfo"), dict).get("version", ""))

    def flags(self) -> dict[str, str]:
        """Return the flags in force, by name without dashes."""
        return {str(name): str(value) for name, value in self.shaped(self._data("/status/flags"), dict).items()}

    def query(self, expr: str, at: float | None = None) -> Result:
        """Return what an expression is at a unix time, in seconds; now by default."""
        return self._queried("/query", {"query": expr, "time": at})

    def query_range(self, expr: str, *, start: float, end: float, step: float = 15) -> Result:
        """Return what an expression was between two unix times, every `step` seconds."""
        return self._queried("/query_range", {"query": expr, "start": start, "end": end, "step": step})

    def exemplars(self, expr: str, *, start: float | None = None, end: float | None = None) -> list[Exemplar]:
        """Return the exemplars of an expression's series, oldest first; of the last hour by default."""
        end = time.time() if end is None else end
        params = {"query": expr, "start": end - 3600 if start is None else start, "end": end}
        found = self.made(
            lambda: [
                _exemplar(series["seriesLabels"], raw)
                for series in self._data("/query_exemplars", params)
                for raw in series["exemplars"]
            ]
        )
        return sorted(found, key=lambda exemplar: exemplar.time)

    def series(self, *matchers: str, start: float | None = None, end: float | None = None) -> list[Labels]:
        """Return the labels of every series that matches one of the selectors."""
        found = self._data("/series", {"match[]": matchers, "start": start, "end": end})
        return [dict(labels) for labels in self.shaped(found, list)]

    def label_values(self, name: str, *matchers: str) -> list[str]:
        """Return the values that a label has, in the series that match or in all."""
        return list(self.shaped(self._data(f"/label/{_escaped(name)}/values", {"match[]": matchers}), list))

    def metadata(self, metric: str | None = None) -> dict[str, Metadata]:
        """Return what is known of metrics, by name."""
        found = self.shaped(self._data("/metadata", {"metric": metric}), dict)
        return self.made(
            lambda: {
                name: Metadata(each[0]["type"], each[0]["unit"], each[0]["help"])
                for name, each in found.items()
                if each
            }
        )

    def rules(self) -> list[Rule]:
        """Return every rule that is loaded."""
        found = self._data("/rules")
        return self.made(lambda: [_rule(group["name"], raw) for group in found["groups"] for raw in group["rules"]])

    def alerts(self) -> list[Alert]:
        """Return what is pending or firing."""
        found = self._data("/alerts")
        return self.made(lambda: [_alert(raw) for raw in found["alerts"]])

    def targets(self) -> list[Target]:
        """Return what is scraped."""
        found = self._data("/targets", {"state": "active"})
        return self.made(lambda: [_target(raw) for raw in found["activeTargets"]])

    def alertmanagers(self) -> list[str]:
        """Return the addresses to which alerts are sent."""
        found = self._data("/alertmanagers")
        return self.made(lambda: [str(raw["url"]) for raw in found["activeAlertmanagers"]])

    def _queried(self, path: str, params: Mapping[str, Any]) -> Result:
        whole = self._answer(path, params)
        return self.made(
            lambda: Result(
                tuple(_series(whole["data"]["resultType"], whole["data"]["result"])),
                tuple(whole.get("warnings") or ()),
                tuple(whole.get("infos") or ()),
            )
        )

    def _answer(self, path: str, params: Mapping[str, Any] | None = None) -> dict[str, Any]:
        post = len(str((params or {}).get("query", ""))) > LONG
        found: dict[str, Any] = self.shaped(self.get(f"/api/v1{path}", params, post=post), dict)
        return found

    def _data(self, path: str, params: Mapping[str, Any] | None = None) -> Any:
        return self._answer(path, params).get("data")


def _escaped(name: str) -> str:
    """Return a label's name as a path takes it: a name with dots is U__ and each odd character's code in hex."""
    if name.isascii() and name.replace("_", "a").isalnum():
        return segment(name)
    return "U__" + "".join(
        "__" if char == "_" else char if char.isascii() and char.isalnum() else f"_{ord(char):x}_" for char in name
    )


def _series(kind: str, result: Any) -> Iterator[Series]:
    match kind:
        case "scalar":
            yield Series({}, (_point(result),))
        case "vector" | "matrix":
            for raw in result:
                values = [raw["value"]] if "value" in raw else raw.get("values", [])
                histograms = [raw["histogram"]] if "histogram" in raw else raw.get("histograms", [])
                points = [*map(_point, values), *map(_point, histograms)]
                yield Series(raw["metric"], tuple(sorted(points, key=lambda point: point.time)))
        case _:
            raise ValueError(kind)


def _point(pair: Sequence[Any]) -> Point:
    at, raw = pair
    if not isinstance(raw, Mapping):
        return Point(float(at), float(raw))
    buckets = tuple(
        Bucket(float(low), float(high), float(count), _CLOSED[closed])
        for closed, low, high, count in raw.get("buckets", [])
    )
    return Point(float(at), NativeHistogram(float(raw["count"]), float(raw["sum"]), buckets))


_CLOSED = ("right", "left", "none", "both")
"""By Prometheus' number for a bucket's boundaries."""


def _exemplar(labels: Labels, raw: Mapping[str, Any]) -> Exemplar:
    ids = raw["labels"]
    at = round(float(raw["timestamp"]) * 1e9)
    return Exemplar(float(raw["value"]), at, ids.get("trace_id"), ids.get("span_id"), labels)


def _rule(group: str, raw: Mapping[str, Any]) -> Rule:
    return Rule(
        group=group,
        name=raw["name"],
        query=raw["query"],
        kind=raw["type"],
        health=raw["health"],
        error=raw.get("lastError", ""),
        state=raw.get("state", ""),
        labels=raw.get("labels", {}),
        alerts=tuple(_alert(alert) for alert in raw.get("alerts") or ()),
    )


def _alert(raw: Mapping[str, Any]) -> Alert:
    return Alert(
        labels=raw["labels"],
        annotations=raw.get("annotations", {}),
        state=raw["state"],
        since=raw.get("activeAt", ""),
        value=float(raw["value"]),
    )


def _target(raw: Mapping[str, Any]) -> Target:
    labels = raw["labels"]
    return Target(labels.get("job", ""), raw["scrapeUrl"], raw["health"], raw.get("lastError", ""), labels)
