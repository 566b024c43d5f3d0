"""What the embedded viewer takes is handed on to the real Collector, however it was packed."""

from __future__ import annotations

import pytest
from opentelemetry.exporter.otlp.proto.http import Compression
from otlp import ask, sdk
from servers import until

from otel_llmon.viewer import Viewer

ANY = ("127.0.0.1", 0)


@pytest.mark.parametrize("packed", Compression, ids=lambda packed: packed.name)
def test_the_stores_have_what_the_viewer_took(stack, tmp_path, packed):
    """A trace, a metric and a log record, none of them refused."""
    service = f"tee-{packed.name.lower()}"
    with Viewer(tmp_path, ANY, ANY, tee=stack.urls["otlp"]) as viewer:
        with sdk(viewer.otlp_url, service, packed) as (tracer, meter, logger):
            with tracer.start_as_current_span("one") as span:
                meter.create_counter("handed.on").add(1)
            logger.emit(body="said", timestamp=span.end_time)
        assert until(lambda: ask(viewer, "/api/status")["tee"]["waiting"] == 0)
        assert ask(viewer, "/api/status")["tee"]["lost"] == 0
    assert until(lambda: stack.jaeger.trace(format(span.get_span_context().trace_id, "032x")))
    assert until(lambda: stack.prometheus.query(f'handed_on_total{{service_name="{service}"}}')).value == 1
    assert [line.body for line in until(lambda: stack.loki.lines(f'{{service_name="{service}"}}'))] == ["said"]
