"""Other libraries' places: structlog and loguru send what they log, once, and the console prints lines of JSON."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import logging.config
import math
import subprocess
import sys

import loguru
import pytest
import structlog
from hypothesis import HealthCheck, example, given
from hypothesis import settings as law
from hypothesis import strategies as st
from loguru import logger as guru
from opentelemetry._logs import SeverityNumber
from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY, attach, detach, set_value

from otel_llmon import bind, bridging, events, phase, telemetry
from otel_llmon.adapters import loguru as ours
from otel_llmon.adapters.console import JsonFormatter
from otel_llmon.adapters.structlog import exported
from otel_llmon.errors import MissingExtraError


@pytest.fixture
def bridged(llmon_recorder):
    """A recorder that gets what the root logger gets; the logging set-up comes back afterwards."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    root.setLevel("INFO")
    bridging.bridge_logging()
    yield llmon_recorder
    bridging.unbridge_logging()
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def printed():
    """What structlog prints, with a set-up that ends with the test."""
    yield io.StringIO()
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


@pytest.fixture
def attached():
    """Our sink among loguru's."""
    guru.remove()
    number = ours.attach()
    yield number
    guru.remove()


def logged(recorder):
    """What the records say, with their fields that do not tell where it was said."""
    return [
        (record.body, {name: value for name, value in record.attributes.items() if not name.startswith("code.")})
        for record in recorder.logs()
    ]


# structlog


def to_print(printed, *before, renderer=None):
    """A structlog logger that prints by itself."""
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, *before, exported(renderer)],
        logger_factory=structlog.WriteLoggerFactory(printed),
        cache_logger_on_first_use=False,
    )
    return structlog.get_logger()


