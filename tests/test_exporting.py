"""The wrappers around exporters count what is sent and lost, and never let an exporter's failure out."""

from __future__ import annotations

import collections
import logging
import math
import threading

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.trace.export import SpanExporter as InnerExporter
from opentelemetry.sdk.trace.export import SpanExportResult

from otel_llmon import exporting
from otel_llmon.exporting import SpanExporter
from otel_llmon.testing import _KeepMetrics

REFUSED = (
    "HTTPConnectionPool(host='localhost', port=4318): Max retries exceeded (Caused by NewConnectionError("
    "'<x>: Failed to establish a new connection: [Errno 111] Connection refused'))"
)


class Inner(InnerExporter):
    """An exporter that does what it is told."""

    def __init__(self) -> None:
        self.result: SpanExportResult | Exception = SpanExportResult.SUCCESS
        self.down = False

    def export(self, spans):
        if isinstance(self.result, Exception):
            raise self.result
        return self.result

    def force_flush(self, timeout_millis=0):
        return True

    def shutdown(self):
        self.down = True


def sent(recorder) -> tuple[float | None, float | None]:
    """How many spans the metrics say were sent, and lost."""
    traces = {"llmon.signal": "traces"}
    return recorder.value("llmon.self.exported", traces), recorder.value("llmon.self.lost", traces)


def test_what_is_sent_and_what_is_lost_is_counted(llmon_recorder, caplog):
    """One line when it begins to fail, one when it works again."""
    outlet = SpanExporter(inner := Inner())
    assert outlet.export([1, 2]) is SpanExportResult.SUCCESS
    inner.result = SpanExportResult.FAILURE
    assert outlet.export([1, 2, 3]) is SpanExportResult.FAILURE
    assert outlet.export([1]) is SpanExportResult.FAILURE
    inner.result = SpanExportResult.SUCCESS
    outlet.export([1])
    assert sent(llmon_recorder) == (3, 4)
    assert [record.message.partition(":")[2].strip() for record in caplog.records] == [
        "not sent, trying on with what comes next: the exporter gave no reason",
        "sent again; 4 were lost",
    ]


@pytest.fixture
def crowded(llmon_recorder, monkeypatch):
    """An exporter whose queue is full, and which has sent a batch just now; whoever waits does so for a minute."""
    monkeypatch.setattr(exporting, "MOMENT", 60)
    outlet = SpanExporter(Inner())
    outlet.queue = collections.deque(range(100), maxlen=100)
    assert outlet.hand_over([1], 1)
    return outlet


def test_who_comes_faster_than_is_sent_waits_until_there_is_room(crowded):
    """So that a queue of which half was taken meanwhile drops nothing."""
    waits = threading.Thread(target=exporting.make_room, args=["traces"])
    waits.start()
    while len(crowded.queue) > exporting.ROOMY * 100:
        assert waits.is_alive()
        crowded.queue.popleft()
    waits.join(20)
    assert not waits.is_alive()


@pytest.mark.parametrize("why", ["a batch takes long", "none is sent", "it is closed", "there is room"])
def test_nobody_waits_where_nothing_gets_on(crowded, monkeypatch, why):
    """What the queue has no room for is counted instead."""
    if why == "a batch takes long":
        monkeypatch.setattr(exporting, "PATIENCE", -1)
    elif why == "none is sent":
        crowded.inner.result = OSError("refused")
        crowded.hand_over([1], 1)
    elif why == "it is closed":
        crowded.close()
    else:
        crowded.queue = collections.deque(range(70), maxlen=100)
    waits = threading.Thread(target=exporting.make_room, args=["traces"], daemon=True)
    waits.start()
    waits.join(20)
    assert not waits.is_alive()


def test_an_exporter_that_raises_costs_its_batch(llmon_recorder, caplog):
    """The thread that exports goes on."""
    outlet = SpanExporter(inner := Inner())
    inner.result = RuntimeError("bug")
    assert outlet.export([1, 2]) is SpanExportResult.FAILURE
    assert sent(llmon_recorder) == (None, 2)
    assert "RuntimeError: bug" in caplog.text


def test_a_closed_outlet_counts_what_still_comes(llmon_recorder):
    """Closing stops the exporter inside, once."""
    outlet = SpanExporter(inner := Inner())
    outlet.shutdown()
    outlet.shutdown()
    assert inner.down
    outlet.export([1, 2])
    assert (outlet.lost, sent(llmon_recorder)) == (2, (None, 2))


def test_a_forked_child_builds_its_own_exporter(llmon_recorder):
    """A connection or a lock within the parent's may be in the middle of something."""
    outlet = SpanExporter(make=Inner)
    before = outlet.inner
    outlet.shutdown()
    outlet.renew()
    assert outlet.inner is not before
    assert outlet.export([1]) is SpanExportResult.SUCCESS


