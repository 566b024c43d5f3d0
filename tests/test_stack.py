"""The servers' files as they ship, and `llmon stack` where it has nothing to start or cannot."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml
from sink import free_port

from otel_llmon.stack import LISTENING, PORTS, READY, WITH, Stack, StackError, State, compose, files, native

READY_AT_ONCE = """
import http.server, os, pathlib, sys
from otel_llmon.stack import READY
from otel_llmon.stack.native import BINARIES

class Ready(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()

[server] = [server for server, name in BINARIES.items() if name == pathlib.Path(sys.argv[1]).name]
http.server.HTTPServer(("127.0.0.1", int(os.environ[READY[server][0]])), Ready).serve_forever()
"""

CONFIG = files() / "collector-config"
COLLECTORS = sorted(CONFIG.glob("*.yaml"))


@pytest.fixture(params=COLLECTORS, ids=lambda path: path.stem)
def collector(request) -> dict:
    """A Collector's file."""
    return yaml.safe_load(request.param.read_text())


@pytest.fixture(scope="module")
def services() -> dict:
    """What the compose file runs."""
    return yaml.safe_load((files() / "docker-compose.otel.yml").read_text())["services"]


def test_every_switch_is_a_file():
    """`--with NAME` gives the Collector NAME.yaml."""
    assert {path.stem for path in COLLECTORS} == {"collector", "agent", "scale-out", *WITH}


def test_no_statement_fails_open(collector):
    """A redaction that fails must not let the record through; the default of these processors would."""
    for name, processor in (collector.get("processors") or {}).items():
        if name.startswith(("transform", "filter")):
            assert processor["error_mode"] == "propagate"


def test_a_list_of_statements_is_about_one_thing(collector):
    """Of spans and their events in one list, spans without an event would be left as they are."""
    for processor in (collector.get("processors") or {}).values():
        for key, given in (processor or {}).items():
            for group in given if key.endswith("_statements") else ():
                assert "context" in group, group


def test_nothing_waits_in_memory_only(collector):
    """No batch processor, which acknowledges before it has sent; queues on disk, and no end of trying."""
    for pipeline in collector["service"].get("pipelines", {}).values():
        if any(name.startswith("batch") for name in pipeline.get("processors", ())):
            assert all(name.startswith("file/") for name in pipeline["exporters"]), "of a copy nobody waits for"
    for name, exporter in (collector.get("exporters") or {}).items():
        if name.startswith(("file/", "prometheus")):  # neither waits for a server: a disk, and whoever comes to fetch
            continue
        assert exporter["retry_on_failure"]["max_elapsed_time"] == 0
        if not name.startswith("load_balancing"):  # it has its own, in memory, and says so
            assert exporter["sending_queue"]["storage"] == "file_storage/queue"
            assert exporter["sending_queue"]["sizer"] == "bytes"


def test_every_pipeline_is_bounded(collector):
    """The memory limiter comes first wherever something comes in; what a switch does not say is the base's."""
    base = yaml.safe_load((CONFIG / "collector.yaml").read_text())["service"]["pipelines"]
    for name, pipeline in collector["service"].get("pipelines", {}).items():
        known = base.get(name, {}) | pipeline
        if "otlp" in known.get("receivers", ()) or "memory_limiter" in known.get("processors", ()):
            assert known["processors"][0] == "memory_limiter", name


@pytest.mark.parametrize("name", WITH)
def test_a_switch_keeps_what_the_base_does(name):
    """The Collector replaces lists, so a file that adds a processor must repeat the others."""
    base = yaml.safe_load((CONFIG / "collector.yaml").read_text())["service"]["pipelines"]
    more = yaml.safe_load((CONFIG / f"{name}.yaml").read_text())["service"].get("pipelines", {})
    for pipeline, changed in more.items():
        for part, after in changed.items():
            before = base.get(pipeline, {}).get(part, [])
            assert [each for each in after if each in before] == before


def test_switches_do_not_undo_one_another():
    """Of two files that set the same list of a pipeline the Collector takes the later one's."""
    parts = []
    for name in WITH:
        pipelines = yaml.safe_load((CONFIG / f"{name}.yaml").read_text())["service"].get("pipelines", {})
        parts += [(pipeline, part) for pipeline, changed in pipelines.items() for part in changed]
    assert len(parts) == len(set(parts))


def test_the_files_read_the_ports_that_up_sets():
    """A port that no file reads, or one that `llmon stack up` does not know, would be a trap."""
    texts = "".join(path.read_text() for path in CONFIG.rglob("*.yaml") if "build" not in path.parts)
    read = set(re.findall(r"LLMON_\w+_PORT", texts)) | {"LLMON_PROMETHEUS_PORT", "LLMON_ALERTMANAGER_PORT"}  # flags
    assert read == set(PORTS)


def test_containers_listen_on_loopback_only_and_are_named_by_version(services):
    """A store of prompts is nobody else's, and an image may not change under one's feet."""
    for service in services.values():
        assert re.fullmatch(r"[a-z/-]+:v?\d+\.\d+\.\d+", service["image"])
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])
        assert {"mem_limit", "cpus", "restart", "security_opt"} <= set(service)


