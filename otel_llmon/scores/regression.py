"""Is this build slower than that one: a ratio of quantiles with a bootstrap interval, from samples or histograms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

CONFIDENCE = 0.95
TOLERANCE = 1.1
"""A ratio within this factor is no regression, however certain it is."""

RESAMPLES = 2000

FEWEST = 5
"""Samples that must lie on either side of the quantile, in both histograms."""

FEWEST_RUNS = 5
"""Runs of each of two commands."""

ALIKE = 0.95
"""Where so much of both histograms lies in the same two buckets, these must be narrow."""

Numbers = NDArray[np.float64]


class Histogram(NamedTuple):
    """What is exported: upper edges, and one count more than edges."""

    edges: Sequence[float]
    counts: Sequence[float]


class Comparison(NamedTuple):
    """How much slower the candidate is: 1.3 is 30 %. The interval holds the true ratio in 95 of 100 cases."""

    verdict: str
    """What the interval shows: regression, improvement, none (it does not exceed the tolerance) or insufficient."""

    ratio: float | None
    low: float | None
    high: float | None
    why: str


def compare_histograms(
    baseline: Histogram,
    candidate: Histogram,
    quantile: float = 0.95,
    *,
    tolerance: float = TOLERANCE,
    seed: int = 0,
) -> Comparison:
    """Return what a quantile's ratio says of two builds or periods; the same numbers and seed give the same answer.

    Raises ValueError for histograms without edges, with other edges than each other's, or with negative counts, and
    for a quantile that is not between 0 and 1.
    """
    edges, before, after = _checked(baseline, candidate, quantile)
    if why := _too_little(edges, before, after, quantile, tolerance):
        return Comparison("insufficient", None, None, None, why)
    draws = np.random.default_rng(seed)
    was, might_have_been = _resampled(edges, before, quantile, draws)
    now, might_be = _resampled(edges, after, quantile, draws)
    if min(was, might_have_been.min()) <= 0:
        return Comparison(
            "insufficient", None, None, None, "the baseline's quantile may be 0, of which nothing is a ratio"
        )
    return _judged(now / was, might_be / might_have_been, tolerance)


def compare_runs(
    baseline: ArrayLike, candidate: ArrayLike, *, tolerance: float = TOLERANCE, seed: int = 0
) -> Comparison:
    """Return what the medians of two commands' runs say; likewise."""
    before, after = (np.asarray(each, dtype=float) for each in (baseline, candidate))
    if min(before.size, after.size) < FEWEST_RUNS:
        why = f"found {min(before.size, after.size)} runs, expected {FEWEST_RUNS} or more of each"
        return Comparison("insufficient", None, None, None, why)
    if not (np.all(before > 0) and np.all(after > 0)):
        return Comparison("insufficient", None, None, None, "a run took no time that could be measured")
    draws = np.random.default_rng(seed)
    resampled = [_medians(each, draws) for each in (before, after)]
    return _judged(float(np.median(after) / np.median(before)), resampled[1] / resampled[0], tolerance)


def interval(runs: ArrayLike, seed: int = 0) -> tuple[float, float]:
    """Return a bootstrap interval of the median of some runs."""
    medians = _medians(np.asarray(runs, dtype=float), np.random.default_rng(seed))
    low, high = np.quantile(medians, _TAILS)
    return float(low), float(high)


_TAILS = ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)


def _medians(runs: Numbers, draws: np.random.Generator) -> Numbers:
    found: Numbers = np.median(draws.choice(runs, (RESAMPLES, runs.size)), axis=1)
    return found


def _judged(ratio: float, ratios: Numbers, tolerance: float) -> Comparison:
    low, high = (float(each) for each in np.quantile(ratios, _TAILS))
    why = f"{ratio:.3f} times as long, {low:.3f} to {high:.3f}"
    if ratio > tolerance and low > 1:
        return Comparison("regression", ratio, low, high, why)
    if ratio < 1 / tolerance and high < 1:
        return Comparison("improvement", ratio, low, high, why)
    if high <= tolerance:
        return Comparison("none", ratio, low, high, why)
    return Comparison("insufficient", ratio, low, high, f"{why}: too wide a range, measure more")


def _checked(baseline: Histogram, candidate: Histogram, quantile: float) -> tuple[Numbers, Numbers, Numbers]:
    if not 0 < quantile < 1:
        raise ValueError(f"quantile: found {quantile!r}, expected more than 0 and less than 1")
    edges = np.asarray(baseline.edges, dtype=float)
    if not edges.size or not np.array_equal(edges, np.asarray(candidate.edges, dtype=float)):
        raise ValueError("histograms: found different edges, or none; expected the same ones in both")
    counts = [np.asarray(each.counts, dtype=float) for each in (baseline, candidate)]
    for each in counts:
        if each.size != edges.size + 1 or np.any(each < 0) or not np.all(np.isfinite(each)):
            raise ValueError(f"counts: found {each.size}, expected {edges.size + 1} of them, 0 or more each")
    return edges, counts[0], counts[1]


def _too_little(edges: Numbers, before: Numbers, after: Numbers, quantile: float, tolerance: float) -> str:
    """Return why nothing can be said, or an empty text."""
    fewest = round(min(before.sum(), after.sum()))
    needed = int(np.ceil(FEWEST / min(quantile, 1 - quantile) - 1e-9))
    if fewest < needed:
        return f"found {fewest} samples, expected {needed} or more in each"
    places = [int(np.searchsorted(np.cumsum(each), quantile * each.sum())) for each in (before, after)]
    if edges.size in places:
        return f"the quantile lies above the last edge, {edges[-1]:g}"
    return _too_coarse(edges, before, after, tolerance)


def _too_coarse(edges: Numbers, before: Numbers, after: Numbers, tolerance: float) -> str:
    """Return why the buckets say too little: within two neighbours a small shift and a large one look alike."""
    shares = [each / each.sum() for each in (before, after)]
    pairs = np.minimum(*(each[:-1] + each[1:] for each in shares))
    at = int(np.argmax(pairs))
    low, high = (edges[at - 1] if at else 0.0), (edges[at + 1] if at + 1 < edges.size else np.inf)
    if pairs[at] > ALIKE and high > low * tolerance**2:
        return f"nearly all lie in two buckets, from {low:g} to {high:g}; expected finer ones: histograms=exponential"
    return ""


def _resampled(edges: Numbers, counts: Numbers, quantile: float, draws: np.random.Generator) -> tuple[float, Numbers]:
    """Return a histogram's quantile, and those of histograms that might have been drawn in its place."""
    filled = counts > 0
    lower, upper = np.concatenate(([0.0], edges))[filled], np.concatenate((edges, edges[-1:]))[filled]
    kept = counts[filled]
    others = draws.multinomial(round(kept.sum()), kept / kept.sum(), RESAMPLES)
    return float(_quantiles(lower, upper, kept[None], quantile)[0]), _quantiles(lower, upper, others, quantile)


def _quantiles(lower: Numbers, upper: Numbers, counts: NDArray[Any], quantile: float) -> Numbers:
    """Return the quantile of each row of counts, as if values were spread evenly within their bucket."""
    reached = np.cumsum(counts, axis=1)
    rank = quantile * reached[:, -1]
    place = np.minimum((reached < rank[:, None]).sum(axis=1), len(lower) - 1)
    rows = np.arange(len(counts))
    inside = counts[rows, place]
    share = (rank - reached[rows, place] + inside) / np.maximum(inside, 1e-300)
    found: Numbers = lower[place] + (upper - lower)[place] * share
    return found
