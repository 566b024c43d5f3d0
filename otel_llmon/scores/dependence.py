"""Rows that follow each other: how many of them say as much as one that stands alone."""

from __future__ import annotations

import numpy as np

from otel_llmon.scores.columns import Floats

FEWEST = 50
"""Rows below which nothing is said of their order."""
CHUNKS = 25
"""Chunks from which a variance is worth comparing."""


def design_effect(series: Floats) -> float:
    """Return the variance of a mean over its variance in an independent order, at least 1.

    A series that shows no dependence is 1 exactly, so that what is independent loses no power to the estimate's noise;
    of another one the autocorrelations are added up until they vanish (Geyer's initial positive sequence).
    """
    rows = len(series)
    centred = series - series.mean() if rows else series
    variance = float(centred @ centred) / max(rows, 1)
    if rows < FEWEST or variance <= 0 or not _dependent(centred, variance):
        return 1.0
    pairs = _pairs(centred, variance)
    ends = np.flatnonzero(pairs <= 0)
    seen = np.minimum.accumulate(pairs[: ends[0] if len(ends) else len(pairs)])
    return float(np.clip(2 * seen.sum() - 1, 1.0, rows / 30))


def design_effect_of_means(means: Floats, size: int, variance: float) -> float:
    """Return the same from the means of so many neighbours each, whose values have this variance."""
    if size == 1 or variance <= 0 or len(means) < FEWEST:
        return design_effect(means)
    between = size * float(means.var()) / variance
    if between - 1 <= 4 * (2 / len(means)) ** 0.5:  # as below
        between = 1.0
    return float(np.clip(between * design_effect(means), 1.0, size * len(means) / 30))


def _dependent(centred: Floats, variance: float) -> bool:
    """Return whether means of neighbours vary by more than four deviations of what chance allows."""
    size = 2
    while (chunks := len(centred) // size) >= CHUNKS:
        means = centred[: chunks * size].reshape(chunks, size).mean(axis=1)
        if size * float(means @ means) / chunks / variance - 1 > 4 * (2 / chunks) ** 0.5:
            return True
        size *= 2
    return False


def _pairs(centred: Floats, variance: float) -> Floats:
    """Return the autocorrelations, two neighbouring lags added, from lag 0 on."""
    rows = len(centred)
    spectrum = np.fft.rfft(centred, 1 << (2 * rows - 1).bit_length())
    found = np.fft.irfft(np.abs(spectrum) ** 2)[:rows] / (rows * variance)
    even = found[: rows // 2 * 2].reshape(-1, 2)
    summed: Floats = even.sum(axis=1)
    return summed