@pytest.mark.parametrize(
    ("message", "args", "expected"),
    [
        (
            "Transient error %s encountered while exporting %s batch, retrying in %.2fs.",
            (REFUSED, "spans", 1.0),
            "localhost:4318: Connection refused, to see it: llmon view",
        ),
        (
            "Failed to export %s batch code: %s, reason: %s",
            ("spans", 404, "not found"),
            "Failed to export spans batch code: 404, reason: not found",
        ),
        (
            "Transient error %s encountered",
            (REFUSED.replace("HTTPConnection", "HTTPSConnection"),),
            "localhost:4318: Connection refused",
        ),
        ("Transient error %s encountered", ("Service Unavailable",), "Service Unavailable"),
    ],
)
def test_the_reason_is_what_the_exporter_said_first(message, args, expected):
    """An exporter tells why it failed in its log only, and wraps it in much else."""
    words = exporting._LastWords()
    for text, values in ((message, args), ("Shutdown in progress, aborting retry.", ())):
        words.emit(logging.LogRecord("opentelemetry.exporter.x", logging.WARNING, "f", 1, text, values, None))
    assert words.take() == expected
    assert words.take() == ""


@pytest.mark.parametrize(
    ("host", "port", "error", "way_out"),
    [
        ("127.0.0.1", 4318, "[Errno 111] Connection refused", ", to see it: llmon view"),
        ("127.0.0.7", 4318, "[Errno 111] Connection refused", ", to see it: llmon view --otlp 127.0.0.7:4318"),
        ("::1", 4320, "[Errno 111] Connection refused", ", to see it: llmon view --otlp [::1]:4320"),
        ("collector", 4318, "[Errno 111] Connection refused", ""),
        ("127.example.com", 4318, "[Errno 111] Connection refused", ""),
        ("localhost", 4318, "[Errno 104] Connection reset by peer", ""),
    ],
)
def test_where_nobody_listens_on_this_machine_the_way_out_is_a_viewer(host, port, error, way_out):
    """Where somebody else's Collector refuses, or somebody listens and breaks off, a viewer would not help."""
    said = (
        REFUSED.replace("localhost", host).replace("4318", str(port)).replace("[Errno 111] Connection refused", error)
    )
    assert exporting._short(said) == f"{host}:{port}: {error.partition('] ')[2]}{way_out}"


def test_exporters_log_lines_stay_where_somebody_asked_for_them():
    """A level or a handler of the user's own is respected."""
    logger = logging.getLogger("opentelemetry.exporter")
    before = logger.handlers[:], logger.propagate, logger.level
    try:
        logger.handlers[:], logger.propagate, logger.level = [], True, logging.DEBUG
        exporting.keep_words()
        assert (logger.handlers, logger.propagate) == ([], True)
        logger.setLevel(logging.NOTSET)
        exporting.keep_words()
        assert not logger.propagate
    finally:
        logger.handlers[:], logger.propagate, logger.level = before


class Picky(Inner):
    """An exporter that cannot encode some items: the older ones raise then, the newer ones log."""

    def __init__(self, raises: bool) -> None:
        super().__init__()
        self.raises = raises
        self.sent: list[int] = []

    def export(self, spans):
        if any(item < 0 for item in spans):
            if self.raises:
                raise UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed")
            exporting._words.emit(
                logging.LogRecord("x", logging.ERROR, "f", 1, "Failed to encode span batch: %s", ("surrogates",), None)
            )
            return SpanExportResult.FAILURE
        self.sent += spans
        return SpanExportResult.SUCCESS


@pytest.mark.parametrize("raises", [True, False], ids=["older SDK", "newer SDK"])
def test_an_item_that_cannot_be_encoded_is_lost_alone(llmon_recorder, raises):
    """The batch is halved until what is left is the culprit."""
    outlet = SpanExporter(inner := Picky(raises))
    outlet.export([*range(100), -1, *range(100, 200), -2])
    assert inner.sent == list(range(200))
    assert sent(llmon_recorder) == (200, 2)


def test_a_metric_that_cannot_be_encoded_is_lost_alone(rows):
    """Half a surrogate pair in a user's own attribute does not keep the other metrics back, on either SDK."""
    from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics

    arrived = []

    class Encoding(_KeepMetrics):
        def export(self, metrics_data, *_, **__):
            arrived.extend(
                metric.name
                for resource in encode_metrics(metrics_data).resource_metrics
                for scope in resource.scope_metrics
                for metric in scope.metrics
            )
            return super().export(metrics_data)

    outlet = exporting.MetricExporter(Encoding(None, None))
    reader = PeriodicExportingMetricReader(outlet, export_interval_millis=math.inf)
    provider = MeterProvider([reader], shutdown_on_exit=False)
    meter = provider.get_meter("user")
    meter.create_counter("good").add(1)
    meter.create_counter("bad", unit="1", description="half a pair: \ud800").add(1)
    reader.collect()
    assert "good" in arrived
    assert "bad" not in arrived
    assert outlet.lost == 1
