"""Whether a model has become worse: from labels, signed, so that a better one is no drift.

What is known without labels is named by what it is: drift of inputs, of predictions. Concept drift, the same prediction
meaning something else, is what labels alone can show.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt
from typing import NamedTuple

import numpy as np

from otel_llmon.errors import LlmonError
from otel_llmon.scores import distances, significance
from otel_llmon.scores.reference import FEWEST

ALPHA = 0.01
"""How often nothing but chance may be called worse."""


class PerformanceError(LlmonError, ValueError):
    """What is given is no outcome: fewer rows than hits, a negative spread."""


class Share(NamedTuple):
    """How many of how many: right answers, refusals."""

    hits: int
    rows: int


class Mean(NamedTuple):
    """A mean with its standard deviation over so many rows: an error, a loss, a rating."""

    value: float
    deviation: float
    rows: int


@dataclass(frozen=True)
class Change:
    """How much worse: `worse` is positive for a loss and negative for a gain, in the measure's own unit.

    `drifted` is None where there are too few rows to say.
    """

    before: float
    now: float
    worse: float
    p_value: float
    drifted: bool | None


def performance(
    before: Share | Mean, now: Share | Mean, *, higher_is_better: bool = True, floor: float = 0.01
) -> Change:
    """Return whether a measure has become worse by more than chance explains, and by at least `floor`.

    Shares are compared exactly, means by their standard errors; raises PerformanceError where one is no measure.
    """
    (was, error_was), (value, error) = _measured(before), _measured(now)
    worse = was - value if higher_is_better else value - was
    if isinstance(before, Share) and isinstance(now, Share):
        numbers = (now.hits, now.rows, before.hits, before.rows)
        two = significance.share(*numbers)
    else:
        spread = sqrt(error**2 + error_was**2)
        two = float(significance.two_sided(np.array([worse / spread]))[0]) if spread else float(worse == 0)
    p = two / 2 if worse > 0 else 1 - two / 2
    enough = min(before.rows, now.rows) >= FEWEST
    return Change(was, value, worse, p, (p <= ALPHA and worse >= floor) if enough else None)


def _measured(found: Share | Mean) -> tuple[float, float]:
    """Return a measure's value and its standard error."""
    if isinstance(found, Share):
        if not 0 <= found.hits <= found.rows or not found.rows:
            raise PerformanceError(f"{found}: expected hits between 0 and at least one row")
        share = found.hits / found.rows
        return share, sqrt(max(share * (1 - share), 1 / found.rows) / found.rows)
    if found.rows < 1 or not found.deviation >= 0:
        raise PerformanceError(f"{found}: expected at least one row and a deviation of 0 or more")
    return found.value, found.deviation / sqrt(found.rows)


@dataclass(frozen=True)
class ConceptDrift:
    """Whether the same prediction means the same: `moved` is the largest change of a truth's share, and of which."""

    p_value: float
    drifted: bool | None
    moved: float
    prediction: str = ""
    truth: str = ""


Confusion = Mapping[tuple[str, str], int]
"""Rows by prediction and truth."""


def concept(before: Confusion, now: Confusion, *, floor: float = 0.02) -> ConceptDrift:
    """Return whether truths are spread over each prediction as they were, whatever is predicted how often."""
    statistic = freedom = moved = 0.0
    which, rows = ("", ""), 0.0
    truths = sorted({truth for _, truth in (*before, *now)})
    for prediction in sorted({prediction for prediction, _ in (*before, *now)}):
        one, other = (
            np.array([found.get((prediction, truth), 0) for truth in truths], dtype=np.float64)
            for found in (now, before)
        )
        if min(one.sum(), other.sum()) < FEWEST:
            continue
        added, more = distances.chi_square(one[None], other[None])
        statistic, freedom, rows = statistic + float(added[0]), freedom + float(more[0]), rows + float(one.sum())
        apart = one / one.sum() - other / other.sum()
        most = int(np.abs(apart).argmax())
        if abs(apart[most]) > abs(moved):
            moved, which = float(apart[most]), (prediction, truths[most])
    if not rows:
        return ConceptDrift(1.0, None, 0.0)
    p = float(significance.chi_square(np.array([statistic]), np.array([freedom]))[0])
    return ConceptDrift(p, p <= ALPHA and abs(moved) >= floor, moved, *which)


class Combined(NamedTuple):
    """One number between 0 and 1 with the parts that it is made of; `name` says what they can show."""

    name: str
    score: float
    parts: Mapping[str, float]


def combined(parts: Mapping[str, float], *, labels: bool = False) -> Combined:
    """Return what several shares say together: `1 - (1 - a)(1 - b)...`, which each part can raise and none can lower.

    It is called concept drift only where `labels` are among what the parts come from. Raises PerformanceError for a
    part outside of 0 to 1.
    """
    left = 1.0
    for name, part in parts.items():
        if not 0 <= part <= 1:
            raise PerformanceError(f"part {name!r}: found {part!r}, expected 0 to 1")
        left *= 1 - part
    return Combined("concept drift" if labels else "input drift", 1 - left, dict(parts))
