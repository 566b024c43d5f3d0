"""Goodput: which part of a run's time was productive, and what the rest went into."""

from __future__ import annotations

from otel_llmon import metering
from otel_llmon.semconv import training as rows
from otel_llmon.telemetry import state

PRODUCTIVE, EVALUATION, CHECKPOINT, SETUP, OTHER = "productive", "evaluation", "checkpoint", "setup", "other"

_time = metering.Counter(rows.TRAINING_TIME)


class Goodput:
    """Cuts the time of a run: what passed since the cut before is of the kind that ends now.

    All kinds add up to the run. What passes before the first cut is `setup`, where nobody says what else it was.
    """

    __slots__ = ("_key", "_kind", "cut")

    def __init__(self, run: tuple[str, str | None]) -> None:
        self._key = run
        self._kind: str | None = SETUP
        self.cut = state.clock()

    def spend(self, kind: str) -> float:
        """Cut now; return what the clock says."""
        clock = state.clock
        now = clock()
        if self._kind is not None:
            kind = self._instead(kind)
        before = self.cut
        if now > before:  # else another thread has cut since this one looked at the clock
            self.cut = now
            _time.at(*self._key, kind).add(now - before)
        return now

    def _instead(self, kind: str) -> str:
        said = self._kind
        if said is SETUP:
            self._kind = None
            return SETUP if kind in (PRODUCTIVE, OTHER) else kind
        return said if said is not None and kind == PRODUCTIVE else kind

    def begin(self) -> str | None:
        """Begin a productive stretch; return what `end()` wants to know."""
        before = self._kind
        self.spend(PRODUCTIVE if before is PRODUCTIVE else OTHER)
        self._kind = PRODUCTIVE
        return before

    def end(self, before: str | None) -> None:
        """End it; what is outside of such stretches is not productive from now on."""
        self.spend(PRODUCTIVE)
        self._kind = PRODUCTIVE if before is PRODUCTIVE else OTHER


class Productive:
    """A stretch of productive time; none where the run does not run."""

    __slots__ = ("_before", "_time")

    def __init__(self, time: Goodput | None) -> None:
        self._time = time
        self._before: str | None = None

    def __enter__(self) -> None:
        if self._time is not None:
            self._before = self._time.begin()

    def __exit__(self, *_: object) -> None:
        if self._time is not None:
            self._time.end(self._before)
