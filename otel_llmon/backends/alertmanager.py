"""Alertmanager: what it notifies about, and what is silenced."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from otel_llmon.backends._http import Backend, Made


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert as Alertmanager has it."""

    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    state: str
    """unprocessed, active or suppressed"""
    started: datetime
    ends: datetime
    receivers: tuple[str, ...]
    silenced_by: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The rule's name."""
        return self.labels.get("alertname", "")


@dataclass(frozen=True, slots=True)
class Silence:
    """A silence. `matchers` are as one writes them: `name="value"`."""

    id: str
    state: str
    """pending, active or expired"""
    matchers: tuple[str, ...]
    starts: datetime
    ends: datetime
    by: str
    comment: str


class Alertmanager(Backend):
    """Alertmanager's API, version 2."""

    name = "Alertmanager"
    ready_path = "/-/ready"

    def version(self) -> str:
        """Return its version."""
        found = self.shaped(self.get("/api/v2/status"), dict)
        return str(self.shaped(found.get("versionInfo"), dict).get("version", ""))

    def alerts(self, *matchers: str) -> list[Alert]:
        """Return the alerts that match each of `matchers`, such as `severity="page"`."""
        return self._each("/api/v2/alerts", matchers, _alert)

    def silences(self, *matchers: str) -> list[Silence]:
        """Return the silences that match, expired ones among them."""
        return self._each("/api/v2/silences", matchers, _silence)

    def _each(self, path: str, matchers: tuple[str, ...], read: Callable[[Any], Made]) -> list[Made]:
        found = self.shaped(self.get(path, {"filter": matchers}), list)
        return self.made(lambda: [read(each) for each in found])


def _alert(raw: Mapping[str, Any]) -> Alert:
    return Alert(
        labels=dict(raw["labels"]),
        annotations=dict(raw["annotations"]),
        state=raw["status"]["state"],
        started=datetime.fromisoformat(raw["startsAt"]),
        ends=datetime.fromisoformat(raw["endsAt"]),
        receivers=tuple(each["name"] for each in raw["receivers"]),
        silenced_by=tuple(raw["status"]["silencedBy"]),
    )


def _silence(raw: Mapping[str, Any]) -> Silence:
    return Silence(
        id=raw["id"],
        state=raw["status"]["state"],
        matchers=tuple(_matcher(each) for each in raw["matchers"]),
        starts=datetime.fromisoformat(raw["startsAt"]),
        ends=datetime.fromisoformat(raw["endsAt"]),
        by=raw.get("createdBy", ""),
        comment=raw.get("comment", ""),
    )


def _matcher(raw: Mapping[str, Any]) -> str:
    sign = ("=~" if raw["isRegex"] else "=") if raw.get("isEqual", True) else ("!~" if raw["isRegex"] else "!=")
    return f'{raw["name"]}{sign}"{raw["value"]}"'
