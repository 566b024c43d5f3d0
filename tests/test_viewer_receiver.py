"""What the viewer takes: every signal in every form, exactly once, and a status for what it cannot take."""

from __future__ import annotations

import gzip
import json
import threading
import time
from contextlib import suppress
from itertools import pairwise

import pytest
from google.protobuf.json_format import MessageToDict
from google.rpc.status_pb2 import Status
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.sdk.metrics.export import AggregationTemporality
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation
from otlp import JSON, PROTOBUF, ask, get, post, sdk, spans

from otel_llmon.viewer import Viewer
from otel_llmon.viewer.intake import Intake


@pytest.mark.parametrize("compression", [Compression.NoCompression, Compression.Gzip, Compression.Deflate])
def test_what_the_sdk_sends_is_there_in_all_three_signals(viewer, compression):
    """A span with its child, an exemplar on a histogram, a log record: joined by the ids of trace and span."""
    with sdk(viewer.otlp_url, compression=compression) as (tracer, meter, logger):
        histogram = meter.create_histogram("wait", unit="s")
        with tracer.start_as_current_span("order", attributes={"gen_ai.request.model": "m-7b"}) as span:
            histogram.record(0.25, {"route": "/pay"})
            with tracer.start_as_current_span("pay"):
                logger.emit(LogRecord(timestamp=time.time_ns(), body="paid", severity_number=SeverityNumber.INFO))
    trace_id = f"{span.get_span_context().trace_id:032x}"
    trace = ask(viewer, f"/api/traces/{trace_id}")
    order, pay = trace["spans"]
    assert (order["name"], order["service"], order["parent_id"], order["llm"]) == ("order", "shop", None, True)
    assert (pay["name"], pay["parent_id"], pay["llm"]) == ("pay", order["span_id"], False)
    assert order["attributes"] == {"gen_ai.request.model": "m-7b"}
    [record] = ask(viewer, f"/api/logs?trace_id={trace_id}")["logs"]
    assert (record["body"], record["level"], record["span_id"]) == ("paid", "INFO", pay["span_id"])
    [series] = ask(viewer, "/api/metrics/wait")["series"]
    assert series["attributes"] == {"route": "/pay"}
    assert series["points"][0]["count"] == 1
    assert series["exemplars"][0]["trace_id"] == trace_id


def test_a_span_is_kept_whole(viewer):
    """Events, links, status, kind and every type of attribute come back as they were sent."""
    with sdk(viewer.otlp_url) as (tracer, _, _):
        with tracer.start_as_current_span("first") as first:
            pass
        attributes = {"text": "ä", "whole": 2**60, "real": 0.5, "yes": True, "list": ["a", "b"], "nan": float("nan")}
        link = first.get_span_context()
        with suppress(ValueError), tracer.start_as_current_span("second") as second:
            second.set_attributes(attributes)
            second.add_link(link, {"why": "after"})
            raise ValueError("broken")
    [span] = ask(viewer, f"/api/traces/{second.get_span_context().trace_id:032x}")["spans"]
    assert span["attributes"] == attributes | {"whole": str(2**60), "nan": "nan"}, "a browser rounds what is past 2**53"
    assert (span["status"], span["message"], span["kind"]) == ("error", "ValueError: broken", "internal")
    assert span["events"][0]["attributes"]["exception.type"] == "ValueError"
    assert span["links"] == [
        {"trace_id": f"{link.trace_id:032x}", "span_id": f"{link.span_id:016x}", "attributes": {"why": "after"}}
    ]


def _as_otlp_json(request):
    """Return a message as OTLP's JSON has it: ids in hex."""
    found = MessageToDict(request)
    for resource, sent in zip(found["resourceSpans"], request.resource_spans, strict=True):
        for scope, scope_sent in zip(resource["scopeSpans"], sent.scope_spans, strict=True):
            for span, span_sent in zip(scope["spans"], scope_sent.spans, strict=True):
                span["traceId"] = span_sent.trace_id.hex()
                span["spanId"] = span_sent.span_id.hex().upper()
                span.pop("parentSpanId", None)
                if span_sent.parent_span_id:
                    span["parentSpanId"] = span_sent.parent_span_id.hex()
    return found


@pytest.mark.parametrize("packed", [False, True])
def test_json_is_taken_as_protobuf_is(viewer, packed):
    """Ids are hex there, numbers of 64 bits are text, and unknown fields are no mistake."""
    found = _as_otlp_json(spans(1, 2)) | {"somethingNew": 1}
    body = json.dumps(found).encode()
    headers = {"Content-Type": "application/json; charset=utf-8"} | ({"Content-Encoding": "gzip"} if packed else {})
    said = post(f"{viewer.otlp_url}/v1/traces", gzip.compress(body) if packed else body, headers)
    assert (said.status, said.json) == (200, {})
    trace = ask(viewer, f"/api/traces/{1:032x}")
    assert [span["span_id"] for span in trace["spans"]] == [f"{1:016x}", f"{2:016x}"]
    assert trace["spans"][1]["parent_id"] == f"{1:016x}"


