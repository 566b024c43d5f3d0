"""Which numeric features go together: correlations of their normal scores, from sums of products of whole numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from otel_llmon.scores import significance
from otel_llmon.scores.binning import Ints
from otel_llmon.scores.columns import Floats

MOST = 200
"""Features beyond which pairs are not watched: they would be tens of thousands."""
BLOCK = 1024
"""Rows whose products add up exactly in single precision: 100 x 100 x 1,024 is below 2^24."""
ALONE = 1 << 18
"""Products for which BLAS wakes no other thread: those of a program that serves have something else to do."""
HIGHEST = 0.9999
"""Correlations beyond are taken for it: two columns of the same have no deviation."""
GUESSED = 8
"""By how much the reciprocal of a variance from so many rows is too large on average, times the rows."""
SMALLEST = 50
"""Rows below which a pair says nothing."""
SEEN, SEEN_ALL = 1_000, 8_000_000
"""Rows that are looked at to find out what pairs have to do with each other, and rows times pairs at most."""


@dataclass(frozen=True)
class Correlation:
    """The correlations of a reference, each pair once (row by row of the upper triangle).

    `variance` is that of one row's share in each; `second` and `third` are the traces of the powers of the correlations
    between pairs, from which the law of all squared deviations together follows.
    """

    features: tuple[int, ...]
    rows: int
    values: tuple[float, ...]
    variance: tuple[float, ...]
    second: float
    third: float

    @cached_property
    def upper(self) -> tuple[Ints, Ints]:
        """Return the two places of every pair."""
        one, other = np.triu_indices(len(self.features), 1)
        return one, other


def products(steps: npt.NDArray[np.float32]) -> Ints:
    """Return the sums of products of all pairs, exact; a row per feature, at most BLOCK columns."""
    part = max(ALONE // max(len(steps), 1) ** 2, 16)
    sums = np.zeros((len(steps), len(steps)), dtype=np.float32)
    for start in range(0, steps.shape[1], part):
        rows = steps[:, start : start + part]
        sums += rows @ rows.T
    return sums.astype(np.int64)


def correlated(sums: Floats | Ints, pairs: Floats | Ints, mean: Floats, deviation: Floats) -> Floats:
    """Return the correlations, from sums over so many `pairs` of rows and each feature's own mean and deviation."""
    together = sums / np.maximum(pairs, 1) - mean[:, None] * mean
    found: Floats = together / np.maximum(deviation[:, None] * deviation, 1e-12)
    np.clip(found, -1.0, 1.0, out=found)
    return found


def correlation(features: Sequence[int], steps: Floats, present: Floats, effects: Floats) -> Correlation:
    """Return what is kept of a reference: normal steps (0 where `present` is 0), a row per feature, two at least."""
    rows = present.sum(axis=1)
    mean = steps.sum(axis=1) / np.maximum(rows, 1)
    deviation = np.sqrt(np.maximum((steps**2).sum(axis=1) / np.maximum(rows, 1) - mean**2, 0.0))
    normal = (steps - mean[:, None]) / np.maximum(deviation[:, None], 1e-12) * present
    pairs = present @ present.T
    whole = correlated(steps @ steps.T, pairs, mean, deviation)
    upper = np.triu_indices(len(features), 1)
    variance = _variance(normal, pairs, whole)[upper]
    second, third = _moments(normal, whole[upper], variance)
    return Correlation(
        features=tuple(features),
        rows=int(pairs.min()),
        values=tuple(map(float, np.round(whole[upper], 6))),
        variance=tuple(map(float, np.round(variance * np.sqrt(effects[:, None] * effects)[upper], 6))),
        second=second,
        third=third,
    )


def _variance(normal: Floats, pairs: Floats, whole: Floats) -> Floats:
    """Return the variance of one row's influence on each correlation; (1 - r^2)^2 where all is normal."""
    squares = normal**2
    count = np.maximum(pairs, 1)
    both = squares @ squares.T / count
    skew = (normal * squares) @ normal.T / count
    fourth = (squares**2).sum(axis=1) / np.maximum(np.diag(pairs), 1)
    found: Floats = both - whole * (skew + skew.T) + whole**2 / 4 * (fourth[:, None] + fourth + 2 * both)
    np.maximum(found, 0.01, out=found)
    return found


def _moments(normal: Floats, whole: Floats, variance: Floats) -> tuple[float, float]:
    """Return the traces of the second and the third power of the correlations between pairs.

    They are the means of products of how alike the influences of two rows are, around two and three different rows.
    """
    one, other = np.triu_indices(len(normal), 1)
    rows = min(SEEN, SEEN_ALL // len(one))
    chosen = normal[:, :: max(normal.shape[1] // rows, 1)][:, :rows].astype(np.float32)
    squares = chosen**2
    influence = chosen[one] * chosen[other] - (whole / 2)[:, None] * (squares[one] + squares[other])
    influence /= np.sqrt(variance)[:, None]
    alike = (influence.T @ influence).astype(np.float64)
    np.fill_diagonal(alike, 0.0)
    rows, count = len(alike), len(one)
    twice = alike @ alike
    second = max(float(np.trace(twice)) / (rows * (rows - 1)), count)
    third = float((twice * alike).sum()) / (rows * (rows - 1) * (rows - 2))
    return second, float(np.clip(third, second**2 / count, second**1.5))


def compared(reference: Correlation, seen: Floats, pairs: Ints) -> tuple[Floats, float]:
    """Return every pair's deviation, and how likely chance makes the largest, or all of them together, so large.

    Pairs of fewer than SMALLEST rows are left out: their deviation is 0.
    """
    size = pairs[reference.upper]
    enough = size >= SMALLEST
    before = np.clip(np.array(reference.values), -HIGHEST, HIGHEST)
    apart = np.arctanh(np.clip(seen[reference.upper], -HIGHEST, HIGHEST)) - np.arctanh(before)  # less skewed (Fisher)
    apart = np.where(enough, apart * (1 - before**2), 0.0)
    variance = np.array(reference.variance) * (1 + GUESSED / max(reference.rows, 1))
    z = apart / np.sqrt(variance * (1 / np.maximum(size - 3, 1) + 1 / max(reference.rows - 3, 1)))
    count = int(enough.sum())
    if not count:
        return z, 1.0
    largest = significance.two_sided(np.abs(z).max(keepdims=True))[0]
    one = -np.expm1(count * np.log1p(-min(largest, 1 - 1e-15)))
    every = _squares(float((z**2).sum()) * len(z) / count, len(z), reference.second, reference.third)
    return z, float(significance.together(np.array([[one, every]]))[0])


def _squares(total: float, first: float, second: float, third: float) -> float:
    """Return how likely a sum of squares is as large: a gamma law of its moments (Hall, Buckley, Eagleson)."""
    freedom = second**3 / third**2
    where = (total - first) / (2 * second) ** 0.5 * (2 * freedom) ** 0.5 + freedom
    return float(significance.special().gammaincc(freedom / 2, max(where, 0.0) / 2))
