"""FastAPI under `opentelemetry-instrument`: one span for a request, named by its route, and no series from outside."""

from __future__ import annotations

import http.client
import sys

import pytest
from processes import INSTRUMENT, until
from sink import attributes, free_port

from otel_llmon.semconv.attributes import HTTP_STATUS

APP = """
from fastapi import APIRouter, FastAPI
from fastapi.responses import StreamingResponse
from fastapi.staticfiles import StaticFiles
from otel_llmon import phase

app = FastAPI()
router = APIRouter(prefix="/api")

@app.get("/healthz")
async def health():
    return "ok"

@app.get("/items/{item}")
async def item(item: int):
    with phase("look up"):
        return item

@router.post("/ask/{user}")
async def ask(user: str):
    return user

@app.get("/stream")
async def stream():
    return StreamingResponse(str(number) for number in range(20))

@app.get("/broken")
async def broken():
    raise ZeroDivisionError

host = APIRouter()

@host.get("/{anything}")
async def anything(anything: str):
    return anything

inner = FastAPI()

@inner.get("/deep/{email}")
async def deep(email: str):
    with phase("dive"):
        return email

@inner.get("/broken/{email}")
async def broken_inside(email: str):
    raise ZeroDivisionError

app.include_router(router)
app.mount("/sub/{who}", inner)
app.host("other.example", host)
app.mount("/files", StaticFiles(directory="."))
"""
DURATION = "http.server.request.duration"
ROUTE = "http.route"


@pytest.fixture
def serve(program):
    """Run the app until the test has asked; give what was answered to each (method, path, headers)."""

    def serve(requests, **environ):
        program.write("app.py", APP)
        port = free_port()
        command = [*INSTRUMENT, sys.executable, "-m", "uvicorn", "app:app", "--no-access-log", "--port", str(port)]
        with program.start(command, **environ) as process:
            try:
                assert until(lambda: process.poll() is not None or _is_up(port)), "the server did not start"
                answers = [_ask(port, *request) for request in requests]
                process.terminate()
                _, err = process.communicate(timeout=30)
            finally:
                process.kill()
        return answers, err

    return serve


def _is_up(port):
    try:
        _ask(port, "GET", "/healthz")
    except OSError:
        return False
    return True


def _ask(port, method, path, headers=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path, headers=headers or {})
        answer = connection.getresponse()
        answer.read()
    finally:
        connection.close()
    return answer.status


def requests_of(sink):
    """Return the server spans of what a test asked for."""
    return [span for span in sink.spans() if span.kind == span.SPAN_KIND_SERVER and "healthz" not in span.name]


def series(sink):
    """Return the attributes of each series of requests."""
    return {tuple(sorted(attributes(point).items())) for _, metric, point in sink._points() if metric.name == DURATION}


def test_a_request_is_one_span_named_by_its_route(serve, sink):
    """The stable names, what runs inside as its child, and no spans for receiving and sending."""
    asked = [("GET", "/items/42"), ("POST", "/api/ask/ann"), ("GET", "/stream"), ("GET", "/files/app.py")]
    answers, err = serve(asked)
    assert answers == [200] * 4, err
    spans = requests_of(sink)
    assert {span.name for span in spans} == {"GET /items/{item}", "POST /api/ask/{user}", "GET /stream", "GET /files"}
    assert len(spans) == 4
    [inner] = [span for span in sink.spans() if span.name == "look up"]
    [item] = [span for span in spans if "items" in span.name]
    assert inner.parent_span_id == item.span_id
    assert not [span.name for span in sink.spans() if span.name.endswith((" http receive", " http send"))]
    assert attributes(item)[ROUTE] == "/items/{item}"
    assert attributes(item)["http.request.method"] == "GET"
    assert attributes(item)[HTTP_STATUS] == "200"
    assert "http.method" not in attributes(item)
    assert DURATION in sink.metrics()
    assert "http.server.duration" not in sink.metrics()


def test_an_exception_is_an_error_of_its_route(serve, sink):
    """Its kind is told on the span and the metric."""
    answers, _ = serve([("GET", "/broken")])
    assert answers == [500]
    [span] = requests_of(sink)
    assert span.status.code == span.status.STATUS_CODE_ERROR
    [failed] = [found for found in map(dict, series(sink)) if found.get(ROUTE) == "/broken"]
    assert failed["error.type"] in {"500", "ZeroDivisionError"}


def test_what_clients_make_up_makes_no_series(serve, sink):
    """Unknown paths, methods and hosts: a bounded number of names, however many there are."""
    hostile = [
        *(("GET", f"/nothing/{number}") for number in range(30)),
        *(("GET", f"/items/{number}") for number in range(10)),
        *((f"BREW{number}", "/items/1") for number in range(10)),
        *(("GET", "/items/1", {"Host": f"host{number}.example"}) for number in range(10)),
        *(("GET", f"/by/host/{number}", {"Host": "other.example"}) for number in range(5)),
        *(("GET", f"/{number}", {"Host": "other.example"}) for number in range(5)),
        *(("DELETE", f"/api/ask/{number}") for number in range(5)),
        ("GET", "/files/%2e%2e/secret"),
    ]
    serve(hostile)
    spans = requests_of(sink)
    assert len(spans) == len(hostile)
    ask = "DELETE /api/ask/{user}"
    assert {span.name for span in spans} <= {
        "GET",
        "GET /items/{item}",
        "HTTP",
        "HTTP /items/{item}",
        "GET /files",
        ask,
    }
    known = [found for found in map(dict, series(sink)) if found.get(ROUTE) != "/healthz"]
    assert {found.get(ROUTE) for found in known} <= {None, "/items/{item}", "/api/ask/{user}", "/files"}
    assert len(known) <= 7, known


