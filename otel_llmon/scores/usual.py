"""How often a value of a reference failed a check, and whether that explains how often one fails now."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from otel_llmon.scores.features import Feature, Track

RARE = 1e-6
"""How likely chance is where it explains nothing: a table of 200 features is asked a thousand questions."""
QUARTERS = (0.25, 0.5, 0.75)
NORMAL = 0.6745
"""A quarter of a normal distribution lies between its middle and so many deviations."""


class Usual(NamedTuple):
    """So many of so many rows failed; `effect` of them count as one, since they follow each other."""

    failed: float
    rows: float
    effect: float = 1.0

    @property
    def share(self) -> float:
        """Return the share that failed."""
        return min(self.failed / self.rows, 1.0) if self.rows else 0.0

    @property
    def most(self) -> float:
        """Return the largest share that a reference of so many rows may have hidden."""
        failed, rows = self.failed / self.effect, self.rows / self.effect
        return min((failed + 3.1 * math.sqrt(failed + 1) + 4) / rows, 1.0) if rows else 0.0

    def explains(self, failed: int, seen: int) -> bool:
        """Return whether so many failures may be chance (by Chernoff's bound, which never says so too rarely)."""
        share, most = failed / seen, self.most
        if share <= most:
            return True
        return seen / self.effect * _divergence(share, most) < -math.log(RARE)


def _divergence(share: float, usual: float) -> float:
    """Return how far a share is from the usual one, as bits of nature per row."""
    if usual <= 0:
        return math.inf
    rest = (1 - share) * math.log((1 - share) / (1 - usual)) if share < 1 else 0.0
    return share * math.log(share / usual) + rest


def missing(feature: Feature) -> Usual:
    """Return how often a feature had no value."""
    return Usual(feature.missing, feature.total, feature.missing_effect)


def infinite(feature: Feature) -> Usual | None:
    """Return how often it had an infinite one; None where it never had."""
    return Usual(feature.infinite, feature.rows + feature.infinite) if feature.infinite else None


def beyond_range(feature: Feature) -> Usual:
    """Return how often a value is expected beyond all those that were seen: as often as any is the first or last."""
    return Usual(2 * feature.rows / (feature.rows + 1), feature.rows, feature.effect)


def unseen(feature: Feature) -> Usual:
    """Return how often an unknown level is expected: as often as one was seen once only."""
    assert feature.levels is not None
    return Usual(feature.levels.rare, feature.rows, feature.levels.effect)


def outside(feature: Feature, low: float, high: float) -> Usual:
    """Return how often a feature was outside of some limits at most: a bin that reaches beyond may lie there whole."""
    track = feature.tracks[0]
    edges = track.binning.edges
    beyond = (np.append(track.low, edges) < low) | (np.append(edges, track.high) > high)
    return Usual(float(np.array(track.counts)[beyond].sum()), feature.rows, feature.effect)


def limits(feature: Feature, beyond: float) -> tuple[float, float] | None:
    """Return what lies so many deviations from the middle on either side; None where a reference has no spread.

    Deviations are taken from the quartiles, on each side by itself: outliers of the reference do not widen them, and a
    long tail is no crowd of outliers.
    """
    if feature.kind != "numeric" or not feature.tracks or not feature.rows:
        return None
    low, middle, high = _quartiles(feature.tracks[0])
    spread = feature.tracks[0].spread
    below, above = ((middle - low) / NORMAL or spread, (high - middle) / NORMAL or spread)
    if not (below > 0 and above > 0):
        return None
    return middle - beyond * below, middle + beyond * above


def _quartiles(track: Track) -> list[float]:
    shares = np.cumsum(track.counts)[:-1] / track.rows
    found: list[float] = np.interp(QUARTERS, shares, track.binning.edges).tolist()
    return found
