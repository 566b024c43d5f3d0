"""A figure: an operation of ours beside its peer of the SDK's, and the limit that it is to keep."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.timing import YARD, YARDSTICK, Loop, Sampler, Spread

MICROSECOND, MILLISECOND, SECOND = 1e3, 1e6, 1e9
"""In nanoseconds, as every duration here."""


@dataclass(frozen=True)
class Figure:
    """`ours` is to cost at most `times` what `peer` costs, plus `plus`; where both are None it only informs.

    Where `ours` is a loop, `plus` is time of a machine on which the yardstick takes a YARD.
    """

    name: str
    ours: Sampler
    peer: Sampler | None = None
    times: float | None = None
    plus: float | None = None
    unit: str = "ns"
    row: str = ""
    """The capability that this proves, of tests/rows.csv."""


@dataclass(frozen=True)
class Result:
    """What was measured of a figure, round by round.

    Ours and the peer's are compared within each round, and the median of that is the result: a shared machine changes
    its speed from one second to the next, which medians over all rounds would carry into the ratio.
    """

    figure: Figure
    ours: list[float]
    peer: list[float]
    pace: list[float]
    """How slow the machine was, 1.0 where the yardstick took a YARD."""

    @classmethod
    def of(cls, figure: Figure, samples: Mapping[Sampler, list[float]]) -> Result:
        """Return the figure's result from what all samplers gave."""
        ours, peer = samples[figure.ours], samples[figure.peer] if figure.peer else []
        timed = isinstance(figure.ours, Loop)
        return cls(figure, ours, peer, [yard / YARD for yard in samples[YARDSTICK]] if timed else [1.0] * len(ours))

    @property
    def ratio(self) -> float | None:
        """Return ours by the peer's."""
        if not self.peer:
            return None
        return statistics.median(ours / peer for ours, peer in zip(self.ours, self.peer, strict=False))

    @property
    def used(self) -> float | None:
        """Return how much of its limit the figure takes, 1.0 being all; None where nothing is promised."""
        times, plus = self.figure.times, self.figure.plus
        if times is None and plus is None:
            return None
        limits = (
            (times or 0.0) * peer + (plus or 0.0) * pace
            for peer, pace in zip(self.peer or [0.0] * len(self.ours), self.pace, strict=False)
        )
        return statistics.median(
            ours / limit if limit else float(ours > 0) * 2 for ours, limit in zip(self.ours, limits, strict=False)
        )

    @property
    def met(self) -> bool | None:
        """Return whether the limit is kept, or None where there is none."""
        return None if self.used is None else self.used <= 1

    def as_json(self) -> dict[str, Any]:
        """Return the result as it is stored."""
        return {
            "name": self.figure.name,
            "unit": self.figure.unit,
            "ours": _rounded(self.ours),
            "peer": _rounded(self.peer) if self.peer else None,
            "ratio": None if self.ratio is None else float(f"{self.ratio:.4g}"),
            "limit": {"times": self.figure.times, "plus": self.figure.plus},
            "used": None if self.used is None else round(self.used, 3),
            "met": self.met,
        }


def _rounded(samples: list[float]) -> dict[str, float]:
    return {name: round(value, 1) for name, value in Spread.of(samples)._asdict().items()}
