"""How far apart two columns are, from their counts in the same bins.

Pure functions of arrays whose last axis are bins: the `rows` of a window, and those of a reference `before`.
"""

from __future__ import annotations

import numpy as np

from otel_llmon.scores.columns import Floats

HALF = 0.5
"""Added to every bin, so that an empty one has a logarithm."""
RARE = 8.0
"""Rows below which a bin's part in an index is not that of a large one."""
ENOUGH = 8.0
"""Rows that a bin of chi-square is to expect of the smaller sample."""


def ks(rows: Floats, before: Floats) -> Floats:
    """Return the greatest difference of two distributions at the bins' edges (Kolmogorov-Smirnov).

    It is never above the exact one.
    """
    apart = _cumulated(rows) - _cumulated(before)
    found: Floats = np.abs(apart).max(axis=-1)
    return found


def psi(rows: Floats, before: Floats, bins: Floats | None = None) -> Floats:
    """Return the population stability index, half a row added to each of the `bins` that there are (all, if None)."""
    there = np.ones(rows.shape[-1]) if bins is None else bins
    now, then = (HALF * there + counts for counts in (rows, before))
    now, then = (counts / counts.sum(axis=-1, keepdims=True) for counts in (now, then))
    logarithms = np.log(np.divide(now, then, out=np.ones_like(now), where=there > 0))
    found: Floats = ((now - then) * logarithms).sum(axis=-1)
    return found


def psi_by_chance(rows: Floats, before: Floats, bins: Floats | None = None) -> Floats:
    """Return what the index is on average where nothing has changed; `rows` is how many the window has.

    A bin of many rows adds one part in `rows` and one in those of the reference, but for its own share. Of a rarer one
    all numbers of rows are gone through that it may have by chance, each with half a row added.
    """
    there = np.ones_like(before) if bins is None else bins
    some, total = np.maximum(rows, 1.0)[..., None], np.maximum(before.sum(axis=-1, keepdims=True), 1.0)
    added = HALF * there.sum(axis=-1, keepdims=True)
    share, whole = before / total, some + added
    parts = there * (1 - share) * (some / whole**2 + total / (total + added) ** 2)
    expected, smoothed = some * share, whole * (before + HALF) / (total + added)
    rare = np.nonzero((expected < RARE) & (there > 0))
    parts[rare] = _by_chance(expected[rare], smoothed[rare]) / np.broadcast_to(whole, parts.shape)[rare]
    found: Floats = parts.sum(axis=-1)
    return found


def _by_chance(expected: Floats, smoothed: Floats) -> Floats:
    """Return the mean of a rare bin's part in the index, times the rows, its rows being Poisson's."""
    likely, found = np.exp(-expected), np.zeros_like(expected)
    most = float(expected.max(initial=0.0))
    for count in range(int(most + 6 * most**0.5) + 4):
        found += likely * (count + HALF - smoothed) * np.log((count + HALF) / smoothed)
        likely = likely * expected / (count + 1)
    return found


def wasserstein(rows: Floats, before: Floats, centroids: Floats) -> Floats:
    """Return how far values have moved on average, every bin standing at its reference's mean."""
    apart = np.abs(_cumulated(rows) - _cumulated(before))[..., :-1]
    found: Floats = (apart * np.diff(centroids, axis=-1)).sum(axis=-1)
    return found


def jensen_shannon(rows: Floats, before: Floats) -> Floats:
    """Return the Jensen-Shannon distance, 0 to 1 (base 2)."""
    now, then = (counts / np.maximum(counts.sum(axis=-1, keepdims=True), 1) for counts in (rows, before))
    middle = (now + then) / 2
    found: Floats = np.sqrt(np.maximum((_entropy(middle) - (_entropy(now) + _entropy(then)) / 2) / np.log(2), 0.0))
    return found


def chi_square(rows: Floats, before: Floats) -> tuple[Floats, Floats]:
    """Return chi-square of two samples and its degrees of freedom; rare neighbours are counted as one bin."""
    size, size_before = rows.sum(axis=-1), before.sum(axis=-1)
    share = np.minimum(size, size_before) / np.maximum(size + size_before, 1)
    expected = (rows + before) * share[..., None]
    ahead = expected.sum(axis=-1)
    statistic, groups = np.zeros_like(ahead), np.zeros_like(ahead)
    now, then, waiting = np.zeros_like(ahead), np.zeros_like(ahead), np.zeros_like(ahead)
    for place in range(rows.shape[-1]):
        now, then = now + rows[..., place], then + before[..., place]
        waiting, ahead = waiting + expected[..., place], ahead - expected[..., place]
        full = (waiting >= ENOUGH) & (ahead >= ENOUGH)
        if place == rows.shape[-1] - 1:
            full = waiting > 0
        term = (now * size_before - then * size) ** 2 / np.maximum((now + then) * size * size_before, 1)
        statistic += np.where(full, term, 0.0)
        groups += full
        now, then, waiting = (np.where(full, 0.0, kept) for kept in (now, then, waiting))
    return statistic, np.maximum(groups - 1, 0)


def _cumulated(counts: Floats) -> Floats:
    sums: Floats = np.cumsum(counts, axis=-1)
    found: Floats = sums / np.maximum(sums[..., -1:], 1)
    return found


def _entropy(shares: Floats) -> Floats:
    found: Floats = -(shares * np.log(np.where(shares > 0, shares, 1.0))).sum(axis=-1)
    return found
