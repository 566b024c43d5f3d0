"""A small world for the page's tests: traces, logs and metrics of a service, sent by the SDK's own exporters."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from opentelemetry import trace
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import Exemplar
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Span, SpanKind, Status, StatusCode

MS = 1_000_000
SECOND = 1000 * MS
EDGES = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
STACK = """Traceback (most recent call last):
  File "answers/rank.py", line 88, in rank
    scores = model.score(query, passages)
  File "answers/model.py", line 31, in score
    raise TimeoutError("no answer within 2 s")
TimeoutError: no answer within 2 s
"""
QUESTION = "Which passages mention the retention of logs, and for how long are they kept?"
ANSWER = (
    "Two passages mention it:\n\n"
    "[1] Logs are kept for 30 days in the hot store.\n"
    "[4] Audit records are kept for a year, compressed.\n\n"
    "So ordinary logs live for 30 days, audit records for 12 months."
)


class _Ids(IdGenerator):
    """The same ids at each run."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def generate_span_id(self) -> int:
        return self._random.getrandbits(64) or 1

    def generate_trace_id(self) -> int:
        return self._random.getrandbits(128) or 1


class World:
    """What sends to a viewer; instants are given, so that every position on the page is known."""

    def __init__(self, url: str, seed: int = 7) -> None:
        self.url = url
        self._ids = _Ids(seed)
        self._tracers: dict[str, TracerProvider] = {}
        self._loggers: dict[str, LoggerProvider] = {}
        self._metrics = OTLPMetricExporter(f"{url}/v1/metrics")

    def span(  # what a span has
        self,
        name: str,
        start: int,
        length: int,
        parent: Span | None = None,
        service: str = "answers",
        *,
        attributes: Mapping[str, Any] | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        error: str | None = None,
        events: Sequence[tuple[str, int, Mapping[str, Any]]] = (),
        links: Sequence[trace.Link] = (),
    ) -> Span:
        """Send one finished span."""
        tracer = self._tracer(service)
        context = trace.set_span_in_context(parent) if parent else trace.set_span_in_context(trace.INVALID_SPAN)
        span = tracer.start_span(name, context, kind, attributes or {}, links, start)
        for event, time, held in events:
            span.add_event(event, held, time)
        if error is not None:
            span.set_status(Status(StatusCode.ERROR, error))
        span.end(start + length)
        return span

    def log(  # what a record has
        self,
        body: str,
        time: int,
        span: Span | None = None,
        service: str = "answers",
        *,
        severity: SeverityNumber = SeverityNumber.INFO,
        attributes: Mapping[str, Any] | None = None,
        event: str | None = None,
    ) -> None:
        """Send one record."""
        record = LogRecord(
            timestamp=time,
            context=trace.set_span_in_context(span or trace.INVALID_SPAN),
            body=body,
            severity_number=severity,
            severity_text=severity.name.rstrip("234") if severity.value else None,
            attributes=dict(attributes or {}),
            event_name=event,
        )
        self._logger(service).emit(record)

    def metric(self, name: str, unit: str, data: Any, description: str = "", service: str = "answers") -> None:
        """Send one metric with points made by `total`, `level` or `histogram`."""
        metric = Metric(name, description, unit, data)
        scope = ScopeMetrics(InstrumentationScope("scene"), [metric], "")
        resource = ResourceMetrics(Resource({"service.name": service}), [scope], "")
        self._metrics.export(MetricsData([resource]))

    def flush(self) -> None:
        """Return when all is stored."""
        for provider in (*self._tracers.values(), *self._loggers.values()):
            assert provider.force_flush()

    def close(self) -> None:
        """Send what is left, and end."""
        for provider in (*self._tracers.values(), *self._loggers.values(), self._metrics):
            provider.shutdown()

    def _tracer(self, service: str) -> trace.Tracer:
        if service not in self._tracers:
            provider = TracerProvider(resource=_resource(service), id_generator=self._ids, shutdown_on_exit=False)
            processor = BatchSpanProcessor(OTLPSpanExporter(f"{self.url}/v1/traces"), max_queue_size=20_000)
            provider.add_span_processor(processor)
            self._tracers[service] = provider
        return self._tracers[service].get_tracer("scene")

    def _logger(self, service: str) -> Any:
        if service not in self._loggers:
            provider = LoggerProvider(_resource(service), shutdown_on_exit=False)
            provider.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter(f"{self.url}/v1/logs")))
            self._loggers[service] = provider
        return self._loggers[service].get_logger("scene")


