"""One empty phase at every level, beside a bare span of the SDK's with as many attributes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from opentelemetry import trace

from benchmarks.figures import MICROSECOND, Figure
from benchmarks.scenes import ATTRIBUTES, pipeline
from benchmarks.timing import YARDSTICK, Loop, Place
from otel_llmon import phase, telemetry


def at(level: int, *, plain: bool = False) -> Place:
    """Return the place of `phase` and of the SDK's tracer at this level."""

    @contextmanager
    def place() -> Iterator[dict[str, Any]]:
        with pipeline(level, plain=plain) as made:
            yield made | {
                "phase": phase,
                "attributes": ATTRIBUTES,
                "span": trace.get_tracer("benchmarks").start_as_current_span,
                "one": {"llmon.phase": "embed"},  # a phase's own attribute, for the bare span
                "four": {"llmon.phase": "embed", **ATTRIBUTES},
            }

    return place


@contextmanager
def counted() -> Iterator[dict[str, Any]]:
    """Return the place of `phase` where CPU seconds are counted by phase."""
    from otel_llmon.observers.efficiency import watch

    observe = watch()  # counts for as long as it is kept
    with at(telemetry.BASIC)() as made:
        yield made | {"observe": observe}


_DETAILED = at(telemetry.DETAILED)
_PHASE, _PHASE_3 = 'with phase("embed"): pass', 'with phase("embed", attributes): pass'
_SPAN, _SPAN_4 = 'with span("embed", attributes=one): pass', 'with span("embed", attributes=four): pass'
_BARE = Loop(_SPAN, _DETAILED, 400)

FIGURES = (
    Figure("yardstick: a class that does nothing", YARDSTICK),
    Figure("phase, disabled", Loop(_PHASE, at(telemetry.DISABLED), 20_000), _BARE, plus=0.25 * MICROSECOND),
    Figure("phase, basic", Loop(_PHASE, at(telemetry.BASIC), 10_000), _BARE, plus=1.5 * MICROSECOND),
    Figure("phase, basic, user's plain exporter", Loop(_PHASE, at(telemetry.BASIC, plain=True), 1_000), _BARE),
    Figure("phase, basic, CPU seconds counted", Loop(_PHASE, counted, 2_000), _BARE),
    Figure("phase, detailed", Loop(_PHASE, _DETAILED, 400), _BARE, 1.15, MICROSECOND),
    Figure(
        "phase, detailed, 3 attributes",
        Loop(_PHASE_3, _DETAILED, 400),
        Loop(_SPAN_4, _DETAILED, 400),
        1.15,
        MICROSECOND,
    ),
    Figure(
        "phase, detailed, whole process",
        Loop(_PHASE, _DETAILED, 400, whole=True),
        Loop(_SPAN, _DETAILED, 400, whole=True),
        1.15,
        MICROSECOND,
    ),
)
