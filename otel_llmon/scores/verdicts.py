"""What a comparison says in words: one verdict per feature, and all that hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from functools import cached_property
from math import inf

from otel_llmon.errors import LlmonError


class Verdict(StrEnum):
    """What became of a feature; where several hold, the first one here is the feature's."""

    ABSENT = "absent"
    """The window has no such column."""
    RENAMED = "renamed"
    """It has none of that name, and one that nobody knows whose values are this feature's."""
    UNKNOWN = "unknown"
    """The reference has no such column."""
    EMPTY = "empty"
    """The window has no rows."""
    WRONG_TYPE = "wrong type"
    """Values of a kind that the feature does not have: text where numbers were."""
    INSUFFICIENT = "insufficient"
    """Too few rows in the window, or in the reference, to say anything."""
    ALL_MISSING = "all missing"
    """No row has a value, as rows of the reference had."""
    INFINITE = "infinite"
    """Infinities, as the reference did not have, or not as many."""
    MISSING = "missing"
    """More or fewer rows without a value than chance explains."""
    CONSTANT = "constant"
    """All rows have one value, where the reference had many."""
    NEW_LEVELS = "new levels"
    """Categories that the reference did not have, in more rows or of more names than chance explains."""
    DRIFTED = "drifted"
    """The values come from another distribution: not by chance, and by enough to matter."""
    RARE_LEVELS = "rare levels"
    """Categories that the reference did not have, in so few rows that it may have missed them: no change."""
    STABLE = "stable"
    """Nothing of all that."""

    @property
    def changed(self) -> bool | None:
        """Return whether something has changed; None where that cannot be said."""
        if self in (Verdict.EMPTY, Verdict.INSUFFICIENT):
            return None
        return self not in (Verdict.RARE_LEVELS, Verdict.STABLE)


ORDER = tuple(Verdict)
_CHANCES = ("rate", "table", "correlation")
"""Limits that are how often something happens by chance."""


class LimitsError(LlmonError, ValueError):
    """A limit is nothing that can be one."""


@dataclass(frozen=True)
class Limits:
    """What is told apart from chance, and what is large enough to matter.

    `rate` is the share of discoveries over all features that may be false, `table` how often a window in which nothing
    has changed has any. The others are sizes: a score's mean in deviations (`score`, 0.04 is a mean that moved by as
    many), distances of distributions, and shares of rows.
    """

    rate: float = 0.05
    table: float = 0.005
    score: float = 0.04
    ks: float = 0.02
    psi: float = 0.01
    tail: float = 0.005
    level: float = 0.02
    missing: float = 0.01
    correlation: float = 0.001

    def __post_init__(self) -> None:
        for one in fields(self):
            value = getattr(self, one.name)
            most = 1.0 if one.name in _CHANCES else inf
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
                raise LimitsError(f"{one.name}={value!r}: expected a number from 0 to {most:g}")
            if most == 1 and not value:
                raise LimitsError(f"{one.name}=0: expected more than 0, or nothing is ever found")


@dataclass(frozen=True)
class FeatureDrift:
    """What a window says of one feature.

    `rows` had a value; `p_value` is that of the values alone, 1 where nothing was tested; `scores` are effects, each by
    its name; `detail` names what a verdict is about: new levels, the column's new name.
    """

    name: str
    kind: str
    verdicts: tuple[Verdict, ...]
    rows: int
    p_value: float = 1.0
    scores: Mapping[str, float] = field(default_factory=dict)
    detail: tuple[str, ...] = ()

    @cached_property
    def verdict(self) -> Verdict:
        """Return the verdict that comes first."""
        return min(self.verdicts, key=ORDER.index)

    @cached_property
    def changed(self) -> bool | None:
        """Return whether the feature has changed; None where that cannot be said."""
        return self.verdict.changed


@dataclass(frozen=True)
class CorrelationDrift:
    """Whether features go together as they did: the pair that moved most, and how likely chance moves all so far."""

    p_value: float
    changed: bool
    pair: tuple[str, str]
    before: float
    now: float
