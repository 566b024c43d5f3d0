"""What a bin says of location, scale, skew and tails: functions of the rank that are independent of each other."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np

from otel_llmon.scores.binning import Ints
from otel_llmon.scores.columns import Floats

DEGREES = 4
NAMES = ("location", "scale", "skew", "kurtosis")
TAIL = 0.001
"""Share of the reference that its outermost bins hold, or a little more."""
CLIPPED = 2.5
"""Normal scores beyond are taken for it: a score is to be normal for a hundred rows, too."""
STEPS, MOST = 32, 100
"""Whole steps of one normal deviation, and the most that a bin may have."""
_NORMAL = NormalDist()


def ranks(counts: Floats) -> Floats:
    """Return each bin's middle rank, 0 to 1."""
    total = max(float(counts.sum()), 1.0)
    found: Floats = (np.cumsum(counts) - counts / 2) / total
    return found


def scores(counts: Floats) -> Floats:
    """Return a row per degree, a column per bin: orthonormal under the reference's own counts.

    Location and scale are those of the normal scores, which lose nothing where values are normal, up to CLIPPED; skew
    and kurtosis those of the ranks, which do not grow in the tails. There is one degree less than there are bins that
    hold anything; what is missing is zero.
    """
    found = np.zeros((DEGREES, len(counts)))
    degrees = min(int((counts > 0).sum()) - 1, DEGREES)
    if degrees < 1:
        return found
    rank = 2 * ranks(counts) - 1
    normal = np.clip(_normal(counts), -CLIPPED, CLIPPED)
    powers = np.stack([np.ones_like(rank), normal, normal**2, rank**3, rank**4], axis=1)[:, : degrees + 1]
    _, upper = np.linalg.qr(powers * np.sqrt(counts / counts.sum())[:, None])
    upper *= np.sign(np.diag(upper))[:, None]
    found[:degrees] = np.linalg.solve(upper.T, powers.T)[1:]
    return found


def _normal(counts: Floats) -> Floats:
    inside = np.clip(ranks(counts), 1e-9, 1 - 1e-9)
    return np.array([_NORMAL.inv_cdf(float(rank)) for rank in inside])


def contrasts(counts: Floats) -> Floats:
    """Return the same for categories, which have no order: the most frequent ones, one after the other."""
    found = np.zeros((DEGREES, len(counts)))
    total, left = float(counts.sum()), float(counts.sum())
    order = np.argsort(-counts, kind="stable")
    for degree, place in enumerate(order[:DEGREES]):
        share, rest = counts[place] / total, (left - counts[place]) / total
        if share <= 0 or rest <= 0:
            break
        size = (share * rest * (share + rest)) ** 0.5
        found[degree] = -share / size
        found[degree, order[:degree]] = 0.0
        found[degree, place] = rest / size
        left -= counts[place]
    return found


def normal_steps(counts: Floats) -> Ints:
    """Return each bin's place on the normal scale, in whole steps: sums of products are then exact."""
    steps: Ints = np.clip(np.rint(_normal(counts) * STEPS), -MOST, MOST).astype(np.int64)
    return steps


def tails(counts: Floats) -> tuple[int, int]:
    """Return up to which bin the lower tail goes, and from which the upper one does."""
    shares = np.cumsum(counts) / max(float(counts.sum()), 1.0)
    upper = np.cumsum(counts[::-1]) / max(float(counts.sum()), 1.0)
    enough = TAIL * 0.95
    return int((shares < enough).sum()), len(counts) - 1 - int((upper < enough).sum())
