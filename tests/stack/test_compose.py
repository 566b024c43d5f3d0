"""The shipped compose file on a real engine, with images that hold the native binaries under the file's own names.

Nothing is pulled. Grafana has no binary here, so it is the one service that is left out.
"""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest
import yaml
from servers import until
from sink import free_port

from otel_llmon.backends import Jaeger, Loki, Prometheus
from otel_llmon.stack import PORTS, READY, Stack, compose, files, native, standings

CALL = compose.command()
IMAGES = {
    "collector": ("/otelcol-contrib", 10001, None),
    "prometheus": ("/bin/prometheus", 65534, "/prometheus"),
    "alertmanager": ("/bin/alertmanager", 65534, "/alertmanager"),
    "jaeger": ("/cmd/jaeger/jaeger-linux", 10001, None),
    "loki": ("/usr/bin/loki", 10001, "/loki"),
}
"""As the published images are: where the binary lies, who runs it, and the folder that is its own."""
TOOLS = {"prometheus": "promtool", "alertmanager": "amtool"}
PROGRAM = """
    import logging
    import otel_llmon as llmon

    llmon.configure("contained")
    with llmon.pipeline("ingest"):
        logging.getLogger("app").warning("from outside")
"""

pytestmark = pytest.mark.skipif(CALL is None, reason="no container engine with compose answers")


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Build an image for each server of the compose file, under the name that the file gives."""
    services = yaml.safe_load((files() / "docker-compose.otel.yml").read_text())["services"]
    for service, (path, user, folder) in IMAGES.items():
        place = tmp_path_factory.mktemp(service)
        binary = native.binaries()[service]
        lines = ["FROM scratch", "ENV PATH=/bin", f"COPY server {path}", f'ENTRYPOINT ["{path}"]']
        shutil.copy(binary, place / "server")
        if tool := TOOLS.get(service):
            shutil.copy(binary.with_name(tool), place / tool)
            lines.append(f"COPY {tool} /bin/{tool}")
        (place / "empty").mkdir()
        lines.append(f"COPY --chown={user}:{user} empty /tmp")
        if folder:
            lines += [f"COPY --chown={user}:{user} empty {folder}", f"WORKDIR {folder}"]
        lines.append(f"USER {user}")
        (place / "Dockerfile").write_text("\n".join(lines))
        subprocess.run(["docker", "build", "-q", "-t", services[service]["image"], place], check=True)


@pytest.fixture
def contained(images, tmp_path):
    """The stack in containers, published on free ports; its volumes are gone afterwards."""
    ports = {name: str(free_port()) for name in PORTS}
    stack = Stack.of(tmp_path, environ=ports)
    environ = os.environ | {"LLMON_FLUSH_INTERVAL": "1s"}
    state = compose.up(stack, CALL, environ=environ, services=READY)
    yield state
    compose.down(state, CALL)
    volumes = [f"{compose.PROJECT}_{service}" for service in IMAGES]
    subprocess.run(["docker", "volume", "rm", *volumes], check=True, capture_output=True)


@pytest.mark.timeout(400)
def test_what_a_program_sends_into_the_containers_is_found(contained, program):
    """All three signals, from the host through the published ports; both health checks pass; down ends all."""
    urls = contained.stack.urls
    assert all(standing.ready for standing in standings(contained.stack, {}))
    done = program(PROGRAM, OTEL_EXPORTER_OTLP_ENDPOINT=urls["otlp"])
    assert done.returncode == 0, done.stderr
    counted = 'llmon_pipeline_duration_seconds_count{service_name="contained"}'
    assert until(lambda: Prometheus(urls["prometheus"]).query(counted).value == 1)
    [line] = until(lambda: Loki(urls["loki"]).lines('{service_name="contained"}'))
    assert until(lambda: Jaeger(urls["jaeger"]).trace(line.trace_id)).root.name == "ingest"
    assert until(lambda: Prometheus(urls["prometheus"]).query("count(up == 1)").value == len(READY), 60)
    for service in TOOLS:
        assert until(lambda service=service: _health(service) == "healthy", 60)
    compose.down(contained, CALL)
    assert not any(standing.ready for standing in standings(contained.stack, {}))


def _health(service):
    [container] = subprocess.check_output(
        ["docker", "ps", "-q", "--filter", f"name={compose.PROJECT}.{service}"], text=True
    ).split()
    form = "{{.State.Health.Status}}"
    return subprocess.check_output(["docker", "inspect", "-f", form, container], text=True).strip()
