"""Two distributions in cells that can be drawn: of one width, or one for each value where there are few."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from otel_llmon.scores.binning import DISCRETE
from otel_llmon.scores.columns import Floats
from otel_llmon.scores.features import Track

CELLS = 30
OUTSIDE = 0.005
"""Share of either that may lie outside of what is drawn, at each end."""
WIDE = 200.0
"""Times as large as the least value that the greatest is where cells grow with it."""


@dataclass(frozen=True)
class Histogram:
    """Shares of rows per cell, those of the reference and those of the window; `ends` are its cells' edges.

    Of few values, `ends` are the values themselves, and `outside` the window's shares below and above all of them.
    """

    ends: tuple[float, ...]
    before: tuple[float, ...]
    now: tuple[float, ...]
    discrete: bool = False
    outside: tuple[float, float] = (0.0, 0.0)


def histogram(track: Track, counts: Sequence[int], low: float, high: float) -> Histogram | None:
    """Return a track's rows beside those of a window, whose values lie between `low` and `high`."""
    before, now = np.array(track.counts, dtype=np.float64), np.array(counts[: track.binning.size], dtype=np.float64)
    if not before.sum():
        return None
    now = np.zeros_like(before) if not now.sum() else now
    if _discrete(track):
        return _values(track, before, now)
    lowest, highest = min(track.low, low), max(track.high, high)
    edges = np.clip([lowest, *track.binning.edges, highest], lowest, highest)
    first, last = _range(edges, before, now)
    if not last > first:
        return None
    logarithmic = first > 0 and last / first > WIDE and np.interp(0.5, _cumulated(before), edges) < 0.1 * last
    ends = np.geomspace(first, last, CELLS + 1) if logarithmic else np.linspace(first, last, CELLS + 1)
    shares = [tuple(map(float, np.diff(_below(ends, edges, one)))) for one in (before, now)]
    return Histogram(tuple(map(float, ends)), shares[0], shares[1])


def _discrete(track: Track) -> bool:
    """Return whether each bin has one value: its mean lies at its end, as near as a grid allows."""
    edges, counts = track.binning.edges, track.counts
    if len(edges) > DISCRETE + 1:
        return False
    near = 0.002 * (edges[-1] - edges[0])
    inner = zip(pairwise(edges), track.centroids[1:-1], counts[1:-1], strict=True)
    return all(high - mean <= max(0.05 * (high - low), near) for (low, high), mean, count in inner if count)


def _values(track: Track, before: Floats, now: Floats) -> Histogram:
    """Return a cell per value; what lies beyond all is outside."""
    shares = [one / max(one.sum(), 1) for one in (before, now)]
    inner = [place for place in range(len(before)) if 0 < place < len(before) - 1 or before[place]]
    ends = tuple(float(f"{track.centroids[place]:.12g}") for place in inner)
    outside = (0.0 if before[0] else float(shares[1][0]), 0.0 if before[-1] else float(shares[1][-1]))
    kept = [tuple(float(one[place]) for place in inner) for one in shares]
    return Histogram(ends, kept[0], kept[1], discrete=True, outside=outside)


def _range(edges: Floats, before: Floats, now: Floats) -> tuple[float, float]:
    """Return the ends between which nearly all of both lie."""
    lows, highs = [], []
    for counts in (before, now):
        if counts.sum():
            shares = _cumulated(counts)
            lows.append(float(np.interp(OUTSIDE, shares, edges)))
            highs.append(float(np.interp(1 - OUTSIDE, shares, edges)))
    return min(lows), max(highs)


def _below(ends: Floats, edges: Floats, counts: Floats) -> Floats:
    """Return which share lies below each end, rows being spread evenly over their bin."""
    found: Floats = np.interp(ends, edges, _cumulated(counts))
    return found


def _cumulated(counts: Floats) -> Floats:
    return np.concatenate([[0.0], np.cumsum(counts) / max(counts.sum(), 1)])
