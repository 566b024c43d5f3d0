"""What a comparison says of each feature in words, the worst first."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from otel_llmon.scores.counting import ABOVE, ABSENT, BELOW, MISSING, PRESENT, REFUSED
from otel_llmon.scores.drift import Drift
from otel_llmon.scores.features import REST, Feature
from otel_llmon.scores.profile import Profile
from otel_llmon.scores.reference import FEWEST
from otel_llmon.scores.verdicts import ORDER, FeatureDrift, Limits, Verdict

STABLE, DRIFTED, INSUFFICIENT = "stable", "drifted", "insufficient"
_LIMITED = {
    "location": "score",
    "scale": "score",
    "skew": "score",
    "kurtosis": "score",
    "ks": "ks",
    "psi": "psi",
    "lower tail": "tail",
    "upper tail": "tail",
    "level": "level",
    "mean distance": "score",
    "missing": "missing",
}
"""Which limit an effect is measured by."""
_WAYS = {
    "location": ("lower", "higher"),
    "scale": ("narrower", "wider"),
    "skew": ("leans lower", "leans higher"),
    "kurtosis": ("lighter ends", "heavier ends"),
    "lower tail": ("fewer at the low end", "more at the low end"),
    "upper tail": ("fewer at the high end", "more at the high end"),
    "missing": ("fewer missing", "more missing"),
}
_WITHOUT_VALUES = frozenset(
    {Verdict.ABSENT, Verdict.RENAMED, Verdict.UNKNOWN, Verdict.EMPTY, Verdict.ALL_MISSING, Verdict.INSUFFICIENT}
)


class Effect(NamedTuple):
    """The effect that is largest beside what matters: `times` as large, to which side."""

    name: str
    value: float
    times: float
    way: str


@dataclass(frozen=True)
class Told:
    """What a window says of one feature: its verdict with the largest effect, and what changed in words."""

    drift: FeatureDrift
    effect: Effect | None
    what: tuple[str, ...]

    @property
    def group(self) -> str:
        """Return "drifted", "stable" or "insufficient"."""
        return outcome(self.drift)

    @property
    def tested(self) -> bool:
        """Return whether the p-value, which is that of the values, is about the effect."""
        return self.effect is not None and self.effect.name != "missing"

    @property
    def cells(self) -> tuple[str, str, str, str]:
        """Return the effect, the p-value, the direction and what changed, as a table has them."""
        effect = f"{self.effect.name} {self.effect.value:+.3g}" if self.effect else ""
        way = self.effect.way if self.effect and self.group == DRIFTED else ""
        return effect, f"{self.drift.p_value:.2g}" if self.tested else "", way, "; ".join(self.what)


def outcome(drift: Drift | FeatureDrift) -> str:
    """Return what a window says, as a whole or of a feature: "drifted", "stable" or "insufficient"."""
    return INSUFFICIENT if drift.changed is None else DRIFTED if drift.changed else STABLE


def counted(found: Sequence[Told]) -> list[str]:
    """Return of how many features it is said that they drifted, and of how many nothing, where there are such."""
    groups = Counter(one.group for one in found)
    said = [f"{groups[DRIFTED]} of {len(found)} features drifted"]
    return said + ([f"of {groups[INSUFFICIENT]} nothing can be said"] if groups[INSUFFICIENT] else [])


def told(drift: Drift, profile: Profile, limits: Limits | None = None) -> list[Told]:
    """Return what a window says of each feature, the worst first."""
    teller = _Teller(profile, limits or Limits())
    return sorted(map(teller.of, drift.features.values()), key=_badness)


def _badness(one: Told) -> tuple[int, int, float, float, str]:
    drift = one.drift
    whole = ORDER.index(drift.verdict) if drift.verdict in _WITHOUT_VALUES else len(ORDER)
    times = one.effect.times if one.effect else 0.0
    return (DRIFTED, INSUFFICIENT, STABLE).index(one.group), whole, -times, drift.p_value, drift.name


class _Teller:
    def __init__(self, profile: Profile, limits: Limits) -> None:
        self._profile, self._limits = profile, limits
        self._places = {feature.name: place for place, feature in enumerate(profile.reference.features)}

    def of(self, drift: FeatureDrift) -> Told:
        place = self._places.get(drift.name)
        if place is None:
            return Told(drift, None, ("the reference has no such column",))
        feature, tally = self._profile.reference.features[place], self._profile.tallies[place].tolist()
        seen = _Seen(self._profile, place, feature, tally, drift)
        verdicts = sorted(drift.verdicts, key=ORDER.index)
        what = [_SAID[verdict](seen) for verdict in verdicts if verdict in _SAID]
        effect = None if drift.verdict in _WITHOUT_VALUES else _effect(drift, feature, tally, self._limits)
        return Told(drift, effect, tuple(said for said in what if said))


def _effect(drift: FeatureDrift, feature: Feature, tally: list[int], limits: Limits) -> Effect | None:
    scores = dict(drift.scores)
    if "psi" in scores:
        scores["psi"] = max(scores["psi"], 0.0)  # less than chance makes is nothing
    scores["missing"] = _share(tally[MISSING] + tally[ABSENT], sum(tally)) - _before(feature)
    found = [
        Effect(name, scores[name], _times(name, scores[name], getattr(limits, limit)), _way(name, scores))
        for name, limit in _LIMITED.items()
        if name in scores
    ]
    return max(found, key=lambda one: one.times, default=None)


def _times(name: str, score: float, limit: float) -> float:
    """Return how many times as large as its limit an effect is; an index grows with the square of what it measures."""
    times = abs(score) / max(limit, 1e-12)
    return times**0.5 if name == "psi" else times


def _way(name: str, scores: Mapping[str, float]) -> str:
    if name in _WAYS:
        return _WAYS[name][int(scores[name] > 0)]
    if "location" not in scores:
        return "other shares" if name in ("psi", "level") else "elsewhere"
    sides = {one: abs(scores[one]) for one in ("location", "scale", "skew", "kurtosis")}
    side = max(sides, key=lambda one: sides[one])
    return _WAYS[side][int(scores[side] > 0)]


class _Seen(NamedTuple):
    """A feature of the reference, and its rows in the window."""

    profile: Profile
    place: int
    feature: Feature
    tally: list[int]
    drift: FeatureDrift


def _before(feature: Feature) -> float:
    return _share(feature.missing, feature.total)


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def percent(share: float) -> str:
    """Return a share as people read it; what is there is never 0 %."""
    if share and share < 0.001:
        return "< 0.1 %"
    return f"{share * 100:.3g} %" if share < 0.9995 or share == 1 else "> 99.9 %"


def number(value: float, *beside: float) -> str:
    """Return a number in four digits that matter, or in as many as tell it from those that stand beside it."""
    span = max(value, *beside) - min(value, *beside) if beside else 0.0
    largest = max(map(abs, (value, *beside)))
    needed = math.ceil(math.log10(largest / span)) + 2 if 0 < span < math.inf else 0
    if not 4 < needed <= 15:
        return f"{value:,.0f}" if 1000 <= abs(value) < 1e7 else f"{value:.4g}"
    if 1e-3 <= largest < 1e15:
        return f"{value:,.{max(needed - 1 - math.floor(math.log10(largest)), 0)}f}"
    return f"{value:.{needed}g}"


def _missing(seen: _Seen) -> str:
    now = _share(seen.tally[MISSING] + seen.tally[ABSENT], sum(seen.tally))
    return f"missing {percent(_before(seen.feature))} → {percent(now)}"


def _drifted(seen: _Seen) -> str:
    if seen.feature.levels:
        return _levels(seen)
    if seen.feature.kind == "numeric" and seen.feature.tracks:
        return _numbers(seen)
    if seen.feature.kind == "text":
        return _track(seen)
    return f"vectors moved by {number(seen.drift.scores.get('mean distance', 0.0))} deviations"


def _levels(seen: _Seen) -> str:
    """Return the levels whose shares moved most."""
    levels = seen.feature.levels
    assert levels
    now = seen.profile.levels[seen.feature.name].astype(np.float64)[:-1]
    total, before = max(seen.tally[PRESENT], 1), np.array(levels.counts, dtype=np.float64)
    shares = now / total, before / before.sum()
    most = np.argsort(-np.abs(shares[0] - shares[1]), kind="stable")[:2]
    names = ["all others" if levels.names[place] == REST else repr(levels.names[place]) for place in most]
    pairs = zip(names, most, strict=True)
    return ", ".join(f"{name} {percent(shares[1][place])} → {percent(shares[0][place])}" for name, place in pairs)


def _numbers(seen: _Seen) -> str:
    """Return the mean, or, where the spread changed more, between what values eight of ten rows lie."""
    track, scores = seen.profile.plan.tracks[seen.place], seen.drift.scores
    low, high = outside(seen.profile, track)
    if abs(scores.get("scale", 0.0)) > abs(scores.get("location", 0.0)):
        before, now = middles(seen.profile, track)
        said = f"middle 80 % {_span(before)} → {_span(now)}"
    else:
        said = f"mean {_moved(*means(seen.profile, track))}"
    beyond = [f"{percent(share)} {side} all before" for share, side in ((low, "below"), (high, "above")) if share]
    return ", ".join([said, *beyond])


def _moved(before: float, now: float) -> str:
    return f"{number(before, now)} → {number(now, before)}"


def _span(ends: tuple[float, float]) -> str:
    return f"{number(*ends)} to {number(*reversed(ends))}"


def middles(profile: Profile, track: int) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return between what values eight of ten rows lie, in the reference and in the window, as far as bins tell."""
    found = profile.reference.tracks[track]
    edges = np.array([min(found.low, found.binning.edges[0]), *found.binning.edges])
    spans = []
    for counts in (np.array(found.counts), profile.counts[track][: found.binning.size]):
        shares = np.cumsum(counts)[:-1] / max(int(counts.sum()), 1)
        low, high = np.interp([0.1, 0.9], np.concatenate([[0.0], shares]), edges)
        spans.append((float(low), float(high)))
    return spans[0], spans[1]