def to_stdlib(renderer):
    """A structlog logger that hands on to stdlib logging."""
    structlog.configure(
        processors=[structlog.stdlib.add_logger_name, structlog.stdlib.add_log_level, exported(renderer)],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    return structlog.get_logger("app.part")


def test_structlog_sends_level_message_fields_and_the_spans_ids(llmon_recorder, printed):
    """What is bound there and here goes along; it is printed as before."""
    log = to_print(printed, renderer=structlog.processors.JSONRenderer()).bind(user="u")
    structlog.contextvars.bind_contextvars(request="theirs")
    with bind({"tenant": "b"}), phase("serve"):
        log.warning("saved", step=3)
    [record] = llmon_recorder.logs()
    assert record.severity_number is SeverityNumber.WARN
    assert (record.severity_text, record.body) == ("WARNING", "saved")
    assert dict(record.attributes) == {"user": "u", "request": "theirs", "tenant": "b", "step": 3}
    assert record.span_id == llmon_recorder.spans()["serve"].context.span_id
    assert json.loads(printed.getvalue()) == {"user": "u", "request": "theirs", "step": 3, "event": "saved"}


@pytest.mark.parametrize("before", [(), (structlog.processors.format_exc_info,)], ids=["raw", "rendered before"])
def test_structlog_sends_exceptions(llmon_recorder, printed, before):
    """Class, message and stack; of one that a processor made text of, the text."""
    log = to_print(printed, *before)
    try:
        raise KeyError("k")
    except KeyError:
        log.exception("failed")
    [record] = llmon_recorder.logs()
    assert record.severity_number is SeverityNumber.ERROR
    assert 'raise KeyError("k")' in record.attributes["exception.stacktrace"]
    assert record.attributes.get("exception.type") == (None if before else "KeyError")
    assert "KeyError" in printed.getvalue()


@pytest.mark.parametrize(
    "renderer",
    [
        structlog.processors.JSONRenderer(),
        structlog.stdlib.render_to_log_kwargs,
        structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
    ],
    ids=["text", "options", "formatter"],
)
def test_structlog_over_stdlib_logging_sends_once(bridged, printed, renderer):
    """However it renders: the record that stdlib logging gets says that it was sent."""
    to_stdlib(renderer).info("saved", step=3)
    logging.getLogger("app.part").info("the program's own")
    assert logged(bridged) == [("saved", {"step": 3}), ("the program's own", {})]
    assert {item.instrumentation_scope.name for item in bridged._logs.kept} == {"app.part"}


def test_structlog_over_stdlib_logging_keeps_to_its_levels(bridged, printed):
    """What stdlib logging leaves out is not sent either."""
    log = to_stdlib(structlog.processors.JSONRenderer())
    log.debug("no")
    log.info("yes")
    assert logged(bridged) == [("yes", {})]


def test_structlog_in_asyncio_sends_in_the_right_span(llmon_recorder, printed):
    """Also from the thread in which its asynchronous methods work."""
    log = to_print(printed)

    async def serve(name):
        with phase(name), bind({"request": name}):
            await asyncio.sleep(0)
            await log.ainfo("served", of=name)

    async def both():
        await asyncio.gather(serve("a"), serve("b"))

    asyncio.run(both())
    spans = llmon_recorder.spans()
    assert len(llmon_recorder.logs()) == 2
    for record in llmon_recorder.logs():
        assert record.attributes["request"] == record.attributes["of"]
        assert record.span_id == spans[record.attributes["of"]].context.span_id


def test_structlog_is_rendered_whatever_becomes_of_the_record(llmon_recorder, printed, monkeypatch):
    """A failure of ours is counted; at level disabled nothing is sent."""

    class Unspeakable:
        def __str__(self):
            raise RuntimeError("no words")

        __repr__ = __str__

    log = to_print(printed, renderer=lambda *_: "line")
    log.info("x", value=Unspeakable(), level=Unspeakable())
    telemetry.state.level = telemetry.DISABLED
    log.info("y")
    assert printed.getvalue() == "line\nline\n"
    assert llmon_recorder.logs() == []
    assert llmon_recorder.value("llmon.self.errors", {"llmon.source": "structlog"}) == 1


# loguru


def test_loguru_sends_level_message_fields_and_the_spans_ids(llmon_recorder, attached):
    """Its own bound fields, ours, and where it was said."""
    with bind({"tenant": "b"}), phase("serve"), guru.contextualize(request="a"):
        guru.bind(step=3).success("saved {}", "it")
    [record] = llmon_recorder.logs()
    assert (record.severity_number, record.severity_text) == (SeverityNumber.INFO, "SUCCESS")
    assert logged(llmon_recorder) == [("saved it", {"tenant": "b", "request": "a", "step": 3})]
    assert record.attributes["code.function.name"].startswith("test_loguru_sends_level")
    assert record.span_id == llmon_recorder.spans()["serve"].context.span_id


def test_loguru_sends_exceptions(llmon_recorder, attached):
    """Class, message and stack."""
    with guru.catch(message="failed"):
        raise KeyError("k")
    [record] = llmon_recorder.logs()
    assert record.body == "failed"
    assert record.attributes["exception.type"] == "KeyError"
    assert 'raise KeyError("k")' in record.attributes["exception.stacktrace"]


def test_a_line_that_stdlib_logging_hands_to_loguru_is_sent_once(bridged, attached):
    """By the bridge, which knows its fields; what the program says to loguru is sent by the sink."""

    class ToLoguru(logging.Handler):
        def emit(self, record):
            guru.opt(depth=6, exception=record.exc_info).log(record.levelname, record.getMessage())

    logging.getLogger().addHandler(ToLoguru())
    logging.getLogger("app").warning("by stdlib", extra={"step": 3})
    guru.warning("by loguru")
    assert logged(bridged) == [("by stdlib", {"step": 3}), ("by loguru", {})]
    bridging.bridge_logging(hand_over=False)
    logging.getLogger("app").warning("nobody else sends it")
    assert logged(bridged)[2:] == [("nobody else sends it", {})]


def test_a_line_that_loguru_hands_to_stdlib_logging_is_sent_once(bridged, attached):
    """By the sink; without it, by the bridge."""

    class ToStdlib(logging.Handler):
        def emit(self, record):
            logging.getLogger(record.name).handle(record)

    guru.add(ToStdlib(), format="{message}")
    guru.bind(step=3).warning("by loguru")
    assert logged(bridged) == [("by loguru", {"step": 3})]
    guru.remove(attached)
    guru.warning("without the sink")
    assert [body for body, _ in logged(bridged)] == ["by loguru", "without the sink"]


def test_what_is_said_while_exporting_does_not_feed_back(bridged, attached, printed):
    """Neither way."""
    token = attach(set_value(_SUPPRESS_INSTRUMENTATION_KEY, True))
    guru.warning("x")
    to_print(printed).warning("x")
    detach(token)
    assert bridged.logs() == []


def test_loguru_is_not_disturbed_by_a_record_that_cannot_be_sent(llmon_recorder, attached):
    """It goes on to its other sinks, and the failure is counted."""
    lines = []
    guru.add(lines.append, format="{message}")

    class Broken:
        def on_emit(self, *_):
            raise RuntimeError("processor")

        emit = on_emit

        def shutdown(self):
            pass

        def force_flush(self, *_):
            return True

    llmon_recorder.logger_provider.add_log_record_processor(Broken())
    guru.info("x")
    assert [line.strip() for line in lines] == ["x"]
    assert llmon_recorder.value("llmon.self.errors", {"llmon.source": "loguru"}) == 1


def test_floods_of_both_are_dropped_and_counted(llmon_recorder, attached, printed, monkeypatch):
    """As those of events are."""
    monkeypatch.setattr(telemetry.state, "event_rate", 0.001)
    events.limiter.forget()
    log = to_print(printed)
    for number in range(20):
        guru.info(f"item {number}")
        log.info("item", number=number)
    events.limiter.forget()
    assert len(llmon_recorder.logs()) == 2
    assert llmon_recorder.value("llmon.event.dropped", {"llmon.source": __name__}) == 19
    assert llmon_recorder.value("llmon.event.dropped", {"llmon.source": "structlog"}) == 19
    assert len(printed.getvalue().splitlines()) == 20


@pytest.mark.parametrize(
    ("library", "call"),
    [
        ("structlog", "from otel_llmon.adapters.structlog import exported; exported()"),
        ("loguru", "from otel_llmon.adapters.loguru import attach; attach()"),
    ],
)
def test_a_library_that_is_missing_is_named_when_it_is_needed(library, call):
    """With what to run; importing the adapter asks for nothing."""
    code = f"import sys; sys.modules[{library!r}] = None; sys.modules['structlog.dev'] = None\n"
    module, _, rest = call.partition("; ")
    code += f"{module}\ntry:\n    {rest}\nexcept Exception as exc:\n    print(type(exc).__name__, exc)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said == f"{MissingExtraError.__name__} '{library}' is not installed; run: pip install {library}\n"


# the console


@pytest.fixture
def console():
    """A logger whose lines of JSON a function reads, each into a dict."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    log = logging.Logger("app")  # noqa: LOG001  # nobody else's
    log.addHandler(handler)

    def lines():
        return [json.loads(line, parse_constant=pytest.fail) for line in stream.getvalue().split("\n")[:-1]]

    return log, lines


def test_a_line_of_json_says_what_the_record_says(llmon_recorder, console):
    """Time, level, logger, message, service, ids, fields."""
    log, lines = console
    with bind({"request": "a"}), phase("serve"):
        log.warning("saved %s", "it", extra={"step": 3})
    [line] = lines()
    span = llmon_recorder.spans()["serve"].context
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "level": "WARNING",
        "logger": "app",
        "message": "saved it",
        "service": "recorder",
        "trace_id": f"{span.trace_id:032x}",
        "span_id": f"{span.span_id:016x}",
        "fields": {"request": "a", "step": 3},
    }


def test_what_is_not_known_is_absent(console, monkeypatch):
    """No span, no fields, no service."""
    monkeypatch.delenv("OTEL_SERVICE_NAME", raising=False)
    log, lines = console
    log.info("x")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "shop")
    log.info("x")
    assert [line.keys() for line in lines()] == [
        {"time", "level", "logger", "message"},
        {"time", "level", "logger", "message", "service"},
    ]


def test_an_exception_stays_on_the_line(console):
    """Class, message and stack, beside the message."""
    log, lines = console
    try:
        raise KeyError("k")
    except KeyError:
        log.exception("failed")
    [line] = lines()
    assert (line["error"]["type"], line["error"]["message"]) == ("KeyError", "'k'")
    assert 'raise KeyError("k")' in line["error"]["stacktrace"]


def test_a_message_that_does_not_fit_its_arguments_is_printed_all_the_same(console):
    """With what there is."""
    log, lines = console
    log.info("%d items", "no number")
    assert lines()[0]["message"] == "%d items ('no number',)"


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@law(suppress_health_check=list(HealthCheck), max_examples=60)
@given(anything, st.text(max_size=30))
@example(math.nan, "")
@example([1.0, -math.inf], "two\u2028lines\n\ud800")
def test_whatever_is_logged_is_one_line_that_can_be_read(console, value, message):
    """Of any value, in ASCII, without what JSON has no form for."""
    log, lines = console
    before = len(lines())
    log.info("%s", message, extra={"value": value})
    [line] = lines()[before:]
    assert line["message"] == message.encode("utf-8", "replace").decode()
    assert ("value" in line.get("fields", {})) == (value is not None)


def test_dict_config_takes_it_by_its_name(capsys, tmp_path):
    """As factory and as class, for the console and for a file."""
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {
                "json": {"()": "otel_llmon.adapters.console.JsonFormatter"},
                "too": {"class": "otel_llmon.adapters.console.JsonFormatter"},
            },
            "handlers": {
                "err": {"class": "logging.StreamHandler", "formatter": "json"},
                "file": {"class": "logging.FileHandler", "formatter": "too", "filename": str(tmp_path / "app.log")},
            },
            "loggers": {"json.app": {"handlers": ["err", "file"], "level": "INFO", "propagate": False}},
        }
    )
    logging.getLogger("json.app").info("x")
    for handler in logging.getLogger("json.app").handlers:
        handler.close()
    logging.getLogger("json.app").handlers.clear()
    assert json.loads(capsys.readouterr().err)["message"] == "x"
    assert json.loads((tmp_path / "app.log").read_text())["message"] == "x"


def test_the_libraries_are_the_real_ones():
    """Not the modules of ours that are called like them."""
    assert hasattr(loguru, "logger")
    assert hasattr(structlog, "get_logger")
