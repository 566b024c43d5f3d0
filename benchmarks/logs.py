"""One event, and one line of stdlib logging on its way to OpenTelemetry; and those that are too many to be sent."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from opentelemetry import _logs
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.sdk._logs import LoggingHandler

from benchmarks.figures import MICROSECOND, Figure
from benchmarks.scenes import ATTRIBUTES, pipeline
from benchmarks.timing import Loop
from otel_llmon import bind, event, events, telemetry
from otel_llmon.bridging import LogBridge
from otel_llmon.limiting import Limiter


def emit(logger: Any, name: str, attributes: Any) -> None:
    """Do what a program without us does to report an event."""
    logger.emit(
        LogRecord(
            timestamp=time.time_ns(),
            severity_number=SeverityNumber.INFO,
            severity_text="INFO",
            body=name,
            attributes=attributes,
            event_name=name,
        )
    )


@contextmanager
def place() -> Iterator[dict[str, Any]]:
    """Loggers that lead to a processor of batches."""
    with pipeline() as made, warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the SDK's handler is moving to another package
        handlers = {"ours": LogBridge(), "sdk": LoggingHandler(logger_provider=_logs.get_logger_provider())}
        yield made | {
            "event": event,
            "emit": emit,
            "attributes": ATTRIBUTES,
            "logger": _logs.get_logger("benchmarks"),
            **{name: _logger(name, handler) for name, handler in handlers.items()},
        }


def _logger(name: str, handler: logging.Handler) -> logging.Logger:
    logger = logging.getLogger(f"benchmarks.{name}")
    logger.handlers, logger.propagate = [handler], False
    logger.setLevel(logging.INFO)
    return logger


@contextmanager
def unlimited() -> Iterator[dict[str, Any]]:
    """As place(), at a rate that refuses nothing, as the loops here are faster than any program should be."""
    with place() as made, _rate(1e9):
        yield made


@contextmanager
def flooded() -> Iterator[dict[str, Any]]:
    """As place(), where nothing more may pass."""
    telemetry.log.disabled = True  # it would tell of every flood
    with place() as made, _rate(1e-6):
        event("checkpoint.saved")
        yield made
    telemetry.log.disabled = False


@contextmanager
def bound() -> Iterator[dict[str, Any]]:
    """As unlimited(), with two fields bound."""
    with unlimited() as made, bind({"request": "4711", "tenant": "b"}):
        yield made


@contextmanager
def limiter() -> Iterator[dict[str, Any]]:
    """A kind that may pass, and one that may not."""
    never = Limiter(lambda: 1e-6)
    never.of("x").take()
    yield {"open": Limiter(lambda: 1e9), "shut": never, "kind": ("app.part", "/srv/app/part.py", 31)}


@contextmanager
def _rate(rate: float) -> Iterator[None]:
    before = telemetry.state.event_rate
    telemetry.state.event_rate = rate
    events.limiter.forget()
    try:
        yield
    finally:
        telemetry.state.event_rate = before
        events.limiter.forget()


_LINE = '{}.info("saved %s", 3, extra=attributes)'

_EVENT = 'event("checkpoint.saved", attributes)'

FIGURES = (
    Figure(
        "event()",
        Loop(_EVENT, unlimited, 400),
        Loop('emit(logger, "checkpoint.saved", attributes)', unlimited, 400),
    ),
    Figure("event(), two fields bound", Loop(_EVENT, bound, 400), Loop(_EVENT, unlimited, 400)),
    Figure("event(), too many", Loop(_EVENT, flooded, 4000), Loop(_EVENT, unlimited, 400)),
    Figure("logging bridge", Loop(_LINE.format("ours"), unlimited, 400), Loop(_LINE.format("sdk"), unlimited, 400)),
    Figure(
        "logging bridge, too many",
        Loop(_LINE.format("ours"), flooded, 1000),
        Loop(_LINE.format("sdk"), unlimited, 400),
    ),
    Figure("limiter, passes", Loop("open.of(kind).take()", limiter, 20_000), plus=0.3 * MICROSECOND),
    Figure("limiter, refuses", Loop('shut.of("x").take()', limiter, 20_000), plus=0.3 * MICROSECOND),
)
