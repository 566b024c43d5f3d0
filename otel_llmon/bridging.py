"""The bridge from stdlib logging: what a program logs becomes OpenTelemetry's log records, with what is bound there."""

from __future__ import annotations

import functools
import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from opentelemetry import _logs

from otel_llmon import events, telemetry
from otel_llmon.context import bound
from otel_llmon.metering import values
from otel_llmon.semconv import attributes as key

SENT = "_otel_llmon_sent"
"""On a record of stdlib logging: an adapter has sent what it says, with its fields."""

loguru_sinks: list[Any] = []
"""Those that loguru has of us."""

OWN_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", SENT}
"""What every record has; the rest came by `extra=`."""


class LogBridge(logging.Handler):
    """Hands what the program logs to OpenTelemetry, with the ids of the current span."""

    def __init__(self) -> None:
        super().__init__()
        self.hands_over = True
        self._busy = threading.local()

    def emit(self, record: logging.LogRecord) -> None:
        """Hand over one record."""
        self._stand_in(record)
        if (
            not self.hands_over
            or SENT in vars(record)
            or (loguru_sinks and _is_loguru(record))
            or events.mute(record.name)
            or getattr(self._busy, "now", False)
        ):
            return
        try:
            if _allowed(record):
                self._busy.now = True
                _send(record)
        except Exception:  # logging's own rule: a handler reports its failure to stderr and goes on
            events.errors.at("logging").add()
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


def _is_loguru(record: logging.LogRecord) -> bool:
    """Tell whether loguru made it, for a handler of stdlib logging among its sinks."""
    return isinstance(vars(record).get("extra"), dict)


def _allowed(record: logging.LogRecord) -> bool:
    """A kind of line is a place in the code: a message may be another one each time."""
    kind = record.name, record.pathname, record.lineno
    if events.limiter.of(kind).take():
        return True
    events.drop(kind, record.name)
    return False


def _send(record: logging.LogRecord) -> None:
    fields = {name: value for name, value in vars(record).items() if name not in OWN_FIELDS}
    event_name = fields.pop(key.EVENT_NAME, None)
    fields |= {
        key.CODE_FILE: record.pathname,
        key.CODE_FUNCTION: record.funcName,
        key.CODE_LINE: record.lineno,
    }
    if record.exc_info or record.exc_text or record.stack_info:
        fields |= failure_of(record)
    events.send(
        _logs.get_logger(values.text(record.name)),
        telemetry.carried(record.getMessage()),
        telemetry.clean(fields),
        events.severity_of(record.levelno),
        record.levelname,
        int(record.created * 1e9),
        None if event_name is None else values.text(event_name),
    )


def failure_of(record: logging.LogRecord) -> dict[str, str]:
    """Return what a record says about an exception, and how the program came there if that was asked for."""
    found: dict[str, str] = {}
    if record.exc_info and record.exc_info[1] is not None:
        found = telemetry.told_by(record.exc_info[1])
    elif record.exc_text:  # a queue between threads leaves only this
        found = {key.EXCEPTION_STACKTRACE: record.exc_text}
    if record.stack_info:
        found[key.CODE_STACKTRACE] = record.stack_info
    return found


class _Companion(logging.Filter):
    """Stands before a handler of OpenTelemetry's own: gives records what is bound, and keeps to `event_rate`."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether this record is to be sent."""
        try:
            if SENT in vars(record) or (loguru_sinks and _is_loguru(record)) or not _allowed(record):
                return False
            for name, value in bound().items():
                if name not in OWN_FIELDS:
                    vars(record).setdefault(name, value)
        except Exception as exc:  # as in the bridge; the record itself is whole
            events.failed("logging", record.name, exc)
        return True


_bridge = LogBridge()
_companion = _Companion()


def bridge_logging(*, hand_over: bool = True, environ: Mapping[str, str] = os.environ) -> None:
    """Send the root logger's records to OpenTelemetry, also after the program sets up its logging anew.

    Without `hand_over` they are only printed where Python would have: beside a handler of OpenTelemetry's own, which
    then gets what is bound.
    """
    _bridge.hands_over = hand_over
    root = logging.getLogger()
    for handler in _others():
        handler.addFilter(_companion)
    _set_levels(environ)
    if _bridge in root.handlers:
        return
    root.addHandler(_bridge)
    if not hasattr(logging.basicConfig, "__wrapped__"):
        _follow_logging_setup()


def unbridge_logging() -> None:
    """Send no more."""
    logging.getLogger().removeHandler(_bridge)
    for handler in _others():
        handler.removeFilter(_companion)


def reaches(logger: logging.Logger) -> bool:
    """Tell whether what this logger takes is sent: by the bridge, or by a handler of OpenTelemetry's own."""
    handlers = logging.getLogger().handlers
    sends = bool(_others()) or (_bridge.hands_over and _bridge in handlers)
    return sends and _propagates(logger)


def _propagates(logger: logging.Logger | None) -> bool:
    while logger is not None and logger is not logging.root:
        logger = logger.parent if logger.propagate else None
    return logger is not None


def _others() -> list[logging.Handler]:
    return [handler for handler in logging.getLogger().handlers if handler is not _bridge and _is_telemetry(handler)]


def _set_levels(environ: Mapping[str, str]) -> None:
    """Follow upstream's variables: what the bridge takes, what the program logs, what OpenTelemetry says of itself."""
    own, root = logging.getLogger("opentelemetry"), logging.getLogger()
    if (level := _level(environ, "OTEL_PYTHON_LOG_HANDLER_LEVEL")) is not None:
        _bridge.setLevel(level)
    if (level := _level(environ, "OTEL_PYTHON_LOG_LEVEL")) is not None and all(map(_is_telemetry, root.handlers)):
        root.setLevel(level)
    if (level := _level(environ, "OTEL_LOG_LEVEL")) is not None and own.level == logging.NOTSET:
        own.setLevel(level)


def _level(environ: Mapping[str, str], name: str) -> int | None:
    said = environ.get(name, "").strip()
    if not said:
        return None
    level = logging.getLevelName(said.upper())
    if not isinstance(level, int):
        telemetry.warn_once(f"{name}=%r: expected debug, info, warning, error or critical", said)
        return None
    return level


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
