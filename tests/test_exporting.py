"""The wrappers around exporters count what is sent and lost, and never let an exporter's failure out."""

from __future__ import annotations

import logging

import pytest
from opentelemetry.sdk.trace.export import SpanExporter as InnerExporter
from opentelemetry.sdk.trace.export import SpanExportResult

from otel_llmon import exporting
from otel_llmon.exporting import SpanExporter

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
            "localhost:4318: Connection refused",
        ),
        (
            "Failed to export %s batch code: %s, reason: %s",
            ("spans", 404, "not found"),
            "Failed to export spans batch code: 404, reason: not found",
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
