"""What a program says is found: every metric under its spelling, and the way from a metric to its trace to its logs."""

from __future__ import annotations

import pytest
from servers import until

from otel_llmon import semconv
from otel_llmon.render import promql

EVERY_ROW = """
    import otel_llmon as llmon
    from otel_llmon import semconv
    from otel_llmon.metering import instrument_of

    llmon.configure("rows", observers=())
    for row in semconv.rows():
        instrument = instrument_of(row)
        attributes = dict.fromkeys(row.attributes, "x")
        match row.kind:
            case "counter" | "updowncounter":
                instrument.add(1, attributes)
            case "histogram":
                instrument.record(1.0, attributes)
            case "gauge":
                instrument.set(1.0, attributes)
"""
JOINED = """
    import logging
    import otel_llmon as llmon

    llmon.configure("joined")
    with llmon.pipeline("ingest"):
        with llmon.phase("embed"):
            logging.getLogger("app").warning("slow")
"""


def test_every_row_arrives_under_its_spelling(stack, program):
    """Panels and rules are written with these names."""
    done = program(EVERY_ROW, **stack.environ)
    assert done.returncode == 0, done.stderr
    wanted = {promql.series(row) + ("_count" if row.kind == "histogram" else "") for row in semconv.rows()}

    def found():
        return set(stack.prometheus.label_values("__name__", '{service_name="rows"}'))

    until(lambda: wanted <= found())


def test_a_metric_leads_to_its_trace_and_the_trace_to_its_logs(stack, program):
    """Exemplar, trace and log carry one trace id."""
    done = program(JOINED, **stack.environ)
    assert done.returncode == 0, done.stderr
    buckets = 'llmon_phase_duration_seconds_bucket{service_name="joined"}'
    [exemplar] = until(lambda: stack.prometheus.exemplars(buckets))
    trace = until(lambda: stack.jaeger.trace(exemplar.trace_id))
    assert exemplar.span_id in {span.span_id for span in trace.spans}
    assert trace.root.name == "ingest"
    [line] = until(lambda: stack.loki.lines(f'{{service_name="joined"}} | trace_id="{exemplar.trace_id}"'))
    assert (line.body, line.level) == ("slow", "WARNING")
    assert line.span_id == exemplar.span_id


@pytest.mark.parametrize("query", ["traces_span_metrics_calls_total", "traces_service_graph_request_total"])
def test_the_collector_counts_spans_too(stack, program, query):
    """For services that have traces only, and for Jaeger's Monitor tab."""
    program(
        """
        import otel_llmon
        from opentelemetry import trace

        otel_llmon.configure("edge")
        tracer = trace.get_tracer("app")
        with tracer.start_as_current_span("GET /", kind=trace.SpanKind.CLIENT, attributes={"peer.service": "store"}):
            pass
        """,
        **stack.environ,
    )
    assert until(lambda: stack.prometheus.query(query).series, 60)