def test_logs_and_metrics_are_taken_as_json(viewer):
    """A record with a body that has parts, and a sum."""
    record = {"timeUnixNano": "1000", "severityNumber": 17, "traceId": f"{5:032x}", "eventName": "spilt"}
    body = {"kvlistValue": {"values": [{"key": "traceId", "value": {"stringValue": "not an id"}}]}}
    logs = {"resourceLogs": [{"scopeLogs": [{"logRecords": [record | {"body": body}]}]}]}
    assert post(f"{viewer.otlp_url}/v1/logs", json.dumps(logs).encode(), JSON).status == 200
    [found] = ask(viewer, f"/api/logs?trace_id={5:032x}")["logs"]
    assert (found["body"], found["level"], found["event"], found["time"]) == (
        {"traceId": "not an id"},
        "ERROR",
        "spilt",
        "1000",
    )
    point = {"timeUnixNano": 2000, "asInt": "7"}
    metric = {"name": "n", "sum": {"aggregationTemporality": 2, "isMonotonic": True, "dataPoints": [point]}}
    metrics = {"resourceMetrics": [{"scopeMetrics": [{"metrics": [metric]}]}]}
    assert post(f"{viewer.otlp_url}/v1/metrics", json.dumps(metrics).encode(), JSON).status == 200
    found = ask(viewer, "/api/metrics/n")
    assert (found["kind"], found["series"][0]["points"]) == ("counter", [{"time": "2000", "value": 7}])


@pytest.mark.parametrize(("temporality", "starts"), [(2, [0, 0]), (1, [0, 0]), (0, [0, 1])])
def test_points_that_count_say_since_when(viewer, temporality, starts):
    """As sent; of deltas, which are shown added up, since the first; a level has no start, nor has one of nonsense."""
    request = ExportMetricsServiceRequest()
    metrics = request.resource_metrics.add().scope_metrics.add().metrics
    counter, histogram, level = (metrics.add(name=name) for name in ("c", "h", "g"))
    counter.sum.aggregation_temporality = histogram.histogram.aggregation_temporality = temporality
    counter.sum.is_monotonic = True
    now = time.time_ns()
    for start, end in ((0, 1), (0 if temporality == 2 else 1, 2)):
        when = {"start_time_unix_nano": now + start, "time_unix_nano": now + end}
        counter.sum.data_points.add(as_int=5, **when)
        histogram.histogram.data_points.add(count=1, sum=1, explicit_bounds=[1], bucket_counts=[1, 0], **when)
        level.gauge.data_points.add(as_int=5, **when)
    metrics.add(name="odd").sum.data_points.add(as_int=1, time_unix_nano=5, start_time_unix_nano=2**64 - 1)
    assert post(f"{viewer.otlp_url}/v1/metrics", request.SerializeToString()).status == 200
    for name in ("c", "h"):
        [series] = ask(viewer, f"/api/metrics/{name}")["series"]
        assert [point["start"] for point in series["points"]] == [str(now + start) for start in starts]
        assert series["earlier"] is False
        [later] = ask(viewer, f"/api/metrics/{name}?since={now + 2}")["series"]
        assert (later["earlier"], len(later["points"])) == (True, 1)
        [newest] = ask(viewer, f"/api/metrics/{name}?limit=1")["series"]
        assert newest["earlier"] is True
    for name in ("g", "odd"):
        [series] = ask(viewer, f"/api/metrics/{name}")["series"]
        assert not any("start" in point for point in series["points"])


def test_what_cannot_be_taken_is_counted_and_the_rest_is_kept(viewer):
    """A span without an id, one of another century: partial success says how many and why."""
    request = spans(1, 2, 3, 4)
    found = request.resource_spans[0].scope_spans[0].spans
    found[1].trace_id = b"short"
    found[2].span_id = bytes(8)
    found[3].end_time_unix_nano = 2**63
    said = post(f"{viewer.otlp_url}/v1/traces", request.SerializeToString())
    answer = ExportTraceServiceResponse.FromString(said.body)
    assert said.status == 200
    assert answer.partial_success.rejected_spans == 3
    assert "span 4" in answer.partial_success.error_message
    status = ask(viewer, "/api/status")
    assert (status["spans"], status["traces"], status["rejected"]) == (1, 1, 3)


