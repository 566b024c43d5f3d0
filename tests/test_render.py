"""What is generated for the backends: names as Prometheus spells them, rules that say what to do."""

from __future__ import annotations

import re

import pytest
import yaml

from otel_llmon.render import panels, promql, rules
from otel_llmon.semconv import Metric, rows
from otel_llmon.semconv.attributes import MEANINGS

LABELS = {promql.label(key) for key in MEANINGS}


@pytest.mark.parametrize(
    ("row", "spelt"),
    [
        (Metric("llmon.phase.duration", "histogram", "s", ""), "llmon_phase_duration_seconds"),
        (Metric("llmon.progress.items", "counter", "{item}", ""), "llmon_progress_items_total"),
        (Metric("system.memory.usage", "updowncounter", "By", ""), "system_memory_usage_bytes"),
        (Metric("system.cpu.utilization", "gauge", "1", ""), "system_cpu_utilization_ratio"),
        (Metric("system.cpu.time", "counter", "s", ""), "system_cpu_time_seconds_total"),
        (Metric("gen_ai.client.token.usage", "histogram", "{token}", ""), "gen_ai_client_token_usage"),
        (Metric("hw.power", "gauge", "W", ""), "hw_power_watts"),
    ],
)
def test_a_row_is_spelt_as_prometheus_spells_it(row, spelt):
    """These are the names that a real Prometheus gave; tests/stack asks it for every row."""
    assert promql.series(row) == spelt


def test_no_two_rows_become_one_series():
    """Dots and underscores are the same to Prometheus."""
    spelt = [promql.series(row) for row in rows()]
    assert len(spelt) == len(set(spelt))


def test_a_share_is_zero_while_nothing_failed_and_absent_while_nothing_happened():
    """An empty numerator must not hide a healthy denominator."""
    assert promql.ratio("failed", "all") == "(failed or 0 * all) / (all > 0)"


@pytest.mark.parametrize("rule", rules.rules(), ids=lambda rule: rule.name)
def test_every_alert_is_whole(rule):
    """A name of ours, patience before and after, a summary and what to do about it."""
    assert rule.name.startswith("Llmon")
    assert re.fullmatch(r"[0-9]+[smh]", rule.wait)
    assert re.fullmatch(r"[0-9]+[smh]", rule.hold)
    assert rule.summary
    assert not rule.summary.endswith(".")
    assert rule.description.endswith((".", "?"))


def test_the_file_holds_every_alert_once():
    """One group, in the order of the rows."""
    [group] = yaml.safe_load(rules.rules_file())["groups"]
    assert [entry["alert"] for entry in group["rules"]] == [rule.name for rule in rules.rules()]


def test_the_dashboard_names_no_metric_but_the_registry_s():
    """Whatever a query says is a row's spelling, or one of the servers' own names."""
    spelt = {promql.series(row) for row in rows()}
    for _, section in panels.sections():
        for panel in section:
            for query in panel.queries:
                names = set(re.findall(r"\b(?:llmon|gen_ai_client|system|process|hw)_\w+", query.expr)) - LABELS
                assert {name if name in spelt else re.sub(r"_(bucket|count|sum)$", "", name) for name in names} <= spelt
            assert panel.description == "" or panel.description.endswith("."), panel.title