@pytest.mark.parametrize("names", ["http", "none"])
def test_what_clients_write_is_on_no_span(names, serve, sink):
    """Neither a path nor a query, by the stable names or the older ones, whether a route fits or not."""
    paths = (
        "/items/1?token=hush",
        "/api/ask/hush?to=hush",
        "/nothing/hush",
        "/sub/hush/deep/hush",
        "/sub/hush/nothing",
    )
    serve([("GET", path) for path in paths], OTEL_SEMCONV_STABILITY_OPT_IN=names)
    spans = requests_of(sink)
    assert len(spans) == len(paths)
    assert not [span for span in sink.spans() if "hush" in str(span)]
    assert not [metric for _, metric, _ in sink._points() if "hush" in str(metric)]


def test_a_request_to_a_mounted_app_is_told_once(serve, sink):
    """By its whole route; what runs inside is a child of its one span."""
    asked = [("GET", "/sub/ann/deep/bea"), ("GET", "/sub/ann/deep/cid"), ("GET", "/sub/ann/broken/dan")]
    answers, _ = serve(asked)
    assert answers == [200, 200, 500]
    spans = requests_of(sink)
    assert sorted(span.name for span in spans) == [
        "GET /sub/{who}/broken/{email}",
        *["GET /sub/{who}/deep/{email}"] * 2,
    ]
    others = [span for span in sink.spans() if span.kind != span.SPAN_KIND_SERVER]
    assert {span.name for span in others} == {"dive"}
    assert {span.parent_span_id for span in others} == {span.span_id for span in spans if "deep" in span.name}
    [failed] = [span for span in spans if span.status.code == span.status.STATUS_CODE_ERROR]
    assert [event.name for event in failed.events] == ["exception"]
    counts = {attributes(point)[ROUTE]: point.count for _, metric, point in sink._points() if metric.name == DURATION}
    assert {route: count for route, count in counts.items() if route.startswith("/sub")} == {
        "/sub/{who}/deep/{email}": 2,
        "/sub/{who}/broken/{email}": 1,
    }


def test_health_checks_can_be_left_out(serve, sink):
    """By upstream's own variable."""
    serve([("GET", "/healthz"), ("GET", "/items/1")], OTEL_PYTHON_FASTAPI_EXCLUDED_URLS="healthz")
    assert [span.name for span in sink.spans() if span.kind == span.SPAN_KIND_SERVER] == ["GET /items/{item}"]
    assert {dict(found).get(ROUTE) for found in series(sink)} == {"/items/{item}"}


def test_what_the_user_chose_stays(serve, sink):
    """Who asks for the older names gets them."""
    serve([("GET", "/items/1")], OTEL_SEMCONV_STABILITY_OPT_IN="none")
    [span] = requests_of(sink)
    assert attributes(span)["http.method"] == "GET"
    assert "http.server.duration" in sink.metrics()


def test_configure_does_the_same(program, sink):
    """A program that instruments its app itself gets the same names and spans, and all spans if it says so."""
    ended = program(
        """
        import otel_llmon
        handle = otel_llmon.configure("app")
        from fastapi import APIRouter, FastAPI
        from fastapi.testclient import TestClient
        from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor

        for options in ({}, {"exclude_spans": []}):
            app = FastAPI()
            router = APIRouter(prefix="/api")
            router.get("/ask/{user}")(lambda user: user)
            app.include_router(router)
            FastAPIInstrumentor.instrument_app(app, **options)
            TestClient(app).get("/api/ask/ann")
        """,
        PYTHONWARNINGS="ignore",
    )
    assert ended.returncode == 0, ended.stderr
    names = [span.name for span in sink.spans()]
    assert names.count("GET /api/ask/{user}") == 2
    assert len([name for name in names if name.endswith(" http send")]) == 2
    assert "http.server.request.duration" in sink.metrics()


def test_a_mounted_app_that_nobody_instruments_tells_nothing_itself(program, sink):
    """New versions of FastAPI have telemetry of their own, which would tell the request again."""
    ended = program(
        """
        import otel_llmon
        handle = otel_llmon.configure("app")
        from fastapi import FastAPI
        from fastapi.testclient import TestClient
        from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor

        app, inner = FastAPI(), FastAPI()
        inner.get("/deep/{email}")(lambda email: email)
        app.mount("/sub", inner)
        FastAPIInstrumentor.instrument_app(app)
        assert TestClient(app).get("/sub/deep/ann").json() == "ann"
        """,
        PYTHONWARNINGS="ignore",
    )
    assert ended.returncode == 0, ended.stderr
    assert [span.name for span in sink.spans()] == ["GET /sub/deep/{email}"]
    assert sink.totals(DURATION) == 1
