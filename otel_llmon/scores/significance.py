"""How likely chance is: p-values of counts, many at once, and what many of them say together.

scipy's special functions are loaded on the first p-value; its statistics never are.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from otel_llmon.scores.columns import Floats

Flags = npt.NDArray[np.bool_]

UNSEEN = 0.5826
"""By how many deviations of a step the greatest value of a walk exceeds those that are looked at."""

CALM = 0.8
"""Above it a p-value says nothing."""


@cache
def special() -> Any:
    """Return scipy's special functions."""
    from scipy import special as functions

    return functions


def two_sided(z: Floats) -> Floats:
    """Return how likely a standard normal value lies as far out."""
    p: Floats = 2 * special().ndtr(-np.abs(z))
    return p


def chi_square(statistic: Floats, freedom: Floats) -> Floats:
    """Return how likely chi-square is as large; 1 where there is no freedom."""
    p: Floats = special().gammaincc(np.maximum(freedom, 1e-9) / 2, np.maximum(statistic, 0) / 2)
    return np.where(freedom > 0, p, 1.0)


def kolmogorov(distance: Floats, rows: Floats, mass: Floats) -> Floats:
    """Return how likely two samples of so many rows together (nN / (n + N)) differ by as much at an edge of bins.

    `mass` is the sum of the bins' squared shares: between edges the difference is not seen, and the greatest one would
    have been so much larger on average (Siegmund's correction).
    """
    p: Floats = special().kolmogorov(np.sqrt(rows) * distance + UNSEEN * np.sqrt(mass))
    return p


def two_samples(distance: Floats, rows: float, before: float) -> Floats:
    """Return how likely two samples of so many rows are as far apart somewhere (Stephens' form of Kolmogorov's limit).

    Of a distance that was seen at the edges of bins only, this is an upper bound.
    """
    root = (rows * before / (rows + before)) ** 0.5
    p: Floats = special().kolmogorov((root + 0.12 + 0.11 / root) * distance)
    return p


def share(found: float, rows: float, before: float, rows_before: float) -> float:
    """Return the same as `shares` of one."""
    return float(shares(*(np.array([float(number)]) for number in (found, rows, before, rows_before)))[0])


def shares(found: Floats, rows: Floats, before: Floats, rows_before: Floats) -> Floats:
    """Return how likely `found` of `rows` and `before` of `rows_before` come from one share.

    Given how many there are in both, the window's are binomial: exact for rare ones. Fewer count like more, and half of
    what is as likely as seen is taken (mid-p). 1 where there are none, or only such.
    """
    betainc = special().betainc
    both, share = found + before, rows / (rows + rows_before)
    rest = rows + rows_before - both
    swap = both > rest  # the rarer outcome is the one that is nearly binomial
    found, both = np.where(swap, rows - found, found), np.where(swap, rest, both)
    at_least = np.where(found > 0, betainc(np.maximum(found, 1e-12), both - found + 1, share), 1.0)
    more = np.where(found < both, betainc(found + 1, np.maximum(both - found, 1e-12), share), 0.0)
    upper = (at_least + more) / 2
    p: Floats = np.minimum(2 * np.minimum(upper, 1 - upper), 1.0)
    return np.where(both > 0, p, 1.0)


def together(p: Floats, valid: Flags | None = None, weights: Floats | None = None) -> Floats:
    """Return one p-value for each row's (Cauchy combination: dependence between them does not matter much).

    What is not `valid` is left out; a row without any is 1. What is likelier than CALM counts like it: that few rows
    had nothing to say must not speak against what the others say.
    """
    weight = np.ones_like(p) if weights is None else np.broadcast_to(weights, p.shape)
    if valid is not None:
        weight = np.where(valid, weight, 0.0)
    tangents = np.where(p < 1e-9, 1 / (np.maximum(p, 1e-300) * np.pi), np.tan((0.5 - np.clip(p, 1e-9, CALM)) * np.pi))
    total = weight.sum(axis=-1)
    mean = (weight * tangents).sum(axis=-1) / np.maximum(total, 1e-300)
    found = np.where(mean > 1e8, 1 / (np.maximum(mean, 1.0) * np.pi), 0.5 - np.arctan(mean) / np.pi)
    return np.where(total > 0, found, 1.0)


def discoveries(p: Floats, rate: float = 0.05, table: float = 0.005) -> Flags:
    """Return which of many p-values are discoveries, of which a share of `rate` or less is expected to be false.

    Benjamini and Hochberg's steps, each lower by the same: where nothing at all has changed, one of `1 / table` tables
    has a discovery, and not one of `1 / rate` as with the plain steps. What many features share is found as before.
    """
    count = len(p)
    if not count:
        return np.zeros(0, dtype=bool)
    steps = rate * (np.arange(count) + min(table / rate, 1.0)) / count
    ordered = np.sort(p)
    below = np.flatnonzero(ordered <= steps)
    limit = ordered[below[-1]] if len(below) else -1.0
    found: Flags = p <= limit
    return found
