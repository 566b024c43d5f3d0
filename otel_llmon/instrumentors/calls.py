"""One call to a model: a span around it, and what it took and used as metrics, once, however it ends."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY
from opentelemetry.trace import SpanKind, Status, StatusCode

from otel_llmon import efficiency, events, telemetry
from otel_llmon.context import leave, where
from otel_llmon.instrumentors import Given, Patch, Received, content, conventions, held
from otel_llmon.outcomes import CANCELLATION, FAILURE, outcome
from otel_llmon.semconv import attributes as key
from otel_llmon.telemetry import DETAILED, state

_SUPPRESSED = "suppress_instrumentation"
"""The key by which older instrumentations say the same."""


class _Process:
    """Counts forks: a child must not report what its parent began."""

    generation = 0


def failed(library: str, exc: BaseException) -> None:
    """Count a failure of our own, and warn the first time."""
    events.errors.at(library).add()
    telemetry.warn_once("%s: a call is not told in full: %s: %s", library, type(exc).__name__, exc)


def begin(patch: Patch, owner: Any, given: Given) -> Call | None:
    """Return the call that begins now, or None where nothing is to be told of it."""
    if not state.level:
        return None
    current = otel_context.get_current()
    if current.get(_SUPPRESS_INSTRUMENTATION_KEY) or current.get(_SUPPRESSED):
        return None
    try:
        if held.dropped:
            held.end_dropped()
        return Call(patch, owner, given)
    except Exception as exc:  # a table's mistake, or a sampler's, must not reach the call
        failed(patch.library, exc)
        return None


class Call:
    """A call that runs. Its span is current while the library's own code runs, and never while its caller's does."""

    __slots__ = (
        "_asked",
        "_began",
        "_open",
        "course",
        "expected",
        "given",
        "patch",
        "place",
        "received",
        "span",
        "started",
        "token",
    )

    def __init__(self, patch: Patch, owner: Any, given: Given) -> None:
        self.patch, self.given = patch, given
        self.course = conventions.course(patch.operation, patch.target(owner, given))
        self.received = Received()
        self.place = where.get()[:2]
        self.expected = 1
        self._asked: Mapping[str, Any] = {}
        self.span: trace.Span | None = None
        self.token: Any = None
        self._began, self.started = time.time_ns(), state.clock()
        if state.level >= DETAILED:
            self._start_span()
        self._open = [_Process.generation]

    def _start_span(self) -> None:
        course = self.course
        self.span = span = telemetry.tracer().start_span(
            course.name, kind=SpanKind.CLIENT, attributes=course.facts, start_time=self._began
        )
        if span.is_recording():
            try:
                self._describe_request()
            except Exception as exc:
                failed(self.patch.library, exc)
        if span.get_span_context().is_valid:
            self.token = otel_context.attach(trace.set_span_in_context(span))

    def _describe_request(self) -> None:
        self._asked = facts = self.patch.request(self.given)
        self.expected = facts.get(key.GEN_AI_CHOICE_COUNT, 1)
        if (
            state.capture_content and self.patch.content is not None
        ):  # last, since a mistake in reading it costs only it
            self._asked = {**facts, **content.asked(self.patch.content, self.given)}

    @property
    def captures(self) -> bool:
        """Tell whether the answer's content goes on the span."""
        return bool(state.capture_content and self.patch.content and self.span and self.span.is_recording())

    def step_aside(self) -> None:
        """Be current no more: the library's code has returned."""
        if self.token is not None:
            leave(self.token)
            self.token = None

    def finish(self, answer: Any, at: float | None = None, error: BaseException | None = None) -> None:
        """End with a whole answer."""
        try:
            self.patch.response(self.received, answer)
            if self.captures and self.patch.content is not None:
                self.received.attributes |= content.said(self.patch.content.answer(answer))
        except Exception as exc:
            failed(self.patch.library, exc)
        self.end(at, error)

    def fail(self, error: BaseException) -> None:
        """End with an exception. Some bring the answer that they find fault with: its tokens are spent."""
        answer = getattr(error, "completion", None)
        if answer is None:
            self.end(error=error)
        else:
            self.finish(answer, error=error)

    def end(self, at: float | None = None, error: BaseException | None = None, *, stopped: bool = False) -> None:
        """Record what is known, at the time `at` of our clock or now, unless it has ended before."""
        if self.claim():
            self.tell(at, error, stopped=stopped)

    def claim(self) -> bool:
        """Return whether it is the caller's to end: once, and not in a child of the process that began it."""
        try:
            return self._open.pop() == _Process.generation
        except IndexError:
            return False

    def tell(self, at: float | None, error: BaseException | None, *, stopped: bool) -> None:
        """Record what is known. What its caller stopped is no error, by an exception made for that or without one."""
        try:
            if error is not None and outcome(error) != FAILURE:
                error, stopped = None, True
            if stopped:
                self.received.attributes[key.OUTCOME] = CANCELLATION
            self._tell(state.clock() if at is None else at, error)
        except Exception as exc:
            failed(self.patch.library, exc)
            if self.span is not None:
                self.span.end()

    def _tell(self, at: float, error: BaseException | None) -> None:
        received, span, course = self.received, self.span, self.course
        lane = course.lane(received.model, None if error is None else telemetry.error_type(error))
        seconds = max(at - self.started, 0.0)
        for record in lane.durations:
            record(seconds, span)
        conventions.spend(lane, received, span)
        if state.prices is not None and state.prices.models:
            self._charge()
        if span is None:
            return
        if span.is_recording():
            facts = {**self._asked, **conventions.described(course.chosen, received, self.expected)}
            if error is not None:
                facts |= _told_by(error, span)
            span.set_attributes(telemetry.clean(facts))
        span.end(self._began + int(seconds * 1e9))  # the metric says the same

    def _charge(self) -> None:
        received = self.received
        tokens = {"input": received.input_tokens, "output": received.output_tokens, "cached": received.cache_read}
        efficiency.charge_tokens(self.course.facts.get(key.GEN_AI_REQUEST_MODEL), received.model, tokens, self.place)


def _told_by(error: BaseException, span: trace.Span) -> dict[str, Any]:
    """Mark the span as failed. What servers say of a bad request quotes it, so that is content."""
    kind = telemetry.error_type(error)
    span.set_status(Status(StatusCode.ERROR, f"{kind}: {content.bounded(error)}" if state.capture_content else kind))
    return {key.ERROR_TYPE: kind, key.HTTP_STATUS: getattr(error, "status_code", None)}


def _after_fork() -> None:
    _Process.generation += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
