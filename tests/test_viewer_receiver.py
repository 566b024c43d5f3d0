"""What the viewer takes: every signal in every form, exactly once, and a status for what it cannot take."""

from __future__ import annotations

import time

import pytest
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.exporter.otlp.proto.http import Compression
from otlp import ask, sdk


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
