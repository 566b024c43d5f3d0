"""/health, /ready and /live, in frameworks and by `llmon health`."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import socket
import threading
import time
from datetime import UTC, datetime
from fractions import Fraction
from wsgiref.util import setup_testing_defaults

import numpy as np
import psutil
import pytest
import urllib3
from processes import killed, until
from serving import answer
from serving import page as page  # noqa: PLC0414  # a fixture
from sink import Sink, free_port

from otel_llmon import checks, exporting, gauge, health, observers, snapshot
from otel_llmon.adapters import asgi, wsgi
from otel_llmon.cli.health import _found
from otel_llmon.errors import SettingsError

RARELY = 3600.0


@pytest.fixture(autouse=True)
def no_checks():
    """Every test begins and ends with none, and with no exporters of others."""
    for outlet in list(exporting._outlets):
        outlet.closed = True
    yield
    checks.stop()


def check(name, up, **plan):
    """A check that was made once; with None it has found nothing yet."""
    if up is None:
        wait = threading.Event()
        return checks.function(name, lambda: wait.wait(30), every=RARELY, timeout=60, **plan)
    one = checks.function(name, lambda: up, every=RARELY, **plan)
    one.ask()
    return one


def said(path):
    """What is said on a path: status and facts."""
    found = health.answer("GET", path)
    return found.status, json.loads(found.body)


U, D, X = True, False, None


@pytest.mark.row("Y1", "Y2")
@pytest.mark.parametrize(
    ("needed", "optional", "status", "code", "ready"),
    [
        ([], [], "up", 200, 200),
        ([U], [U], "up", 200, 200),
        ([U], [D], "degraded", 200, 200),
        ([D], [U], "down", 503, 503),
        ([U, D], [D], "down", 503, 503),
        ([X], [], "degraded", 200, 503),
        ([U], [X], "degraded", 200, 200),
    ],
)
def test_degraded_is_200_and_broken_is_503(needed, optional, status, code, ready):
    """Ready is what has found all that it requires; live is what answers."""
    for number, up in enumerate(needed):
        check(f"needed {number}", up)
    for number, up in enumerate(optional):
        check(f"optional {number}", up, required=False)
    assert (said("/health")[0], said("/health")[1]["status"]) == (code, status)
    assert said("/ready")[0] == ready
    assert said("/live") == (200, {"status": "up"})


@pytest.mark.row("Y1", "H6")
def test_health_says_how_long_who_and_what():
    """Timestamp, uptime, components with why and since when; nothing that is not known."""
    check("cache", False)
    check("db", True)
    check("model", None)
    _, found = said("/health")
    assert abs((datetime.now(UTC) - datetime.fromisoformat(found["timestamp"])).total_seconds()) < 60
    assert found["uptime"] == pytest.approx(time.time() - psutil.Process().create_time(), abs=5)
    cache, db, model = (found["components"][name] for name in ("cache", "db", "model"))
    assert cache["status"] == "down"
    assert cache["reason"] == "it returned False"
    assert cache["type"] == "function"
    assert cache["at"] >= cache["since"]
    assert db["status"] == "up"
    assert "reason" not in db
    assert model == {"status": "unknown", "type": "function", "required": True}
    assert checks.results()["cache"].up is False


@pytest.mark.row("Y2")
def test_ready_names_what_it_waits_for():
    """And becomes ready when that is up."""
    up = [False]
    one = checks.function("db", lambda: up[0], every=RARELY)
    one.ask()
    assert said("/ready") == (503, {"status": "down", "waits_for": {"db": "down"}})
    up[0] = True
    one.ask()
    assert said("/ready") == (200, {"status": "up"})


@pytest.mark.row("Y1")
def test_health_has_what_the_observers_read_last():
    """Out of memory; to be told is not to be judged."""
    observers.detach_all()
    assert "resources" not in said("/health")[1]
    observers.attach("process", every=3600)
    try:
        assert observers.read_now(20)
        status, found = said("/health")
        assert status == 200
        assert found["resources"]["process.memory.usage"] > 1 << 20
    finally:
        observers.detach_all()


@pytest.mark.parametrize(
    ("read", "told"),
    [
        (np.int64(3), 3),
        (np.float32(2.5), 2.5),
        (np.array(3.0), 3.0),
        (Fraction(1, 4), 0.25),
        (float("nan"), None),
        (float("inf"), None),
        (10**400, None),
        ("abc", None),
    ],
    ids=lambda value: str(value)[:9],
)
def test_health_can_say_what_a_gauge_of_the_programs_returns(recorder, read, told):
    """A number of numpy's as one of Python's; what is no number is not there, and the answer is JSON all the same."""
    gauge("queue.waiting", lambda: read)
    try:
        assert observers.read_now(20)
        status, found = said("/health")
    finally:
        observers.detach_all()
    assert status == 200
    assert found.get("resources", {}).get("queue.waiting") == told


@pytest.mark.row("C3")
def test_how_the_system_is_beside_thresholds_of_ones_own():
    """JSON: what was read last, and what is too much for whom it concerns; a busy host is no reason to send nobody."""
    observers.attach("host.memory", "process", every=3600)
    whole = psutil.virtual_memory().total
    for name, least in (("some memory", 1), ("more memory than there is", whole + 1)):
        wanted = checks.function(
            name, lambda least=least: snapshot().host.memory.available >= least, every=RARELY, required=False
        )
        wanted.ask()
    try:
        assert observers.read_now(20)
        status, found = said("/health")
        assert (status, found["status"]) == (200, "degraded")
        assert {name: one["status"] for name, one in found["components"].items()} == {
            "some memory": "up",
            "more memory than there is": "down",
        }
        assert found["resources"]["system.memory.limit"] == whole
        assert found["resources"]["process.thread.count"] >= 1
        assert said("/ready") == (200, {"status": "up"})
    finally:
        observers.detach_all()


@pytest.mark.row("Y1")
def test_nothing_is_asked_or_read_when_somebody_looks():
    """A probe of the probes must not wait for them, nor for a disk, nor for a sample of the CPU."""
    for number in range(100):
        checks.function(f"c{number}", lambda: time.sleep(30), every=RARELY, timeout=60)
    health.answer("GET", "/health")
    opened = []
    import sys

    def note(event, args):
        if event in {"open", "socket.connect", "subprocess.Popen", "time.sleep"} and listening:
            opened.append((event, args))

    listening = [True]
    sys.addaudithook(note)
    for path in health.PATHS:
        assert health.answer("GET", path)
    listening.clear()
    assert opened == []


# the export path


@pytest.mark.row("Y5")
def test_health_knows_whether_telemetry_gets_out(program):
    """Last success, what waits, what was lost and why; a Collector that is gone degrades, and breaks nothing."""
    arrived, gone = Sink(), Sink("refuses")
    source = """
        import json, otel_llmon
        from otel_llmon import event, health
        with otel_llmon.configure("app", observers=()) as handle:
            print(json.dumps(health.health()))
            event("one")
            handle.flush(10)
            print(json.dumps(health.health()))
        """
    done = program(source, OTEL_EXPORTER_OTLP_ENDPOINT=arrived.endpoint)
    (_, before), (code, after) = (json.loads(line) for line in done.stdout.splitlines())
    assert before["export"]["logs"] == {"status": "unknown", "waiting": 0, "lost": 0}
    assert set(before["export"]) == {"traces", "metrics", "logs"}
    assert before["service"] == "app"
    assert (code, after["status"]) == (200, "up")
    assert after["export"]["logs"]["status"] == "up"
    assert datetime.fromisoformat(after["export"]["logs"]["sent_at"]) <= datetime.now(UTC)
    arrived.close()
    done = program(source, OTEL_EXPORTER_OTLP_ENDPOINT=gone.endpoint, OTEL_EXPORTER_OTLP_TIMEOUT="1")
    code, after = json.loads(done.stdout.splitlines()[1])
    assert (code, after["status"]) == (200, "degraded")
    assert after["export"]["logs"]["status"] == "degraded"
    assert after["export"]["logs"]["lost"] == 1
    assert after["export"]["logs"]["reason"]
    assert "sent_at" not in after["export"]["logs"]


# in frameworks


def fastapi_app():
    """FastAPI with one line of ours, around and mounted."""
    from fastapi import FastAPI

    app = FastAPI()
    app.add_middleware(asgi.Health)
    app.mount("/ops", asgi.Health())

    @app.get("/items")
    def items():
        return [1]

    @app.post("/health")
    def mine():
        return "mine"

    return app


def flask_app():
    """Flask with one line of ours."""
    from flask import Flask
    from werkzeug.middleware.dispatcher import DispatcherMiddleware

    app = Flask(__name__)

    @app.get("/items")
    def items():
        return [1]

    @app.post("/health")
    def mine():
        return "mine"

    app.wsgi_app = DispatcherMiddleware(app.wsgi_app, {"/ops": wsgi.Health()})
    app.wsgi_app = wsgi.Health(app.wsgi_app)
    return app


def clients():
    """A way to ask each: (method, path) -> status and text."""
    from starlette.testclient import TestClient

    fast, flask = TestClient(fastapi_app()), flask_app().test_client()

    def ask_fast(method, path):
        found = fast.request(method, path)
        return found.status_code, found.text, found.headers

    def ask_flask(method, path):
        found = flask.open(path, method=method)
        return found.status_code, found.text, found.headers

    return {"fastapi": ask_fast, "flask": ask_flask}


@pytest.mark.row("Y1", "Y2", "Y3")
@pytest.mark.parametrize("framework", ["fastapi", "flask"])
def test_one_line_in_a_framework_answers_three_paths_and_no_others(framework):
    """At the root around the app, or below a path of its own."""
    ask = clients()[framework]
    check("db", False)
    for base in ("", "/ops"):
        assert ask("GET", f"{base}/health")[0] == 503
        assert json.loads(ask("GET", f"{base}/health")[1])["components"]["db"]["status"] == "down"
        assert ask("GET", f"{base}/ready")[0] == 503
        code, text, headers = ask("GET", f"{base}/live")
        assert (code, json.loads(text)) == (200, {"status": "up"})
        assert headers["content-type"] == "application/json"
        assert headers["cache-control"] == "no-store"
        code, text, headers = ask("HEAD", f"{base}/live")
        assert (code, text, headers["content-length"]) == (200, "", "16")
    assert ask("GET", "/items")[:2][0] == 200
    assert "mine" in ask("POST", "/health")[1]
    assert ask("GET", "/ops/other")[0] == 404
    assert ask("POST", "/ops/ready")[0] == 405


@pytest.mark.row("Y3")
def test_live_is_answered_by_the_event_loop_itself():
    """No thread, no lock, no wait: where it answers, the loop lives."""
    sent = []

    async def send(message):
        sent.append(message)

    async def receive():
        raise AssertionError

    scope = {"type": "http", "method": "GET", "path": "/live"}
    coroutine = asgi.Health()(scope, receive, send)
    with pytest.raises(StopIteration):
        coroutine.send(None)
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    assert sent[0]["status"] == 200


def test_by_itself_it_takes_part_in_a_servers_start_and_end():
    """`uvicorn` asks for it; a websocket is closed."""
    sent = []
    received = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])

    async def receive():
        return next(received)

    async def send(message):
        sent.append(message["type"])

    asyncio.run(asgi.Health()({"type": "lifespan"}, receive, send))
    asyncio.run(asgi.Health()({"type": "websocket", "path": "/"}, receive, send))
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete", "websocket.close"]


def test_wsgi_by_itself_answers_too():
    """Without a framework."""
    environ = {"PATH_INFO": "/nothing"}
    setup_testing_defaults(environ)
    started = []
    body = wsgi.Health()(environ, lambda *what: started.append(what))
    assert started[0][0] == "404 Not Found"
    assert json.loads(b"".join(body)) == {"paths": ["/health", "/ready", "/live"]}


@pytest.mark.parametrize("adapter", [asgi, wsgi])
def test_what_is_no_application_is_refused(adapter):
    """At once, and not with the first request."""
    with pytest.raises(SettingsError, match=r"Health\(5\): expected the .SGI application that it stands around"):
        adapter.Health(5)


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({}, ""),
        ({"models": 1, "http_status": 200}, "1 model, 200"),
        ({"models": 2, "certificate": 86_400 * 20.04}, "2 models, certificate for 20.0 days"),
    ],
)
def test_what_was_found_is_said_as_people_do(facts, said):
    """In the table of `llmon health`."""
    assert _found(checks.Result("x", "http", up=True, facts=facts)) == said


# llmon health


def llmon(program, *words, **environ):
    """Run `llmon health` to its end."""
    with program.start(["llmon", "health", *words], **environ) as process:
        out, err = process.communicate(timeout=60)
    return process.returncode, out, err


@pytest.mark.row("V7")
def test_llmon_health_leaves_with_0_only_where_all_are_up(program, page):
    """A line for each, as a table or as JSON; nothing else on stderr."""
    page.answers |= {"/": answer(), "/api/tags": answer({"models": []})}
    place = f"127.0.0.1:{page.port}"
    code, out, err = llmon(program, page.url, f"tcp://{place}", f"ollama://{place}")
    assert (code, err) == (0, "")
    rows = [line.split("\t") for line in out.splitlines()]
    assert rows[0] == ["target", "type", "status", "seconds", "found"]
    assert [row[:3] for row in rows[1:]] == [
        [page.url, "http", "up"],
        [f"tcp://{place}", "tcp", "up"],
        [f"ollama://{place}", "ollama", "up"],
    ]
    assert rows[3][4] == "0 models, 200"
    closed = f"http://127.0.0.1:{free_port()}/"
    code, out, err = llmon(program, page.url, closed, "--json")
    assert (code, err) == (1, "")
    found = json.loads(out)
    assert [found[page.url]["status"], found[closed]["status"]] == ["up", "down"]
    assert found[closed]["reason"] == "connection refused; is it running there?"


@pytest.mark.row("V7")
def test_llmon_health_checks_what_the_settings_name(program, page):
    """Until there is a verdict, where that takes several checks in a row."""
    page.answers["/"] = answer(status=500)
    program.write("llmon.yaml", f"checks: {{page: {{http: '{page.url}', fall: 3}}}}\n")
    code, out, err = llmon(program, OTEL_LLMON_CONFIG="llmon.yaml")
    assert (code, err) == (1, "")
    assert out.splitlines()[1].split("\t")[:3] == ["page", "http", "down"]
    assert len(page.asked) >= 3


def test_llmon_health_says_how_a_file_is_read_that_lies_there(program):
    """It is read where somebody names it, and nowhere else."""
    program.write("llmon.yaml", "level: basic\n")
    code, _, err = llmon(program)
    way_out = "run: OTEL_LLMON_CONFIG=llmon.yaml llmon health"
    assert (code, err) == (
        1,
        f"llmon: no checks: llmon.yaml lies here, but is read only where OTEL_LLMON_CONFIG names it; {way_out}\n",
    )
    code, _, err = llmon(program, OTEL_LLMON_CONFIG="llmon.yaml")
    assert code == 1
    assert err.startswith("llmon: no checks: found none in llmon.yaml; give an address such as")


def test_llmon_health_shows_no_password_and_asks_with_it(program, sink, page):
    """Neither in its table, nor in JSON, /health, metrics, spans or log records; two of them are two targets."""
    page.answers |= {"/": answer(status=401), "/?api_key=topsecret&b=1": answer()}
    place = f"127.0.0.1:{page.port}"
    locked = [
        f"http://me:topsecret@{place}/",
        f"http://me:topsecret2@{place}/",
        f"http://{place}/?api_key=topsecret&b=1",
    ]
    shown = [f"http://***@{place}/", f"http://***@{place}/ (2)", f"http://{place}/?api_key=***&b=1"]
    for words in ([], ["--json"]):
        code, out, err = llmon(program, *locked, *words)
        assert code == 1
        assert "topsecret" not in out + err
        assert [name for name in shown if name in out] == shown
    assert {headers.get("authorization") for _, _, headers in page.asked} == {
        "Basic bWU6dG9wc2VjcmV0",
        "Basic bWU6dG9wc2VjcmV0Mg==",
        None,
    }
    port = free_port()
    with program.start(["llmon", "health", *locked, "--serve", f"127.0.0.1:{port}"]) as process, killed(process):
        assert process.stdout.readline()
        http = urllib3.PoolManager(retries=False)

        def said():
            return http.request("GET", f"http://127.0.0.1:{port}/health").json()

        assert until(lambda: all(one["status"] != "unknown" for one in said()["components"].values()))
        text = json.dumps(said()) + http.request("GET", f"http://127.0.0.1:{port}/ready").data.decode()
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=30)
    assert shown[1] in text
    sent = f"{sink.spans()} {sink.logs()} {sink.latest()}"
    assert shown[1] in sent
    assert "topsecret" not in text + out + err + sent


@pytest.mark.parametrize(
    "address", ["http://me:top/secret@h/", "tcp://me:topsecret@h:1", "ftp://me:topsecret@h", "ollama://me:topsecret@h"]
)
def test_an_address_that_is_refused_is_shown_without_its_password(program, address):
    """Also where the password is what is wrong."""
    code, out, err = llmon(program, address)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "***@h" in err
    assert "secret" not in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "no checks: found none in the settings, and OTEL_LLMON_CONFIG names no file; give an address"),
        (["localhost"], "'localhost': expected http://, https://, tcp://, ollama:// or openai:// and a place"),
        (["tcp://localhost"], "checks.tcp://localhost.tcp='localhost': expected a host and a port"),
        (["http://a/", "--timeout", "1e12"], "checks.http://a/.timeout=1000000000000.0: expected a number"),
        (["http://a/", "--timeout", "inf"], "checks.http://a/.timeout=inf: expected a number of seconds"),
        (["http://a/", "--serve", "x"], "--serve 'x': expected HOST:PORT, such as 127.0.0.1:8086"),
        (["http://a/", "--serve", "256.1.1.1:80"], "--serve 256.1.1.1:80: "),
    ],
)
def test_a_mistake_on_the_command_line_is_one_line(program, words, message):
    """With what is expected."""
    code, out, err = llmon(program, *words)
    assert (code, out) == (1, "")
    assert err.startswith(f"llmon: {message}")
    assert err.count("\n") == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_llmon_health_serves_until_it_is_ended_and_exports_what_it_finds(program, sink, page, number):
    """A program of its own that checks for others."""
    page.answers["/"] = answer()
    port = free_port()
    command = ["llmon", "health", page.url, "--serve", f"127.0.0.1:{port}"]
    with program.start(command) as process, killed(process):
        assert process.stdout.readline() == f"health  http://127.0.0.1:{port}/health\n"
        http = urllib3.PoolManager(retries=False)
        assert until(lambda: http.request("GET", f"http://127.0.0.1:{port}/ready").status == 200)
        found = http.request("GET", f"http://127.0.0.1:{port}/health?verbose").json()
        assert found["components"][page.url]["status"] == "up"
        assert http.request("HEAD", f"http://127.0.0.1:{port}/live").data == b""
        assert http.request("POST", f"http://127.0.0.1:{port}/live").status == 405
        assert http.request("GET", f"http://127.0.0.1:{port}/etc/passwd").status == 404
        with socket.create_connection(("127.0.0.1", port)):  # one that says nothing holds up nobody
            assert http.request("GET", f"http://127.0.0.1:{port}/live").status == 200
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (0, "", "")
    assert "llmon.health.up" in sink.metrics()
    assert re.search("llmon-health", str(sink.resources("metrics")))
