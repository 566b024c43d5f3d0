"""The OpenTelemetry Collector: its health, and what it counts about itself."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from otel_llmon.backends._http import Backend

_SAMPLE = re.compile(r"([a-zA-Z_:][\w:.]*)(?:\{(.*)\})?\s+(\S+)")
_LABEL = re.compile(r'([\w.]+)="((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True, slots=True)
class Sample:
    """One of the Collector's own numbers."""

    name: str
    labels: Mapping[str, str]
    value: float


class Collector(Backend):
    """The Collector's health check at `url`, and its own metrics at `metrics_url`."""

    name = "Collector"
    ready_path = "/"

    def __init__(self, url: str, metrics_url: str, **options: Any) -> None:
        super().__init__(url, **options)
        self.telemetry = _Telemetry(metrics_url, **options)

    def metrics(self) -> list[Sample]:
        """Return its own metrics; raises BackendError, also where something else is served there."""
        answer = self.telemetry.ask("/metrics")
        found = [sample for line in answer.text.splitlines() if (sample := _sample(line)) is not None]
        if answer.status != 200 or not any(sample.name.startswith("otelcol_") for sample in found):
            raise self.telemetry.error("serves no metrics of a Collector", answer.status)
        return found

    def version(self) -> str:
        """Return its version, where its metrics tell it."""
        return version_in(self.metrics())


class _Telemetry(Backend):
    name = "Collector's metrics"


def version_in(metrics: Iterable[Sample]) -> str:
    """Return the version that a Collector's metrics tell, or nothing."""
    return next((each.labels.get("service_version", "") for each in metrics if each.name == "target_info"), "")


def _sample(line: str) -> Sample | None:
    """Return what a line of Prometheus' text format says."""
    found = _SAMPLE.match(line)
    if found is None:
        return None
    labels = {name: re.sub(r"\\(.)", _unescaped, value) for name, value in _LABEL.findall(found[2] or "")}
    try:
        return Sample(found[1], labels, float(found[3]))
    except ValueError:
        return None


def _unescaped(found: re.Match[str]) -> str:
    return "\n" if found[1] == "n" else found[1]
