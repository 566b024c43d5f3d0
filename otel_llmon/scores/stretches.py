"""How much rows depend on each other where there are too many to keep: from means of ever longer stretches of them."""

from __future__ import annotations

import numpy as np

from otel_llmon.scores.columns import Floats
from otel_llmon.scores.dependence import FEWEST, design_effect_of_means


class Stretches:
    """Series of numbers, of which at most `most` sums of neighbours are kept, all of as many neighbours.

    Of `most` rows or fewer, `effects()` are exactly what `design_effect()` says of the series itself.
    """

    def __init__(self, series: int, most: int) -> None:
        self._most, self._size, self._full = most, 1, 0
        self._sums = np.zeros((series, most))
        self._begun, self._waiting = np.zeros(series), 0
        self._total, self._squares, self._rows = np.zeros(series), np.zeros(series), 0

    def add(self, values: Floats) -> None:
        """Add what follows: a row per series."""
        self._rows += values.shape[1]
        self._total += values.sum(axis=1)
        self._squares += np.einsum("sr,sr->s", values, values)
        while values.shape[1]:
            room = (self._most - self._full) * self._size - self._waiting
            self._fill(values[:, :room])
            values = values[:, room:]
            if self._full == self._most:
                self._fold()

    def _fill(self, values: Floats) -> None:
        rows = values.shape[1]
        first = min(self._size - self._waiting, rows)
        sums = np.add.reduceat(values, [0, *range(first, rows, self._size)], axis=1) if self._size > 1 else values
        if self._waiting:
            sums[:, 0] += self._begun
        done, self._waiting = divmod(self._waiting + rows, self._size)
        self._sums[:, self._full : self._full + done] = sums[:, :done]
        self._full += done
        if self._waiting:
            self._begun = sums[:, -1].copy()

    def _fold(self) -> None:
        """Make one of two neighbours each."""
        half = self._most // 2
        self._sums[:, :half] = self._sums[:, ::2] + self._sums[:, 1::2]
        self._full, self._size = half, self._size * 2

    def effects(self) -> tuple[float, ...]:
        """Return how many rows of each series say as much as one that stands alone."""
        if self._rows < FEWEST:
            return (1.0,) * len(self._sums)
        variance = np.maximum(self._squares / self._rows - (self._total / self._rows) ** 2, 0.0)
        means = self._sums[:, : self._full] / self._size
        return tuple(
            design_effect_of_means(one, self._size, float(each)) for one, each in zip(means, variance, strict=True)
        )
