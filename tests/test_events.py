"""Events are log records in the current span; what the program logs goes the same way, and neither floods anybody."""

from __future__ import annotations

import logging
import logging.config
import pickle
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from logging.config import dictConfig
from logging.handlers import SocketHandler

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as law
from hypothesis import strategies as st
from opentelemetry._logs import SeverityNumber
from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY, attach, detach, set_value
from opentelemetry.sdk._logs import LoggingHandler

from otel_llmon import bind, bridging, event, events, phase, telemetry
from otel_llmon.semconv import Metric
from otel_llmon.semconv.events import EVENTS
from otel_llmon.testing import Recorder


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


@pytest.fixture
def limit(monkeypatch, clock):
    """A function that sets the rate, by a clock that stands still until the test moves it; no kind was seen before."""
    monkeypatch.setattr(events.limiter, "_clock", clock)
    events.limiter.forget()
    yield lambda rate: monkeypatch.setattr(telemetry.state, "event_rate", rate)
    events.limiter.forget()


def dropped(recorder, source) -> float:
    """How many of a kind were counted and not reported."""
    return recorder.value("llmon.event.dropped", {"llmon.source": source}) or 0


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


def test_an_error_beside_an_event_is_told_whole(llmon_recorder):
    """Class, message and stack, under upstream's names."""
    try:
        raise KeyError("k")
    except KeyError as exc:
        event("error", {"operation": "load"}, error=exc)
    [record] = llmon_recorder.logs()
    assert record.severity_number is SeverityNumber.ERROR
    assert record.attributes["operation"] == "load"
    assert record.attributes["exception.type"] == "KeyError"
    assert record.attributes["exception.message"] == "'k'"
    assert 'raise KeyError("k")' in record.attributes["exception.stacktrace"]


def test_an_event_of_the_vocabulary_brings_its_severity(llmon_recorder):
    """Unless one is given; other names are info."""
    event("deployment.failed")
    event("deployment.failed", None, "info")
    event("mine.failed")
    numbers = [record.severity_number for record in llmon_recorder.logs()]
    assert numbers == [SeverityNumber.ERROR, SeverityNumber.INFO, SeverityNumber.INFO]


def test_a_misspelt_field_of_the_vocabulary_is_told_once_and_kept(llmon_recorder, caplog):
    """What only looks unlike any other is the program's own affair; so are other events' fields."""
    for _ in range(3):
        event("checkpoint.saved", {"stpe": 1, "step": 1, "shard": 4})
        event("mine.saved", {"stpe": 1})
    assert [message for message in caplog.messages if "field" in message] == [
        "event 'checkpoint.saved': unknown field 'stpe', did you mean 'step'?"
    ]
    assert dict(llmon_recorder.logs()[0].attributes) == {"stpe": 1, "step": 1, "shard": 4}


@pytest.mark.parametrize("row", EVENTS.values(), ids=lambda row: row.name)
def test_every_event_of_the_vocabulary_takes_its_fields_in_silence(llmon_recorder, caplog, row):
    """None of them is taken for a mistake."""
    event(row.name, dict.fromkeys(row.fields, 1))
    assert llmon_recorder.logs()[-1].attributes.keys() == row.fields.keys()
    assert caplog.messages == []


def test_a_flood_of_one_event_costs_no_other(llmon_recorder, caplog, clock, limit):
    """Ten seconds' worth at once, then the rate; the rest is counted, and told once."""
    limit(2)
    for _ in range(100):
        event("flood")
    event("rare")
    assert bodies(llmon_recorder) == ["flood"] * 20 + ["rare"]
    assert dropped(llmon_recorder, "flood") == 80
    clock.now += 1.5
    for _ in range(10):
        event("flood")
    assert bodies(llmon_recorder).count("flood") == 23
    assert dropped(llmon_recorder, "flood") == 87
    [told] = caplog.messages
    assert told.startswith("flood: more than 2 a second: the others are only counted, in llmon.event.dropped;")


@law(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(st.lists(st.tuples(st.sampled_from(["a", "b"]), st.floats(0, 5), st.integers(1, 60)), max_size=8))
def test_what_was_sent_was_reported_or_counted(llmon_recorder, clock, limit, bunches):
    """Nothing is lost and nothing comes twice, for each kind of its own."""
    limit(3)
    before = {name: (bodies(llmon_recorder).count(name), dropped(llmon_recorder, name)) for name in "ab"}
    for name, gap, size in bunches:
        clock.now += gap
        for _ in range(size):
            event(name)
    for name in "ab":
        reported = bodies(llmon_recorder).count(name) - before[name][0]
        counted = dropped(llmon_recorder, name) - before[name][1]
        assert reported + counted == sum(size for other, _, size in bunches if other == name)


def test_eight_threads_lose_no_count(llmon_recorder, limit):
    """Exact, however they meet."""
    limit(10)

    def flood(_):
        for _ in range(2000):
            event("flood")

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(flood, range(8)))
    assert bodies(llmon_recorder).count("flood") == 100
    assert dropped(llmon_recorder, "flood") == 16_000 - 100


