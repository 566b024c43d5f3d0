"""In which state a loop is, and how long it has run."""

from __future__ import annotations

from otel_llmon.telemetry import state as telemetry_state
from otel_llmon.wording import PAUSED, RUNNING

WAITING = "waiting"
"""The state of a part that is declared and has not begun; no metric tells it."""


class Course:
    """States and times; the clock stands while it is paused."""

    def __init__(self) -> None:
        self.state = WAITING
        self.began = 0.0
        self._ended = self._paused_since = self._paused_for = 0.0
        self.full: float | None = None
        """When steps were first seen to be all done: nobody need say that they have ended."""

    def begin(self) -> None:
        """Start the clock."""
        self.began = telemetry_state.clock()
        self._paused_for = 0.0
        self.state = RUNNING

    def end(self, state: str) -> None:
        """Stop the clock. A finalizer may call this, at any moment."""
        now = telemetry_state.clock()
        if self.state == WAITING:
            self.began = now
        if self.state == PAUSED:
            self._paused_for += now - self._paused_since
        self._ended, self.state = now, state

    def go_on(self) -> None:
        """Let the clock run on after an end that was none."""
        self._paused_for += telemetry_state.clock() - self._ended
        self.state = RUNNING

    def pause(self) -> bool:
        """Stop the clock until `resume()`; return whether it ran."""
        if self.state != RUNNING:
            return False
        self._paused_since, self.state = telemetry_state.clock(), PAUSED
        return True

    def resume(self) -> bool:
        """Let the clock run on; return whether it stood."""
        if self.state != PAUSED:
            return False
        self._paused_for += telemetry_state.clock() - self._paused_since
        self.state = RUNNING
        return True

    @property
    def over(self) -> bool:
        """Whether nothing more is to come."""
        return self.state not in (WAITING, RUNNING, PAUSED)

    def active(self, now: float) -> float:
        """Return the seconds that it ran, pauses left out."""
        if self.state == WAITING:
            return 0.0
        until = self._paused_since if self.state == PAUSED else self._ended if self.over else now
        if self.full is not None:
            until = min(until, self.full)
        return max(until - self.began - self._paused_for, 0.0)
