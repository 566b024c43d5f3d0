"""What a `with progress(...)` holds: a span, and the place that loops within it find."""

from __future__ import annotations

from typing import Any

from opentelemetry import context as otel_context
from opentelemetry import trace

from otel_llmon import telemetry
from otel_llmon.context import leave
from otel_llmon.outcomes import end_span
from otel_llmon.progress import reporting
from otel_llmon.progress.loops import Loop, untold
from otel_llmon.semconv import attributes as key
from otel_llmon.telemetry import state as telemetry_state


class With:
    """What one `with` holds: a span, and the place that loops within it find."""

    __slots__ = ("_loop", "_span", "_tokens")

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._span: trace.Span | None = None
        self._tokens: list[Any] = [reporting.inside.set(loop)]
        if telemetry_state.level >= telemetry.DETAILED and not loop.books.foreign:
            self._start_span()

    def _start_span(self) -> None:
        try:
            facts = {key.OPERATION: self._loop.place[0], key.TOTAL: self._loop.total}
            self._span = span = telemetry.tracer().start_span(self._loop.name, attributes=telemetry.clean(facts))
            if span.get_span_context().is_valid:
                self._tokens.append(otel_context.attach(trace.set_span_in_context(span)))
        except Exception as exc:  # a sampler's or a span processor's own failure
            telemetry.warn_once("progress %r: no span: %s: %s", self._loop.name, type(exc).__name__, exc)

    def leave(self, error: BaseException | None) -> None:
        """Bring the loop and the span to their ends."""
        loop = self._loop
        if not loop.books.foreign:
            reporting.end(loop, error)
        for token in reversed(self._tokens):
            leave(token)
        if self._span is not None:
            try:
                self._span.set_attributes(telemetry.clean(reporting.result(loop)))
            except Exception as exc:  # the span ends all the same
                untold(exc)
            end_span(self._span, error)
