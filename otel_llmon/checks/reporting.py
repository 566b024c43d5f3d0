"""What a check tells: a span of its own, durations, and a line and an event where the verdict changes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.trace import SpanKind, Status, StatusCode

from otel_llmon import metering, telemetry, wording
from otel_llmon.events import errors, event
from otel_llmon.metering import values
from otel_llmon.outcomes import FAILURE, SUCCESS
from otel_llmon.semconv import attributes as key
from otel_llmon.semconv import health as rows
from otel_llmon.semconv.events import TARGET_DOWN, TARGET_UP
from otel_llmon.targets import Target
from otel_llmon.telemetry import state

if TYPE_CHECKING:
    from otel_llmon.checks.verdicts import Result, Run

NO_SPAN = trace.INVALID_SPAN
RETRY = "llmon.check.retry"
"""Name of the span events."""

_duration = metering.Histogram(rows.HEALTH_DURATION)
_step = metering.Histogram(rows.HEALTH_STEP)

quietly = suppress_instrumentation
"""Around a probe: what it asks over instrumented libraries is no call of the program's, and is told by us."""


@contextmanager
def checking(run: Run) -> Iterator[None]:
    """Put a span of its own around a run; it is no part of a trace of the program's."""
    target = run.check.target
    if state.level:
        name = f"check {values.text(target.name)}"
        run.span = telemetry.tracer().start_span(name, Context(), SpanKind.CLIENT, _facts(target))
    with trace.use_span(run.span, end_on_exit=False, record_exception=False, set_status_on_exception=False):
        yield


def _facts(target: Target) -> dict[str, Any]:
    facts: dict[str, Any] = {key.TARGET: target.name, key.TARGET_TYPE: target.kind}
    if target.kind not in ("disk", "database", "function"):
        parts = urlsplit(target.address if "//" in target.address else f"//{target.address}")
        facts[key.SERVER_ADDRESS] = str(parts.hostname)
        facts[key.SERVER_PORT] = parts.port or (443 if parts.scheme == "https" else 80)
    return facts


def retried(run: Run, attempt: int, reason: str) -> None:
    """Tell that an attempt failed and another one follows."""
    run.span.add_event(RETRY, {key.ATTEMPT: attempt, key.REASON: reason})


def ended(run: Run, last: Result, before: Result, after: Result, *, known: bool) -> None:
    """Tell what a run found. `before` is the last verdict that there was, `last` what was found last."""
    if state.level:
        try:
            _record(run, after, known=known)
        except Exception as exc:  # a span processor's bug must not cost the verdict
            failed(after.name, exc)
    if not known:
        _not_known(last, after)
    elif after.up != before.up:
        with trace.use_span(run.span, end_on_exit=False):
            _tell(before, after)
    run.span.end()


def _record(run: Run, after: Result, *, known: bool) -> None:
    name, kind = values.text(after.name), after.kind
    if known:
        outcome = FAILURE if after.reason else SUCCESS
        _duration.at(name, kind, outcome).record(after.seconds or 0.0, run.span)
        run.span.set_attribute(key.OUTCOME, outcome)
    for step, seconds in run.asking.steps.copy().items():
        _step.at(name, step).record(seconds, run.span)
    if "http_status" in after.facts:
        run.span.set_attribute(key.HTTP_STATUS, int(after.facts["http_status"]))
    if after.reason:
        run.span.set_status(Status(StatusCode.ERROR, after.reason))


def _not_known(last: Result, after: Result) -> None:
    """Count that a check found nothing for a cause that lies here, and say so in one line where that is new."""
    errors.at(after.name).add()
    if last.reason != after.reason:
        telemetry.log.warning("check %s: nobody knows: %s", after.name, after.reason)


def _tell(before: Result, after: Result) -> None:
    """Say in one line that the verdict changed; that a target is up from the start goes without saying."""
    fields: dict[str, Any] = {"target": after.name, "type": after.kind}
    if not after.up:
        event(TARGET_DOWN.name, fields | {"reason": after.reason})
        telemetry.log.warning("check %s: down: %s", after.name, after.reason)
    elif before.up is False:
        down = (after.at or 0.0) - (before.since or 0.0)
        event(TARGET_UP.name, fields | {"duration": down})
        telemetry.log.warning("check %s: up again after %s", after.name, wording.duration(down))


def guarded(name: str, what: str, call: Callable[..., object], told: object) -> None:
    """Call what the program gave us; its failure is counted, told once, and costs nothing else."""
    try:
        call(told)
    except Exception as exc:
        errors.at(name).add()
        telemetry.warn_once(f"check %s: its {what} fails: %s: %s", name, type(exc).__name__, exc)


def failed(name: str, exc: BaseException) -> None:
    """Count a failure of our own side, and tell the first one."""
    errors.at(name).add()
    telemetry.warn_once("check %s: %s: %s", name, type(exc).__name__, exc)
