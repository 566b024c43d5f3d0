"""Where the bins of a column lie, and how its values are counted into them for a few nanoseconds each.

Bins are (edge, next edge]. Edges stand at quantiles of the reference, closer together in both tails, and at the ends of
its range. They are moved to the boundaries of a grid of 4,096 cells, even or finer toward the middle, so that a table
says the bin of every value exactly; a column that neither grid resolves is searched instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from otel_llmon.scores.columns import Floats

Ints = npt.NDArray[np.int64]

BINS = 20
TAILS = (0.001, 0.005, 0.02)
"""Shares of the reference that have edges of their own at either end."""
DISCRETE = 32
"""A column of so few different values has a bin for each."""
CELLS = 4096
SHIFT = 46
"""Bits of a float that a wide grid ignores: what is left is its exponent and 64 steps in between."""
FAR = float(2**31)
"""In cells: what is further away than this counts as this far in a mean."""
LIMITS = np.iinfo(np.int64)


@dataclass(frozen=True)
class Binning:
    """The bins of one column, and the unit in which its values are added up.

    `grid` is "even" (cells as wide as `1 / unit` from `origin` on), "wide" (cells that grow with the distance from
    `origin`, the finest at exponent `base`) or "search".
    """

    edges: tuple[float, ...]
    grid: Literal["even", "wide", "search"]
    origin: float
    unit: float
    base: int = 0

    @property
    def size(self) -> int:
        """Return how many bins there are."""
        return len(self.edges) + 1

    @cached_property
    def table(self) -> Ints:
        """Return the bin of every cell."""
        cuts = self.cells(np.asarray(self.edges))
        return np.searchsorted(cuts, np.arange(CELLS), side="left").astype(np.int64)

    def cells(self, values: Floats) -> Ints:
        """Return the cells of finite values, each between 0 and CELLS - 1."""
        if self.grid == "even":
            return np.clip(codes(values, self.origin, self.unit), 0, CELLS - 1)
        return wide(values - self.origin, self.base)

    def bins(self, values: Floats, ends: tuple[float, float] | None = None) -> tuple[Ints, int]:
        """Return the bins of finite values, and the sum of the values in whole units; `ends` are their extremes."""
        near = ends is not None and all(abs((end - self.origin) * self.unit) < FAR for end in ends)
        found = codes(values, self.origin, self.unit, near=near)
        total = int(np.add.reduce(found))
        if self.grid == "even":
            return self.table.take(found, mode="clip"), total
        if self.grid == "wide":
            return self.table.take(wide(values - self.origin, self.base), mode="clip"), total
        return np.searchsorted(np.asarray(self.edges), values, side="left").astype(np.int64), total


def codes(values: Floats, origin: float | Floats, unit: float | Floats, *, near: bool = False) -> Ints:
    """Return values in whole units from an origin; whole numbers add up alike in every order.

    Nobody who knows that all are `near` has to pay for those that are too far away for a whole number.
    """
    scaled = np.subtract(values, origin)
    np.multiply(scaled, unit, out=scaled)
    if not near:
        np.minimum(scaled, FAR, out=scaled)
        np.maximum(scaled, -FAR, out=scaled)
    return scaled.astype(np.int64)


def wide(distances: Floats, base: int | Ints) -> Ints:
    """Return cells that are finest around zero: a float's own exponent and first digits, below zero mirrored.

    The distances are used up: the cells take their place.
    """
    steps = distances.view(np.int64)
    sign = steps >> 63
    steps &= LIMITS.max
    steps >>= SHIFT
    steps -= base
    np.maximum(steps, 0, out=steps)
    np.minimum(steps, CELLS // 2 - 1, out=steps)
    steps ^= sign
    steps += CELLS // 2
    return steps


def binning(ordered: Floats, bins: int = BINS) -> Binning:
    """Return the bins for a column from its finite values in ascending order; at least one value."""
    low, high = float(ordered[0]), float(ordered[-1])
    discrete = _few(ordered)
    cuts = _quantiles(ordered, bins) if discrete is None else discrete
    wanted = np.unique(np.append(cuts, high))
    origin, unit = _middle(ordered)
    for grid in (_even(low, high), *(_wide(start, unit, low, high) for start in (low, origin, high))):
        if grid is not None and (edges := _snapped(grid, wanted, low, ordered, exact=discrete is not None)):
            return Binning(edges, grid.grid, grid.origin, grid.unit, grid.base)
    return Binning((float(np.nextafter(low, -np.inf)), *map(float, wanted)), "search", origin, unit)


def _few(ordered: Floats) -> Floats | None:
    """Return the different values where there are few."""
    steps = np.flatnonzero(ordered[1:] != ordered[:-1])
    return None if len(steps) >= DISCRETE else np.append(ordered[steps], ordered[-1])


def _quantiles(ordered: Floats, bins: int) -> Floats:
    shares = np.array([*(np.arange(1, bins) / bins), *TAILS, *(1 - tail for tail in TAILS)])
    places = np.clip(np.ceil(shares * len(ordered)).astype(int) - 1, 0, len(ordered) - 1)
    found: Floats = ordered[places]
    return found


def _even(low: float, high: float) -> Binning | None:
    """Return cells of one width over the range, a cell and a half beyond it on either side."""
    unit = (CELLS - 3) / (high - low) if high > low else np.inf
    return Binning((), "even", low - 1.5 / unit, unit) if 0 < unit < 1e300 else None


def _wide(origin: float, unit: float, low: float, high: float) -> Binning | None:
    """Return cells that grow with the distance from a value, up to the farther end of the range."""
    reach = max(high - origin, origin - low)
    if not unit or not reach:
        return None
    base = (int(np.float64(reach).view(np.int64)) >> SHIFT) - (CELLS // 2 - 3)
    return Binning((), "wide", origin or -0.0, unit, max(base, 0))  # less -0.0, -0.0 is 0.0 and lies where 0.0 lies


def _middle(ordered: Floats) -> tuple[float, float]:
    """Return the middle of a column, and how many units its spread has, 0 where it has none."""
    spread = spread_of(ordered)
    unit = 256 / spread if spread else 0.0
    return float(ordered[len(ordered) // 2]), unit if unit < 1e300 else 0.0


def spread_of(ordered: Floats) -> float:
    """Return how far apart values lie, as the standard deviation of a normal one: robust, and 0 for a constant."""
    low, high = ordered[len(ordered) // 4], ordered[(3 * len(ordered)) // 4]
    return float((high - low) / 1.349 if high > low else ordered.std())


def _snapped(grid: Binning, wanted: Floats, low: float, ordered: Floats, *, exact: bool) -> tuple[float, ...] | None:
    """Return edges on the grid's boundaries, at or above those wanted; None where it is too coarse for them."""
    cuts = np.append(grid.cells(np.array([low])) - 1, grid.cells(wanted))
    if cuts[0] < 0 or cuts[-1] >= CELLS - 1 or (np.diff(cuts) <= 0).any():
        return None
    edges = _last_of(grid, cuts)
    before = np.searchsorted(ordered, wanted, side="right") / len(ordered)
    after = np.searchsorted(ordered, edges[1:], side="right") / len(ordered)
    allowed = 0.0 if exact else 0.25 * np.minimum(before, 1 - before) + 1.5 / len(ordered)
    return tuple(map(float, edges)) if (after - before <= allowed).all() else None