def test_a_point_without_a_time_and_a_metric_without_a_name_are_refused(viewer):
    """The points beside them are kept."""
    request = ExportMetricsServiceRequest()
    metrics = request.resource_metrics.add().scope_metrics.add().metrics
    metrics.add(name="").gauge.data_points.add(time_unix_nano=1, as_double=1)
    metrics.add(name="g").gauge.data_points.add(as_double=1)
    metrics.add(name="g").gauge.data_points.add(time_unix_nano=5, as_double=float("inf"))
    said = post(f"{viewer.otlp_url}/v1/metrics", request.SerializeToString())
    assert said.status == 200
    assert ask(viewer, "/api/status")["rejected"] == 2
    [series] = ask(viewer, "/api/metrics/g")["series"]
    assert series["points"] == [{"time": "5", "value": None}]


def test_exponential_histograms_keep_their_buckets(viewer):
    """Every value lies within the bucket that counts it, negatives and zeros too."""
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.sdk.metrics import Histogram, MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

    exporter = OTLPMetricExporter(
        f"{viewer.otlp_url}/v1/metrics",
        preferred_aggregation={Histogram: ExponentialBucketHistogramAggregation()},
        preferred_temporality={Histogram: AggregationTemporality.CUMULATIVE},
    )
    meters = MeterProvider([PeriodicExportingMetricReader(exporter)], shutdown_on_exit=False)
    histogram = meters.get_meter("test").create_histogram("h")
    values = [0.0, 0.001, 0.5, 0.5, 3.0, 1000.0]
    for value in values:
        histogram.record(value)
    meters.shutdown()
    found = ask(viewer, "/api/metrics/h")
    [point] = found["series"][0]["points"]
    assert found["kind"] == "exponential_histogram"
    assert (point["count"], point["min"], point["max"]) == (len(values), 0.0, 1000.0)
    assert len(point["buckets"]) == len(point["edges"]) + 1
    bounds = [float("-inf"), *point["edges"], float("inf")]
    for (low, high), count in zip(pairwise(bounds), point["buckets"], strict=True):
        assert count == sum(low < value <= high for value in values)


def _one_span(**change):
    span = {"traceId": "01" * 16, "spanId": "01" * 8, "parentSpanId": "", "name": "a"} | change
    return json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}).encode()


@pytest.mark.parametrize(
    ("path", "body", "headers", "status", "words"),
    [
        ("/v1/traces", b"\xff\xff\xff", PROTOBUF, 400, "protobuf body"),
        ("/v1/traces", b"{", JSON, 400, "JSON body"),
        ("/v1/traces", b"[]", JSON, 400, "expected an object"),
        ("/v1/traces", b'{"resourceSpans": 3}', JSON, 400, "JSON body"),
        ("/v1/traces", b'{"a":' + b"[" * 100_000, JSON, 400, "JSON body"),
        ("/v1/traces", b"\xff\xfe", JSON, 400, "JSON body"),
        ("/v1/traces", b"no gzip", PROTOBUF | {"Content-Encoding": "gzip"}, 400, "compressed body"),
        ("/v1/traces", gzip.compress(b"x" * 99)[:-9], PROTOBUF | {"Content-Encoding": "gzip"}, 400, "ends early"),
        ("/v1/traces", b"", PROTOBUF | {"Content-Encoding": "br"}, 415, "Content-Encoding 'br'"),
        ("/v1/traces", b"", {"Content-Type": "text/plain"}, 415, "Content-Type 'text/plain'"),
        ("/v1/traces", b"", {}, 415, "Content-Type ''"),
        ("/v1/trace", b"", PROTOBUF, 404, "/v1/traces"),
    ],
)
def test_a_mistake_gets_its_status_and_words(viewer, path, body, headers, status, words):  # noqa: PLR0917
    """In the form of the request, as google.rpc.Status; the connection goes on, and nothing was kept."""
    said = post(viewer.otlp_url + path, body, headers)
    assert said.status == status
    if headers == PROTOBUF:
        found = Status.FromString(said.body)
        code, message = found.code, found.message
    elif said.headers["Content-Type"] == "application/json":
        code, message = said.json["code"], said.json["message"]
    else:
        message, code = Status.FromString(said.body).message, 3
    assert words in message
    assert code
    assert ask(viewer, "/api/status")["spans"] == 0


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"[]", "JSON body: found list, expected an object"),
        (_one_span(traceId="zz"), "JSON body: traceId 'zz', expected 32 hex digits"),
        (_one_span(traceId="5b8e fff7 9803 8103 d269 b633 813f c6"), "JSON body: traceId '5b8e fff7"),
        (_one_span(spanId=7), "JSON body: spanId '7', expected 16 hex digits"),
    ],
)
def test_json_that_is_no_otlp_is_refused_with_what_was_found(viewer, body, message):
    """Said once, with what came and what was expected."""
    said = post(f"{viewer.otlp_url}/v1/traces", body, JSON)
    assert said.status == 400
    assert said.json["message"].startswith(message)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"traceId": "abcd"}, "trace id 'abcd' of 2 bytes, expected 16"),
        ({"traceId": ""}, "no trace id, expected 16 bytes"),
        ({"traceId": None}, "no trace id, expected 16 bytes"),
        ({"traceId": "0" * 32}, "trace id of zeros only"),
        ({"spanId": "01" * 9}, "span id '010101010101010101' of 9 bytes, expected 8"),
        ({"spanId": "01" * 1000}, f"span id '{'01' * 16}' of 1000 bytes, expected 8"),
        ({"spanId": "0" * 16}, "span id of zeros only"),
    ],
)
def test_an_id_that_cannot_be_is_told_as_it_came(viewer, change, reason):
    """The span is refused, and its neighbours would be kept."""
    said = post(f"{viewer.otlp_url}/v1/traces", _one_span(**change), JSON)
    assert said.status == 200
    partial = said.json["partialSuccess"]
    assert (partial["rejectedSpans"], partial["errorMessage"]) == ("1", f"span 'a': {reason}")


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS", "PATCH", "HEAD", "BREW"])
def test_otlp_is_posted(viewer, method):
    """Anything else is 405, a preflight of a foreign page among them; nothing invites it."""
    said = get(f"{viewer.otlp_url}/v1/traces", {"Origin": "http://evil.example"}, method)
    assert said.status == 405
    assert not [name for name in said.headers if name.lower().startswith("access-control")]


