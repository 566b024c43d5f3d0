"""Handing on to a Collector: what was taken arrives there as it came, and a Collector's trouble stays its own."""

from __future__ import annotations

import gzip
import time

from opentelemetry.exporter.otlp.proto.http import Compression
from otlp import PROTOBUF, ask, post, sdk, spans
from processes import until
from sink import free_port

from otel_llmon.viewer import Viewer
from otel_llmon.viewer.tee import Tee

ANY = ("127.0.0.1", 0)


def test_a_collector_gets_what_the_viewer_took(tmp_path, sink):
    """All three signals, once each; what was refused is not handed on."""
    with Viewer(tmp_path, ANY, ANY, tee=sink.endpoint) as viewer:
        with sdk(viewer.otlp_url) as (tracer, meter, logger):
            with tracer.start_as_current_span("one"):
                meter.create_counter("c").add(1)
            logger.emit(body="said")
        assert post(f"{viewer.otlp_url}/v1/traces", b"\xff").status == 400
        assert until(lambda: ask(viewer, "/api/status")["tee"]["sent"] == 3)
        assert ask(viewer, "/api/status")["tee"] == {"url": sink.endpoint, "sent": 3, "lost": 0, "waiting": 0}
    assert [span.name for span in sink.spans()] == ["one"]
    assert sink.totals("c") == 1


def test_a_body_is_handed_on_as_it_came(tmp_path, sink):
    """Compressed bytes are not unpacked and packed again."""
    body = gzip.compress(spans(1).SerializeToString())
    heard = []
    take = sink.take

    def unpacked(path, kind, content):
        heard.append((path, kind, content))
        return take(path, kind, gzip.decompress(content))

    sink.take = unpacked
    with Viewer(tmp_path, ANY, ANY, tee=sink.endpoint) as viewer:
        assert post(f"{viewer.otlp_url}/v1/traces", body, PROTOBUF | {"Content-Encoding": "gzip"}).status == 200
        assert until(lambda: heard)
    assert heard == [("/v1/traces", "application/x-protobuf", body)]


def test_a_collector_that_is_gone_costs_nothing_here(tmp_path):
    """Everything is taken at once and kept; leaving is not held up."""
    with Viewer(tmp_path, ANY, ANY, tee=f"http://127.0.0.1:{free_port()}") as viewer:
        with sdk(viewer.otlp_url, compression=Compression.Gzip) as (tracer, _, _):
            for _ in range(1000):
                tracer.start_span("s").end()
        assert ask(viewer, "/api/status")["spans"] == 1000
        assert ask(viewer, "/api/status")["tee"]["sent"] == 0
        began = time.monotonic()
    assert time.monotonic() - began < 10


def test_a_collector_that_comes_back_gets_what_waited(tmp_path, sink):
    """In order, once."""
    sink.mode = "503"
    with Viewer(tmp_path, ANY, ANY, tee=sink.endpoint) as viewer:
        for number in range(1, 4):
            assert post(f"{viewer.otlp_url}/v1/traces", spans(number).SerializeToString()).status == 200
        assert ask(viewer, "/api/status")["tee"]["waiting"] == 3
        sink.mode = "answers"
        assert until(lambda: ask(viewer, "/api/status")["tee"]["sent"] == 3)
    assert [span.name for span in sink.spans()] == ["span 1", "span 2", "span 3"]


def test_what_there_is_no_room_for_is_counted(caplog):
    """The queue is bounded in bytes; an offer never waits."""
    tee = Tee(f"http://127.0.0.1:{free_port()}", limit=100)
    for _ in range(5):
        tee.offer("/v1/traces", bytes(40), {})
    assert (tee.facts()["lost"], tee.facts()["waiting"]) == (3, 2)
    tee.close(timeout=0.1)
    assert tee.facts()["lost"] == 5
    tee.offer("/v1/traces", b"", {})
    assert tee.facts()["lost"] == 6
    assert len(caplog.records) <= 1, "trouble is said once"