def test_no_thread_reports_to_a_provider_that_was_replaced(limit):
    """The first event after a change of provider may come from several threads at once."""
    limit(0)
    for _ in range(30):
        with Recorder() as recorder, ThreadPoolExecutor(8) as threads:
            start = threading.Barrier(8)

            def flood(_, start=start):
                start.wait(10)
                for _ in range(20):
                    event("x")

            list(threads.map(flood, range(8)))
        assert len(recorder.logs()) == 160


def test_names_without_end_share_one_allowance(llmon_recorder, limit):
    """A name with a number in it floods as well; the count has one series for all that is past its cap."""
    limit(1)
    for number in range(1500):
        event(f"saved.{number}")
    assert len(llmon_recorder.logs()) == 1000 + 10
    assert sum(point.value for point in llmon_recorder.points()["llmon.event.dropped"]) == 490


def test_a_place_in_the_code_is_a_kind_of_line(bridged, limit):
    """A line in a loop hides none of its logger's others, whatever each message says."""
    limit(1)
    log = logging.getLogger("app")
    for number in range(50):
        log.warning(f"item {number}")  # noqa: G004
    log.warning("the end")
    assert [body for body in bodies(bridged) if "app: more" not in body] == [
        *map("item {}".format, range(10)),
        "the end",
    ]
    assert dropped(bridged, "app") == 40


def test_without_a_rate_nothing_is_dropped(bridged, limit):
    """0 is no limit."""
    limit(0)
    for _ in range(500):
        event("x")
    assert len(bridged.logs()) == 500


def test_a_line_may_be_an_event(bridged):
    """`otel.event.name` in `extra=` becomes the record's event name, as with OpenTelemetry's own handler."""
    logging.getLogger("app").warning("saved", extra={"otel.event.name": "checkpoint.saved", "step": 3})
    [record] = bridged.logs()
    assert (record.event_name, record.body, record.attributes["step"]) == ("checkpoint.saved", "saved", 3)
    assert "otel.event.name" not in record.attributes


def test_an_exception_of_which_only_the_text_is_left_keeps_its_stack(bridged):
    """As in a record that came through a socket; and `stack_info` says how the program came there."""
    log = logging.getLogger("app")
    try:
        raise KeyError("k")
    except KeyError:
        line = log.makeRecord("app", 40, "f.py", 1, "failed", (), sys.exc_info())
    sent = SocketHandler("127.0.0.1", 9).makePickle(line)
    log.handle(logging.makeLogRecord(pickle.loads(sent[4:])))
    log.warning("here", stack_info=True)
    first, second = bridged.logs()
    assert "KeyError: 'k'" in first.attributes["exception.stacktrace"]
    assert "test_an_exception_of_which" in second.attributes["code.stacktrace"]


def test_an_exception_group_is_told_with_all_that_is_in_it(bridged):
    """And with what caused it."""
    try:
        try:
            raise OSError("disk")
        except OSError as exc:
            raise ExceptionGroup("both", [ValueError("one"), TypeError("two")]) from exc
    except ExceptionGroup:
        logging.getLogger("app").exception("failed")
    stack = bridged.logs()[0].attributes["exception.stacktrace"]
    assert all(part in stack for part in ("OSError: disk", "ValueError: one", "TypeError: two", "direct cause"))


