"""How long a process takes from the end of its program to its own end, with full queues and a dead Collector."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from benchmarks.figures import SECOND, Figure

ITEMS = 2_048

OURS = f"""
import time
from otel_llmon import configure, event, phase

configure(service="bench")
for _ in range({ITEMS}):
    with phase("work"):
        pass
    event("done")
print(time.monotonic(), flush=True)
"""

SDK = f"""
import time
from opentelemetry._logs import LogRecord
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

tracers, loggers = TracerProvider(), LoggerProvider()
tracers.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
loggers.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter()))
meters = MeterProvider([PeriodicExportingMetricReader(OTLPMetricExporter())])
tracer, logger = tracers.get_tracer("bench"), loggers.get_logger("bench")
counter = meters.get_meter("bench").create_counter("done")
for _ in range({ITEMS}):
    with tracer.start_as_current_span("work"):
        pass
    logger.emit(LogRecord(timestamp=time.time_ns(), body="done"))
    counter.add(1)
print(time.monotonic(), flush=True)
"""


class _Unavailable(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(503)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def refusing() -> Iterator[int]:
    """A port where nobody listens, and which nobody else can take."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@contextmanager
def hanging() -> Iterator[int]:
    """A port that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        yield server.getsockname()[1]


@contextmanager
def unavailable() -> Iterator[int]:
    """A port that answers 503 to everything."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Unavailable) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


@dataclass(frozen=True)
class Exit:
    """Wall time of the exit of `code`, whose last act is to print the time."""

    code: str
    collector: Any
    most: int | None = 3

    def __call__(self) -> float:
        """Return nanoseconds."""
        with self.collector() as port:
            environ = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
            environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = f"http://127.0.0.1:{port}"
            done = subprocess.run(
                [sys.executable, "-c", self.code],
                env=environ,
                check=True,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,  # what could not be sent, said in one line
            )
            return (time.monotonic() - float(done.stdout)) * SECOND


FIGURES = (
    Figure("exit, Collector refuses", Exit(OURS, refusing), Exit(SDK, refusing, most=1), plus=3 * SECOND),
    Figure("exit, Collector hangs", Exit(OURS, hanging), plus=3 * SECOND),
    Figure("exit, Collector answers 503", Exit(OURS, unavailable), plus=3 * SECOND),
)
