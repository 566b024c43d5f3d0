"""How work ended: its outcome, and what its span says of it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from opentelemetry import trace
from opentelemetry.trace import Status, StatusCode

from otel_llmon.events import errors
from otel_llmon.semconv import attributes as key
from otel_llmon.telemetry import error_type, told_by, warn_once

SUCCESS, FAILURE, CANCELLATION = "success", "failure", "cancellation"
_CANCELLED = frozenset(("CancelledError", "Cancelled", "GeneratorExit", "KeyboardInterrupt"))
"""Names of what ends work from outside, in asyncio, trio and Python itself; trio is not imported for its class."""


def outcome(error: BaseException) -> str:
    """Return whether work that ended with this exception failed, was cancelled, or succeeded after all."""
    if isinstance(error, SystemExit):
        return FAILURE if error.code else SUCCESS
    return CANCELLATION if any(kind.__name__ in _CANCELLED for kind in type(error).__mro__) else FAILURE


def end_span(span: trace.Span, error: BaseException | None, facts: Mapping[str, Any] | None = None) -> None:
    """End the span of work that ended so, with these attributes."""
    ended = None if error is None else time.time_ns()  # it takes its time to write a traceback
    try:
        if facts:
            span.set_attributes(facts)
        if error is not None and span.is_recording():
            span.set_attribute(key.ERROR_TYPE, error_type(error))
            if outcome(error) == FAILURE:
                told = told_by(error)
                span.add_event("exception", told, ended)
                description = f"{told[key.EXCEPTION_TYPE]}: {told[key.EXCEPTION_MESSAGE]}"
                span.set_status(Status(StatusCode.ERROR, description))
        span.end(ended)
    except Exception as exc:  # a span processor's own failure must not reach the caller's work
        tell_failure(exc)


def tell_failure(exc: Exception, what: str = "traces") -> None:
    """Count and tell what was lost: never the caller's work."""
    errors.at(what).add()
    lost = "span" if what == "traces" else "measurement"
    warn_once("a phase's %s is lost: %s: %s", lost, type(exc).__name__, exc)
