"""Where time goes: self time and critical path of a trace, and what holds a phase up.

A trace is a list of `Spell`s; their times are in any one unit.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping
from typing import NamedTuple

BUSY = 0.7
"""From this share of the time on, the GPU is what holds a phase up, however busy a CPU that waits for it looks."""

MOST = 0.5
"""Share of the time from which on something is what holds a phase up."""

SHORTEST = 1.0
"""Seconds below which the clocks of CPU and GPU say too little."""


class Spell(NamedTuple):
    """A span, as far as time is concerned."""

    id: Hashable
    parent: Hashable | None
    start: float
    end: float
    name: str


class Share(NamedTuple):
    """What one name takes of the whole."""

    name: str
    seconds: float
    share: float


class Evidence(NamedTuple):
    """Seconds of a phase: in all, and as far as known those in which a CPU or the GPUs worked, or it waited."""

    wall: float
    cpu: float | None = None
    gpu: float | None = None
    disk: float | None = None
    limited: float | None = None
    """Waiting because a server said that it was asked too often."""

    gpus: int = 1


class Finding(NamedTuple):
    """What holds a phase up: cpu-bound, gpu-bound, disk, rate-limited, waiting, mixed or insufficient; and why."""

    verdict: str
    shares: Mapping[str, float]
    """What is known, as shares of the time; they may overlap."""

    why: str


VERDICTS = {"gpu": "gpu-bound", "limited": "rate-limited", "disk": "disk", "cpu": "cpu-bound"}


def verdict(evidence: Evidence) -> Finding:
    """Return what holds a phase up, from what is known of it; what is no finite number is not known."""
    known = _shares(evidence)
    if not evidence.wall >= SHORTEST:  # nan is not, either
        return Finding("insufficient", known, f"{max(evidence.wall, 0.0):.2f} s, expected {SHORTEST:g} s or more")
    if not known:
        return Finding("insufficient", known, "neither CPU, GPU, disk nor rate limits were measured")
    largest = max(known, key=lambda name: (name == "gpu" and known[name] >= BUSY, known[name]))
    if known[largest] >= MOST:
        return Finding(VERDICTS[largest], known, _said(known, largest))
    return _nothing_stands_out(known, _said(known, largest))


def _nothing_stands_out(known: Mapping[str, float], most: str) -> Finding:
    if "cpu" not in known:
        return Finding("insufficient", known, f"{most}, and its CPU time was not measured")
    idle = 1 - sum(known.values())
    if idle >= MOST:
        return Finding("waiting", known, f"nothing that was measured worked in {idle:.0%} of the time")
    return Finding("mixed", known, f"nothing takes half of the time; {most}")


def self_times(trace: Iterable[Spell]) -> dict[str, float]:
    """Return by name the time in which a span ran and none of its children did."""
    spells, children = _tree(trace)
    found: dict[str, float] = defaultdict(float)
    for spell in spells:
        inside = ((child.start, child.end) for child in children.get(spell.id, ()))
        found[spell.name] += spell.end - spell.start - _covered(inside, spell.start, spell.end)
    return dict(found)


def bottlenecks(trace: Iterable[Spell]) -> list[Share]:
    """Return every name's self time and its share of all self time, the largest first."""
    return _ranked(self_times(trace))


def critical_path(trace: Iterable[Spell]) -> list[Spell]:
    """Return the stretches, in order, that would have to be shorter for the trace to end sooner.

    Each is the part of a span in which nothing else was waited for; together they cover the first to the last moment
    of each root. A span that goes on when its successor is already done is not waited for.
    """
    spells, children = _tree(trace)
    roots = [spell for spell in spells if spell.parent is None]
    path: list[Spell] = []
    todo = [(root, root.start, root.end) for root in roots]
    while todo:
        spell, start, last = todo.pop()
        until = last
        for child in sorted(children.get(spell.id, ()), key=lambda child: (child.end, child.start), reverse=True):
            begin, end = max(child.start, start), min(child.end, last)
            if end > until or begin >= end:
                continue
            if end < until:
                path.append(spell._replace(start=end, end=until))
            todo.append((child, begin, end))
            until = begin
        if start < until:
            path.append(spell._replace(start=start, end=until))
    return sorted(path, key=lambda part: part.start)


def blamed(trace: Iterable[Spell]) -> list[Share]:
    """Return every name's share of the critical path, the largest first."""
    found: dict[str, float] = defaultdict(float)
    for part in critical_path(trace):
        found[part.name] += part.end - part.start
    return _ranked(found)


def _shares(evidence: Evidence) -> dict[str, float]:
    seconds = {
        "gpu": None if evidence.gpu is None else evidence.gpu / max(evidence.gpus, 1),
        "limited": evidence.limited,
        "disk": evidence.disk,
        "cpu": evidence.cpu,
    }
    if not evidence.wall > 0:
        return {}
    measured = {name: each for name, each in seconds.items() if each is not None and math.isfinite(each)}
    return {name: min(max(each / evidence.wall, 0.0), 1.0) for name, each in measured.items()}


_WORDS = {
    "gpu": "the GPUs worked",
    "limited": "it waited for a rate limit",
    "disk": "it waited for a disk",
    "cpu": "a CPU worked",
}


def _said(known: Mapping[str, float], name: str) -> str:
    return f"{_WORDS[name]} in {known[name]:.0%} of the time"


def _tree(trace: Iterable[Spell]) -> tuple[list[Spell], dict[Hashable, list[Spell]]]:
    """Return the spans with their children. One whose parent is missing, or that leads to itself, is a root."""
    given = {spell.id: spell for spell in trace}
    above = {spell.id: spell.parent if spell.parent in given else None for spell in given.values()}
    for key in _circular(above):
        above[key] = None
    spells = [spell._replace(parent=above[key], end=max(spell.start, spell.end)) for key, spell in given.items()]
    children: dict[Hashable, list[Spell]] = defaultdict(list)
    for spell in spells:
        if spell.parent is not None:
            children[spell.parent].append(spell)
    return spells, children


def _circular(above: Mapping[Hashable, Hashable | None]) -> set[Hashable]:
    """Return those that are their own ancestors."""
    state: dict[Hashable, bool] = {}  # False while on the way up, True when done
    found = set()
    for key in above:
        way: list[Hashable] = []
        at: Hashable | None = key
        while at is not None and at not in state:
            state[at] = False
            way.append(at)
            at = above[at]
        if at is not None and not state[at]:
            found.add(at)
        state.update(dict.fromkeys(way, True))
    return found


def _covered(stretches: Iterable[tuple[float, float]], start: float, end: float) -> float:
    """Return how much of the time from start to end lies in one of the stretches at least."""
    covered, reached = 0.0, start
    for begin, stop in sorted(stretches):
        if min(stop, end) > max(begin, reached):
            covered += min(stop, end) - max(begin, reached)
            reached = min(stop, end)
    return covered


def _ranked(times: Mapping[str, float]) -> list[Share]:
    whole = sum(times.values())
    ranked = sorted(times.items(), key=lambda pair: -pair[1])
    return [Share(name, seconds, seconds / whole if whole else 0.0) for name, seconds in ranked]
