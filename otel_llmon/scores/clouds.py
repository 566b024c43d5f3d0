"""Vectors: their mean, and what they look like from a few directions.

Coordinates are rounded to whole numbers first and directions are whole numbers: projections and sums are then exact,
the same on every machine and in every order.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from otel_llmon.scores.binning import Ints
from otel_llmon.scores.columns import Floats

FOUND, CHANCE = 8, 8
"""Directions in which the reference spreads most, and directions of chance."""
STEPS, UNIT = 2**15, 2**10
"""Whole steps of the largest coordinate, and of a direction's length."""
MOST = 2**20
"""In steps: what is further out counts as this far."""
CARRIED = 20.0
"""Rows that make up a coordinate's spread, at least: fewer may as well have been none, or twice as many."""
SEEN = 1000
"""Rows that the directions are found from."""


@dataclass(frozen=True)
class Cloud:
    """The vectors of a reference: `scale` steps for 1, and the mean and the deviation of each coordinate in steps.

    The deviation of a coordinate that hardly any row has is 0. `correlated` is the sum of all squared correlations
    between coordinates, `peaked` of their excess kurtosis: with them the distance between two means has a known law.
    """

    rows: int
    scale: float
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    correlated: float
    peaked: float
    directions: tuple[tuple[int, ...], ...] = ()

    @property
    def width(self) -> int:
        """Return how many coordinates a vector has."""
        return len(self.mean)

    @cached_property
    def _turned(self) -> Floats:
        found = np.array(self.directions, dtype=np.float64).reshape(-1, self.width)
        return np.vstack([found, chance(CHANCE if self.directions else 0, self.width)]).T

    def steps(self, matrix: Floats) -> Floats:
        """Return whole vectors in whole steps."""
        return np.clip(np.rint(matrix * self.scale), -MOST, MOST)

    def projected(self, steps: Floats) -> Floats:
        """Return a row per direction, a column per vector."""
        seen: Floats = np.ascontiguousarray((steps @ self._turned).T)
        return seen

    def deviations(self, sums: Ints, rows: int) -> Floats:
        """Return how far the mean of a window lies from the reference's, per coordinate, in deviations."""
        deviation = np.array(self.deviation)
        apart = sums / max(rows, 1) - np.array(self.mean)
        found: Floats = np.divide(apart, deviation, out=np.zeros_like(apart), where=deviation > 0)
        return found


def cloud(matrix: Floats, *, directions: bool) -> Cloud:
    """Return what is kept of vectors; at least one row, all finite."""
    largest = float(np.abs(matrix).max()) if matrix.size else 0.0
    scale = STEPS / largest if largest > STEPS * 1e-300 else 1.0
    steps = np.clip(np.rint(matrix * scale), -MOST, MOST)
    mean = steps.mean(axis=0)
    deviation = _known(steps - mean)
    normal = np.divide(steps - mean, deviation, out=np.zeros_like(steps), where=deviation > 0)
    seen = normal[:: max(len(normal) // (10 * SEEN), 1)]
    squares = float(((seen.T @ seen / len(seen)) ** 2).sum())
    width = int((deviation > 0).sum())
    return Cloud(
        rows=len(matrix),
        scale=scale,
        mean=tuple(map(float, mean)),
        deviation=tuple(map(float, deviation)),
        correlated=max(squares - width**2 / len(seen), float(width)),
        peaked=max(float((normal**4).mean(axis=0).sum()) - 3 * width, 0.0),
        directions=_spread(steps - mean) if directions else (),
    )


def _known(centred: Floats) -> Floats:
    """Return the deviation of each coordinate, 0 where so few rows have one that their number is chance itself."""
    squares = centred * centred
    carried = squares.sum(axis=0) ** 2 / np.maximum((squares * squares).sum(axis=0), 1e-300)
    return np.where(carried >= CARRIED, np.sqrt(squares.mean(axis=0)), 0.0)


def _spread(centred: Floats) -> tuple[tuple[int, ...], ...]:
    """Return the directions of the greatest spread, as whole numbers."""
    seen = centred[:: max(len(centred) // SEEN, 1)]
    _, _, axes = np.linalg.svd(seen, full_matrices=False)
    return tuple(tuple(int(step) for step in np.rint(axis * UNIT)) for axis in axes[:FOUND])


def chance(count: int, width: int) -> Floats:
    """Return directions of chance, the same everywhere: +1 or -1 in every coordinate, from a hash."""
    bits = hashlib.shake_256(b"directions").digest((count * width + 7) // 8)
    signs: npt.NDArray[np.uint8] = np.unpackbits(np.frombuffer(bits, dtype=np.uint8), count=count * width)
    return 2.0 * signs.reshape(count, width).astype(np.float64) - 1.0
