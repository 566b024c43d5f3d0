"""Events are log records in the current span; what the program logs goes the same way."""

from __future__ import annotations

import logging
import logging.config
from logging.config import dictConfig

import pytest
from opentelemetry._logs import SeverityNumber
from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY, attach, detach, set_value

from otel_llmon import bridging, event, phase, telemetry


@pytest.fixture
def bridged(llmon_recorder):
    """A recorder that gets what the root logger gets; the logging set-up comes back afterwards."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    basic, from_file, configurator = logging.basicConfig, logging.config.fileConfig, logging.config.dictConfigClass
    bridging.bridge_logging()
    yield llmon_recorder
    bridging.unbridge_logging()
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.basicConfig, logging.config.fileConfig = basic, from_file
    logging.config.dictConfigClass = configurator


def bodies(recorder) -> list[str]:
    """What the log records say."""
    return [record.body for record in recorder.logs()]


def test_an_event_is_a_log_record_in_the_current_span(llmon_recorder):
    """It has a name, attributes, a severity, and the ids of the span around it."""
    with phase("train"):
        event("checkpoint.saved", {"step": 3}, "warning")
    [record] = llmon_recorder.logs()
    span = llmon_recorder.spans()["train"]
    assert (record.event_name, record.body) == ("checkpoint.saved", "checkpoint.saved")
    assert record.severity_number is SeverityNumber.WARN
    assert dict(record.attributes) == {"step": 3}
    assert (record.trace_id, record.span_id) == (span.context.trace_id, span.context.span_id)


def test_a_severity_that_is_not_known_is_info_and_said(llmon_recorder, caplog):
    """The event is kept."""
    event("x", severity="loud")
    assert llmon_recorder.logs()[0].severity_number is SeverityNumber.INFO
    assert "severity 'loud': expected one of" in caplog.text


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        (None, {}),
        ("text", {}),
        ({"a": None, 1: 2}, {"1": 2}),
        ({"a": {"b": 1}}, {"a": "{'b': 1}"}),
        ({"a": [1, "x"]}, {"a": ("1", "x")}),
        ({"a": b"\xff"}, {"a": "b'\\xff'"}),
        ({"a": 2**70}, {"a": str(2**70)}),
        ({"a": "x" * 10_000_000}, {"a": "x" * 8192}),
        ({"a": list(range(1000))}, {"a": tuple(range(128))}),
    ],
    ids=lambda value: str(value)[:30],
)
def test_attributes_become_what_otlp_carries(llmon_recorder, attributes, expected):
    """What has no type there becomes text, what is long is cut, None is absent."""
    event("x", attributes)
    [record] = llmon_recorder.logs()
    assert {key: tuple(v) if isinstance(v, list) else v for key, v in record.attributes.items()} == expected


def test_level_disabled_reports_no_event(llmon_recorder):
    """Nothing leaves."""
    telemetry.state.level = telemetry.DISABLED
    event("x")
    assert llmon_recorder.logs() == []


def test_an_event_survives_a_processor_that_fails(llmon_recorder, caplog):
    """The caller's work goes on, and the failure is counted."""

    class Broken:
        def on_emit(self, *_):
            raise RuntimeError("processor")

        emit = on_emit

        def shutdown(self):
            pass

        def force_flush(self, *_):
            return True

    llmon_recorder.logger_provider.add_log_record_processor(Broken())
    event("x")
    assert llmon_recorder.value("llmon.self.errors", {"llmon.source": "event"}) == 1
    assert "not reported: RuntimeError: processor" in caplog.text


def test_what_the_program_logs_arrives_with_the_spans_ids(bridged):
    """Message, severity, logger, place, extras and the exception are there."""
    log = logging.getLogger("app.part")
    with phase("train"):
        try:
            raise KeyError("k")
        except KeyError:
            log.exception("failed %s", "badly", extra={"step": 3})
    [record] = bridged.logs()
    assert record.body == "failed badly"
    assert record.severity_number is SeverityNumber.ERROR
    assert record.attributes["step"] == 3
    assert record.attributes["exception.type"] == "KeyError"
    assert "raise KeyError" in record.attributes["exception.stacktrace"]
    assert record.attributes["code.function.name"].startswith("test_what_the_program")
    assert record.span_id == bridged.spans()["train"].context.span_id


def test_a_logged_exception_that_cannot_say_what_it_is_arrives_all_the_same(bridged):
    """Its class and its stack are known."""

    class UnspeakableError(Exception):
        def __str__(self):
            raise RuntimeError("no words")

    try:
        raise UnspeakableError
    except UnspeakableError:
        logging.getLogger("app").exception("failed: \ud800")
    [record] = bridged.logs()
    assert record.body == "failed: ?"
    assert record.attributes["exception.message"] == "<UnspeakableError>"
    assert record.attributes["exception.type"].endswith("UnspeakableError")


def test_the_bridge_survives_dict_config(bridged):
    """Also where dictConfig was imported by name before the bridge was there."""
    dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "handlers": {"none": {"class": "logging.NullHandler"}},
            "root": {"handlers": ["none"], "level": "INFO"},
        }
    )
    logging.getLogger("app").info("after")
    assert bodies(bridged) == ["after"]


def test_the_bridge_survives_basic_config(bridged):
    """Its presence does not keep basicConfig from doing its work, with force or without."""
    root = logging.getLogger()
    root.handlers[:] = [bridging._bridge]
    logging.basicConfig(level="INFO")
    assert len(root.handlers) == 2
    logging.basicConfig(level="INFO", force=True)
    logging.getLogger("app").info("after")
    assert bodies(bridged) == ["after"]


def test_a_program_without_logging_set_up_still_prints_its_warnings(bridged, capsys):
    """Python prints warnings where nobody handles them; a bridge must not silence that."""
    logging.getLogger().handlers[:] = [bridging._bridge]
    logging.getLogger("app").warning("seen by a person")
    logging.getLogger("app").info("not seen")
    assert capsys.readouterr().err == "seen by a person\n"
    assert bodies(bridged) == ["seen by a person"]


def test_what_exporters_say_does_not_feed_back(bridged):
    """Records made while exporting, or by OpenTelemetry itself, are left out."""
    logging.getLogger().setLevel("DEBUG")
    logging.getLogger("opentelemetry.exporter.x").error("own")
    token = attach(set_value(_SUPPRESS_INSTRUMENTATION_KEY, True))
    logging.getLogger("urllib3.connectionpool").debug("while exporting")
    detach(token)
    logging.getLogger("urllib3.connectionpool").debug("the program's own request")
    assert bodies(bridged) == ["the program's own request"]


def test_a_message_that_cannot_be_formatted_is_reported_as_logging_does(bridged, capsys):
    """The program goes on."""
    logging.getLogger().handlers[:] = [bridging._bridge, logging.NullHandler()]
    logging.getLogger("app").warning("%d items", "no number")
    assert "--- Logging error ---" in capsys.readouterr().err
    assert bridged.value("llmon.self.errors", {"llmon.source": "logging"}) == 1


def test_bridging_twice_sends_once(bridged):
    """Idempotent."""
    bridging.bridge_logging()
    logging.getLogger("app").warning("once")
    assert bodies(bridged) == ["once"]
