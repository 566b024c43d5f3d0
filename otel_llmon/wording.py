"""How far a loop is, as plain data, and in words."""

from __future__ import annotations

import math
from typing import NamedTuple

RUNNING, PAUSED, FINISHED, STOPPED, FAILED, CANCELLED = STATES = (
    "running", "paused", "finished", "stopped", "failed", "cancelled",
)  # fmt: skip
UNDER_WAY = (RUNNING, PAUSED)

UNSURE = 1.2
"""Width of a band, as a multiple of its middle, from which on the middle would pretend to know."""


class Remaining(NamedTuple):
    """Seconds that are still needed: as likely more as less than `middle`, four times of five within the band."""

    low: float
    middle: float
    high: float


class Snapshot(NamedTuple):
    """How far a loop is at one moment."""

    name: str
    state: str
    done: float
    total: float | None
    part: float | None
    """Of all the work the part that is done, those loops within it included; None where nobody knows."""
    elapsed: float
    rate: float | None
    remaining: Remaining | None = None
    failed: float = 0
    skipped: float = 0
    tokens: float = 0
    below: tuple[Snapshot, ...] = ()


def line(shot: Snapshot) -> str:
    """Return all of it on one line: `documents: 42 %, 420 of 1,000, 12/s, 48 s left (45 s to 52 s)`."""
    words = (percent(shot), counted(shot), *_time(shot), *odd(shot), tokens(shot) if shot.tokens else "")
    inside = "".join(f"; {each.name}: {percent(each) or counted(each)}" for each in shot.below if each.state == RUNNING)
    return f"{shot.name}: {', '.join(word for word in words if word)}{inside}"


def percent(shot: Snapshot) -> str:
    """Return the part that is done; 100 % is said only where nothing is left."""
    if shot.part is None:
        return ""
    return f"{min(math.floor(shot.part * 100), 100 if shot.part >= 1 else 99)} %"


def counted(shot: Snapshot) -> str:
    """Return how many are done, and of how many."""
    return number(shot.done) if shot.total is None else f"{number(shot.done)} of {number(shot.total)}"


def odd(shot: Snapshot) -> list[str]:
    """Return what did not go the usual way."""
    return [f"{number(many)} {word}" for many, word in ((shot.failed, "failed"), (shot.skipped, "skipped")) if many]


def tokens(shot: Snapshot) -> str:
    """Return how many tokens there were, and how many a second."""
    pace = f", {rate(shot.tokens / shot.elapsed)}" if shot.elapsed > 0 else ""
    return f"{short(shot.tokens)} tokens{pace}"


def _time(shot: Snapshot) -> list[str]:
    pace = "" if shot.rate is None else rate(shot.rate)
    if shot.state == RUNNING:
        return [pace, left(shot)]
    return [pace, f"{shot.state} after {duration(shot.elapsed)}"]


def left(shot: Snapshot) -> str:
    """Return the time that is left with its band; where little is known, the band alone."""
    found = shot.remaining
    if found is None:
        return ""
    low, middle, high = duration(found.low), duration(found.middle), duration(found.high)
    if low == high:
        return f"{middle} left"
    band = f"up to {high}" if found.low < 1 else f"{low} to {high}"
    if found.high - found.low > UNSURE * found.middle:
        return f"{band} left"
    return f"{middle} left ({band})"


def rate(value: float) -> str:
    """Return items per second, or per minute or hour where that is less than one."""
    for unit, seconds in (("s", 1), ("min", 60)):
        if value * seconds >= 0.995:
            return f"{short(value * seconds)}/{unit}"
    return f"{short(value * 3600)}/h"


def duration(seconds: float) -> str:
    """Return a time as people say it: `45 s`, `2 min 5 s`, `3 h 20 min`."""
    whole = round(seconds)
    if whole < 1:
        return "0 s" if seconds <= 0 else "< 1 s"
    if whole < 60:
        return f"{whole} s"
    for above, name, size, below, step in _UNITS:
        if whole < above:
            many, rest = divmod(whole, size)
            return f"{many} {name}" + (f" {rest // step} {below}" if rest // step and many < 30 else "")
    return f"{whole // 86_400:,} d"


_UNITS = ((3600, "min", 60, "s", 1), (86_400, "h", 3600, "min", 60), (864_000, "d", 86_400, "h", 3600))
"""Below how many seconds; the unit, its seconds; the unit below and its seconds."""


def number(value: float) -> str:
    """Return a number in full: `1,234`; what is no whole number with one digit behind the point."""
    return f"{value:,.0f}" if value == round(value) else f"{value:,.1f}"


def short(value: float) -> str:
    """Return three digits that matter: `1.23`, `12.3`, `123`, `1.2k`, `3.4M`."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if value >= size:
            return f"{_three(value / (1e3 if letter == 'k' else size))}{letter}"
    return _three(value)


def _three(value: float) -> str:
    if value >= 100 or value == round(value):
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2g}"