@contextmanager
def world(url: str, seed: int = 7) -> Iterator[World]:
    """Give a World that ends with the block."""
    made = World(url, seed)
    try:
        yield made
    finally:
        made.close()


def _resource(service: str) -> Resource:
    return Resource({"service.name": service, "service.version": "1.4.0", "host.name": "workstation"})


def total(points: Sequence[tuple[int, float]], attributes: Mapping[str, Any] | None = None) -> Sum:
    """Return a counter's points from (time, total)."""
    begun = points[0][0]
    made = [NumberDataPoint(dict(attributes or {}), begun, time, value) for time, value in points]
    return Sum(made, AggregationTemporality.CUMULATIVE, is_monotonic=True)


def level(points: Sequence[tuple[int, float]], attributes: Mapping[str, Any] | None = None) -> Gauge:
    """Return a gauge's points from (time, value)."""
    return Gauge([NumberDataPoint(dict(attributes or {}), 0, time, value) for time, value in points])


def histogram(
    samples: Sequence[tuple[int, Sequence[float]]],
    attributes: Mapping[str, Any] | None = None,
    exemplars: Mapping[int, Exemplar] | None = None,
) -> Histogram:
    """Return a cumulative histogram's points from (time, the values that came until then)."""
    buckets, count, sum_, points = [0] * (len(EDGES) + 1), 0, 0.0, []
    seen: list[float] = []
    for time, values in samples:
        for value in values:
            buckets[next((index for index, edge in enumerate(EDGES) if value <= edge), len(EDGES))] += 1
        seen += values
        count, sum_ = count + len(values), sum_ + sum(values)
        shown = [exemplars[time]] if exemplars and time in exemplars else []
        points.append(
            HistogramDataPoint(
                dict(attributes or {}),
                samples[0][0],
                time,
                count,
                sum_,
                list(buckets),
                EDGES,
                min(seen),
                max(seen),
                shown,
            )
        )
    return Histogram(points, AggregationTemporality.CUMULATIVE)


def exemplar(span: Span, value: float, time: int) -> Exemplar:
    """Return a measurement that was taken inside a span."""
    context = span.get_span_context()
    return Exemplar({}, value, time, context.span_id, context.trace_id)


def chat(*, content: bool = True) -> dict[str, Any]:
    """Return what a chat's span says, with the conversation or without."""
    said = {
        "gen_ai.system_instructions": json.dumps([{"type": "text", "content": "Answer from the passages only."}]),
        "gen_ai.input.messages": json.dumps([{"role": "user", "parts": [{"type": "text", "content": QUESTION}]}]),
        "gen_ai.output.messages": json.dumps(
            [
                {
                    "role": "assistant",
                    "finish_reason": "stop",
                    "parts": [
                        {"type": "tool_call", "id": "c1", "name": "search", "arguments": {"query": "retention"}},
                        {"type": "text", "content": ANSWER},
                    ],
                }
            ]
        ),
    }
    return {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "qwen3-8b",
        "gen_ai.response.model": "qwen3-8b-2026-08",
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.response.time_to_first_chunk": 0.212,
        "gen_ai.request.temperature": 0.2,
        "gen_ai.usage.input_tokens": 1842,
        "gen_ai.usage.output_tokens": 126,
        "server.address": "127.0.0.1",
        "server.port": 8000,
        **(said if content else {}),
    }


