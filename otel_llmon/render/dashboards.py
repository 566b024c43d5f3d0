"""The Grafana dashboard as JSON: a grid of panels, each of a few kinds, so that it needs no SDK."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

UID = "otel-llmon"
PROMETHEUS = {"type": "prometheus", "uid": "llmon-prometheus"}
LOKI = {"type": "loki", "uid": "llmon-loki"}
COLUMNS = 24

Kind = Literal["timeseries", "stat", "logs"]

_LEGEND = {"showLegend": True, "displayMode": "table", "placement": "bottom", "calcs": ["mean", "max", "lastNotNull"]}
_FIELDS: dict[Kind, dict[str, Any]] = {
    "timeseries": {"custom": {"lineWidth": 1, "fillOpacity": 8, "showPoints": "auto"}, "min": 0},
    "stat": {},
    "logs": {},
}
_OPTIONS: dict[Kind, dict[str, Any]] = {
    "timeseries": {"legend": _LEGEND, "tooltip": {"mode": "multi", "sort": "desc"}},
    "stat": {"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "none", "graphMode": "area"},
    "logs": {"showTime": True, "wrapLogMessage": True, "enableLogDetails": True, "sortOrder": "Descending"},
}


class Query(NamedTuple):
    """A question to a data source, and what its answers are called."""

    expr: str
    legend: str = ""


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel: questions, the unit of their answers, and how they are drawn."""

    title: str
    queries: tuple[Query, ...]
    unit: str = "short"
    description: str = ""
    kind: Kind = "timeseries"
    width: int = 8
    height: int = 8

    def as_json(self, number: int, x: int, y: int) -> dict[str, Any]:
        """Return the panel as Grafana reads it, at a place of its grid."""
        return {
            "id": number,
            "type": self.kind,
            "title": self.title,
            "description": self.description,
            "datasource": self.source,
            "gridPos": {"x": x, "y": y, "w": self.width, "h": self.height},
            "targets": [self._target(chr(ord("A") + index), query) for index, query in enumerate(self.queries)],
            "fieldConfig": {
                "defaults": {"unit": self.unit, "noValue": "none yet", **_FIELDS[self.kind]},
                "overrides": [],
            },
            "options": _OPTIONS[self.kind],
        }

    @property
    def source(self) -> dict[str, str]:
        """Whom it asks."""
        return LOKI if self.kind == "logs" else PROMETHEUS

    def _target(self, reference: str, query: Query) -> dict[str, Any]:
        target = {"refId": reference, "datasource": self.source, "expr": query.expr, "legendFormat": query.legend}
        return target | ({"exemplar": True} if "_bucket" in query.expr else {})


def dashboard(sections: Iterable[tuple[str, tuple[Panel, ...]]], variable: dict[str, Any]) -> dict[str, Any]:
    """Return titled sections of panels as one dashboard that Grafana provisions."""
    return {
        "uid": UID,
        "title": "otel-llmon",
        "description": "Phases, models, machine and the telemetry itself. Generated: `make docs` rewrites this file.",
        "tags": ["otel-llmon"],
        "schemaVersion": 42,
        "editable": False,
        "refresh": "10s",
        "time": {"from": "now-30m", "to": "now"},
        "timezone": "browser",
        "graphTooltip": 1,
        "templating": {"list": [variable]},
        "annotations": {"list": []},
        "links": [],
        "panels": list(_placed(sections)),
    }


def choice(name: str, label: str, query: str) -> dict[str, Any]:
    """Return a variable with which people choose among the values of a label, all of them at first."""
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": PROMETHEUS,
        "definition": query,
        "query": {"query": query, "refId": name},
        "refresh": 2,
        "includeAll": True,
        "allValue": ".+",
        "multi": True,
        "current": {"text": "All", "value": "$__all"},
    }


def as_file(content: dict[str, Any]) -> str:
    """Return the file that is provisioned."""
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _placed(sections: Iterable[tuple[str, tuple[Panel, ...]]]) -> Iterator[dict[str, Any]]:
    number = y = 0
    for title, panels in sections:
        number += 1
        place = {"x": 0, "y": y, "w": COLUMNS, "h": 1}
        yield {"id": number, "type": "row", "title": title, "collapsed": False, "gridPos": place, "panels": []}
        y += 1
        x = tallest = 0
        for panel in panels:
            if x + panel.width > COLUMNS:
                x, y, tallest = 0, y + tallest, 0
            number += 1
            yield panel.as_json(number, x, y)
            x, tallest = x + panel.width, max(tallest, panel.height)
        y += tallest
