"""Which single values a reference all but excludes: limits beyond its range, as far out as its tails are heavy.

Each tail is carried on as it goes: as an exponential or, where it was seen to be heavier, as a power law (a generalized
Pareto tail through three of its points). The fewer rows were seen there, the heavier it is taken to be.
"""

from __future__ import annotations

from math import expm1, inf, log, sqrt
from typing import NamedTuple

import numpy as np

from otel_llmon.scores.binning import Ints
from otel_llmon.scores.columns import Floats
from otel_llmon.scores.features import Track
from otel_llmon.scores.reference import Reference

RATE = 1e-4
"""Rows of a reference's kind that may be called surprising."""
FEWEST = 1000
"""Rows of a reference below which nothing is surprising: they have hardly any tail."""
SEEN = 10
"""Rows beyond a point of a tail, for it to be one."""
APART = 4.0
"""By how much the shares beyond the points differ."""
HEAVIEST = 1.5
"""Of a tail's shape: a mean is infinite from 1 on."""


class Limits(NamedTuple):
    """What lies below `lows` or above `highs` is surprising; an entry per numeric feature of the reference."""

    names: tuple[str, ...]
    lows: Floats
    highs: Floats
    scales: Floats
    """The spread of each feature: in it distances are told."""


class Surprise(NamedTuple):
    """The most surprising value of a row: of which feature, which side, and how many spreads beyond the limit."""

    feature: str
    side: str
    beyond: float
    features: int
    """How many features of the row are surprising."""


def limits(reference: Reference, rate: float = RATE) -> Limits:
    """Return between what the numbers of a row lie, in all but a share `rate` of rows of the reference's kind."""
    each = rate / max(2 * len(reference.numeric), 1)
    tracks = [next(iter(reference[name].tracks), None) for name in reference.numeric]
    lows = [-inf if track is None else -_limit(_mirrored(track), each) for track in tracks]
    highs = [inf if track is None else _limit(_upright(track), each) for track in tracks]
    scales = [1.0 if track is None or not track.spread else track.spread for track in tracks]
    return Limits(reference.numeric, np.array(lows), np.array(highs), np.array(scales))


def surprise(known: Limits, row: Floats) -> Surprise | None:
    """Return what is surprising in a row of the numeric features; None where nothing is."""
    over, under = row - known.highs, known.lows - row
    beyond = np.where(np.isnan(row), -inf, np.maximum(over, under))
    found = int((beyond > 0).sum())
    if not found:
        return None
    spreads = beyond / known.scales
    most = int(spreads.argmax())
    side = "above" if over[most] > under[most] else "below"
    return Surprise(known.names[most], side, float(spreads[most]), found)


class _Tail(NamedTuple):
    """A column's upper half: edges from the middle on, and the share of rows beyond each."""

    middle: float
    edges: Floats
    beyond: Floats
    end: float
    other_end: float
    rows: int
    fewest: float
    """Rows of the bin that has fewest."""


def _upright(track: Track) -> _Tail:
    return _tail(np.array(track.binning.edges), np.array(track.counts), (track.low, track.high))


def _mirrored(track: Track) -> _Tail:
    return _tail(-np.array(track.binning.edges)[::-1], np.array(track.counts)[::-1], (-track.high, -track.low))


def _tail(edges: Floats, counts: Ints, ends: tuple[float, float]) -> _Tail:
    rows = int(counts.sum())
    beyond = 1 - np.cumsum(counts)[:-1] / max(rows, 1)
    middle = float(edges[int((beyond <= 0.5).argmax())])
    return _Tail(middle, edges, beyond, ends[1], ends[0], rows, float(counts[counts > 0].min(initial=rows)))


def _limit(tail: _Tail, rate: float) -> float:
    """Return the value beyond which only so small a share of rows lies."""
    if tail.rows < FEWEST or tail.end <= tail.other_end:  # a constant says nothing of what else there may be
        return inf
    usable = (tail.beyond * tail.rows >= SEEN) & (tail.beyond < 0.5) & (tail.edges > tail.middle)
    edges, shares = tail.edges[usable], tail.beyond[usable]
    if len(edges) < 2 or shares[-1] == shares[0]:  # few values, and no tail
        return tail.end + (tail.end - tail.other_end) if tail.fewest >= SEEN else inf
    far, rare = float(edges[-1]), float(shares[-1])
    mid, near = (int(np.abs(np.log(shares[:-1] / rare / APART**times)).argmin()) for times in (1, 2))
    shape = 0.0
    if near < mid:
        apart = (far - edges[mid]) / (edges[mid] - edges[near])
        shape = _shape(float(apart), log(shares[mid] / rare), log(shares[near] / shares[mid]))
    shape = min(shape + 0.5 / sqrt(rare * tail.rows), HEAVIEST)
    scale = (far - float(edges[mid])) / _grown(shape, log(shares[mid] / rare))
    further: float = _grown(shape, log(max(rare / rate, 1.0))) * float(shares[mid] / rare) ** shape
    return max(far + scale * further, tail.end)


def _grown(shape: float, steps: float) -> float:
    """Return how far a tail of this shape reaches while its share falls by `exp(steps)`."""
    return expm1(min(shape * steps, 600.0)) / shape if shape else steps


def _shape(apart: float, outer: float, inner: float) -> float:
    """Return the shape at which the outer stretch is so many times as long as the inner one, 0 for any light tail."""
    low, high = 1e-6, HEAVIEST
    for _ in range(30):
        middle = (low + high) / 2
        inner_end = expm1(middle * inner)
        ratio = _grown(middle, outer) * (1 + inner_end) * middle / inner_end
        low, high = (middle, high) if ratio < apart else (low, middle)
    return low
