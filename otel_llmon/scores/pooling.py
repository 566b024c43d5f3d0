"""Categories of a window beside those of a reference, so that neither side has chosen what is compared.

Which levels have a name is the reference's own doing: those that it saw by chance are in it, and those that it missed
are not. Whatever goes by what both saw together knows nothing of who saw it, and chance divides it by their rows.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from otel_llmon.scores import significance
from otel_llmon.scores.binning import Ints
from otel_llmon.scores.columns import Floats
from otel_llmon.scores.features import REST, Levels

MISSED = 0.001
"""How likely a reference names a level that both saw so often together, at least: 1 less this."""


def pooled(levels: Levels, rows: Ints) -> tuple[Floats, Floats]:
    """Return a window's and the reference's rows per level, the most frequent in both together first.

    The last entry is what has no name, with all levels so rare that the reference may as well have missed them.
    """
    now, before, places = _named(levels, rows)
    both, sizes = now + before, (float(rows.sum()), float(sum(levels.counts)))
    least = 0.0 if levels.whole else float(before.min(initial=0.0))
    share = sizes[1] / max(sum(sizes), 1.0)
    count = np.maximum(both / levels.effect, least).astype(np.int64)
    missed = significance.special().bdtr(least, count, share)
    known = np.flatnonzero(missed <= MISSED)
    known = known[np.lexsort((places[known], -both[known]))]
    found = (np.append(side[known], size - side[known].sum()) for side, size in zip((now, before), sizes, strict=True))
    one, other = found
    return one, other


def expected(levels: Levels, rows: Ints, named: Mapping[str, int], limit: float) -> bool:
    """Return whether the reference may have missed the levels that a window has and it has not.

    A level that both have so many rows of lies in the window alone as often as `share ** rows`. Added up over all that
    are as frequent as the most frequent new one, that is how many such there are; over all levels, how many new names.
    Where there are many rare ones, new ones are no surprise (Good, Turing).
    """
    now, before, _ = _named(levels, rows)
    share = float(rows.sum()) / max(float(rows.sum()) + sum(levels.counts), 1.0)
    both = np.concatenate([now + before, np.array(list(named.values()), dtype=np.float64)])
    alone = share ** (both / levels.effect)
    frequent = float(alone[both >= max(named.values())].sum())
    return frequent > limit and bool(significance.special().pdtrc(len(named) - 1, alone.sum()) > limit)


def _named(levels: Levels, rows: Ints) -> tuple[Floats, Floats, Ints]:
    """Return the rows of levels that have a name, in the window and before, and the names' places in the alphabet."""
    kept = np.array([name != REST for name in levels.names], dtype=bool)
    counts = np.array(levels.counts, dtype=np.float64)
    return rows[:-1][kept].astype(np.float64), counts[kept], levels.alphabet[kept]
