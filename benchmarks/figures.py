"""A figure: an operation of ours beside its peer of the SDK's, and the limit that it is to keep."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.timing import Sampler, Spread

MICROSECOND, MILLISECOND, SECOND = 1e3, 1e6, 1e9
"""In nanoseconds, as every duration here."""


@dataclass(frozen=True)
class Figure:
    """`ours` is to cost at most `times` what `peer` costs, plus `plus`; where both are None it only informs."""

    name: str
    ours: Sampler
    peer: Sampler | None = None
    times: float | None = None
    plus: float | None = None
    unit: str = "ns"


@dataclass(frozen=True)
class Result:
    """What was measured of a figure."""

    figure: Figure
    ours: Spread
    peer: Spread | None

    @classmethod
    def of(cls, figure: Figure, spreads: Mapping[Sampler, Spread]) -> Result:
        """Return the figure's result from what all samplers gave."""
        return cls(figure, spreads[figure.ours], spreads[figure.peer] if figure.peer else None)

    @property
    def ratio(self) -> float | None:
        """Return ours by peer's, of the medians."""
        return self.ours.median / self.peer.median if self.peer and self.peer.median else None

    @property
    def limit(self) -> float | None:
        """Return what ours must not exceed, or None where nothing is promised."""
        figure = self.figure
        if figure.times is None and figure.plus is None:
            return None
        return (figure.times or 0.0) * (self.peer.median if self.peer else 0.0) + (figure.plus or 0.0)

    @property
    def met(self) -> bool | None:
        """Return whether the limit is kept, or None where there is none."""
        return None if self.limit is None else self.ours.median <= self.limit

    def as_json(self) -> dict[str, Any]:
        """Return the result as it is stored."""
        return {
            "name": self.figure.name,
            "unit": self.figure.unit,
            "ours": _rounded(self.ours),
            "peer": _rounded(self.peer) if self.peer else None,
            "ratio": None if self.ratio is None else float(f"{self.ratio:.4g}"),
            "limit": None if self.limit is None else round(self.limit, 1),
            "met": self.met,
        }


def _rounded(spread: Spread) -> dict[str, float]:
    return {name: round(value, 1) for name, value in spread._asdict().items()}
