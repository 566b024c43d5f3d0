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
from urllib.parse import urlsplit

from otel_llmon.backends import Embedded
from otel_llmon.cli._target import Target, address, is_loopback
from otel_llmon.errors import LlmonError

READY, LEAVING = 15.0, 10.0
"""Seconds that a viewer may take to start, and at the end to store what it was sent."""


class Viewer(NamedTuple):
    """A viewer that runs: where its page is, and how to wait for its end."""

    page: str
    wait: Callable[[], int]


@contextlib.contextmanager
def viewer(target: Target, environ: Mapping[str, str]) -> Iterator[Viewer]:
    """Run `llmon view` where nobody listens, until the block ends; raises LlmonError where it cannot."""
    page = address(target.host, _page_port(target))
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
        [sys.executable, "-P", "-m", "otel_llmon.cli", "view", "--until-input-ends", "--otlp", otlp, "--page", page],
        env=environ,
        stdin=subprocess.PIPE,  # which ends with us, even where we are killed
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
    if process.stdin is not None:
        process.stdin.close()
    try:
        process.wait(LEAVING)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def page_of(target: Target, known: str) -> str | None:
    """Return where the viewer that listens at the target has its page: at the address we know, or beside it."""
    beside = f"http://{address(target.host, target.port + 1)}"
    for page in dict.fromkeys((known, beside) if target.could_be_ours else (known,)):
        with contextlib.suppress(LlmonError):
            if _takes(Embedded(page, timeout=1).status().otlp_url, target):
                return page
    return None


def _takes(otlp_url: str, target: Target) -> bool:
    """Tell whether a viewer takes what is sent to the target: it knows no TLS, and one on this machine only its own."""
    otlp = urlsplit(otlp_url)
    elsewhere = is_loopback(otlp.hostname or "") and not is_loopback(target.host)
    return target.scheme == "http" and otlp.port == target.port and not elsewhere


def _page_port(target: Target) -> int:
    """Return the port after the target's, as 4319 comes after 4318; where that is taken, any that is free."""
    family = socket.AF_INET6 if ":" in target.host else socket.AF_INET
    for port in (target.port + 1, 0):
        with socket.socket(family) as probe, contextlib.suppress(OSError, OverflowError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((target.host, port))
            return int(probe.getsockname()[1])
    raise LlmonError(f"{target.host}: no port is free")