def answering(to: World, start: int, *, failing: bool = False, stretch: float = 1.0) -> dict[str, Span]:
    """Send the trace of one answered question; return its spans by what they are."""

    def at(milliseconds: float) -> int:
        return start + int(milliseconds * stretch * MS)

    def span(name: str, begin: float, end: float, parent: Span | None, service: str = "answers", **more: Any) -> Span:
        return to.span(name, at(begin), at(end) - at(begin), parent, service, **more)

    raised = {"exception.type": "TimeoutError", "exception.message": "no answer within 2 s"}
    raised["exception.stacktrace"] = STACK
    root = span("pipeline answer", 0, 2000, None, attributes={"llmon.pipeline": "answer", "user.id": "u-1824"})
    load = span("load", 20, 240, root, attributes={"llmon.phase": "load", "documents": 120})
    for index in range(3):
        span("GET /documents/{id}", 30 + 70 * index, 90 + 70 * index, load, "store", kind=SpanKind.SERVER)
    embed = span("embed", 250, 800, root, attributes={"llmon.phase": "embed"})
    embeddings = {"gen_ai.operation.name": "embeddings", "gen_ai.request.model": "bge-m3"}
    for index in range(3):
        held = {**embeddings, "gen_ai.usage.input_tokens": 1200 + index}
        span("embeddings bge-m3", 260 + 180 * index, 420 + 180 * index, embed, "embedder", attributes=held)
    retrieve = span("retrieve", 810, 1000, root, attributes={"llmon.phase": "retrieve", "k": 8})
    found = span("SELECT passages", 820, 910, retrieve, "store", kind=SpanKind.CLIENT)
    rank = span(
        "rank",
        915,
        990,
        retrieve,
        "ranker",
        error="no answer within 2 s" if failing else None,
        events=[("exception", at(985), raised)] if failing else [("cache.miss", at(930), {"key": "q:7781"})],
    )
    generate = span("generate", 1010, 1980, root, attributes={"llmon.phase": "generate"})
    asked = span("chat qwen3-8b", 1020, 1960, generate, kind=SpanKind.CLIENT, attributes=chat())
    to.log("120 documents to read", at(25), load, attributes={"documents": 120})
    to.log("batch of 32 embedded in 41 ms", at(430), embed, "embedder", severity=SeverityNumber.DEBUG)
    if failing:
        to.log("ranking failed, order kept", at(988), rank, "ranker", severity=SeverityNumber.ERROR, attributes=raised)
    to.log("answer is long, 126 tokens", at(1962), generate, severity=SeverityNumber.WARN)
    to.log("answered", at(1985), root, event="answer.done", attributes={"tokens": 126})
    return {"root": root, "load": load, "embed": embed, "select": found, "rank": rank, "chat": asked}


def metrics(to: World, end: int, span: Span) -> None:
    """Send ten minutes of metrics that end at `end`; one exemplar leads to `span`."""
    beats = [end - (59 - index) * 10 * SECOND for index in range(60)]
    chance = random.Random(11)
    waits = [(beat, [chance.lognormvariate(-1.6, 0.7) for _ in range(25)]) for beat in beats]
    shown = {beats[45]: exemplar(span, 0.94, beats[45] - 2 * SECOND)}
    to.metric(
        "llmon.phase.duration", "s", histogram(waits, {"llmon.phase": "generate"}, shown), "How long a phase took."
    )
    items = [(beat, 50.0 * index) for index, beat in enumerate(beats)]
    to.metric("llmon.progress.items", "{item}", total(items, {"llmon.operation": "embed"}), "Items dealt with.")
    memory = [(beat, (300 + 40 * chance.random()) * 2**20) for beat in beats]
    to.metric("process.memory.usage", "By", level(memory), "Memory in use.")
    to.metric("process.cpu.utilization", "1", level([(beat, 0.2 + 0.3 * chance.random()) for beat in beats]))


def populate(to: World, end: int, *, measured: bool = True) -> dict[str, Span]:
    """Send a world of one failing trace, seventy-four others, and metrics; return the failing one's spans."""
    chance = random.Random(3)
    kinds = (("GET /answers/{id}", "gateway"), ("POST /ask", "gateway"), ("checkpoint.save", "trainer"))
    for index in range(70):
        start = end - (index + 2) * 9 * SECOND
        name, service = kinds[index % 3]
        parent = to.span(name, start, int(chance.lognormvariate(4.2, 1) * MS), None, service, kind=SpanKind.SERVER)
        to.span("lookup", start + MS, 3 * MS, parent, "store")
        to.log(f"{name} done", start + 5 * MS, parent, service)
    for index in range(4):
        answering(to, end - (index * 90 + 60) * SECOND, stretch=0.8 + chance.random() / 2)
    made = answering(to, end - 8 * SECOND, failing=True)
    if measured:
        metrics(to, end, made["chat"])
    to.flush()
    return made
