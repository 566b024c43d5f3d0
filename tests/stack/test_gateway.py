"""Workers on several hosts: an agent beside each, one gateway with TLS and a token before the stores."""

from __future__ import annotations

import os
import random
import shutil
import subprocess

import pytest
from servers import until

from otel_llmon.stack import files, native, ready

WORKER = """
    import otel_llmon as llmon

    llmon.configure("afar", observers=())
    for _ in llmon.progress(range(20), "pages", total=40):
        with llmon.phase("read"):
            pass
"""


def address():
    """A loopback address that nobody else listens on."""
    return f"127.{random.randint(1, 250)}.{random.randint(1, 250)}.{random.randint(2, 250)}"


@pytest.fixture
def collector(tmp_path):
    """Start a Collector with files of ours, on an address: `collector(("agent",), "127.1.2.3", LLMON_TOKEN="...")`."""
    begun = []

    def start(names, host, **environ):
        data = tmp_path / f"collector-{len(begun)}"
        data.mkdir()
        configs = [f"--config={files() / 'collector-config' / name}.yaml" for name in names]
        with (data / "log").open("w") as log:
            surroundings = {"PATH": os.environ["PATH"], "LLMON_LISTEN": host, "LLMON_DATA": str(data), **environ}
            command = [native.binaries()["collector"], *configs]
            begun.append(subprocess.Popen(command, env=surroundings, stdout=log, stderr=log))
        until(lambda: ready(f"http://{host}:13133/") or begun[-1].poll() is not None)
        assert begun[-1].poll() is None, (data / "log").read_text()[-2000:]

    yield start
    for process in begun:
        process.terminate()
    for process in begun:
        process.wait(30)


@pytest.fixture
def certified(tmp_path):
    """A folder with a certificate for an address, and the file of a token."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl makes the certificate")
    host = address()
    new = [
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-subj",
        "/CN=gateway",
    ]
    out = ["-keyout", tmp_path / "tls.key", "-out", tmp_path / "tls.crt", "-addext", f"subjectAltName=IP:{host}"]
    subprocess.run(["openssl", *new, *out], check=True, capture_output=True)
    (tmp_path / "token").write_text("open-sesame")
    return host, tmp_path


@pytest.mark.row("M1")
@pytest.mark.timeout(180)
def test_what_agents_hand_on_to_a_gateway_is_added_up_by_prometheus(stack, collector, certified, program):
    """Every worker is an instance, from the host that its agent names; who has no token is refused and says so."""
    gateway, folder = certified
    at = stack.state.stack.at
    stores = {
        "LLMON_PROMETHEUS": at("LLMON_PROMETHEUS_PORT"),
        "LLMON_LOKI": at("LLMON_LOKI_PORT"),
        "LLMON_JAEGER_OTLP": at("LLMON_JAEGER_OTLP_PORT"),
    }
    keys = {"LLMON_TLS": str(folder), "LLMON_TOKEN_FILE": str(folder / "token")}
    collector(("collector", "gateway"), gateway, **stores, **keys)
    trusted = {"SSL_CERT_FILE": str(folder / "tls.crt"), "LLMON_GATEWAY": f"{gateway}:4317"}
    for name in ("left", "right"):
        host = address()
        agent = {"LLMON_TOKEN": "open-sesame", "OTEL_RESOURCE_ATTRIBUTES": f"host.name={name},site={name}", **trusted}
        collector(("agent",), host, **agent)
        done = program(WORKER, OTEL_EXPORTER_OTLP_ENDPOINT=f"http://{host}:4318")
        assert (done.returncode, done.stderr) == (0, "")
    pages = 'llmon_progress_items_total{service_name="afar"}'
    assert until(lambda: stack.prometheus.query(f"sum({pages})").value == 40)
    assert stack.prometheus.query(f"count(sum by (service_instance_id) ({pages}))").value == 2
    overall = f'sum({pages}) / sum(llmon_progress_total{{service_name="afar"}})'
    assert stack.prometheus.query(overall).value == 0.5
    sites = until(
        lambda: len(found := stack.prometheus.query('target_info{service_name="afar"}').series) == 2 and found
    )
    assert {series.labels["site"] for series in sites} == {"left", "right"}
    certificate = str(folder / "tls.crt")
    # requests prefers its own variable, where that is set
    known = {"OTEL_EXPORTER_OTLP_CERTIFICATE": certificate, "REQUESTS_CA_BUNDLE": certificate}
    done = program(WORKER, OTEL_EXPORTER_OTLP_ENDPOINT=f"https://{gateway}:4318", **known)
    assert "not sent: 20 spans" in done.stderr
    assert "Unauthorized" in done.stderr
    assert stack.prometheus.query(f"sum({pages})").value == 40
