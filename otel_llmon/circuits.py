"""The states of a circuit: what each lets through, and what an outcome makes of it. No clock, no lock, no telemetry.

A call keeps what let it through, so that an outcome counts where its call began: one that comes when the circuit has
been open in between says nothing of now.
"""

from __future__ import annotations

import itertools
import math
from collections import deque
from typing import ClassVar, Literal, NamedTuple

from otel_llmon.errors import SettingsError

MOST, LONGEST = 1_000_000, 86_400.0
"""Calls of which a circuit keeps how they ended, and seconds for which it stays open, at most."""

CLOSED, HALF_OPEN, OPEN = STATES = ("closed", "half_open", "open")

_serials = itertools.count(1)


def _short(found: object) -> str:
    """Return what was found as a message has it; Python refuses to write out a number of very many digits."""
    return "a huge number" if isinstance(found, int) and abs(found) > MOST**2 else repr(found)


class Limits(NamedTuple):
    """When a circuit opens, for how long, and what closes it again."""

    failures: int
    of: int
    recovery: float
    probes: int

    def checked(self, name: str) -> Limits:
        """Return these limits. Raises SettingsError for what cannot be one."""
        for word, found in (("failures", self.failures), ("of", self.of), ("probes", self.probes)):
            if type(found) is not int or found < 1:
                raise SettingsError(f"breaker {name!r}: {word}={_short(found)}: expected a whole number, 1 or more")
            if found > MOST:
                raise SettingsError(f"breaker {name!r}: {word}={_short(found)}: expected {MOST:,} at most")
        if self.failures > self.of:
            raise SettingsError(f"breaker {name!r}: failures={self.failures}: expected {self.of} at most, as of= says")
        if type(self.recovery) not in (int, float) or not 0 < self.recovery <= LONGEST:
            said = f"recovery={_short(self.recovery)}"
            raise SettingsError(f"breaker {name!r}: {said}: expected seconds, more than 0, {LONGEST:g} at most")
        return self


class Closed:
    """Everything passes. It opens at so many failures among the last outcomes.

    The only state that is true, so that `era or admit()` is all that a call asks of it. Each outcome that is noted puts
    a new one in the place of the last, with a higher serial: so a call knows what was told since it began.
    """

    __slots__ = ("failed", "outcomes", "serial")
    state: ClassVar = CLOSED

    def __init__(self, limits: Limits, before: Closed | None = None) -> None:
        self.outcomes: deque[bool] = before.outcomes if before else deque(maxlen=limits.of)
        """Whether each of the last calls worked; empty where all of them did, so that a success need not be noted."""
        self.failed: int = before.failed if before else 0
        """How many of them did not."""
        self.serial = next(_serials)

    def settle(self, through: Way, *, worked: bool | None, now: float, limits: Limits) -> Era:
        """Return the state after an outcome; None for one that says nothing of the target."""
        if through.outcomes is not self.outcomes or worked is None or (worked and not self.outcomes):
            return self
        after = Closed(limits, self)
        if len(self.outcomes) == limits.of:
            after.failed -= not self.outcomes[0]
        self.outcomes.append(worked)
        after.failed += not worked
        if after.failed >= limits.failures:
            return Open(now + limits.recovery)
        if not after.failed:
            self.outcomes.clear()
        return after


class Open:
    """Nothing passes, until a time."""

    __slots__ = ("told", "until")
    outcomes: ClassVar = True
    state: ClassVar = OPEN

    def __init__(self, until: float, *, told: bool = False) -> None:
        self.until = until
        self.told = told
        """Whether somebody who looks from outside said so."""

    def __bool__(self) -> Literal[False]:
        return False

    def wait(self, now: float, limits: Limits) -> float:  # noqa: ARG002  # as of all
        """Return the seconds until a call may pass."""
        return max(self.until - now, 0.0)

    def settle(self, through: Way, *, worked: bool | None, now: float, limits: Limits) -> Era:  # noqa: ARG002
        """Return this state: whatever ends now began before."""
        return self


class HalfOpen:
    """A few calls pass, to try the target: it closes when as many worked, and opens when one failed."""

    __slots__ = ("probes", "worked")
    outcomes: ClassVar = True
    state: ClassVar = HALF_OPEN

    def __init__(self) -> None:
        self.probes: dict[Probe, float] = {}
        """Those under way, and until when each holds its place: somebody may have dropped it."""
        self.worked = 0

    def __bool__(self) -> Literal[False]:
        return False

    def wait(self, now: float, limits: Limits) -> float:
        """Return the seconds until a place is free at the latest."""
        holding = [until for until in self.probes.values() if until > now]
        return min(holding) - now if len(holding) + self.worked >= limits.probes else 0.0

    def probe(self, now: float, limits: Limits) -> Probe:
        """Return a new probe; there is a place for it."""
        probe = Probe()
        self.probes[probe] = now + limits.recovery
        return probe

    def hand_on(self, place: Probe) -> Probe:
        """Return a probe in the place of another: a call within that one, of which there is one at a time."""
        probe = Probe()
        self.probes[probe] = self.probes.pop(place)
        return probe

    def settle(self, through: Way, *, worked: bool | None, now: float, limits: Limits) -> Era:
        """Return the state after a probe."""
        known = self.probes.pop(through, None) if isinstance(through, Probe) else None
        if known is None or worked is None:
            return self
        if not worked:
            return Open(now + limits.recovery)
        self.worked += 1
        return Closed(limits) if self.worked >= limits.probes else self


class Probe:
    """A call that a half-open circuit let through."""

    __slots__ = ()
    outcomes: ClassVar = True
    """Its success is always noted."""
    serial: ClassVar = math.inf


Era = Closed | Open | HalfOpen
Way = Closed | Probe
"""What lets a call through."""
