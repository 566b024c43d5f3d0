"""doctor on the real servers: all arrives, and a server that is missing or set up wrong is named with its hop."""

from __future__ import annotations

import pytest
from servers import until

from otel_llmon.doctor import examine


def said(report, name):
    """Return what the last check of this name says."""
    [*_, check] = [check for check in report.checks if check.name == name]
    return check.found


def failed(report):
    """Return the names of what failed."""
    return {check.name for check in report.checks if check.state == "fail"}


def test_all_three_arrive_and_lead_to_one_another(stack):
    """By HTTP: five servers met, three things found, two joins, nothing to remark."""
    report = examine(stack.environ)
    assert [check for check in report.checks if check.state != "ok"] == []
    assert report.ok
    assert report.way == "stack"
    assert report.seconds < 20


def test_grpc_arrives_too(stack):
    """The exporters that the environment names are the ones that are used."""
    by_grpc = {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{stack.host}:4317"}
    report = examine(stack.environ | by_grpc)
    assert failed(report) == set()
    assert said(report, "endpoint") == f"http://{stack.host}:4317 takes grpc"


@pytest.mark.parametrize("histograms", ["explicit", "exponential"])
def test_both_kinds_of_histogram_keep_their_exemplar(stack, histograms):
    """A native histogram leads to its trace as well."""
    assert failed(examine(stack.environ | {"OTEL_LLMON_HISTOGRAMS": histograms})) == set()


def test_deltas_are_lost_before_prometheus(stack):
    """Prometheus takes cumulative metrics; the variable is named."""
    report = examine(stack.environ | {"OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "delta"})
    assert failed(report) == {"metric"}
    assert said(report, "metric").startswith("collector -> prometheus: the metric did not arrive")
    assert "TEMPORALITY_PREFERENCE=delta" in said(report, "settings")


def test_one_server_in_the_place_of_another_is_named(stack):
    """Addresses that are mixed up: each answers in its own way that it is not the one."""
    mixed = {"OTEL_LLMON_LOKI_URL": stack.urls["prometheus"], "OTEL_LLMON_PROMETHEUS_URL": stack.urls["jaeger"]}
    report = examine(stack.environ | mixed)
    assert failed(report) == {"Loki", "Prometheus", "log", "metric"}
    assert "page" in said(report, "Prometheus")
    assert said(report, "log").startswith("collector -> loki: ")


def test_servers_that_stop_are_named_and_what_waits_for_them_is_found_later(servers):
    """Loki paused, Jaeger ended: two hops, and the Collector's queues keep what they could not deliver."""
    broken = servers()
    assert examine(broken.environ).ok
    broken.pause("loki")
    broken.end("jaeger")
    report = examine(broken.environ)
    assert failed(report) == {"Loki", "Jaeger", "trace", "log"}
    assert said(report, "log").startswith("collector -> loki: Loki cannot be asked for the log: no answer within")
    assert said(report, "trace").startswith("collector -> jaeger: Jaeger cannot be asked for the trace: connection")
    assert report.seconds < 20
    broken.resume("loki")
    broken.start()
    assert until(lambda: examine(broken.environ).ok)


def test_a_collector_that_keeps_silent_is_the_hop(servers):
    """Everything behind it is well."""
    broken = servers()
    broken.pause("collector")
    report = examine(broken.environ)
    assert failed(report) == {"endpoint", "trace", "metric", "log"}
    assert said(report, "trace") == f"program -> {broken.urls['otlp']}: the trace was not taken"
    assert report.seconds < 20
    broken.resume("collector")


def test_tail_sampling_keeps_doctors_trace_and_asks_for_patience(servers):
    """Of others' traces none is kept here; doctor's is, once it is decided on."""
    patient = servers(extras=("redaction", "tail-sampling"), LLMON_TAIL_WAIT="20s", LLMON_TAIL_PERCENT="0")
    early = examine(patient.environ, wait=10)
    assert failed(early) == {"trace"}
    assert said(early, "trace").endswith("tail sampling has not decided")
    assert examine(patient.environ, wait=40).ok
