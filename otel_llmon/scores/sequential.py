"""Watching without end: a score that may be looked at after every window, and does not alarm for having been looked at.

For every feature bets are placed on how its bins could move: each score, in both directions, by several sizes. A bet's
wealth does not grow on average while nothing has changed, whatever the features have to do with each other. It is added
up after Shiryaev and Roberts, so that a change is found whenever it begins; the mean over all bets alarms once in
`target` windows or less often (Shin, Ramdas, Rinaldo: E-detectors).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from math import log10

import numpy as np

from otel_llmon.errors import LlmonError
from otel_llmon.scores import polynomials
from otel_llmon.scores.columns import Floats
from otel_llmon.scores.features import Feature
from otel_llmon.scores.profile import Profile
from otel_llmon.scores.reference import FEWEST, Reference

SIZES = (0.05, 0.09, 0.16, 0.3)
"""How far a score is said to move."""
WEIGHTS = (0.4, 0.3, 0.15, 0.15)
"""How much is put on each score, from location to kurtosis: most changes are of the first two."""
DOUBT = 4.0
"""Deviations by which a finite reference may be wrong about its own scores, which no bet may win from."""
CAUTION = 1 / 8
"""The least tax on a bet, by its size: large bets win by chance most easily."""
LEAST = 0.1
"""What is left of a bet for a row in the bin that speaks most against it."""
MOST = 700.0
"""Natural logarithm at which wealth stops growing: nobody needs to know how much surer than sure it is."""


class DetectorError(LlmonError, ValueError):
    """A detector is given what belongs to another reference."""


class Detector:
    """Score windows one after the other; `target` is how many of them pass between two alarms while nothing changes."""

    def __init__(self, reference: Reference, target: float = 5000.0) -> None:
        if not target > 1:
            raise DetectorError(f"target={target!r}: expected more than one window")
        self.reference, self.target = reference, target
        self.names = tuple(found.name for found in reference.features if _counts(found) is not None)
        self._bets, self._stakes = _all_bets([reference[name] for name in self.names])
        self.windows = 0
        self.reset()

    def reset(self) -> None:
        """Begin anew: after an alarm that somebody has seen."""
        self._wealth = np.full(self._stakes.shape, -np.inf)

    def add(self, window: Profile) -> bool:
        """Take the next window into account, and return whether there is an alarm."""
        if window.reference.hash != self.reference.hash:
            raise DetectorError(f"a window of reference {window.reference.hash}: expected one of {self.reference.hash}")
        self.windows += 1
        gained = (self._bets @ self._rows(window)[:, :, None])[:, :, 0]
        wealth = np.minimum(np.logaddexp(0.0, self._wealth) + gained, MOST)
        self._wealth = np.where(self._stakes > 0, wealth, -np.inf)
        return self.alarm

    @property
    def alarm(self) -> bool:
        """Return whether the evidence is worth an alarm now."""
        return self.score >= log10(self.target)

    @property
    def score(self) -> float:
        """Return the evidence of all features together, as a decimal logarithm; an alarm is at that of `target`."""
        return _mean(self._wealth, self._stakes)

    def scores(self) -> dict[str, float]:
        """Return the same for every feature by itself: what to look at first after an alarm."""
        found = zip(self.names, self._wealth, self._stakes, strict=True)
        return {name: _mean(wealth, stakes) for name, wealth, stakes in found if stakes.any()}

    def dumps(self) -> str:
        """Return the state as text, for a process that goes on later."""
        wealth = np.maximum(self._wealth, -MOST).tolist()
        return json.dumps({"reference": self.reference.hash, "windows": self.windows, "wealth": wealth})

    def loads(self, text: str) -> None:
        """Go on from such a state; raises DetectorError for what is none, or belongs to another reference."""
        try:
            found = json.loads(text)
            reference, windows = str(found["reference"]), int(found["windows"])
            wealth = np.array(found["wealth"], dtype=np.float64).reshape(self._stakes.shape)
        except (KeyError, TypeError, ValueError) as exc:
            raise DetectorError(f"a detector's state: found {text[:40]!r}, expected what dumps() returned") from exc
        if reference != self.reference.hash:
            raise DetectorError(f"a detector's state of reference {reference}: expected one of {self.reference.hash}")
        self.windows, self._wealth = windows, np.where(wealth <= -MOST, -np.inf, wealth)

    def _rows(self, window: Profile) -> Floats:
        """Return a window's rows per bin or level, a row per feature."""
        rows = np.zeros((len(self.names), self._bets.shape[2]))
        tracks, size = window.plan.of_names, min(window.counts.shape[1], rows.shape[1])
        for place, name in enumerate(self.names):
            if name in window.levels:
                rows[place, : len(window.levels[name])] = window.levels[name]
            else:
                rows[place, :size] = window.counts[tracks[name], :size]
        return rows


def _mean(wealth: Floats, stakes: Floats) -> float:
    """Return the decimal logarithm of the mean wealth by the bets' stakes; natural logarithms are given."""
    most = float(wealth.max(initial=-np.inf))
    if not np.isfinite(most):
        return -np.inf
    return float((most + np.log((np.exp(wealth - most) * stakes).sum() / stakes.sum())) / np.log(10))


def _counts(feature: Feature) -> Floats | None:
    """Return a feature's rows per bin or level; None where there is nothing to bet on."""
    if feature.rows < FEWEST or len(feature.tracks) + (feature.levels is not None) != 1:
        return None
    return np.array(feature.counts, dtype=np.float64)


def _all_bets(features: Sequence[Feature]) -> tuple[Floats, Floats]:
    """Return all bets in one shape, features by bets by bins, and the stake on each, 0 where there is none."""
    found = [_bets(feature) for feature in features]
    bins = max((bets.shape[1] for bets, _ in found), default=1)
    whole = np.zeros((len(found), 2 * len(SIZES) * polynomials.DEGREES, bins))
    stakes = np.zeros(whole.shape[:2])
    for place, (bets, stake) in enumerate(found):
        whole[place, : bets.shape[0], : bets.shape[1]] = bets
        stakes[place, : len(stake)] = stake
    return whole, stakes


def _bets(feature: Feature) -> tuple[Floats, Floats]:
    """Return what a row in each bin adds to the logarithm of each bet's wealth, and the stakes.

    Rows that depend on each other count as fewer, and every row pays for what the reference cannot know of itself.
    """
    counts = _counts(feature)
    assert counts is not None
    scores = polynomials.contrasts(counts) if feature.levels else polynomials.scores(counts)
    share, doubt = counts / counts.sum(), DOUBT * (feature.effect / counts.sum()) ** 0.5
    bets, stakes = [], []
    for score, weight in zip(scores, WEIGHTS, strict=True):
        for size in (step for step in SIZES if step > 2 * doubt and score.any()):
            for sign in (1, -1):
                odds = np.maximum(1 + sign * size * score, LEAST)
                tax = 1 + size * max(doubt, CAUTION * size)
                bets.append(np.log(odds / (share @ odds) / tax) / feature.effect)
                stakes.append(weight)
    return np.array(bets, dtype=np.float64).reshape(-1, len(counts)), np.array(stakes)
