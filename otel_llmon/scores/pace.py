"""How long the next item will take, judged from when the last ones were done.

The default compares three kinds of stories over equal shares of the way: one pace all along; a pace that changes
steadily; one pace, then another since some moment (each moment is a story of its own). Each is weighed by how well it
explains the shares and by how much it takes to tell (as in the Bayesian information criterion), and the forecast is
the mean of the speeds that they foresee. A story that only the noise suggests hardly counts, and evidence counts less
where what the best story leaves unexplained goes in waves.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple

from otel_llmon.scores.history import cells, settled

MOST_CELLS = 32
FEWEST_CELLS = 5
FAINTEST = 1e-9
"""Of the mean pace: what is faster counts as this fast, so that a logarithm stays one."""
EVIDENCE = 0.8
"""How much of its weight the evidence keeps: neighbouring shares are not quite independent."""
BLUR = 0.02
"""Noise that is always there, so that nothing is ever certain."""
STEADY, TREND, STEP = 0.0, 2.0, 5.0
"""What a story takes to tell, in free numbers."""
DECLARED = 2.0
"""How much more a change takes to tell within a phase: the others were declared."""
REACH = 3.0
"""A trend goes on to at most this many times the pace, up or down."""
DRIFT = 0.04
"""Variance that an unknown future brings per share of the past that it lasts, up to six times the past."""
NOISE = 2.0
"""How much wider than the noise says the band is; found by its coverage of jobs that it had not seen."""
UNKNOWN = 0.4
"""Variance of the waits between items while nothing is known of it; it counts as two waits."""


class Forecast(NamedTuple):
    """The logarithm of seconds per item, its variance by what was seen, and what an unknown future adds to that."""

    pace: float
    variance: float
    drift: float = 0.0


class Story(NamedTuple):
    """One explanation of the past: how far off it was, what it takes to tell, what it foresees, since when."""

    misfit: float
    price: float
    pace: float
    since: int
    unexplained: Sequence[float]


class Points(NamedTuple):
    """Places and moments, how much further the way goes, and whether its changes were declared beforehand."""

    places: Sequence[float]
    times: Sequence[float]
    ahead: float
    declared: bool = False


def steady(points: Points) -> Forecast | None:
    """Return the pace over the whole way."""
    return _window(points, 1.0)


def recent(points: Points) -> Forecast | None:
    """Return the pace over the last quarter of the way."""
    return _window(points, 0.25)


def weighted(points: Points) -> Forecast | None:
    """Return the mean of the paces so far, where each counts half as much as one an eighth of the way later."""
    places, times, ahead, _ = points
    if len(times) < 2:
        return None
    moments = cells(places, times, MOST_CELLS)
    weights = [2.0 ** ((cell - MOST_CELLS) / (MOST_CELLS / 8)) for cell in range(MOST_CELLS)]
    spent = sum(w * (after - before) for w, (before, after) in zip(weights, pairwise(moments), strict=True))
    width = (places[-1] - places[0]) / MOST_CELLS
    pace = math.log(spent / sum(weights) / width)
    return _noisy(pace, _log_paces(moments), MOST_CELLS / 5, ahead / width)


def default(points: Points) -> Forecast | None:
    """Return what all stories together foresee, after the first wait and a single standstill are left out."""
    places, times = settled(list(points.places), list(points.times))
    if len(times) < 2:
        return None
    number = min(MOST_CELLS, len(times) // 2)
    if number < FEWEST_CELLS:
        return _first(places, times, points.ahead)
    moments = cells(places, times, number)
    width = (places[-1] - places[0]) / number
    ahead, dear = points.ahead / width, DECLARED if points.declared else 1.0
    stories = [story._replace(price=story.price * dear) for story in _stories(moments, ahead)]
    return _weighed(stories, number, ahead, math.log(width))


METHODS: dict[str, Callable[[Points], Forecast | None]] = {
    "linear": steady,
    "moving": recent,
    "weighted": weighted,
    "default": default,
}


def _window(points: Points, share: float) -> Forecast | None:
    places, times, ahead, _ = points
    if len(times) < 2:
        return None
    moments = cells(places, times, MOST_CELLS)
    width = (places[-1] - places[0]) / MOST_CELLS
    number = int(share * MOST_CELLS)
    pace = (moments[-1] - moments[-1 - number]) / (number * width)
    past = _log_paces(moments)[-number:]
    return _noisy(math.log(pace), past, min(number, len(times) / 2), ahead / width)


def _noisy(pace: float, past: Sequence[float], independent: float, ahead: float) -> Forecast:
    middle = sum(past) / len(past)
    noise = sum((one - middle) ** 2 for one in past) / len(past)
    return Forecast(pace, BLUR**2 + NOISE * noise * (1 / independent + 1 / ahead), _drift(ahead / MOST_CELLS))


def _first(places: Sequence[float], times: Sequence[float], ahead: float) -> Forecast:
    """Return the pace of a few items, in a band by the noise that their waits show and that which is to be feared."""
    number, way = len(times) - 1, places[-1] - places[0]
    waits = [math.log(after - before) for before, after in pairwise(times)]
    middle = sum(waits) / number
    noise = (2 * UNKNOWN + sum((wait - middle) ** 2 for wait in waits)) / (2 + number)
    further = ahead * number / way
    pace = math.log((times[-1] - times[0]) / way)
    return Forecast(pace, BLUR**2 + NOISE * noise * (1 / number + 1 / further), _drift(further / number))


def _drift(horizon: float) -> float:
    return DRIFT * min(horizon, 6.0)


def _log_paces(moments: Sequence[float]) -> list[float]:
    """Return the logarithm of the time that each cell took."""
    least = (moments[-1] - moments[0]) / len(moments) * FAINTEST
    return [math.log(max(after - before, least)) for before, after in pairwise(moments)]


def _stories(moments: Sequence[float], ahead: float) -> Iterator[Story]:
    """Yield every story of the cells that end at these moments, `ahead` of them being still to come."""
    past = _log_paces(moments)
    number, whole = len(past), moments[-1] - moments[0]
    sums, squares = (list(accumulate(values, initial=0.0)) for values in (past, [pace * pace for pace in past]))

    def misfit(begin: int, end: int) -> float:
        return max(squares[end] - squares[begin] - (sums[end] - sums[begin]) ** 2 / (end - begin), 0.0)

    yield Story(misfit(0, number), STEADY, math.log(whole / number), 0, past)
    yield _trend(moments, past, ahead)
    for since in range(1, number):
        pace = math.log(max(moments[-1] - moments[since], whole * FAINTEST) / (number - since))
        yield Story(misfit(0, since) + misfit(since, number), STEP, pace, since, past)


def _trend(moments: Sequence[float], past: Sequence[float], ahead: float) -> Story:
    """Return the story of a straight line through the paces; it goes on for as long as the past was, and then stays."""
    number, middle = len(past), (len(past) - 1) / 2
    mean = (moments[-1] - moments[0]) / number
    slope = sum((cell - middle) * (after - before) for cell, (before, after) in enumerate(pairwise(moments)))
    slope *= 12 / (number * (number**2 - 1))
    errors = [pace - math.log(max(mean + slope * (cell - middle), mean / 10)) for cell, pace in enumerate(past)]
    off = sum(errors) / number
    now = max(mean + slope * number / 2, mean / REACH)
    then = mean + slope * number / 2 + slope * min(ahead / 2, number)
    misfit = sum((error - off) ** 2 for error in errors)
    return Story(misfit, TREND, math.log(min(max(then, now / REACH), now * REACH)), 0, errors)


def _weighed(stories: Sequence[Story], number: int, ahead: float, width: float) -> Forecast:
    """Return the mean speed that the stories foresee, by their weights; its variance: what they disagree, and noise."""
    costs = _costs(stories, number, EVIDENCE)
    waves = _waves(stories[costs.index(min(costs))], number)
    costs = _costs(stories, number, EVIDENCE * (1 - waves) / (1 + waves))
    least = min(costs)
    raw = [math.exp(least - cost) for cost in costs]
    whole = sum(raw)
    told = [(weight / whole, story) for weight, story in zip(raw, stories, strict=True)]
    usual = stories[0].pace
    pace = usual - math.log(sum(weight * math.exp(usual - story.pace) for weight, story in told))
    dissent = sum(weight * (story.pace - pace) ** 2 for weight, story in told)
    noise = BLUR**2 + sum(weight * story.misfit for weight, story in told) / number
    noise *= NOISE * (1 / ahead + sum(weight / (number - story.since) for weight, story in told))
    return Forecast(pace - width, BLUR**2 + dissent + noise, _drift(ahead / number))


def _costs(stories: Sequence[Story], number: int, evidence: float) -> list[float]:
    """Return half the information criterion of each story."""
    floor, free = number * BLUR**2, EVIDENCE * math.log(number) / 2
    return [evidence * number * math.log(story.misfit + floor) / 2 + story.price * free for story in stories]


def _waves(story: Story, number: int) -> float:
    """Return how much neighbouring shares are off alike: the correlation with the next one, from 0 to just below 1.

    Fitting the story has taken some two parts in `number` away.
    """
    parts = (story.unexplained[: story.since], story.unexplained[story.since :])
    means = [sum(part) / len(part) if part else 0.0 for part in parts]
    off = [error - mean for part, mean in zip(parts, means, strict=True) for error in part]
    whole = sum(error * error for error in off)
    found = sum(before * after for before, after in pairwise(off)) / whole if whole else 0.0
    return min(max(found + 2 / number, 0.0), 0.95)
