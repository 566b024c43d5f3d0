"""Alerts as rows, and the file that Prometheus evaluates. Nothing is evaluated in the watched process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from otel_llmon.render import promql
from otel_llmon.semconv.attributes import PHASE, PIPELINE, SERVICE_NAME, SIGNAL
from otel_llmon.semconv.phases import PHASE_DURATION, PHASE_ERRORS
from otel_llmon.semconv.selfmetrics import SELF_LOST

Severity = Literal["page", "ticket", "info"]

HEADER = "# Generated from otel_llmon/render/rules.py: `make docs` rewrites this file.\n"


@dataclass(frozen=True, slots=True)
class Rule:
    """One alert: when it fires, how urgent that is, and what to tell people."""

    name: str
    expr: str
    severity: Severity
    summary: str
    description: str
    wait: str = "2m"
    hold: str = "5m"
    """How long the alert stays after its condition has gone, so that it does not flap."""

    def as_entry(self) -> dict[str, Any]:
        """Return the rule as Prometheus reads it."""
        return {
            "alert": self.name,
            "expr": self.expr,
            "for": self.wait,
            "keep_firing_for": self.hold,
            "labels": {"severity": self.severity},
            "annotations": {"summary": self.summary, "description": self.description},
        }


def rules() -> tuple[Rule, ...]:
    """Return every alert, in the order of the file."""
    phase = (PIPELINE, PHASE, SERVICE_NAME)
    failed = promql.rate(promql.series(PHASE_ERRORS), phase, "5m")
    ended = promql.rate(promql.select(PHASE_DURATION, "_count"), phase, "5m")
    refused, no_room = (
        f'sum by (exporter) (rate({{__name__=~"otelcol_exporter_{step}_failed_.+_total"}}[5m])) > 0'
        for step in ("send", "enqueue")
    )
    return (
        Rule(
            "LlmonCollectorDown",
            'up{job="otelcol"} == 0 or absent(up{job="otelcol"})',
            "page",
            "The Collector does not answer",
            "Prometheus cannot read its metrics; nothing new arrives in any backend while it is down.",
        ),
        Rule(
            "LlmonServerDown",
            'up{job=~"jaeger|loki|alertmanager"} == 0',
            "ticket",
            "{{ $labels.job }} does not answer",
            "What it should get waits in the Collector's queue on disk until it is back, or the queue is full.",
        ),
        Rule(
            "LlmonQueueFilling",
            "max by (exporter) (otelcol_exporter_queue_size / otelcol_exporter_queue_capacity) > 0.8",
            "page",
            "The Collector's queue to {{ $labels.exporter }} is {{ $value | humanizePercentage }} full",
            "When it is full, what arrives is dropped. Bring the backend back, or give the queue more room.",
        ),
        Rule(
            "LlmonTelemetryDropped",
            f"({refused}) or ({no_room})",
            "ticket",
            "The Collector drops what {{ $labels.exporter }} should get",
            "A backend refuses it for good (too old, too large) or the queue is full; the Collector's log says which.",
        ),
        Rule(
            "LlmonTelemetryLost",
            f"{promql.rate(promql.series(SELF_LOST), (SERVICE_NAME, SIGNAL), '5m')} > 0",
            "ticket",
            "{{ $labels.service_name }} loses {{ $labels.llmon_signal }}",
            "The program could not hand its telemetry over: is its endpoint right, and up?",
        ),
        Rule(
            "LlmonPhaseFailing",
            f"{promql.ratio(failed, ended)} > 0.1",
            "ticket",
            "{{ $value | humanizePercentage }} of {{ $labels.llmon_phase }} fail",
            "Phase {{ $labels.llmon_phase }} of {{ $labels.service_name }}; its spans with status error are in Jaeger.",
        ),
    )


def rules_file() -> str:
    """Return the file for Prometheus' `rule_files`."""
    import yaml

    content = {"groups": [{"name": "otel-llmon", "rules": [rule.as_entry() for rule in rules()]}]}
    return HEADER + yaml.safe_dump(content, sort_keys=False, width=120, allow_unicode=True)
