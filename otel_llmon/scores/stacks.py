"""All tracks of a reference in arrays of one shape: a window is compared in few steps, however many there are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from otel_llmon.scores import distances, polynomials, significance
from otel_llmon.scores.binning import Ints
from otel_llmon.scores.columns import Floats
from otel_llmon.scores.features import Track

PEAK = 5.0
"""Rows for which a score may count on a bin at most: a score test is normal where no bin is rarer than that."""

FAR = 4.0
"""Deviations up to which a skewed one is made symmetric."""
WEIGHTS = (6.0, 8.0, 1.0, 1.0, 1.0, 1.0, 4.0, 1.0)
"""How much each test counts: the four scores, the two tails, Kolmogorov-Smirnov, chi-square."""


class Judged(NamedTuple):
    """What a window's counts say of every track, in the order of the tracks.

    `effects` and `z` (by the reference's own variance, as a fleet has it) have a column per score, `tails` is how much
    larger a share lies in the lower and the upper tail, `wasserstein` and `shift` (signed) are in spreads of the
    reference, `psi` is free of what chance adds.
    """

    rows: Floats
    ks: Floats
    psi: Floats
    wasserstein: Floats
    shift: Floats
    effects: Floats
    z: Floats
    tails: Floats
    p: Floats


@dataclass(frozen=True)
class Stack:
    """The tracks of a reference as arrays: a row per track, bins beyond a track's own empty."""

    counts: Floats
    there: Floats
    centroids: Floats
    scores: Floats
    peaks: Floats
    lower: Floats
    upper: Floats
    rows: Floats
    masses: Floats
    means: Floats
    units: Floats
    spreads: Floats
    effects: Floats

    def judged(self, counts: Ints, totals: Ints) -> Judged:
        """Return what a window says: its rows per bin, and the sums of its values in whole units."""
        now, rows = counts.astype(np.float64), counts.sum(axis=1).astype(np.float64)
        some, effect = np.maximum(rows, 1.0), self.effects.max(axis=1, initial=1.0)
        chance = 1 / some + 1 / np.maximum(self.rows, 1.0)
        shares = now / some[:, None]
        effects = np.einsum("tb,tkb->tk", shares, self.scores)
        variance, skew = self._moments(now, rows)
        beyond = self.peaks / np.maximum(self.rows, 1.0)[:, None]  # of what lies past a reference's last row
        deviations = effects / np.sqrt((chance[:, None] * variance + beyond**2) * self.effects)
        ks = distances.ks(now, self.counts)
        statistic, freedom = distances.chi_square(now, self.counts)
        tails = [((now * side).sum(axis=1), (self.counts * side).sum(axis=1)) for side in (self.lower, self.upper)]
        p = [
            *significance.two_sided(self._symmetric(deviations, skew, some, effect)).T,
            *(significance.shares(one / effect, some / effect, two / effect, self.rows / effect) for one, two in tails),
            significance.kolmogorov(ks, 1 / chance / effect, self.masses),
            significance.chi_square(statistic / effect, freedom),
        ]
        valid = [
            *((self.peaks > 0) & (self.peaks**2 <= np.minimum(some, self.rows)[:, None] / PEAK)).T,
            *(one + two > 0 for one, two in tails),
            ks >= 0,
            freedom > 0,
        ]
        moved = np.divide(totals / some - self.means, self.units, out=np.zeros_like(rows), where=self.units > 0)
        apart = np.maximum(distances.wasserstein(now, self.counts, self.centroids), np.abs(moved))
        by_chance = distances.psi_by_chance(some, self.counts, self.there)
        psi = distances.psi(now, self.counts, self.there) - by_chance
        return Judged(
            rows,
            ks,
            psi,
            apart / self.spreads,
            moved / self.spreads,
            effects,
            effects / np.sqrt(chance[:, None] * self.effects),
            np.stack([one / some - two / np.maximum(self.rows, 1) for one, two in tails], axis=1),
            significance.together(np.stack(p, axis=1), np.stack(valid, axis=1), np.array(WEIGHTS)),
        )

    def _moments(self, now: Floats, rows: Floats) -> tuple[Floats, Floats]:
        """Return each score's variance and skewness, as window and reference together have them.

        A small reference does not know its own tails: a window that is larger than it says how heavy they are.
        """
        shares = (now + self.counts) / np.maximum(rows + self.rows, 1.0)[:, None]
        mean = np.einsum("tb,tkb->tk", shares, self.scores)
        apart = self.scores - mean[:, :, None]
        square = apart * apart
        variance = np.einsum("tb,tkb->tk", shares, square)
        variance = np.where(variance > 0, variance, 1.0)
        third: Floats = np.einsum("tb,tkb->tk", shares, square * apart)
        return variance, third / variance**1.5

    def _symmetric(self, z: Floats, skew: Floats, rows: Floats, effect: Floats) -> Floats:
        """Return deviations as normal ones have them: a score that is skewed deviates further on its longer side."""
        now, then = effect / rows, effect / np.maximum(self.rows, 1.0)
        skew = skew * ((now**2 - then**2) / (now + then) ** 1.5)[:, None]
        found: Floats = z - skew * (np.minimum(np.abs(z), FAR) ** 2 - 1) / 6
        return found


def stack(tracks: Sequence[Track]) -> Stack:
    """Return the arrays of some tracks."""
    size = max((track.binning.size for track in tracks), default=1)
    counts, there, centroids = (np.zeros((len(tracks), size)) for _ in range(3))
    scores = np.zeros((len(tracks), polynomials.DEGREES, size))
    lower, upper = np.zeros((len(tracks), size)), np.zeros((len(tracks), size))
    for place, track in enumerate(tracks):
        bins = track.binning.size
        counts[place, :bins], there[place, :bins] = track.counts, 1.0
        centroids[place] = np.append(track.centroids, np.full(size - bins, track.centroids[-1]))
        scores[place, :, :bins] = track.scores
        low, high = polynomials.tails(counts[place, :bins])
        lower[place, : low + 1], upper[place, high:bins] = 1.0, 1.0
    return Stack(
        counts=counts,
        there=there,
        centroids=centroids,
        scores=scores,
        peaks=np.abs(scores * (counts > 0)[:, None]).max(axis=2, initial=0.0),
        lower=lower,
        upper=upper,
        rows=counts.sum(axis=1),
        masses=_masses(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)),
        means=np.array([track.mean for track in tracks], dtype=np.float64),
        units=np.array([track.binning.unit for track in tracks], dtype=np.float64),
        spreads=np.array([_scale(track) for track in tracks], dtype=np.float64),
        effects=np.array([track.effects for track in tracks], dtype=np.float64).reshape(-1, polynomials.DEGREES),
    )


def _masses(shares: Floats) -> Floats:
    """Return the sums of the squared shares, the largest bin taken for the second: what it hides may be one value."""
    ordered = np.sort(shares, axis=1)
    if ordered.shape[1] > 1:
        ordered[:, -1] = ordered[:, -2]
    found: Floats = (ordered**2).sum(axis=1)
    return found


def _scale(track: Track) -> float:
    """Return what distances are measured in: the spread, or for a constant its own size."""
    return track.spread or track.high - track.low or abs(track.high) or 1.0
