"""Alerts: they fire when they should, reach a webhook through Alertmanager, and resolve."""

from __future__ import annotations

import json
import re
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import yaml
from servers import until

from otel_llmon.render import rules
from otel_llmon.stack import files, native

FAILING = """
    import otel_llmon as llmon

    llmon.configure("clumsy")
    for number in range(20):
        try:
            with llmon.phase("stumble"):
                if number % 2:
                    raise OSError("a stone")
        except OSError:
            pass
"""

TABLE = {
    "LlmonCollectorDown": {'up{job="otelcol"}': "0+0x30"},
    "LlmonServerDown": {'up{job="loki"}': "0+0x30", 'up{job="otelcol"}': "1+0x30"},
    "LlmonQueueFilling": {
        'otelcol_exporter_queue_size{exporter="otlp_http/loki"}': "90+0x30",
        'otelcol_exporter_queue_capacity{exporter="otlp_http/loki"}': "100+0x30",
    },
    "LlmonTelemetryDropped": {
        'otelcol_exporter_send_failed_spans_total{exporter="otlp_grpc/jaeger"}': "0+10x30",
        'otelcol_exporter_enqueue_failed_spans_total{exporter="otlp_grpc/jaeger"}': "0+10x30",
    },
    "LlmonTelemetryLost": {'llmon_self_lost_total{service_name="a",llmon_signal="traces"}': "0+5x30"},
    "LlmonPhaseFailing": {
        'llmon_phase_errors_total{service_name="a",llmon_phase="p",llmon_pipeline="q"}': "0+2x30",
        'llmon_phase_duration_seconds_count{service_name="a",llmon_phase="p",llmon_pipeline="q"}': "0+10x30",
    },
}
"""What Prometheus sees, every 15 s, when each alert is to fire; `HEALTHY` is when none is."""

HEALTHY = {
    'up{job="otelcol"}': "1+0x30",
    'up{job="loki"}': "1+0x30",
    'otelcol_exporter_queue_size{exporter="otlp_http/loki"}': "10+0x30",
    'otelcol_exporter_queue_capacity{exporter="otlp_http/loki"}': "100+0x30",
    'otelcol_exporter_send_failed_spans_total{exporter="otlp_grpc/jaeger"}': "3+0x30",
    'otelcol_exporter_enqueue_failed_spans_total{exporter="otlp_grpc/jaeger"}': "0+0x30",
    'llmon_self_lost_total{service_name="a",llmon_signal="traces"}': "2+0x30",
    'llmon_phase_errors_total{service_name="a",llmon_phase="p",llmon_pipeline="q"}': "0+1x30",
    'llmon_phase_duration_seconds_count{service_name="a",llmon_phase="p",llmon_pipeline="q"}': "0+100x30",
}


def test_the_shipped_files_pass_their_servers_checks(tmp_path):
    """Promtool and amtool read them as the servers do."""
    folder = files() / "collector-config"
    rules_file = folder / "prometheus" / "rules" / "llmon.yml"
    _tool("promtool", "check", "config", str(folder / "prometheus" / "prometheus.yml"))
    _tool("promtool", "check", "rules", "--lint=all", "--lint-fatal", str(rules_file))
    for routes in sorted((folder / "alertmanager").glob("*.yml")):
        _tool("amtool", "check-config", str(routes))


def test_every_alert_has_a_case():
    """A new alert needs its line in the table."""
    assert set(TABLE) == {rule.name for rule in rules.rules()}


@pytest.mark.parametrize("name", [*TABLE, None], ids=lambda name: name or "healthy")
def test_an_alert_fires_on_its_condition_only(name, tmp_path):
    """Promtool plays seven minutes of series to the shipped file and says which alerts fire at the end."""
    series = HEALTHY | (TABLE[name] if name else {})
    if name == "LlmonCollectorDown":
        series |= {'up{job="otelcol"}': "0+0x30"}
    cases = {
        "rule_files": [str(files() / "collector-config/prometheus/rules/llmon.yml")],
        "evaluation_interval": "15s",
        "tests": [
            {
                "interval": "15s",
                "input_series": [{"series": key, "values": values} for key, values in series.items()],
                "promql_expr_test": [
                    {
                        "expr": 'count by (alertname) (ALERTS{alertstate="firing"})',
                        "eval_time": "7m",
                        "exp_samples": [{"labels": f'{{alertname="{name}"}}', "value": 1}] if name else [],
                    }
                ],
            }
        ],
    }
    path = tmp_path / "cases.yml"
    path.write_text(yaml.safe_dump(cases))
    _tool("promtool", "test", "rules", str(path))


@pytest.mark.timeout(240)
def test_an_alert_reaches_a_webhook_and_resolves(servers, program, webhook):
    """The shipped file with its times made short; a program whose phases fail, and then no longer do."""
    stack = servers(webhook=webhook.url)
    file = stack.data / "config" / "prometheus" / "rules" / "llmon.yml"
    text = re.sub(r"\[5m\]", "[20s]", file.read_text())
    text = re.sub(r"(for|keep_firing_for): \w+", r"\1: 0s", text)
    file.write_text(text.replace("- name: otel-llmon", "- name: otel-llmon\n  interval: 1s"))
    stack.reload("prometheus")
    done = program(FAILING, **stack.environ)
    assert done.returncode == 0, done.stderr
    firing = until(lambda: webhook.heard("LlmonPhaseFailing", "firing"), 90)
    assert firing["labels"]["llmon_phase"] == "stumble"
    assert firing["annotations"]["summary"].startswith("50")
    [shown] = until(lambda: stack.alertmanager.alerts('alertname="LlmonPhaseFailing"'))
    assert shown.labels["service_name"] == "clumsy"
    assert until(lambda: webhook.heard("LlmonPhaseFailing", "resolved"), 120)


class Webhook:
    """Remembers the alerts that are posted to it."""

    def __init__(self):
        alerts = self.alerts = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                alerts.extend(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["alerts"])
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/alerts"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def heard(self, name, status):
        """The first alert of this name and status, if any."""
        return next((it for it in self.alerts if (it["labels"]["alertname"], it["status"]) == (name, status)), None)


@pytest.fixture
def webhook():
    """A receiver of alerts."""
    webhook = Webhook()
    yield webhook
    webhook.server.shutdown()
    webhook.server.server_close()


def _tool(name, *arguments):
    path = native.binaries()["prometheus"].with_name(name)
    done = subprocess.run([path, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
