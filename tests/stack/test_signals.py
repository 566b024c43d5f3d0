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


@pytest.mark.row("X7")
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


def test_a_large_attribute_is_cut_with_events_and_without(stack, program):
    """Up to what every store takes, and so for a span without an event too."""
    source = """
        import otel_llmon as llmon
        from opentelemetry import trace

        llmon.configure("large")
        tracer, large = trace.get_tracer("app"), {"text": "x" * 100_000}
        with tracer.start_as_current_span("without", attributes=large) as span:
            print(format(span.get_span_context().trace_id, "032x"))
            with tracer.start_as_current_span("with", attributes=large) as span:
                span.add_event("read", large)
    """
    done = program(source, **stack.environ)
    trace = until(lambda: len((found := stack.jaeger.trace(done.stdout.split()[0])).spans) == 2 and found)
    held = [span.attributes for span in trace.spans] + [
        event.attributes for span in trace.spans for event in span.events
    ]
    assert [len(attributes["text"]) for attributes in held] == [32768] * 3


@pytest.mark.row("X8")
def test_the_collector_counts_spans_and_who_calls_whom(stack, program):
    """For services that have traces only, and for Jaeger's Monitor tab."""
    done = program(
        """
        import contextlib
        import otel_llmon
        from opentelemetry import trace

        otel_llmon.configure("edge")
        tracer, kind, peer = trace.get_tracer("app"), trace.SpanKind.CLIENT, {"peer.service": "store"}
        for number in range(10):
            with contextlib.suppress(OSError):
                with tracer.start_as_current_span(f"GET /{number % 2}", kind=kind, attributes=peer):
                    if number < 3:
                        raise OSError
        """,
        **stack.environ,
    )
    assert done.returncode == 0, done.stderr
    calls = 'sum by (span_name, status_code) (traces_span_metrics_calls_total{service_name="edge"})'

    def counted():
        found = stack.prometheus.query(calls)
        return {(one.labels["span_name"], one.labels["status_code"].rpartition("_")[2]): one.value for one in found}

    expected = {("GET /0", "UNSET"): 3, ("GET /0", "ERROR"): 2, ("GET /1", "UNSET"): 4, ("GET /1", "ERROR"): 1}
    assert until(lambda: counted() == expected)
    took = 'sum(traces_span_metrics_duration_seconds_count{service_name="edge"})'
    assert stack.prometheus.query(took).value == 10
    who = 'sum(traces_service_graph_request_total{client="edge",server="store"})'
    assert until(lambda: stack.prometheus.query(who).value == 10, 60)
