"""Plots of a reference beside a window, as SVG that needs no script."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from otel_llmon.pages.histograms import Histogram
from otel_llmon.pages.markup import Markup, joined, tag
from otel_llmon.scores.telling import number, percent

WIDTH, HEIGHT = 440, 150
LEFT, BOTTOM, TOP = 44, 22, 10
ROW = 30
LABEL = 150
GAP = 12
CHARACTER = 6.3
"""Of a digit's width, in the page's letters and the others that a browser takes in their place."""
LONG = 10
"""Characters of a number of which five have room below a plot."""
MOST = 26
"""Characters of a level's name that are drawn."""


def of_numbers(found: Histogram, label: str) -> Markup:
    """Return shares of rows by value: the reference filled, the window as a line; bars where values are few."""
    top = _round_up(max((*found.before, *found.now), default=0.0) or 1.0)
    draw = _bars if found.discrete else _steps
    children = [_shares(top), draw(found, top), _outside(found)]
    return _picture(HEIGHT, label, children)


def of_levels(rows: Sequence[Level], label: str) -> Markup:
    """Return two bars for each level, that of the reference above."""
    most = max((share for row in rows for share in (row.before, row.now)), default=0.0) or 1.0
    room = WIDTH - LABEL - GAP - CHARACTER * max((len(_change(row)) for row in rows), default=0)
    children = [_level(place, row, room / most) for place, row in enumerate(rows)]
    return _picture(ROW * len(rows) + 4, label, children)


class Level(NamedTuple):
    """A level's share of rows in the reference and in the window."""

    name: str
    before: float
    now: float


def _picture(height: int, label: str, children: Sequence[object]) -> Markup:
    given = {"viewBox": f"0 0 {WIDTH} {height}", "role": "img", "aria-label": label, "class": "plot"}
    return tag("svg", given, *children)


def _y(share: float, top: float) -> float:
    return round(HEIGHT - BOTTOM - share / top * (HEIGHT - BOTTOM - TOP), 2)


def _shares(top: float) -> Markup:
    """Return the lines of the shares, and what they are."""
    found = []
    for share in (0.0, top / 2, top):
        y = _y(share, top)
        found.append(tag("line", {"class": "grid", "x1": LEFT, "x2": WIDTH, "y1": y, "y2": y}))
        found.append(_said(percent(share), LEFT - 6, y + 4, "end"))
    return joined(found)


def _steps(found: Histogram, top: float) -> Markup:
    count = len(found.before)
    scale = _scale(count)
    before, now = ([_y(share, top) for share in shares] for shares in (found.before, found.now))
    ground = _y(0, top)
    area = f"M{scale(0)} {ground}" + _path(before, scale, "L") + f"L{scale(count)} {ground}Z"
    line = "M" + _path(now, scale, "L")[1:]
    places = _some(count, 4)
    if any(len(_label(found, place)) > LONG for place in places):
        places = _some(count, 2)
    marks = [_said(_label(found, place), scale(place), HEIGHT - 6, _anchor(place, count)) for place in places]
    window = tag("path", {"class": "now", "d": line}) if any(found.now) else ""
    return joined([tag("path", {"class": "before", "d": area}), window, *marks])


def _path(heights: Sequence[float], scale: Callable[[float], float], letter: str) -> str:
    return "".join(f"{letter}{scale(place)} {y}L{scale(place + 1)} {y}" for place, y in enumerate(heights))


def _bars(found: Histogram, top: float) -> Markup:
    count = len(found.ends)
    scale = _scale(count)
    width = (WIDTH - LEFT) / count
    gap = min(width * 0.12, 10)
    ground, parts = _y(0, top), []
    for name, shares in (("before", found.before), ("now", found.now)):
        for place, share in enumerate(shares):
            left, right, y = round(scale(place) + gap, 2), round(scale(place + 1) - gap, 2), _y(share, top)
            if share:
                parts.append(tag("path", {"class": name, "d": f"M{left} {ground}V{y}H{right}V{ground}"}))
    longest = max(len(_label(found, place)) for place in range(count))
    marks = _some(count - 1, 4 if longest <= LONG else 2) if count > (8 if longest <= 8 else 3) else range(count)
    for place in marks:
        wide = CHARACTER * len(_label(found, place)) > width
        anchor = _anchor(place, count - 1) if wide and count > 1 else "middle"
        x = scale(place + {"start": 0, "middle": 0.5, "end": 1}[anchor])
        parts.append(_said(_label(found, place), x, HEIGHT - 6, anchor))
    return joined(parts)


def _outside(found: Histogram) -> Markup:
    """Return which shares of the window lie beyond what is drawn."""
    low, high = found.outside
    said = []
    if low >= 0.001:
        said.append(_said(f"← {percent(low)}", LEFT + 4, TOP + 4, "start", "out"))
    if high >= 0.001:
        said.append(_said(f"{percent(high)} →", WIDTH - 4, TOP + 4, "end", "out"))
    return joined(said)


def _level(place: int, row: Level, scale: float) -> Markup:
    y = place * ROW + 4
    name = row.name if len(row.name) <= MOST else f"{row.name[: MOST - 1]}…"
    bars = [
        tag("rect", {"class": kind, "x": LABEL, "y": y + shift, "width": round(share * scale, 2), "height": 9})
        for kind, share, shift in (("before", row.before, 3), ("now", row.now, 13))
    ]
    return joined([_said(name, LABEL - 8, y + 17, "end", "name"), *bars, _said(_change(row), WIDTH, y + 17, "end")])


def _change(row: Level) -> str:
    return f"{percent(row.before)} → {percent(row.now)}"


def _label(found: Histogram, place: int) -> str:
    """Return an end as precisely as its neighbours differ."""
    value, others = found.ends[place], found.ends[max(place - 1, 0) : place + 2]
    step = max(others) - min(others)
    digits = 0 if step <= 0 else max(1 - math.floor(math.log10(step)), 0)
    if found.discrete or digits > 3 or abs(value) >= 1e7:
        return number(value, *(others if found.discrete else (found.ends[0], found.ends[-1])))
    return f"{value + 0.0:,.{digits}f}"


def _scale(count: int) -> Callable[[float], float]:
    return lambda place: round(LEFT + place / max(count, 1) * (WIDTH - LEFT), 2)


def _some(count: int, parts: int) -> list[int]:
    return sorted({round(count * part / parts) for part in range(parts + 1)})


def _anchor(place: int, count: int) -> str:
    return "start" if place == 0 else "end" if place == count else "middle"


def _said(words: str, x: float, y: float, anchor: str, kind: str | None = None) -> Markup:
    return tag("text", {"x": x, "y": y, "text-anchor": anchor, "class": kind}, words)


def _round_up(share: float) -> float:
    """Return a share at which an axis may end: one digit that is even, above what is to be shown."""
    steps = (0.002, 0.004, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0)
    return next((step for step in steps if step >= share), 1.0)