def means(profile: Profile, track: int) -> tuple[float, float]:
    """Return the mean of a track in the reference and in the window."""
    found = profile.reference.tracks[track]
    counts = np.array(found.counts, dtype=np.float64)
    before = float(counts @ np.array(found.centroids) / max(counts.sum(), 1))
    rows = max(int(profile.counts[track].sum()), 1)
    unit = found.binning.unit
    return before, before + (float(profile.totals[track]) / rows - found.mean) / unit if unit else before


def outside(profile: Profile, track: int) -> tuple[float, float]:
    """Return the shares of rows that are below and above all that the reference had, but for its outermost bins."""
    found = profile.reference.tracks[track]
    counts = profile.counts[track][: found.binning.size]
    rows = max(int(counts.sum()), 1)
    low = 0 if found.counts[0] else int(counts[0])
    high = 0 if found.counts[-1] else int(counts[-1])
    return low / rows, high / rows


def _track(seen: _Seen) -> str:
    """Return which measure of a text moved most."""
    start = seen.profile.plan.tracks[seen.place]
    moved = []
    for place, track in enumerate(seen.feature.tracks, start):
        before, now = means(seen.profile, place)
        spread = track.spread or track.high - track.low or 1.0
        moved.append((abs(now - before) / spread, track.name.removeprefix(f"{seen.feature.name} "), before, now))
    _, name, before, now = max(moved)
    return f"{name} {_moved(before, now)}"


