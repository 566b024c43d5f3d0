"""Scores: pure functions that know no telemetry, clock or file."""

from __future__ import annotations

from typing import Any


def number(name: str, value: Any) -> float:
    """Return a number, whatever library's it is; raises TypeError, which says `name`, for anything else."""
    if hasattr(value, "__float__"):
        return float(value)
    raise TypeError(f"{name}: found {value!r}, expected a number")