def test_sending_again_changes_nothing(viewer):
    """Spans are known by their ids, points by series and time, log records by their request."""
    logs = ExportLogsServiceRequest()
    logs.resource_logs.add().scope_logs.add().log_records.add(time_unix_nano=1).body.string_value = "once"
    metrics = ExportMetricsServiceRequest()
    point = metrics.resource_metrics.add().scope_metrics.add().metrics.add(name="g").gauge.data_points.add()
    point.time_unix_nano = 1
    requests = {"traces": spans(1, 2, 3, start=1), "logs": logs, "metrics": metrics}
    for _ in range(3):
        for signal, request in requests.items():
            assert post(f"{viewer.otlp_url}/v1/{signal}", request.SerializeToString()).status == 200
    # a batch in part known: what is new is added, and counted once
    assert post(f"{viewer.otlp_url}/v1/traces", spans(1, 3, 9, start=1).SerializeToString()).status == 200
    status = ask(viewer, "/api/status")
    assert [status[name] for name in ("spans", "traces", "logs", "points")] == [4, 1, 1, 1]
    [trace] = ask(viewer, "/api/traces")["traces"]
    assert (trace["spans"], trace["root"]) == (4, "span 1")


def test_a_full_queue_says_when_to_come_again(viewer, tmp_path):
    """429 with Retry-After; 503 for Python's exporters, whose older releases drop a batch at 429."""
    intake = Intake(capacity=1, patience=0.01)
    with Viewer(tmp_path / "full", ("127.0.0.1", 0), ("127.0.0.1", 0), intake=intake) as full, intake.place():
        body = spans(1).SerializeToString()
        said = post(f"{full.otlp_url}/v1/traces", body)
        assert (said.status, said.headers["Retry-After"]) == (429, "1")
        said = post(f"{full.otlp_url}/v1/traces", body, PROTOBUF | {"User-Agent": "OTel-OTLP-Exporter-Python/1.38.0"})
        assert (said.status, said.headers["Retry-After"]) == (503, "1")
        assert ask(full, "/api/status")["queue"] == {"waiting": 1, "capacity": 1}


def test_exporters_that_were_refused_send_again_and_all_is_there_once(tmp_path):
    """Several processes' worth of exporters at a viewer with one place, taken for a while."""
    intake = Intake(capacity=1, patience=0.01)
    with Viewer(tmp_path / "full", ("127.0.0.1", 0), ("127.0.0.1", 0), intake=intake) as full:
        refused = threading.Event()
        with intake.place():
            senders = [threading.Thread(target=_send, args=(full.otlp_url, refused)) for _ in range(4)]
            for sender in senders:
                sender.start()
            assert refused.wait(10)
        for sender in senders:
            sender.join()
        assert ask(full, "/api/status")["spans"] == 4 * 50


def _send(url, refused):
    import logging

    class Heard(logging.Handler):
        def emit(self, record):
            if "Transient" in record.getMessage():
                refused.set()

    logger = logging.getLogger("opentelemetry.exporter.otlp.proto.http.trace_exporter")
    logger.addHandler(heard := Heard())
    try:
        with sdk(url) as (tracer, _, _):
            for number in range(50):
                tracer.start_span(f"s{number}").end()
    finally:
        logger.removeHandler(heard)
