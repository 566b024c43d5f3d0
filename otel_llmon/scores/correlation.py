"""Which numeric features go together: correlations of their normal scores, from sums of products of whole numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from otel_llmon.scores import significance
from otel_llmon.scores.binning import Ints
from otel_llmon.scores.columns import Floats

MOST = 200
"""Features beyond which pairs are not watched: they would be tens of thousands."""
BLOCK = 1024
"""Rows whose products add up exactly in single precision: 100 x 100 x 1,024 is below 2^24."""
CHUNKS, SMALLEST = 50, 50
"""Parts of a reference whose correlations are compared with those of all of it, and rows of the smallest part."""


@dataclass(frozen=True)
class Correlation:
    """The correlations of a reference, each pair once (row by row of the upper triangle).

    `variance` is that of one row's share in each, `shape` and `inflation` describe the sum of all squared deviations: the
    shape of its gamma law, and how much larger it is than independent rows make it.
    """

    features: tuple[int, ...]
    rows: int
    values: tuple[float, ...]
    variance: tuple[float, ...]
    shape: float
    inflation: float

    @cached_property
    def upper(self) -> tuple[Ints, Ints]:
        """Return the two places of every pair."""
        one, other = np.triu_indices(len(self.features), 1)
        return one, other


def products(steps: Floats) -> Floats:
    """Return the sums of products of all pairs, exact; a row per feature, at most BLOCK columns."""
    found: Floats = steps @ steps.T
    return found


def correlated(sums: Floats, pairs: Floats, mean: Floats, deviation: Floats) -> Floats:
    """Return the correlation matrix, from sums over so many `pairs` of rows and each feature's own mean and deviation."""
    together = sums / np.maximum(pairs, 1) - mean[:, None] * mean
    found: Floats = together / np.maximum(deviation[:, None] * deviation, 1e-12)
    return np.clip(found, -1.0, 1.0)


def correlation(features: Sequence[int], steps: Floats, present: Floats, effects: Floats) -> Correlation:
    """Return what is kept of a reference: normal steps (0 where `present` is 0), a row per feature, two at least."""
    rows = present.sum(axis=1)
    mean = steps.sum(axis=1) / np.maximum(rows, 1)
    deviation = np.sqrt(np.maximum((steps**2).sum(axis=1) / np.maximum(rows, 1) - mean**2, 0.0))
    normal = (steps - mean[:, None]) / np.maximum(deviation[:, None], 1e-12) * present
    pairs = present @ present.T
    whole = correlated(steps @ steps.T, pairs, mean, deviation)
    upper = np.triu_indices(len(features), 1)
    variance = (_variance(normal, pairs, whole) * np.sqrt(effects[:, None] * effects))[upper]
    shape, inflation = _law(normal, present, whole[upper], variance)
    kept = (tuple(map(float, np.round(found, 6))) for found in (whole[upper], variance))
    return Correlation(tuple(features), int(pairs.min()), *kept, shape, inflation)


def _variance(normal: Floats, pairs: Floats, whole: Floats) -> Floats:
    """Return the variance of one row's influence on each correlation; (1 - r^2)^2 where all is normal."""
    squares = normal**2
    count = np.maximum(pairs, 1)
    both = squares @ squares.T / count
    skew = (normal * squares) @ normal.T / count
    fourth = (squares**2).sum(axis=1) / np.maximum(np.diag(pairs), 1)
    found = both - whole * (skew + skew.T) + whole**2 / 4 * (fourth[:, None] + fourth + 2 * both)
    return np.maximum(found, 0.01)


def _law(normal: Floats, present: Floats, whole: Floats, variance: Floats) -> tuple[float, float]:
    """Return shape and inflation of the sum of squares, from parts of the reference in their order."""
    rows, count = normal.shape[1], len(whole)
    chunks = min(CHUNKS, rows // SMALLEST)
    if chunks < 10:
        return count / 4, 1.0  # nothing is known: half the shape allows for pairs that move together
    upper = np.triu_indices(len(normal), 1)
    found = []
    for part, there in zip(np.array_split(normal, chunks, 1), np.array_split(present, chunks, 1), strict=True):
        size = np.maximum(there.sum(axis=1), 1)
        mean = part.sum(axis=1) / size
        deviation = np.sqrt(np.maximum((part**2).sum(axis=1) / size - mean**2, 1e-12))
        seen = correlated(part @ part.T, there @ there.T, mean, deviation)[upper]
        apart = (seen - whole) ** 2 / (variance * (1 / np.maximum((there @ there.T)[upper], 1) - 1 / rows))
        found.append(float(apart.sum()))
    sums = np.array(found)
    shape = float(sums.mean() ** 2 / max(sums.var(ddof=1), 1e-12))
    return min(shape, count / 2), float(max(sums.mean() / count, 1.0))


def compared(reference: Correlation, seen: Floats, pairs: Floats) -> tuple[Floats, float]:
    """Return every pair's deviation, and how likely chance makes the largest, or all of them together, so large.

    Pairs of fewer than SMALLEST rows are left out: their deviation is 0.
    """
    size = pairs[reference.upper]
    enough = size >= SMALLEST
    apart = np.where(enough, seen[reference.upper] - np.array(reference.values), 0.0)
    z = apart / np.sqrt(np.array(reference.variance) * (1 / np.maximum(size, 1) + 1 / max(reference.rows, 1)))
    count = int(enough.sum())
    if not count:
        return z, 1.0
    largest = significance.two_sided(np.abs(z).max(keepdims=True))[0]
    one = -np.expm1(count * np.log1p(-min(largest, 1 - 1e-15)))
    shape = reference.shape * count / len(z)
    every = significance.special().gammaincc(shape, shape * float((z**2).sum()) / count / reference.inflation)
    return z, float(significance.together(np.array([[one, every]]))[0])
