"""The embedded viewer in a process of its own: what a span costs it, how much it holds, how fast it answers.

Spans are of 1.3 kB in the middle: eight to a trace, two in five of them model calls with a prompt and an answer of 1 kB
each. The sender is the SDK's own OTLP/HTTP exporter where a figure says so.
"""

from __future__ import annotations

import functools
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from statistics import median
from typing import Any

import psutil
import urllib3
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, Status, StatusCode, TraceFlags

from benchmarks.figures import MICROSECOND, MILLISECOND, SECOND, Figure

BATCH = 512
TRACE = 8
RATE, SECONDS = 10_000, 60
MILLION = 1_000_000

_RESOURCE = Resource({"service.name": "bench", "service.instance.id": "a1b2", "host.name": "h", "process.pid": 7})
_SCOPE = InstrumentationScope("bench")
_WORDS = ("tell", "me", "what", "the", "model", "said", "of", "token", "counts", "and", "why", "it", "answers", "so")


@dataclass(frozen=True)
class Running:
    """A viewer process, and where it is."""

    process: psutil.Process
    otlp: str
    page: str

    def cpu(self) -> float:
        """Return the seconds of CPU time that it has used."""
        used = self.process.cpu_times()
        return float(used.user + used.system)

    def ask(self, path: str) -> Any:
        """Return what the page would read."""
        return _http.request("GET", self.page + path).json()


_http = urllib3.PoolManager(timeout=30)


