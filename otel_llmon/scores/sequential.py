"""Watching without end: a score that may be looked at after every window, and does not alarm for having been looked at.

For every feature bets are placed on how its bins could move: each score, in both directions, by five sizes. A bet's wealth
does not grow on average while nothing has changed, whatever the features have to do with each other. It is added up
after Shiryaev and Roberts, so that a change is found whenever it begins; the mean over all bets alarms once in `target`
windows or less often (Shin, Ramdas, Rinaldo: E-detectors).
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from otel_llmon.errors import LlmonError
from otel_llmon.scores import polynomials
from otel_llmon.scores.columns import Floats
from otel_llmon.scores.profile import Profile
from otel_llmon.scores.reference import FEWEST, Reference

SIZES = (0.035, 0.07, 0.14, 0.28, 0.4)
"""How far a score is said to move."""
TAX = 4.0
"""Deviations by which a finite reference may be wrong about its own scores, which no bet may win from."""
LEAST = 0.1
"""What is left of a bet for a row in the bin that speaks most against it."""
MOST = 700.0
"""Natural logarithm at which wealth stops growing: nobody needs to know how much surer than sure it is."""


class DetectorError(LlmonError, ValueError):
    """A detector is given what belongs to another reference."""


class Detector:
    """Score windows one after the other; `target` is how many of them pass between two alarms while nothing changes."""

    def __init__(self, reference: Reference, target: float = 1000.0) -> None:
        if not target > 1:
            raise DetectorError(f"target={target!r}: expected more than one window")
        self.reference, self.target = reference, target
        self.names = tuple(feature.name for feature in reference.features if _counts(reference, feature.name) is not None)
        self._bets = [_bets(reference, name) for name in self.names]
        self._wealth = [np.full(len(bets), -np.inf) for bets in self._bets]
        self.windows = 0

    def add(self, window: Profile) -> bool:
        """Take the next window into account, and return whether there is an alarm."""
        if window.reference.hash != self.reference.hash:
            raise DetectorError(
                f"a window of reference {window.reference.hash}: expected one of {self.reference.hash}"
            )
        self.windows += 1
        for place, name in enumerate(self.names):
            bets = self._bets[place]
            gained = bets @ _rows(window, name) if len(bets) else np.zeros(0)
            self._wealth[place] = np.minimum(np.logaddexp(0.0, self._wealth[place]) + gained, MOST)
        return self.alarm

    @property
    def alarm(self) -> bool:
        """Return whether the evidence is worth an alarm now."""
        return self.score >= np.log10(self.target)

    @property
    def score(self) -> float:
        """Return the evidence of all features together, as a decimal logarithm; an alarm is at that of `target`."""
        return _mean(np.concatenate([np.zeros(0), *self._wealth]))

    def scores(self) -> dict[str, float]:
        """Return the same for every feature by itself: what to look at first after an alarm."""
        return {name: _mean(wealth) for name, wealth in zip(self.names, self._wealth, strict=True)}

    def reset(self) -> None:
        """Begin anew: after an alarm that somebody has seen."""
        self._wealth = [np.full(len(bets), -np.inf) for bets in self._bets]

    def dumps(self) -> str:
        """Return the state as text, for a process that goes on later."""
        wealth = {name: _finite(found) for name, found in zip(self.names, self._wealth, strict=True)}
        return json.dumps({"reference": self.reference.hash, "windows": self.windows, "wealth": wealth})

    def loads(self, text: str) -> None:
        """Go on from such a state; raises DetectorError for what is none, or belongs to another reference."""
        try:
            found = json.loads(text)
            reference, windows, kept = found["reference"], int(found["windows"]), found["wealth"]
            wealth = [np.array(kept[name], dtype=np.float64) for name in self.names]
        except (KeyError, TypeError, ValueError) as exc:
            raise DetectorError(f"a detector's state: found {text[:40]!r}, expected what dumps() returned") from exc
        if reference != self.reference.hash or [len(one) for one in wealth] != [len(one) for one in self._bets]:
            raise DetectorError(f"a detector's state of reference {reference}: expected one of {self.reference.hash}")
        self.windows, self._wealth = windows, [np.where(one <= -MOST, -np.inf, one) for one in wealth]


def _finite(wealth: Floats) -> list[float]:
    return [float(value) for value in np.maximum(wealth, -MOST)]


def _mean(wealth: Floats) -> float:
    """Return the decimal logarithm of the mean of what natural logarithms stand for."""
    most = float(wealth.max(initial=-np.inf))
    if not np.isfinite(most):
        return -np.inf
    return float((most + np.log(np.exp(wealth - most).mean())) / np.log(10))


def _counts(reference: Reference, name: str) -> Floats | None:
    """Return a feature's rows per bin or level; None where there is nothing to bet on."""
    feature = reference[name]
    if feature.rows < FEWEST or len(feature.tracks) + (feature.levels is not None) != 1:
        return None
    counts = (*feature.levels.counts, 0) if feature.levels else feature.tracks[0].counts
    return np.array(counts, dtype=np.float64)


def _rows(window: Profile, name: str) -> Floats:
    """Return a window's rows per bin or level."""
    feature = window.reference[name]
    if feature.levels:
        return window.levels[name].astype(np.float64)
    track = window.plan.tracks[window.reference.features.index(feature)]
    found: Floats = window.counts[track, : feature.tracks[0].binning.size].astype(np.float64)
    return found


def _bets(reference: Reference, name: str) -> Floats:
    """Return what a row in each bin adds to the logarithm of each bet's wealth.

    Rows that depend on each other count as fewer, and every row pays for what the reference cannot know of itself.
    """
    feature, counts = reference[name], _counts(reference, name)
    assert counts is not None
    scores = polynomials.contrasts(counts) if feature.levels else polynomials.scores(counts)
    share, tax = counts / counts.sum(), TAX * (feature.effect / counts.sum()) ** 0.5
    bets = []
    for score in scores[np.abs(scores).max(axis=1) > 0]:
        for size in (sign * step for step in SIZES if step > 2 * tax for sign in (1, -1)):
            odds = np.maximum(1 + size * score, LEAST)
            bets.append(np.log(odds / (share @ odds) / (1 + abs(size) * tax)) / feature.effect)
    return np.array(bets, dtype=np.float64).reshape(-1, len(counts))
