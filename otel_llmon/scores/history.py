"""How far a loop was at which moment, in bounded memory: at most 128 points, evenly spread over its time."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import pairwise

MOST = 128
ACCIDENT = 3.5
"""A wait this many times as long as the second longest says nothing about the waits to come."""


class History:
    """Points of (active seconds, items done), both growing; `seen` is the latest moment of all."""

    __slots__ = ("_gap", "done", "seen", "times")

    def __init__(self, active: float, done: float) -> None:
        self.seen = active
        self._begin(active, done)

    def _begin(self, active: float, done: float) -> None:
        self.times, self.done, self._gap = [active], [done], 0.0

    @property
    def changed(self) -> float:
        """Return when the last item was seen to be done."""
        return self.times[-1]

    @property
    def typical(self) -> float:
        """Return how long it took from one point to the next on average; 0 where there is one only."""
        return (self.times[-1] - self.times[0]) / max(len(self.times) - 1, 1)

    def add(self, active: float, done: float) -> None:
        """Note how far the loop is; what does not grow changes nothing, and fewer done than before starts afresh."""
        self.seen = max(self.seen, active)
        if done < self.done[-1]:
            self._begin(self.seen, done)
        elif done > self.done[-1]:
            self._grow(self.seen, done)

    def _grow(self, active: float, done: float) -> None:
        times = self.times
        # The last point moves until it is far enough from the one before; what took no time was there at the start.
        if active <= times[-1] or (len(times) > 1 and times[-1] - times[-2] < self._gap):
            times.pop()
            self.done.pop()
        times.append(active)
        self.done.append(done)
        if len(times) >= MOST:
            self._thin()

    def _thin(self) -> None:
        """Keep about every second point, at even distances in time."""
        self._gap = (self.times[-1] - self.times[0]) / (MOST / 2)
        self.times, self.done = thinned(self.times, self.done, self._gap)


def thinned(times: Sequence[float], done: Sequence[float], gap: float) -> tuple[list[float], list[float]]:
    """Return the points that are at least `gap` apart in time, the first and the last among them."""
    kept_times, kept_done = [times[0]], [done[0]]
    for at, number in zip(times[1:-1], done[1:-1], strict=True):
        if at - kept_times[-1] >= gap:
            kept_times.append(at)
            kept_done.append(number)
    return [*kept_times, times[-1]], [*kept_done, done[-1]]


def between(at: float, places: Sequence[float], values: Sequence[float]) -> float:
    """Return the value at a place, on straight lines between those known; outside, that of the nearest end."""
    after = bisect_left(places, at)
    if after == 0 or after == len(places):
        return values[0] if after == 0 else values[-1]
    before, far = places[after - 1], places[after]
    share = (at - before) / (far - before)
    return values[after - 1] + (values[after] - values[after - 1]) * share


def since(place: float, places: Sequence[float], times: Sequence[float]) -> tuple[list[float], list[float]]:
    """Return the points from a place on, with one at the place itself."""
    first = bisect_right(places, place)
    if first == 0:
        return list(places), list(times)
    return [place, *places[first:]], [between(place, places, times), *times[first:]]


def settled(places: list[float], times: list[float]) -> tuple[list[float], list[float]]:
    """Return the points without what was no steady work: the wait for the first one, and a single long standstill."""
    if len(times) > 2:
        places, times = places[1:], times[1:]
    if len(times) < 4:
        return places, times
    waits = [later - earlier for earlier, later in pairwise(times)]
    longest = max(range(len(waits)), key=waits.__getitem__)
    second = max(wait for place, wait in enumerate(waits) if place != longest)
    if waits[longest] <= ACCIDENT * second:
        return places, times
    excess = waits[longest] - second
    return places, times[: longest + 1] + [time - excess for time in times[longest + 1 :]]


def cells(places: Sequence[float], times: Sequence[float], number: int) -> list[float]:
    """Return the moments at which each of `number` equal shares of the way was done, with the start before them."""
    width = (places[-1] - places[0]) / number
    moments, after = [times[0]], 1
    for cell in range(1, number):
        place = places[0] + cell * width
        while places[after] < place and after < len(places) - 1:
            after += 1
        share = (place - places[after - 1]) / (places[after] - places[after - 1])
        moments.append(times[after - 1] + share * (times[after] - times[after - 1]))
    return [*moments, times[-1]]
