"""A breaker beside a simple model of one: whatever is called, ended, told or waited for, both say the same."""

from __future__ import annotations

import contextvars
from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule

from otel_llmon import Breaker
from otel_llmon.errors import CircuitOpenError
from otel_llmon.testing import Clock

FAILED, WORKED, CANCELLED = TimeoutError(), None, KeyboardInterrupt()


@dataclass
class Model:
    """The rules of docs/breaker.md, written down without regard to cost or threads."""

    failures: int
    of: int
    recovery: float
    probes: int
    state: str = "closed"
    period: int = 0
    """Each state that it comes to begins a new one; a call belongs to that in which it began."""
    outcomes: list[bool] = field(default_factory=list)
    until: float = 0.0
    told: bool = False
    places: dict[int, float] = field(default_factory=dict)
    worked: int = 0

    def become(self, state: str) -> None:
        self.state, self.period = state, self.period + 1
        self.outcomes, self.places, self.worked = [], {}, 0

    def open(self, now: float, *, told: bool = False) -> None:
        self.become("open")
        self.until, self.told = now + self.recovery, told

    def free(self, now: float) -> bool:
        holding = [until for until in self.places.values() if until > now]
        return len(holding) + self.worked < self.probes

    def up(self, now: float) -> bool:
        return {"closed": True, "open": now >= self.until, "half_open": self.free(now)}[self.state]

    def call(self, number: int, now: float) -> int | None:
        if not self.up(now):
            return None
        if self.state == "open":
            self.become("half_open")
        if self.state == "half_open":
            self.places[number] = now + self.recovery
        return self.period

    def end(self, number: int, period: int, failed: bool | None, now: float) -> None:
        if period != self.period:
            return
        self.places.pop(number, None)
        if failed is None:
            return
        if self.state == "half_open":
            self.worked += not failed
            if failed:
                self.open(now)
            elif self.worked == self.probes:
                self.become("closed")
        else:
            self.outcomes.append(failed)
            if sum(self.outcomes[-self.of :]) >= self.failures:
                self.open(now)

    def record(self, ok: bool, now: float) -> None:
        if not ok:
            self.open(now, told=True)
        elif self.state == "open" and self.told:
            self.until = now


class Both(RuleBasedStateMachine):
    """A breaker and its model, with any number of calls under way."""

    calls = Bundle("calls")

    @initialize(limits=st.tuples(st.integers(1, 3), st.integers(0, 3), st.integers(1, 2)))
    def begin(self, limits):
        failures, more, probes = limits
        self.clock, self.number = Clock(), 0
        self.model = Model(failures, failures + more, 10.0, probes)
        self.breaker = Breaker(
            "x", failures=failures, of=failures + more, recovery=10.0, probes=probes, clock=self.clock
        )

    @rule(target=calls)
    def call(self):
        """Each call comes from a context of its own, as from another thread or task."""
        self.number += 1
        context = contextvars.copy_context()
        expected = self.model.call(self.number, self.clock.now)
        if expected is None:
            with pytest.raises(CircuitOpenError) as refused:
                context.run(self.breaker.__enter__)
            assert 0 < refused.value.retry_after <= self.model.recovery
            return multiple()
        context.run(self.breaker.__enter__)
        return self.number, expected, context

    @rule(call=consumes(calls), error=st.sampled_from([FAILED, WORKED, CANCELLED]))
    def end(self, call, error):
        number, period, context = call
        self.model.end(number, period, None if error is CANCELLED else error is FAILED, self.clock.now)
        context.run(self.breaker.__exit__, None, error, None)

    @rule(seconds=st.sampled_from([0.5, 9.5, 10.0]))
    def wait(self, seconds):
        self.clock.now += seconds

    @rule(ok=st.booleans())
    def record(self, ok):
        self.model.record(ok, self.clock.now)
        self.breaker.record(ok)

    @rule()
    def close(self):
        """Come to a new closed state while calls are under way, which chance alone seldom does."""
        self.record(False)
        self.wait(10.0)
        for _ in range(self.model.probes):
            self.end(self.call(), WORKED)
        assert self.breaker.state == "closed"

    @invariant()
    def same(self):
        assert self.breaker.state == self.model.state
        assert self.breaker.up == self.model.up(self.clock.now)


Both.TestCase.settings = settings(max_examples=300, stateful_step_count=40)
TestBreakerAndModel = Both.TestCase