@contextmanager
def running() -> Iterator[Running]:
    """Run `llmon view` in a folder that is gone afterwards."""
    llmon = Path(sys.executable).parent / "llmon"
    with tempfile.TemporaryDirectory() as folder:
        command = [str(llmon), "view", "--data", folder, "--otlp", "127.0.0.1:0", "--page", "127.0.0.1:0"]
        with subprocess.Popen([*command, "--max-size", "20GB"], stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout
                told = dict(process.stdout.readline().split() for _ in range(3))
                yield Running(psutil.Process(process.pid), told["OTLP"], told["page"])
            finally:
                process.terminate()


def batch(size: int = BATCH) -> list[ReadableSpan]:
    """Return finished spans, with ids of their own."""
    now = time.time_ns()
    return [span for _ in range(size // TRACE) for span in _trace(now)]


def _trace(now: int) -> list[ReadableSpan]:
    trace_id = random.getrandbits(128)
    root = SpanContext(trace_id, random.getrandbits(64), False, TraceFlags(1))
    return [
        ReadableSpan(
            f"step {number}",
            root if not number else SpanContext(trace_id, random.getrandbits(64), False, TraceFlags(1)),
            parent=root if number else None,
            resource=_RESOURCE,
            attributes=_attributes(number, random.randrange(64)),
            start_time=now - 1000 * (TRACE - number),
            end_time=now,
            status=Status(StatusCode.ERROR if random.random() < 0.01 else StatusCode.UNSET),
            instrumentation_scope=_SCOPE,
        )
        for number in range(TRACE)
    ]


@functools.cache
def _attributes(number: int, _: int) -> dict[str, Any]:
    plain = {"http.route": "/answer", "user.id": random.randrange(10**6), "cached": False, "score": random.random()}
    if number % 5 not in (1, 3):
        return plain
    return plain | {
        "gen_ai.request.model": "m-7b",
        "gen_ai.usage.input_tokens": random.randrange(2000),
        "gen_ai.input.messages": " ".join(random.choices(_WORDS, k=240))[:1000],
        "gen_ai.output.messages": " ".join(random.choices(_WORDS, k=240))[:1000],
    }


@dataclass(frozen=True)
class Cost:
    """CPU time of the viewer per span, all that it does until the span is in the file."""

    compression: Compression
    most: int | None = 3

    def __call__(self) -> float:
        """Return nanoseconds."""
        with running() as viewer:
            exporter = OTLPSpanExporter(f"{viewer.otlp}/v1/traces", compression=self.compression)
            _export(exporter, batch())
            began, count = viewer.cpu(), 60 * BATCH
            for _ in range(60):
                _export(exporter, batch())
            return (viewer.cpu() - began) / count * SECOND


def _export(exporter: OTLPSpanExporter, spans: Sequence[ReadableSpan]) -> None:
    assert exporter.export(spans) is SpanExportResult.SUCCESS


@dataclass(frozen=True)
class Ready:
    """Wall time from the start of the command until both ports answer."""

    most: int | None = 5

    def __call__(self) -> float:
        """Return nanoseconds."""
        began = time.perf_counter_ns()
        with running() as viewer:
            assert _http.request("GET", f"{viewer.page}/healthz").status == 200
            return time.perf_counter_ns() - began


@dataclass(frozen=True)
class OfAMillion:
    """One fact of a viewer that holds a million spans."""

    fact: str
    most: int | None = 1

    def __call__(self) -> float:
        """Return the fact."""
        return a_million()[self.fact]


@functools.cache
def a_million() -> dict[str, float]:
    """Fill a viewer with a million spans, and ask."""
    with running() as viewer:
        ids = list(_fill(viewer, MILLION))
        assert viewer.ask("/api/status")["spans"] == MILLION
        return {
            "by id": _took(viewer, [f"/api/traces/{trace_id}" for trace_id in random.sample(ids, 200)]),
            "list": _took(viewer, ["/api/traces"] * 50),
            "errors": _took(viewer, ["/api/traces?status=error"] * 50),
            "memory": viewer.process.memory_info().rss / 1e6,
            "disk": viewer.ask("/api/status")["database"]["bytes"] / MILLION,
        }


def _took(viewer: Running, paths: Sequence[str]) -> float:
    times = []
    for path in paths:
        began = time.perf_counter_ns()
        viewer.ask(path)
        times.append(time.perf_counter_ns() - began)
    return median(times)


def _fill(viewer: Running, count: int) -> Iterator[str]:
    """Send the same spans with ever new ids, which costs the sender little; yield an id of each batch."""
    request = encode_spans(batch())
    spans = request.resource_spans[0].scope_spans[0].spans
    left = count
    while left:
        del spans[left:]
        left -= len(spans)
        for number, span in enumerate(spans):
            if number % TRACE == 0:
                trace_id, root = random.randbytes(16), random.randbytes(8)
            span.trace_id, span.span_id = trace_id, root if number % TRACE == 0 else random.randbytes(8)
            span.parent_span_id = b"" if number % TRACE == 0 else root
        body = request.SerializeToString()
        kind = {"Content-Type": "application/x-protobuf"}
        answer = _http.request("POST", f"{viewer.otlp}/v1/traces", body=body, headers=kind)
        assert answer.status == 200, answer.data
        yield trace_id.hex()


@dataclass(frozen=True)
class OfAMinute:
    """One fact of a viewer to which two exporters sent at a steady rate for a minute."""

    fact: str
    most: int | None = 1

    def __call__(self) -> float:
        """Return the fact."""
        return a_minute()[self.fact]


@functools.cache
def a_minute() -> dict[str, float]:
    """Send, and count what is there when the exporters are done."""
    with running() as viewer:
        command = [sys.executable, "-m", "benchmarks.viewer", viewer.otlp, str(RATE // 2), str(SECONDS)]
        senders = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
        took = max(float(sender.communicate()[0]) for sender in senders)
        stored = viewer.ask("/api/status")["spans"]
        return {"lost": RATE * SECONDS - stored, "rate": round(stored / took)}


def send(url: str, rate: int, seconds: int) -> None:
    """Send so many spans a second; print the seconds that it took.

    They are encoded before: making and encoding spans would take more of this machine than the viewer does.
    """
    sizes = [BATCH] * (rate * seconds // BATCH) + [rate * seconds % BATCH]
    bodies = [(size, encode_spans(batch(size)).SerializeToString()) for size in sizes if size]
    headers = {"Content-Type": "application/x-protobuf"}
    began, sent = time.monotonic(), 0
    for size, body in bodies:
        time.sleep(max(began + sent / rate - time.monotonic(), 0))
        while _http.request("POST", f"{url}/v1/traces", body=body, headers=headers).status != HTTPStatus.OK:
            time.sleep(0.1)
        sent += size
    print(time.monotonic() - began)


FIGURES = (
    Figure("viewer: a span, in CPU time", Cost(Compression.NoCompression), plus=50 * MICROSECOND),
    Figure("viewer: a span, gzip", Cost(Compression.Gzip), plus=50 * MICROSECOND),
    Figure("viewer: ready", Ready(), plus=SECOND),
    Figure("viewer: a trace by id, of 1,000,000 spans", OfAMillion("by id"), plus=5 * MILLISECOND),
    Figure("viewer: newest traces, likewise", OfAMillion("list")),
    Figure("viewer: newest errors, likewise", OfAMillion("errors")),
    Figure("viewer: memory, likewise", OfAMillion("memory"), plus=150, unit="MB"),
    Figure("viewer: disk per span, likewise", OfAMillion("disk"), unit="By"),
    Figure("viewer: spans lost of 10,000/s for 60 s", OfAMinute("lost"), times=0, unit="spans"),
    Figure("viewer: and the rate that senders reached", OfAMinute("rate"), unit="spans/s"),
)

if __name__ == "__main__":
    send(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
