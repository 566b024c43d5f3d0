"""Web servers that are told to end: what their workers recorded has arrived, without a line of code for it."""

from __future__ import annotations

import signal
import sys
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest
from processes import INSTRUMENT, needs_instrumented_children, until
from sink import all_of, free_port

REQUESTS = 40

ASGI = """
from fastapi import FastAPI
from work import work

app = FastAPI()

@app.get("/")
async def root():
    work(1)
"""
WSGI = """
from work import work

def app(environ, start_response):
    work(1)
    start_response("200 OK", [("Content-Length", "0")])
    return []
"""

UVICORN = (ASGI, ("uvicorn", "app:app", "--no-access-log", "--port"))
# a worker that is told to end between its fork and its first own signal handler never hears of it, and is killed then
GUNICORN = ("gunicorn", "app:app", "--graceful-timeout", "10")
SYNC = (WSGI, (*GUNICORN, "--bind"))
UVICORN_WORKER = (ASGI, (*GUNICORN, "-k", "uvicorn_worker.UvicornWorker", "--bind"))
SERVERS = {
    "uvicorn": (*UVICORN, (), 1, -signal.SIGTERM),
    "uvicorn, 2 workers": (*UVICORN, ("--workers", "2"), 2, 0),
    **{
        f"gunicorn, {worker}, {count}{preload}": (*how, ("-w", str(count), *preload.split()), count, 0)
        for worker, how in {"sync": SYNC, "UvicornWorker": UVICORN_WORKER}.items()
        for count in (1, 2)
        for preload in ("", " --preload")
    },
}


@pytest.mark.parametrize("instrumented", [False, True], ids=["configured", "instrumented"])
@pytest.mark.parametrize("server", SERVERS)
def test_a_server_that_is_terminated_has_sent_everything(server, instrumented, program, sink):
    """SIGTERM comes right after the last answer; every span, log record and count of every worker has arrived."""
    app, command, options, workers, status = SERVERS[server]
    if instrumented and "--workers" in options:
        needs_instrumented_children()
    program.write("app.py", app if instrumented else f"import otel_llmon; otel_llmon.configure('app')\n{app}")
    port = free_port()
    where = str(port) if command[0] == "uvicorn" else f"127.0.0.1:{port}"
    prefix = INSTRUMENT if instrumented else ()
    with program.start([*prefix, sys.executable, "-m", *command, where, *options]) as process:
        try:
            assert until(lambda: process.poll() is not None or answers(port)), "the server did not start"
            with ThreadPoolExecutor(4) as clients:
                assert all(clients.map(answers, [port] * (REQUESTS - 1)))
            process.terminate()
            _, err = process.communicate(timeout=30)
        finally:
            process.kill()
    assert process.returncode == status, err
    assert "not sent" not in err
    assert "Traceback" not in err
    assert sink.operations() == all_of(REQUESTS), err
    pairs = sink.processes()
    assert len({instance for instance, _ in pairs}) == len({pid for _, pid in pairs}) == len(pairs) <= workers


def answers(port):
    """Ask once; return whether there was an answer."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as response:
            return response.status == 200
    except OSError:
        return False
