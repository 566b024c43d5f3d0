"""Two samples value by value: what bins approximate, on demand, for those who have kept the values.

The reference is sorted once; a window is sorted and looked up in it, so that a check does not touch all of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from otel_llmon.scores import distances, significance
from otel_llmon.scores.binning import Ints
from otel_llmon.scores.columns import Column, ColumnsError, Floats, numeric

EXACT = 20_000
"""Rows of both samples up to which a p-value is counted out; beyond, Kolmogorov's limit is as good."""


@dataclass(frozen=True, eq=False)
class Sample:
    """Finite values in ascending order."""

    values: Floats

    @classmethod
    def of(cls, column: Column) -> Sample:
        """Return the sample of a column's finite values; raises ColumnsError where there is none."""
        found = numeric(column).values
        kept = np.sort(found[np.isfinite(found)])
        if not len(kept):
            raise ColumnsError(f"a sample of {len(found)} values: found none that is finite, expected at least one")
        return cls(kept)

    @cached_property
    def _sums(self) -> Floats:
        """Return the sums of the values before each, taken from the middle so that nothing is lost to rounding."""
        return np.concatenate([[0.0], np.cumsum(self.values - self._middle)])

    @cached_property
    def _middle(self) -> float:
        return float(self.values[len(self.values) // 2])

    def ks(self, window: Sample) -> float:
        """Return the two-sample Kolmogorov-Smirnov distance."""
        upto, rows = self._upto(window), np.arange(len(window.values) + 1) / len(window.values)
        same = self.values[np.maximum(upto - 1, 0)] == window.values
        below = np.searchsorted(self.values, window.values, side="left") if same.any() else upto
        return float(max((rows[1:] - upto / len(self.values)).max(), (below / len(self.values) - rows[:-1]).max(), 0.0))

    def ks_p_value(self, window: Sample) -> float:
        """Return how likely chance makes that distance as large: counted out for small samples, else in the limit."""
        distance, rows, before = self.ks(window), len(window.values), len(self.values)
        if rows + before <= EXACT:
            return paths_outside(distance, rows, before)
        root = (rows * before / (rows + before)) ** 0.5
        return float(significance.special().kolmogorov(root * distance))

    def wasserstein(self, window: Sample) -> float:
        """Return how far values have moved on average: the area between the two distributions."""
        rows, before = len(window.values), len(self.values)
        values = window.values - self._middle
        start: Floats = np.arange(rows, dtype=np.float64) * (before / rows)
        end: Floats = np.arange(1, rows + 1, dtype=np.float64) * (before / rows)
        place: Floats = np.clip(self._upto(window), start, end)
        parts = values * (2 * place - start - end) + self._until(start) + self._until(end) - 2 * self._until(place)
        return float(parts.sum() / before)

    def _upto(self, window: Sample) -> Ints:
        """Return how many values lie at or below each of a window's."""
        return np.searchsorted(self.values, window.values, side="right").astype(np.int64)

    def _until(self, places: Floats) -> Floats:
        """Return the sum of the values up to a place that may lie within one."""
        whole = np.minimum(places.astype(np.int64), len(self.values) - 1)
        found: Floats = self._sums[whole] + (places - whole) * (self.values[whole] - self._middle)
        return found


def paths_outside(distance: float, rows: int, before: int) -> float:
    """Return the share of all orders of two samples in which they are somewhere as far apart as `distance`.

    An order is a path over a grid of `rows` by `before`. From step to step it is counted how many have been outside.
    """
    rows, before = min(rows, before), max(rows, before)
    one = np.arange(rows + 1)
    limit = round(distance * rows * before)
    outside: npt.NDArray[np.float64] = np.zeros(rows + 1)
    if limit == 0:
        return 1.0
    for step in range(1, rows + before + 1):
        low, high = max(step - before, 0), min(step, rows)
        here = one[low : high + 1]
        other = step - here
        came = np.concatenate([[0.0], outside])[low : high + 1]
        mixed = (here * came + other * outside[low : high + 1]) / step
        outside[low : high + 1] = np.where(np.abs(here * before - other * rows) >= limit, 1.0, mixed)
    return float(outside[rows])


def psi(reference: Column, window: Column, bins: int = 20) -> float:
    """Return the population stability index of two columns, half a row added to each quantile of the reference."""
    before, now = Sample.of(reference).values, Sample.of(window).values
    edges = np.unique(np.quantile(before, np.arange(1, bins) / bins))
    counts = (np.bincount(np.searchsorted(edges, values), minlength=len(edges) + 1) for values in (now, before))
    one, other = (count.astype(np.float64) for count in counts)
    return float(distances.psi(one, other))
