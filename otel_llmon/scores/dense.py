"""Bins as a backend counts them: for every series of numbers the rows up to each bin, and what they are compared with.

Counts that only grow can be added up over processes that come and go. A reference alone says which bins there are, so
that all processes that have it agree.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple, Self

import numpy as np

from otel_llmon.scores import polynomials
from otel_llmon.scores.binning import Ints
from otel_llmon.scores.columns import Floats
from otel_llmon.scores.features import Feature
from otel_llmon.scores.profile import Profile
from otel_llmon.scores.reference import Reference

MOST = 6000
"""Bins of all series together: what one process may ask of a backend."""
FEWEST = 8
"""Bins that a series keeps where there are very many series."""
LEVELS = 28
"""Levels that are told apart, with one for the others and one for those that the reference did not have."""
PREDICTION = "@prediction"


class Tally(NamedTuple):
    """What of a profile only grows: rows per bin and level, and with them the sums of values in whole units."""

    counts: Ints
    totals: Ints
    levels: Mapping[str, Ints]

    @classmethod
    def of(cls, profile: Profile) -> Self:
        """Return a profile's as they are now."""
        levels = {name: counts.copy() for name, counts in profile.levels.items()}
        return cls(profile.counts.copy(), profile.totals.copy(), levels)

    def grow(self, now: Tally, before: Tally) -> None:
        """Add by how much another one has grown."""
        self.counts[...] += now.counts - before.counts
        self.totals[...] += now.totals - before.totals
        for name, counts in self.levels.items():
            counts[...] += now.levels[name] - before.levels[name]


class Sums(NamedTuple):
    """What rows add up to: how many there are up to each bin, each score above its lowest, how far they have moved."""

    rows: Floats
    scores: Floats
    shift: float


@dataclass(frozen=True, eq=False)
class Dense:
    """One series of numbers, or the levels of a feature, in bins that are told: `ends` are the last of each.

    `rows` are the reference's up to each bin, `steps` how far the mean of the next one lies (none for levels), `scores`
    what each of the reference's own bins says, `effect` how many rows count as one.
    """

    name: str
    track: int | None
    ends: Ints
    rows: Floats
    steps: Floats
    scores: Floats
    effect: float
    mean: float = 0.0
    scale: float = 0.0

    @cached_property
    def lowest(self) -> Floats:
        """Return the least that any bin says, of each score."""
        found: Floats = self.scores.min(axis=1)
        return found

    @property
    def reach(self) -> Floats:
        """Return how far from 0 a bin's word may lie, of each score."""
        found: Floats = np.abs(self.scores).max(axis=1)
        return found

    def sums(self, tally: Tally) -> Sums:
        """Return what rows add up to."""
        shift = 0.0
        if self.track is None:
            counts = tally.levels[self.name].astype(np.float64)
        else:
            counts = tally.counts[self.track, : self.scores.shape[1]].astype(np.float64)
            shift = (float(tally.totals[self.track]) - self.mean * float(counts.sum())) * self.scale
        scores: Floats = (self.scores - self.lowest[:, None]) @ counts
        return Sums(np.cumsum(counts)[self.ends], scores, shift)


def dense(reference: Reference, most: int = MOST) -> tuple[Dense, ...]:
    """Return what is told of a reference, the model's own predictions first.

    Where that were too many bins every series keeps fewer of them, and where those were too many, too, only the first
    series are told.
    """
    features = sorted(reference.features, key=lambda feature: feature.name != PREDICTION)
    found = [one for feature in features for one in _of(reference, feature)][: most // FEWEST]
    allowed = max(most // max(len(found), 1), FEWEST)
    return tuple(_thinned(one, allowed, reference) for one in found)


def _of(reference: Reference, feature: Feature) -> Iterator[Dense]:
    if feature.levels and feature.rows:
        counts = np.array([*feature.levels.counts, 0], dtype=np.float64)
        ends = np.arange(len(counts))
        ends = np.unique(np.append(ends[: LEVELS - 2], ends[-2:]))
        scores = polynomials.contrasts(counts)
        yield Dense(feature.name, None, ends, np.cumsum(counts)[ends], np.zeros(0), scores, feature.effect)
    for place, track in enumerate(feature.tracks):
        at = reference.plan.of_names[feature.name] + place
        unit = track.binning.unit * float(reference.stack.spreads[at])
        counts = np.array(track.counts, dtype=np.float64)
        yield Dense(
            track.name,
            at,
            np.arange(len(counts)),
            np.cumsum(counts),
            np.diff(np.array(track.centroids)),
            track.scores,
            max(track.effects),
            track.mean,
            1 / unit if unit > 0 else 0.0,
        )


def _thinned(one: Dense, allowed: int, reference: Reference) -> Dense:
    """Return the same in so many bins, in spreads of the reference: neighbours are told as one."""
    if one.track is None:
        return one
    track, spread = reference.tracks[one.track], float(reference.stack.spreads[one.track])
    size = len(one.ends)
    ends = np.unique(np.linspace(0, size - 1, min(allowed, size)).round().astype(np.int64))
    starts = np.append(0, ends[:-1] + 1)
    counts, means = np.array(track.counts, dtype=np.float64), np.array(track.centroids)
    weights = np.where(np.repeat(np.add.reduceat(counts, starts), ends - starts + 1) > 0, counts, 1.0)
    middles = np.add.reduceat(weights * means, starts) / np.add.reduceat(weights, starts)
    return replace(one, ends=ends, rows=np.cumsum(counts)[ends], steps=np.diff(middles) / spread)
