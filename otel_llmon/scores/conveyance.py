"""Conveyance, C = (W * R * H / T) * Ctx^alpha: how much meaning work conveys per second.

W is what is conveyed, R where it is placed, H who can take it in, T the seconds it takes, Ctx how well the context
fits; the user scores all but T. Slower never scores higher.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from otel_llmon.scores import number

COMPONENTS = ("L", "I", "A", "G")
"""What context is made of: how local it is, the instructions, what can be acted on, what it is grounded in."""


class Conveyance(NamedTuple):
    """The score and its parts."""

    value: float
    w: float
    r: float
    h: float
    t: float
    ctx: float
    alpha: float

    @property
    def capability(self) -> float:
        """What it would be in one second: the part that does not depend on time."""
        return self.value * self.t


def conveyance(  # noqa: PLR0913, PLR0917  # the formula's
    w: float, r: float, h: float, t: float, ctx: float = 1.0, alpha: float = 1.5
) -> Conveyance:
    """Return the score. It is 0 where one of W, R and H is 0.

    Raises ValueError for a part below 0 or not finite, and for a time that is not above 0; TypeError for what is no
    number.
    """
    w, r, h, ctx, alpha = (
        _amount(name, part) for name, part in {"W": w, "R": r, "H": h, "Ctx": ctx, "alpha": alpha}.items()
    )
    t = number("T", t)
    if not (math.isfinite(t) and t > 0):
        raise ValueError(f"T: found {t!r}, expected seconds above 0")
    value = 0.0 if 0 in (w, r, h) else (w * r * h / t) * ctx**alpha
    return Conveyance(value, w, r, h, t, ctx, alpha)


def context(components: Mapping[str, float], weights: Mapping[str, float] | None = None) -> float:
    """Return Ctx: the mean of the components, weighted where weights are given. Raises ValueError for other names."""
    for name in components:
        if name not in COMPONENTS:
            raise ValueError(f"component {name!r}: expected one of {', '.join(COMPONENTS)}")
    chosen = {name: 1.0 if weights is None else weights.get(name, 0.0) for name in components}
    whole = math.fsum(chosen.values())
    if whole <= 0:
        raise ValueError("context: found no component with a weight, expected at least one")
    return math.fsum(chosen[name] * _amount(name, value) for name, value in components.items()) / whole


def _amount(name: str, part: float) -> float:
    value = number(name, part)
    if not (math.isfinite(value) and value >= 0):
        raise ValueError(f"{name}: found {value!r}, expected a finite number, 0 or more")
    return value