def _new_levels(seen: _Seen) -> str:
    names = ", ".join(repr(name) for name in seen.drift.detail[:3])
    more = f" and {len(seen.drift.detail) - 3} more" if len(seen.drift.detail) > 3 else ""
    return f"new: {names}{more}, {percent(seen.drift.scores.get('new levels', 0.0))} of rows"


def _infinite(seen: _Seen) -> str:
    return f"infinite in {percent(_share(seen.tally[ABOVE] + seen.tally[BELOW], sum(seen.tally)))} of rows"


def _wrong_type(seen: _Seen) -> str:
    return f"no {seen.feature.kind} value in {percent(_share(seen.tally[REFUSED], sum(seen.tally)))} of rows"


def _constant(seen: _Seen) -> str:
    if seen.feature.levels:
        place = int(seen.profile.levels[seen.feature.name].argmax())
        names = (*seen.feature.levels.names, *seen.profile.named[seen.feature.name])
        return "all rows are of the rarer levels" if names[place] == REST else f"all rows are {names[place]!r}"
    place = seen.profile.plan.tracks[seen.place]
    track = seen.profile.reference.tracks[place]
    return f"all rows are {number(float(seen.profile.lows[place]), track.low, track.high)}"


def _insufficient(seen: _Seen) -> str:
    rows, effect = min(seen.tally[PRESENT], seen.feature.rows), seen.feature.effect
    whose = "the reference has" if seen.feature.rows <= seen.tally[PRESENT] else "found"
    if effect <= 1.05:
        return f"{whose} {rows} rows with a value; {FEWEST} are needed"
    depend = f"which count as {rows / effect:.3g}, since neighbours in the reference are alike"
    way = "if its rows stood in no order of time, fit it with --unordered (ordered=False)"
    return f"{whose} {rows} rows with a value, {depend}; {FEWEST} are needed; {way}"


_SAID: dict[Verdict, Callable[[_Seen], str]] = {
    Verdict.ABSENT: lambda _: "no such column here",
    Verdict.RENAMED: lambda seen: f"no such column here; {seen.drift.detail[0]!r} has its values",
    Verdict.EMPTY: lambda _: "no rows",
    Verdict.WRONG_TYPE: _wrong_type,
    Verdict.INSUFFICIENT: _insufficient,
    Verdict.ALL_MISSING: lambda seen: f"no row has a value, as {percent(1 - _before(seen.feature))} had",
    Verdict.INFINITE: _infinite,
    Verdict.MISSING: _missing,
    Verdict.CONSTANT: _constant,
    Verdict.NEW_LEVELS: _new_levels,
    Verdict.DRIFTED: _drifted,
    Verdict.RARE_LEVELS: _new_levels,
}
