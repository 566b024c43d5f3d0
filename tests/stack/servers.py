"""A stack of real servers that a test may ask, pause, kill and start again."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import psutil

from otel_llmon.backends import Alertmanager, Jaeger, Loki, Prometheus
from otel_llmon.stack import Stack, native

Answer = TypeVar("Answer")


class Servers:
    """The five servers as `llmon stack up` starts them, on a loopback address of their own."""

    def __init__(self, data: Path, extras: tuple[str, ...] = (), webhook: str | None = None, **environ: str) -> None:
        address = f"127.{random.randint(1, 250)}.{random.randint(1, 250)}.{random.randint(2, 250)}"
        self._webhook = webhook
        self._environ = {"LLMON_FLUSH_INTERVAL": "1s", "LLMON_COLLECTOR_QUEUE_BYTES": "268435456", **environ}
        self.state = native.up(Stack.of(data, address, extras, environ), webhook, environ=self._surroundings())
        self.data = data
        self.host = address
        self.urls = self.state.stack.urls
        self.prometheus = Prometheus(self.urls["prometheus"])
        self.loki = Loki(self.urls["loki"])
        self.jaeger = Jaeger(self.urls["jaeger"])
        self.alertmanager = Alertmanager(self.urls["alertmanager"])

    @property
    def environ(self) -> dict[str, str]:
        """What a program needs to send here, and `llmon` to ask here."""
        names = ("prometheus", "jaeger", "loki", "alertmanager")
        asked = {f"OTEL_LLMON_{name.upper()}_URL": self.urls[name] for name in names}
        return {"OTEL_EXPORTER_OTLP_ENDPOINT": self.urls["otlp"], **asked}

    def process(self, server: str) -> psutil.Process:
        """The process of a server that runs."""
        found = native.process(self.state, server)
        assert found, f"{server} does not run"
        return found

    def pause(self, server: str) -> None:
        """It stays connected and answers nobody."""
        self.process(server).send_signal(signal.SIGSTOP)

    def resume(self, server: str) -> None:
        """It goes on where it was."""
        self.process(server).send_signal(signal.SIGCONT)

    def kill(self, server: str) -> None:
        """It has no time for a last word."""
        found = self.process(server)
        found.kill()
        found.wait(10)

    def end(self, server: str) -> None:
        """It leaves as it is asked to."""
        found = self.process(server)
        found.terminate()
        found.wait(20)

    def reload(self, server: str) -> None:
        """It reads its files again."""
        self.process(server).send_signal(signal.SIGHUP)

    def start(self) -> None:
        """Start what does not run."""
        self.state = native.up(self.state.stack, self._webhook, environ=self._surroundings())

    def log(self, server: str) -> str:
        """What a server said."""
        return (self.data / "logs" / f"{server}.log").read_text()

    def close(self) -> None:
        """End all of them."""
        native.down(self.state)

    def _surroundings(self) -> dict[str, str]:
        return {**os.environ, **self._environ}


def until(answer: Callable[[], Answer], seconds: float = 30.0) -> Answer:
    """Ask again until the answer is a true one; what an unready server raises counts as no."""
    end = time.monotonic() + seconds
    while True:
        try:
            last: object = answer()
            if last:
                return last  # type: ignore[return-value]
        except Exception as exc:
            last = exc
        assert time.monotonic() < end, f"not within {seconds:.0f} s; last answer: {last!r}"
        time.sleep(0.2)