@pytest.mark.parametrize(
    ("environ", "levels"),
    [
        ({}, ("NOTSET", "WARNING", "NOTSET")),
        ({"OTEL_PYTHON_LOG_LEVEL": "debug"}, ("NOTSET", "DEBUG", "NOTSET")),
        ({"OTEL_PYTHON_LOG_HANDLER_LEVEL": "ERROR"}, ("ERROR", "WARNING", "NOTSET")),
        ({"OTEL_LOG_LEVEL": " Error "}, ("NOTSET", "WARNING", "ERROR")),
        ({"OTEL_PYTHON_LOG_LEVEL": "loud", "OTEL_LOG_LEVEL": ""}, ("NOTSET", "WARNING", "NOTSET")),
    ],
)
def test_levels_follow_upstreams_variables(bridged, capsys, environ, levels):
    """What the bridge takes, what the program logs, what OpenTelemetry says of itself; no level is told, no more."""
    root, own = logging.getLogger(), logging.getLogger("opentelemetry")
    root.handlers[:] = [bridging._bridge]
    try:
        bridging.bridge_logging(environ=environ)
        assert tuple(logging.getLevelName(each.level) for each in (bridging._bridge, root, own)) == levels
        assert ("OTEL_PYTHON_LOG_LEVEL='loud': expected" in capsys.readouterr().err) == ("loud" in environ.values())
    finally:
        bridging._bridge.setLevel(logging.NOTSET)
        own.setLevel(logging.NOTSET)


def test_a_level_that_the_program_set_stays(bridged):
    """What has handlers was set up."""
    logging.getLogger().setLevel("ERROR")
    bridging.bridge_logging(environ={"OTEL_PYTHON_LOG_LEVEL": "debug"})
    assert logging.getLogger().level == logging.ERROR


def test_opentelemetrys_own_handler_gets_what_is_bound_and_keeps_to_the_rate(llmon_recorder, limit, bridged):
    """Where it stands in our bridge's place; a record of ours that was sent already it leaves out."""
    limit(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the SDK's handler is moving to another package
        handler = LoggingHandler(logger_provider=bridged.logger_provider)
    logging.getLogger().addHandler(handler)
    bridging.bridge_logging(hand_over=False)
    log = logging.getLogger("app")
    with bind({"request": "a", "name": "no"}):
        for number in range(50):
            log.warning("item %s", number, extra={"request": "own"} if number == 1 else None)
    log.warning("sent", extra={bridging.SENT: True})
    found = [record for record in bridged.logs() if "app: more" not in record.body]
    assert [record.body for record in found] == [f"item {number}" for number in range(10)]
    assert [record.attributes["request"] for record in found] == ["a", "own", *["a"] * 8]
    assert dropped(bridged, "app") == 40
    bridging.unbridge_logging()
    log.warning("after")
    assert bodies(bridged)[-1] == "after"


def test_fields_that_are_declared_are_metrics_too(llmon_recorder, limit, rows, monkeypatch):
    """Each of its kind, by other fields; events that the rate leaves out are in the metrics all the same."""
    monkeypatch.setattr(events, "_declared", {})
    events.declare("search.served", {"seconds": rows.histogram, "hits": rows.counter, "queue": rows.gauge})
    limit(1)
    for number in range(20):
        event("search.served", {"seconds": 1.5, "hits": number, "queue": number, "a": "x"})
    event("search.served", {"seconds": "slow", "hits": None})
    event("search.begun", {"seconds": 1.5})
    event("search.served")
    [took] = llmon_recorder.points()["llmon.test.histogram"]
    assert (took.count, took.sum, dict(took.attributes)) == (20, 30, {"a": "x"})
    assert llmon_recorder.value("llmon.test.counter", {"a": "x"}) == sum(range(20))
    assert llmon_recorder.value("llmon.test.gauge", {"a": "x"}) == 19
    assert bodies(llmon_recorder).count("search.served") + dropped(llmon_recorder, "search.served") == 22
    assert dropped(llmon_recorder, "search.served") > 0
    assert (
        llmon_recorder.value("llmon.self.refused", {"llmon.source": rows.histogram.name, "llmon.reason": "type"}) == 1
    )


@pytest.mark.parametrize(
    ("metrics", "said"),
    [
        ("abc", r"declare\('e'\): found str, expected a mapping of fields to metrics"),
        ({"s": 3}, "field 's': found int, expected a Metric"),
        (
            {"s": Metric("llmon.test.no", "nope", "1", "No.")},
            "'llmon.test.no': found kind 'nope', expected one of",
        ),
    ],
)
def test_what_is_no_metric_cannot_be_declared(metrics, said, monkeypatch):
    """It is said at the call, and nothing is declared."""
    monkeypatch.setattr(events, "_declared", {})
    with pytest.raises(TypeError, match=said):
        events.declare("e", metrics)
    assert not events._declared


def test_a_metric_that_is_another_one_already_cannot_be_declared(rows, monkeypatch):
    """Two units under one name would be neither."""
    monkeypatch.setattr(events, "_declared", {})
    events.declare("one", {"seconds": rows.histogram})
    with pytest.raises(ValueError, match=r"'llmon.test.histogram': exists already and differs"):
        events.declare("other", {"bytes": rows.histogram._replace(unit="By")})