def _last_of(grid: Binning, cuts: Ints) -> Floats:
    """Return the last float in each cell: floats in their order are whole numbers, which are halved until they meet."""
    low, high = _around(grid, cuts)
    for _ in range(64):
        if (low + 1 >= high).all():
            break
        middle = (low >> 1) + (high >> 1) + (low & high & 1)
        inside = grid.cells(_unranked(middle)) <= cuts
        low, high = np.where(inside, middle, low), np.where(inside, high, middle)
    return _unranked(low)


def _around(grid: Binning, cuts: Ints) -> tuple[Ints, Ints]:
    """Return floats of which the first are in their cells or below, the others above, and both near where possible."""
    if grid.grid == "even":
        ends = grid.origin + (cuts + 1) / grid.unit
        near = 8 * np.spacing(np.maximum(np.abs(ends), abs(grid.origin)))
        low, high = ends - near, ends + near
        if (grid.cells(low) <= cuts).all() and (grid.cells(high) > cuts).all():
            return _ranks(low), _ranks(high)
    return _ranks(np.full(len(cuts), -1e300)), _ranks(np.full(len(cuts), 1e300))


def _ranks(values: Floats) -> Ints:
    bits = values.view(np.int64)
    return np.where(bits >= 0, bits, LIMITS.min - bits)


def _unranked(ranks: Ints) -> Floats:
    return np.where(ranks >= 0, ranks, LIMITS.min - ranks).view(np.float64)


def centroids(values: Floats, bins: Ints, edges: Sequence[float]) -> Floats:
    """Return the mean of the values in each bin; of an empty one the middle of its edges, or its only edge."""
    sums = np.bincount(bins, weights=values / max(len(values), 1), minlength=len(edges) + 1) * max(len(values), 1)
    return centres(sums, np.bincount(bins, minlength=len(edges) + 1), edges)


def centres(sums: npt.NDArray[Any], counts: npt.NDArray[Any], edges: Sequence[float]) -> Floats:
    """Return the same from sums and counts."""
    ends = np.array([edges[0], *edges, edges[-1]])
    middles = ends[:-1] / 2 + ends[1:] / 2
    return np.where(counts > 0, sums / np.maximum(counts, 1), middles)
