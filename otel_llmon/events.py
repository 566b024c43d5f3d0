"""event(): something that happened, as a log record in the current span; and the bridge from stdlib logging."""

from __future__ import annotations

import functools
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from opentelemetry import _logs
from opentelemetry import context as otel_context
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY

from otel_llmon import metering, telemetry
from otel_llmon.metering import values
from otel_llmon.semconv import attributes as key
from otel_llmon.semconv.selfmetrics import SELF_ERRORS

SEVERITIES = {
    "trace": SeverityNumber.TRACE,
    "debug": SeverityNumber.DEBUG,
    "info": SeverityNumber.INFO,
    "warning": SeverityNumber.WARN,
    "warn": SeverityNumber.WARN,
    "error": SeverityNumber.ERROR,
    "critical": SeverityNumber.FATAL,
    "fatal": SeverityNumber.FATAL,
}
_NUMBERS = (
    (logging.CRITICAL, SeverityNumber.FATAL),
    (logging.ERROR, SeverityNumber.ERROR),
    (logging.WARNING, SeverityNumber.WARN),
    (logging.INFO, SeverityNumber.INFO),
    (logging.DEBUG, SeverityNumber.DEBUG),
)
_OWN_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}

errors = metering.Counter(SELF_ERRORS)


def event(name: str, attributes: Mapping[str, Any] | None = None, severity: str = "info") -> None:
    """Report that something happened: a log record with this event name, in the current span.

    A severity that is not known is taken as `info`, with one line in the log.
    """
    if not telemetry.state.level:
        return
    name = values.text(name)
    number = SEVERITIES.get(values.text(severity).lower())
    if number is None:
        telemetry.warn_once("event %r: severity %r: expected one of %s", name, severity, ", ".join(SEVERITIES))
        number = SeverityNumber.INFO
    try:
        telemetry.logger().emit(
            LogRecord(
                timestamp=time.time_ns(),
                context=otel_context.get_current(),
                severity_number=number,
                severity_text=number.name,
                body=name,
                attributes=telemetry.clean(attributes),
                event_name=name,
            )
        )
    except Exception as exc:  # a processor's bug must not reach the caller's work
        errors.at("event").add()
        telemetry.warn_once("event %r: not reported: %s: %s", name, type(exc).__name__, exc)


class LogBridge(logging.Handler):
    """Hands what the program logs to OpenTelemetry, with the ids of the current span.

    What exporters say while they export is left out, and so is what OpenTelemetry says about itself: either could
    cause the next record, for ever.
    """

    def __init__(self) -> None:
        super().__init__()
        self.hands_over = True
        self._busy = threading.local()

    def emit(self, record: logging.LogRecord) -> None:
        """Hand over one record."""
        self._stand_in(record)
        if (
            not self.hands_over
            or record.name.startswith("opentelemetry.")
            or otel_context.get_value(_SUPPRESS_INSTRUMENTATION_KEY)
            or getattr(self._busy, "now", False)
        ):
            return
        self._busy.now = True
        try:
            _logs.get_logger(values.text(record.name)).emit(_translated(record))
        except Exception:  # logging's own rule: a handler reports its failure to stderr and goes on
            errors.at("logging").add()
            self.handleError(record)
        finally:
            self._busy.now = False

    def _stand_in(self, record: logging.LogRecord) -> None:
        """Print warnings as Python does in a program that set up no logging: telemetry must not silence them."""
        if logging.lastResort is not None and all(_is_telemetry(handler) for handler in logging.root.handlers):
            last = logging.lastResort
            if record.levelno >= last.level and _alone(logging.getLogger(record.name)):
                last.handle(record)


def _is_telemetry(handler: logging.Handler) -> bool:
    return isinstance(handler, LogBridge) or type(handler).__module__.startswith("opentelemetry.")


def _alone(logger: logging.Logger | None) -> bool:
    while logger is not None and logger is not logging.root:
        if logger.handlers:
            return False
        logger = logger.parent if logger.propagate else None
    return True


def _translated(record: logging.LogRecord) -> LogRecord:
    attributes = {name: value for name, value in vars(record).items() if name not in _OWN_FIELDS}
    attributes |= {
        key.CODE_FILE: record.pathname,
        key.CODE_FUNCTION: record.funcName,
        key.CODE_LINE: record.lineno,
    }
    if record.exc_info and record.exc_info[1] is not None:
        attributes |= telemetry.told_by(record.exc_info[1])
    number = next((number for level, number in _NUMBERS if record.levelno >= level), SeverityNumber.TRACE)
    return LogRecord(
        timestamp=int(record.created * 1e9),
        observed_timestamp=time.time_ns(),
        context=otel_context.get_current(),
        severity_number=number,
        severity_text=record.levelname,
        body=telemetry.carried(record.getMessage()),
        attributes=telemetry.clean(attributes),
    )


_bridge = LogBridge()


def bridge_logging(*, hand_over: bool = True) -> None:
    """Send the root logger's records to OpenTelemetry, also after the program sets up its logging anew.

    Without `hand_over` they are only printed where Python would have: beside a handler of OpenTelemetry's own.
    """
    _bridge.hands_over = hand_over
    root = logging.getLogger()
    if _bridge in root.handlers:
        return
    root.addHandler(_bridge)
    if not hasattr(logging.basicConfig, "__wrapped__"):
        _follow_logging_setup()


def _follow_logging_setup() -> None:
    """Put the bridge back after the standard library's ways to set logging up, which take all handlers off."""
    from logging import config  # it costs an import of ours a fifth more

    logging.basicConfig = _aside(logging.basicConfig)
    config.fileConfig = _aside(config.fileConfig)
    # dictConfig is often imported by name before we come, so the class that it calls is what we take
    configurator: Any = config.dictConfigClass

    class Configurator(configurator):  # type: ignore[misc]
        def configure(self) -> None:
            with _set_aside():
                super().configure()

    config.dictConfigClass = Configurator


def unbridge_logging() -> None:
    """Send no more."""
    logging.getLogger().removeHandler(_bridge)


@contextmanager
def _set_aside() -> Iterator[None]:
    """Take the bridge off the root logger for a while: basicConfig does nothing where there is a handler already."""
    root = logging.getLogger()
    there = _bridge in root.handlers
    if there:
        root.handlers.remove(_bridge)
    try:
        yield
    finally:
        if there and _bridge not in root.handlers:
            root.addHandler(_bridge)


def _aside(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def without_bridge(*args: Any, **kwargs: Any) -> Any:
        with _set_aside():
            return function(*args, **kwargs)

    return without_bridge
