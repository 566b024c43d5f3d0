"""Health checks: a hundred slow targets at once, and CPU time of a check beside other ways to ask for the same page."""

from __future__ import annotations

import http.client
import queue
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from benchmarks.figures import SECOND, Figure
from benchmarks.scenes import pipeline
from benchmarks.timing import Loop
from otel_llmon import checks

TARGETS = 100
RARELY = 3600.0

SERVER = """
import asyncio

async def answer(reader, writer):
    try:
        while request := await reader.readuntil(b"\\r\\n\\r\\n"):
            if request.startswith(b"GET /slow"):
                await asyncio.sleep(1)
            writer.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: 15\\r\\n\\r\\n" + b'{"status":"ok"}')
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()

async def serve():
    server = await asyncio.start_server(answer, "127.0.0.1", 0, backlog=256)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()

asyncio.run(serve())
"""


@contextmanager
def served() -> Iterator[str]:
    """A server in a process of its own; below `/slow` it takes a second."""
    with subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.kill()


@contextmanager
def _place() -> Iterator[dict[str, Any]]:
    with served() as url, pipeline() as made, httpx.Client() as client:
        connection = http.client.HTTPConnection(url.removeprefix("http://"))
        check = checks.http("page", f"{url}/", every=RARELY)
        assert check.ask().up

        def bare() -> None:
            connection.request("GET", "/")
            connection.getresponse().read()

        try:
            with closing(connection):
                yield made | {
                    "ask": check.ask,
                    "get": client.get,
                    "get_anew": httpx.get,
                    "url": f"{url}/",
                    "bare": bare,
                }
        finally:
            checks.stop()


class _Heard:
    """Where checks tell their verdicts."""

    def __init__(self) -> None:
        self.verdicts: queue.Queue[bool] = queue.Queue()

    def record(self, ok: bool) -> None:  # noqa: FBT001  # as Breaker has it
        self.verdicts.put(ok)


@dataclass(frozen=True)
class Together:
    """Wall time until the first verdict on all targets, each of which takes a second."""

    most: int | None = 3

    def __call__(self) -> float:
        """Return nanoseconds."""
        heard = _Heard()
        with served() as url, pipeline():
            began = time.perf_counter_ns()
            for number in range(TARGETS):
                checks.http(f"target {number}", f"{url}/slow", every=RARELY, breaker=heard)
            try:
                ups = [heard.verdicts.get(timeout=60) for _ in range(TARGETS)]
                took = time.perf_counter_ns() - began
            finally:
                checks.stop()
            assert all(ups), "not all of them were found up"
            return took


_ASK = Loop("ask()", _place, 300, whole=True)

FIGURES = (
    Figure(f"health, {TARGETS} targets that take 1 s each, wall", Together(), plus=2 * SECOND),
    Figure(
        "health, a check of a page, beside a new client each time",
        _ASK,
        Loop("get_anew(url)", _place, 10, whole=True),
        1 / 10,
    ),
    Figure("health, the same beside httpx's shared client", _ASK, Loop("get(url)", _place, 300, whole=True)),
    Figure("health, the same beside bare http.client", _ASK, Loop("bare()", _place, 300, whole=True)),
)