def test_both_ways_run_the_same_servers(services):
    """Grafana is the one that only containers have."""
    assert set(services) == {*READY, "grafana"}
    assert set(native.BINARIES) == set(LISTENING) == set(READY)
    flags = {argument for argument in services["prometheus"]["command"] if "enable" in argument}
    assert flags == {
        argument for argument in native._arguments("prometheus", Stack(Path("/d"))) if "enable" in argument
    }


@pytest.mark.slow
def test_the_wheel_carries_the_files(tmp_path):
    """`pip install otel-llmon; llmon stack up` needs no clone."""
    root = Path(__file__).parents[1]
    subprocess.run([sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", tmp_path, root], check=True)
    [wheel] = tmp_path.glob("*.whl")
    shipped = {name.partition("_shipped/")[2] for name in zipfile.ZipFile(wheel).namelist() if "_shipped/" in name}
    wanted = {
        path.relative_to(root).as_posix() for path in CONFIG.rglob("*") if path.is_file() and "build" not in path.parts
    }
    assert shipped == wanted | {"docker-compose.otel.yml"}


def test_a_port_that_is_taken_is_named(tmp_path):
    """Which address, for which server, and how to move it."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        environ = _servers(tmp_path, "exit 0") | {"LLMON_JAEGER_PORT": port}
        with pytest.raises(StackError, match=rf"127.0.0.1:{port} for jaeger: .*; .*LLMON_JAEGER_PORT"):
            native.up(Stack.of(tmp_path, environ=environ), environ=environ)
    assert State.load(tmp_path) is None


def test_a_server_that_ends_at_once_is_quoted_and_the_others_are_ended(tmp_path):
    """What it said last, and where the rest is; of those that wait to be asked none is left."""
    environ = _servers(tmp_path, "sleep 60") | _servers(tmp_path, "echo error: no luck >&2; exit 3", "loki")
    environ |= _servers(tmp_path, "echo $$ > $LLMON_DATA/alertmanager.pid; exec sleep 60", "alertmanager")
    with pytest.raises(StackError, match=r"^(alertmanager|loki) ended|not ready") as raised:
        native.up(Stack.of(tmp_path, environ=environ), environ=environ, patience=2)
    assert "more in" in str(raised.value)
    assert State.load(tmp_path) is None
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "alertmanager.pid").read_text()), 0)


def test_two_that_start_the_servers_at_once_start_them_once(tmp_path):
    """The second waits, and finds them running; `down` leaves none."""
    begun = tmp_path / "begun"
    (tmp_path / "serve.py").write_text(READY_AT_ONCE)
    environ = _servers(tmp_path, f'echo $$ >> {begun}\nexec {sys.executable} {tmp_path / "serve.py"} "$0"')
    stack = Stack.of(tmp_path / "data", environ=environ)
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: native.up(stack, environ=environ), range(2))
    try:
        assert first.processes == second.processes
        assert {pid for pid, _ in first.processes.values()} == set(map(int, begun.read_text().split()))
    finally:
        ended = native.down(first)
    assert len(ended) == len(READY)


@pytest.mark.parametrize(
    ("says", "quoted"),
    [
        ('failed parsing config: not a valid duration string: "never"',) * 2,
        (
            "Error: cannot unmarshal:\n\nerror reading limiter:\n\n'limit_mib' expected a number\n",
            "'limit_mib' expected a",
        ),
    ],
)
def test_a_server_is_quoted_with_what_it_said_this_time(tmp_path, says, quoted):
    """Not with an error of yesterday, and with the line that the error announces."""
    environ = _servers(tmp_path, "sleep 60") | _servers(tmp_path, f"cat <<'END'\n{says}\nEND\nexit 1", "alertmanager")
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "alertmanager.log").write_text("error: of yesterday\n")
    with pytest.raises(StackError, match="alertmanager ended") as raised:
        native.up(Stack.of(tmp_path, environ=environ), environ=environ, patience=10)
    assert quoted in str(raised.value)
    assert "yesterday" not in str(raised.value)


def test_status_and_down_without_anything_started(llmon, tmp_path):
    """Nothing is ended that we did not start, and status says what is missing."""
    ports = {name: str(free_port()) for name in PORTS}
    asked = llmon("stack", "status", "--data", str(tmp_path), **ports)
    assert asked.returncode == 1
    assert asked.stdout.count("not ready") == len(READY)
    ended = llmon("stack", "down", "--data", str(tmp_path))
    assert (ended.returncode, "nothing to end" in ended.stdout) == (0, True)


@pytest.mark.parametrize(
    ("arguments", "environ", "said"),
    [
        (("--with", "magic"), {}, "'magic': expected redaction, tail-sampling, gateway, files, logs or scrape"),
        (("--native", "--data", "/proc/none"), {}, "give another folder"),
        (("--host", "no.such.host.invalid"), {}, "give an address of this machine"),
        (("--host", "203.0.113.5"), {}, "give an address of this machine"),
        (("--data", "/tmp/one,two"), {}, "/tmp/one,two: Loki takes the comma for the end of a path, give another"),
        (("--host", ""), {}, "--host '': expected an address of this machine"),
        (("--data", "/dev/null"), {}, "/dev/null: is no folder, give another with --data"),
        (("--webhook", "notaurl"), {}, "--webhook notaurl: expected a URL"),
        ((), {"LLMON_LOKI_PORT": "loki"}, "LLMON_LOKI_PORT='loki': expected a port"),
        ((), {"PATH": "/nowhere", "LLMON_STACK_DIR": "/nowhere"}, "make stack"),
    ],
)
def test_what_cannot_be_started_is_one_line(llmon, arguments, environ, said, tmp_path):
    """What was found and the way out; no traceback."""
    done = llmon("stack", "up", "--native", *arguments, **environ)
    assert done.returncode == 1
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_damaged_note_is_named(tmp_path):
    """Better than to forget servers that run."""
    (tmp_path / "stack.json").write_text('{"kind": 3')
    with pytest.raises(StackError, match="damaged, look for servers that still run"):
        State.load(tmp_path)


def test_a_process_id_that_was_used_again_is_not_ours(tmp_path):
    """The start time tells."""
    state = State("native", Stack(tmp_path), {"loki": (os.getpid(), 12.0)})
    assert native.process(state, "loki") is None
    assert native.down(state) == []


def test_without_an_engine_compose_is_out(tmp_path):
    """No docker on the path, or one that does not answer."""
    assert compose.command({"PATH": str(tmp_path)}) is None
    fake = tmp_path / "docker"
    fake.write_text("#!/bin/sh\n[ $1 = compose ]\n")
    fake.chmod(0o755)
    assert compose.command({"PATH": f"{tmp_path}:/bin:/usr/bin"}) is None
    fake.write_text("#!/bin/sh\n")
    assert compose.command({"PATH": f"{tmp_path}:/bin:/usr/bin"}) == [str(fake), "compose"]


@pytest.fixture
def llmon():
    """Run the command: `llmon("stack", "status")`."""

    def run(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [Path(sys.executable).with_name("llmon"), *arguments],
            env=os.environ | environ,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def _servers(folder: Path, script: str, *names: str) -> dict[str, str]:
    """Put programs in the place of the servers; return the environment that finds them, with free ports."""
    (folder / "bin").mkdir(exist_ok=True)
    for name in names or native.BINARIES.values():
        program = folder / "bin" / name
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
    free = {name: str(free_port()) for name in PORTS}
    return {**free, "LLMON_STACK_DIR": str(folder), "PATH": os.environ["PATH"]}
