"""What work used, what that costs, and how well it was used. What was not measured is None, and left out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from otel_llmon.prices import Prices, TokenPrice
from otel_llmon.scores import number

HOUR = 3600.0
GB = 1e9
KWH = 3.6e6
"""Joules."""

WEIGHTS: Mapping[str, float] = {"utilization": 0.4, "success": 0.3, "throughput": 0.3}
"""What counts in the efficiency score, and how much.

`utilization` is the share of the paid resources that worked, `success` the share of the time whose work was of use,
`throughput` the items per second over those that are expected, 1 at most.
"""


class Use(NamedTuple):
    """What some work used: seconds of CPUs and of GPUs, bytes of memory times seconds, joules."""

    cpu: float | None = None
    gpu: float | None = None
    memory: float | None = None
    energy: float | None = None


class Score(NamedTuple):
    """A score from 0 to 1, and what it is made of: it is the sum of each part times its weight."""

    value: float
    parts: Mapping[str, float]
    weights: Mapping[str, float]
    """Those of the parts that are known; they add up to 1."""


def cost(use: Use, prices: Prices) -> dict[str, float]:
    """Return the dollars that each resource costs; one that was not measured, or has no price, is left out."""
    found = {
        "cpu": _times(use.cpu, prices.cpu_hour, HOUR),
        "gpu": _times(use.gpu, prices.gpu_hour, HOUR),
        "memory": _times(use.memory, prices.memory_gb_hour, GB * HOUR),
        "energy": _times(use.energy, prices.kwh, KWH),
    }
    return {resource: dollars for resource, dollars in found.items() if dollars is not None}


def token_cost(price: TokenPrice, tokens: int, answered: int = 0, cached: int = 0) -> dict[str, float]:
    """Return the dollars for a call's prompt and answer; `cached` of the prompt's tokens came from a cache."""
    cached = min(cached, tokens)
    read = price.input if price.cached is None else price.cached
    prompt = (tokens - cached) * price.input + cached * read
    return {"input_tokens": prompt / 1e6, "output_tokens": answered * price.output / 1e6}


def carbon(energy: float, grams_per_kwh: float) -> float:
    """Return the grams of CO2 for joules."""
    return energy / KWH * grams_per_kwh


def per_thousand(amount: float, items: float) -> float | None:
    """Return what 1,000 items take, of dollars, joules or grams; None where there are no items."""
    return 1000 * amount / items if items > 0 else None


def shares(times: Mapping[str, float]) -> dict[str, float]:
    """Return each name's share of the whole, the largest first; they add up to 1. Empty where there is no time."""
    whole = math.fsum(times.values())
    if whole <= 0:
        return {}
    return {name: seconds / whole for name, seconds in sorted(times.items(), key=lambda pair: -pair[1])}


def utilization(seconds: float, wall: float, capacity: float = 1) -> float | None:
    """Return the share of `capacity` CPUs or GPUs that worked in `wall` seconds, from 0 to 1; None without any."""
    if wall <= 0 or capacity <= 0:
        return None
    return min(max(seconds / (wall * capacity), 0.0), 1.0)  # two clocks may differ in the last digits


def score(parts: Mapping[str, float | None], weights: Mapping[str, float] = WEIGHTS) -> Score | None:
    """Return the weighted mean of the parts that are known; None where none is.

    Raises ValueError for a part that has no weight, or that is not from 0 to 1, TypeError for one that is no number,
    and for parts that are no mapping.
    """
    if not isinstance(parts, Mapping):
        raise TypeError(f"score: found {type(parts).__name__}, expected a mapping of parts to numbers")
    known = {name: number(f"part {name!r}", value) for name, value in parts.items() if value is not None}
    for name, value in known.items():
        if name not in weights:
            raise ValueError(f"part {name!r}: expected one of {', '.join(weights)}")
        if not 0 <= value <= 1:
            raise ValueError(f"part {name!r}: found {value!r}, expected 0 to 1")
    whole = math.fsum(weights[name] for name in known)
    if whole <= 0:
        return None
    used = {name: weights[name] / whole for name in known}
    return Score(math.fsum(used[name] * value for name, value in known.items()), known, used)


def _times(amount: float | None, price: float | None, unit: float) -> float | None:
    return None if amount is None or price is None else amount * price / unit
