"""One event, and one line of stdlib logging on its way to OpenTelemetry."""

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

from benchmarks.figures import Figure
from benchmarks.scenes import ATTRIBUTES, pipeline
from benchmarks.timing import Loop
from otel_llmon import event
from otel_llmon.bridging import LogBridge


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


_LINE = '{}.info("saved %s", 3, extra=attributes)'

FIGURES = (
    Figure(
        "event()",
        Loop('event("checkpoint.saved", attributes)', place, 400),
        Loop('emit(logger, "checkpoint.saved", attributes)', place, 400),
    ),
    Figure("logging bridge", Loop(_LINE.format("ours"), place, 400), Loop(_LINE.format("sdk"), place, 400)),
)
