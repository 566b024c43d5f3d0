"""When a loop will be done: its remaining time as a band, from how far it was at which moment of active time.

Active time is what the caller's clock shows less all pauses; there is no clock here. What a method says of a job is
measured by `make bench ARGS="--only eta"`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from otel_llmon.scores.history import History, between, since
from otel_llmon.scores.pace import METHODS, Forecast, Points
from otel_llmon.scores.route import LARGEST, EtaError, Phase, Route, RunProfile, known, profile_of

__all__ = ["METHODS", "Estimator", "Eta", "EtaError", "Phase", "RunProfile"]

TENTH = 1.2815515655446004
"""The standard normal's 90 % quantile: the band ends where 10 % lie beyond on either side."""
ROUTE = 0.04
"""Variance of a phase's pace around the route's: what was declared or measured is some 20 % off."""
RUN = 0.5
"""Variance of a whole run's pace around an earlier run's: another machine, another load."""
OVERDUE = 0.5
"""An item that has taken so much longer than usual is expected to take half as much again."""
WIDEST = 1.5
"""Of the logarithm: no band reaches further than seven times the middle, up or down."""


class Eta(NamedTuple):
    """Remaining seconds of active time: the true one is below `low` and above `high` in about one case of ten each."""

    low: float
    middle: float
    high: float


class Estimator:
    """Estimate the remaining time of a loop from samples of (active seconds, items done).

    `total` may change at any time, and is None while nobody knows it; `initial` items were done before the loop began.
    `phases` are pairs of (items, weight): how long an item takes, compared with other phases. A `profile` is what an
    earlier run's `profile()` returned; it wins over weights. `method` is one of METHODS.
    """

    __slots__ = ("_forecast", "_history", "_prior", "_route", "total")

    def __init__(
        self,
        total: float | None = None,
        *,
        initial: float = 0.0,
        method: str = "default",
        phases: Sequence[Phase] = (),
        profile: RunProfile | None = None,
    ) -> None:
        if method not in METHODS:
            raise EtaError(f"method={method!r}: expected one of {', '.join(METHODS)}")
        self.total = total
        self._forecast = METHODS[method]
        self._route = Route.of(phases, profile)
        self._prior = None if profile is None else Forecast(math.log(known(profile)), RUN)
        self._history = History(0.0, initial)

    def add(self, active: float, done: float) -> None:
        """Note that so many items were done after so many active seconds.

        To be called when someone looks (a collection, a bar that is drawn), not per item. What is no finite number is
        left out; fewer items than before begin a new history.
        """
        if -LARGEST <= active <= LARGEST and -LARGEST <= done <= LARGEST:
            self._history.add(active, done)

    def eta(self, now: float | None = None) -> Eta | None:
        """Return the remaining seconds as of `now`, in active time; None while nothing can be said."""
        total, done = self.total, self._history.done[-1]
        if total is None or not 0 <= total <= LARGEST:
            return None
        if done >= total:
            return Eta(0.0, 0.0, 0.0)
        found = self._plain(total) if self._route.plain and not self._prior else self._routed(total)
        return found and self._counted_down(found, self._history.seen if now is None else now)

    def profile(self) -> RunProfile | None:
        """Return how the run went, as plain data for a later one; None unless all of it was seen."""
        history = self._history
        ended = self.total is None or history.done[-1] >= self.total
        whole = ended and history.done[0] == 0 and len(history.times) > 1
        return profile_of(history.done, history.times) if whole else None

    def _plain(self, total: float) -> Forecast | None:
        """Return the logarithm of the remaining seconds, where every item is the same work."""
        history = self._history
        ahead = total - history.done[-1]
        found = self._forecast(Points(history.done, history.times, ahead))
        return found and found._replace(pace=found.pace + math.log(ahead))

    def _routed(self, total: float) -> Forecast | None:
        """Return the same where phases or an earlier run are known: each phase has its pace, all share the run's."""
        route, history = self._route, self._history
        places = [route.before(max(done, 0.0) / total) for done in history.done]
        here = places[-1]
        phase = route.phase(here)
        begun = route.ends[phase - 1] if phase else 0.0
        inside = since(begun, places, history.times)
        seen = _phases_before(route, places, history.times, phase)
        if self._prior:
            seen.append(Forecast(self._prior.pace + math.log(total), self._prior.variance))
        left = route.ends[phase] - here
        own = self._forecast(Points(*inside, left, declared=len(route.ends) > 1))
        current = _together([*filter(None, [own]), *_seen_from(seen)])
        if current is None:
            return None
        later = _together([*seen, Forecast(current.pace, current.variance + ROUTE)]) or current
        return _sum(left, current, [end - start for start, end in pairwise(route.ends[phase:])], later)

    def _counted_down(self, found: Forecast, now: float) -> Eta | None:
        """Return the band, less the time that the current item has taken; one that is overdue adds to it instead."""
        usual, waited = self._history.typical, max(now - self._history.changed, 0.0)
        overdue = max(waited - usual, 0.0)
        spent = waited if not overdue else usual - OVERDUE * overdue
        width = TENTH * min(math.sqrt(found.variance + found.drift), WIDEST)
        try:
            low, middle, high = (max(math.exp(found.pace + side * width) - spent, 0.0) for side in (-1, 0, 1))
        except OverflowError:
            return None
        return Eta(low, middle, high + overdue) if math.isfinite(high + overdue) else None


def _phases_before(route: Route, places: Sequence[float], times: Sequence[float], phase: int) -> list[Forecast]:
    """Return the paces of the phases that are over, of as much as was seen of each."""
    found = []
    for start, end in pairwise((0.0, *route.ends[:phase])):
        way = end - max(start, places[0])
        if way > 0:
            spent = between(end, places, times) - between(max(start, places[0]), places, times)
            found.append(Forecast(math.log(spent / way), ROUTE))
    return found


def _seen_from(seen: Sequence[Forecast]) -> list[Forecast]:
    """Return what other phases say of the one that runs."""
    found = _together(seen)
    return [Forecast(found.pace, found.variance + ROUTE)] if found else []


def _together(forecasts: Sequence[Forecast]) -> Forecast | None:
    """Return the mean of independent forecasts, each weighed by its precision."""
    if not forecasts:
        return None
    weights = [1 / forecast.variance for forecast in forecasts]
    pace = sum(weight * forecast.pace for weight, forecast in zip(weights, forecasts, strict=True)) / sum(weights)
    return Forecast(pace, 1 / sum(weights), max(forecast.drift for forecast in forecasts))


def _sum(left: float, current: Forecast, ways: Sequence[float], later: Forecast) -> Forecast:
    """Return the logarithm of the time for what is left of this phase and for the whole of the later ones."""
    now, then = left * math.exp(current.pace), [way * math.exp(later.pace) for way in ways]
    whole = now + sum(then)
    shares = [part / whole for part in then]
    variance = (now / whole) ** 2 * current.variance + sum(shares) ** 2 * later.variance
    return Forecast(math.log(whole), variance + sum(share**2 for share in shares) * ROUTE, current.drift * now / whole)
