"""A viewer as a process of its own, beside a program that is run: neither takes the other along."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from typing import IO, NamedTuple

from otel_llmon.backends import BackendError, Embedded
from otel_llmon.cli._target import Target, address
from otel_llmon.errors import LlmonError

PAGE = 4319
READY, LEAVING = 15.0, 10.0
"""Seconds that a viewer may take to start, and at the end to store what it was sent."""


class Viewer(NamedTuple):
    """A viewer that runs: where its page is, and how to wait for its end."""

    page: str
    wait: Callable[[], int]


@contextlib.contextmanager
def viewer(target: Target, environ: Mapping[str, str]) -> Iterator[Viewer]:
    """Run `llmon view` where nobody listens, until the block ends; raises LlmonError where it cannot."""
    page = address(target.host, _page_port(target.host))
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as said:
        process = _start(target, page, environ, said)
        try:
            _wait_until_ready(Embedded(f"http://{page}", timeout=2), process, said)
            yield Viewer(f"http://{page}", process.wait)
        finally:
            _end(process)


def _start(target: Target, page: str, environ: Mapping[str, str], said: IO[str]) -> subprocess.Popen[str]:
    otlp = address(target.host, target.port)
    return subprocess.Popen(  # noqa: S603  # our own command
        [sys.executable, "-P", "-m", "otel_llmon.cli", "view", "--otlp", otlp, "--page", page],
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=said,
        text=True,
        start_new_session=True,  # Ctrl-C in the terminal is the program's
    )


def _wait_until_ready(page: Embedded, process: subprocess.Popen[str], said: IO[str]) -> None:
    deadline = time.monotonic() + READY
    while process.poll() is None and time.monotonic() < deadline:
        if page.ready():
            return
        time.sleep(0.02)
    said.seek(0)
    lines = said.read().split("\n")
    raise LlmonError(next((line.removeprefix("llmon: ") for line in reversed(lines) if line), "it does not start"))


def _end(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(LEAVING)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def page_of(target: Target, page: str) -> str | None:
    """Return the address of the page where it is that of the viewer which listens at the target."""
    try:
        url = Embedded(page, timeout=1).status().otlp_url
    except BackendError:
        return None
    return page if url.endswith(f":{target.port}") else None


def _page_port(host: str) -> int:
    """Return the usual port where it is free, else any that is."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for port in (PAGE, 0):
        with socket.socket(family) as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
            return int(probe.getsockname()[1])
    raise LlmonError(f"{host}: no port is free")
