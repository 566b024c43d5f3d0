"""The clients ask the real servers."""

from __future__ import annotations

import time

import pytest

from otel_llmon.backends import Alertmanager, BackendError, Collector, Jaeger, Loki, Prometheus
from otel_llmon.backends.prometheus import NativeHistogram
from otel_llmon.doctor import examine

HOUR = 3600.0


@pytest.fixture(scope="module")
def sent(stack):
    """One span, one native histogram with an exemplar and one log, that are there."""
    report = examine(stack.environ | {"OTEL_LLMON_HISTOGRAMS": "exponential"})
    assert report.ok
    return report


def test_every_server_is_ready_and_tells_its_version(stack):
    """Five servers, five ways to ask."""
    clients = [client(stack.urls[client.__name__.lower()]) for client in (Prometheus, Loki, Jaeger, Alertmanager)]
    clients.append(Collector(stack.urls["collector_health"], stack.urls["collector_metrics"]))
    assert all(client.ready() for client in clients)
    assert all(client.version()[0].isdigit() for client in clients)


def test_jaeger_finds_a_trace_by_id_and_by_its_service(stack, sent):
    """The same spans either way; durations, limits and other services narrow it down."""
    jaeger = Jaeger(stack.urls["jaeger"])
    now = time.time()
    trace = jaeger.trace(sent.trace_id)
    [span] = trace.spans
    assert (span.name, span.service, span.kind, span.parent_id) == (sent.mark, "llmon-doctor", "internal", None)
    assert span.attributes["llmon.phase"] == sent.mark
    assert span.resource["telemetry.sdk.language"] == "python"
    assert abs(span.start / 1e9 - now) < 60
    found = jaeger.find("llmon-doctor", start=now - HOUR, end=now + 1, operation=sent.mark)
    assert found == [trace]
    assert jaeger.find("llmon-doctor", start=now - HOUR, end=now + 1, min_seconds=600) == []
    assert jaeger.find("llmon-doctor", start=now - 2 * HOUR, end=now - HOUR) == []
    assert jaeger.trace("0" * 31 + "1") is None
    assert "llmon-doctor" in jaeger.services()
    assert (sent.mark, "internal") in jaeger.operations("llmon-doctor")
    with pytest.raises(BackendError, match="400 bad request"):
        jaeger.trace("zz")


def test_prometheus_answers_with_native_histograms_and_exemplars(stack, sent):
    """The histogram is one value, and its exemplar leads to the trace."""
    prometheus = Prometheus(stack.urls["prometheus"])
    selector = f'llmon_phase_duration_seconds{{llmon_phase="{sent.mark}"}}'
    histogram = prometheus.query(selector).value
    assert isinstance(histogram, NativeHistogram)
    assert histogram.count == 1
    [bucket] = histogram.buckets
    assert bucket.low < histogram.sum <= bucket.high
    assert prometheus.query(f"histogram_count({selector})").value == 1
    assert [exemplar.trace_id for exemplar in prometheus.exemplars(selector)] == [sent.trace_id]
    now = time.time()
    [series] = prometheus.query_range(f"histogram_count({selector})", start=now - 60, end=now, step=1)
    assert {point.value for point in series.points} == {1}
    assert prometheus.series(selector)[0]["service_name"] == "llmon-doctor"
    assert "llmon-doctor" in prometheus.label_values("service_name")


def test_prometheus_says_what_it_thinks_of_a_query(stack):
    """A warning comes with the result, a mistake instead of it."""
    prometheus = Prometheus(stack.urls["prometheus"])
    assert any("bucket label" in each for each in prometheus.query("histogram_quantile(0.9, vector(1))").warnings)
    with pytest.raises(BackendError, match="unclosed left parenthesis"):
        prometheus.query("sum(")
    long = " or ".join(f"nothing{number}" for number in range(500))
    assert prometheus.query(f"{long} or vector(7)").value == 7


def test_prometheus_tells_how_it_was_set_up(stack):
    """Flags, rules, targets, Alertmanagers."""
    prometheus = Prometheus(stack.urls["prometheus"])
    assert prometheus.flags()["web.enable-otlp-receiver"] == "true"
    assert {rule.health for rule in prometheus.rules()} <= {"ok", "unknown"}
    assert all(target.job for target in prometheus.targets())
    assert prometheus.alertmanagers()
    assert isinstance(prometheus.alerts(), list)


def test_loki_finds_lines_with_their_metadata(stack, sent):
    """By label and text, by trace id; ids beside the labels."""
    loki = Loki(stack.urls["loki"])
    [line] = loki.lines(f'{{service_name="llmon-doctor"}} |= "{sent.mark}"')
    assert (line.body, line.level, line.service, line.trace_id) == (sent.mark, "INFO", "llmon-doctor", sent.trace_id)
    assert "trace_id" not in line.resource
    assert loki.lines(f'{{service_name="llmon-doctor"}} | trace_id="{sent.trace_id}"') == [line]
    now = time.time()
    assert loki.lines('{service_name="llmon-doctor"}', start=now - 2 * HOUR, end=now - HOUR) == []
    assert "service_name" in loki.labels()
    assert "llmon-doctor" in loki.label_values("service_name")
    with pytest.raises(BackendError, match="finds numbers, expected lines"):
        loki.lines('count_over_time({service_name="llmon-doctor"}[1m])')


def test_alertmanager_lists_alerts_and_silences(stack):
    """What matches nothing is an empty list, and a matcher that is none is refused."""
    alertmanager = Alertmanager(stack.urls["alertmanager"])
    assert alertmanager.alerts('alertname="NoSuchRule"') == []
    assert alertmanager.silences('alertname="NoSuchRule"') == []
    with pytest.raises(BackendError, match="400 bad request"):
        alertmanager.alerts("!")
