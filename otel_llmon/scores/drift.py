"""Whether a window looks like its reference: a verdict per feature, how far it moved, and how likely chance moves it so far.

A feature has drifted where both hold: chance does not explain it, over all features together, and it is large enough to
matter. Where that cannot be said, the verdict says why.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from otel_llmon.scores import correlation, distances, polynomials, significance
from otel_llmon.scores.counting import ABOVE, ABSENT, BELOW, MISSING, PRESENT, REFUSED
from otel_llmon.scores.columns import Floats
from otel_llmon.scores.features import Feature
from otel_llmon.scores.profile import Profile
from otel_llmon.scores.reference import FEWEST
from otel_llmon.scores.stacks import Judged
from otel_llmon.scores.verdicts import CorrelationDrift, FeatureDrift, Limits, Verdict

__all__ = ["CorrelationDrift", "Drift", "FeatureDrift", "Limits", "Verdict", "compare"]


@dataclass(frozen=True)
class Drift:
    """What a window says of all features, by name; columns that the reference does not have among them."""

    features: Mapping[str, FeatureDrift]
    correlation: CorrelationDrift | None
    rows: int
    reference: str

    @cached_property
    def judged(self) -> tuple[FeatureDrift, ...]:
        """Return the features of which something can be said."""
        return tuple(found for found in self.features.values() if found.changed is not None)

    @property
    def share(self) -> float | None:
        """Return which share of the judged features has changed; None where there is none."""
        return sum(bool(found.changed) for found in self.judged) / len(self.judged) if self.judged else None

    @property
    def changed(self) -> bool | None:
        """Return whether anything has changed; None where nothing can be said."""
        if self.correlation and self.correlation.changed:
            return True
        return any(found.changed for found in self.judged) if self.judged else None

    def weighted(self, weights: Mapping[str, float]) -> float | None:
        """Return the share that has changed, every judged feature counting as much as its weight (0 without one)."""
        total = sum(weights.get(found.name, 0.0) for found in self.judged)
        changed = sum(weights.get(found.name, 0.0) for found in self.judged if found.changed)
        return changed / total if total > 0 else None


class Values(NamedTuple):
    """What the values of one feature say: how likely by chance, the effects, and whether one is large enough."""

    p: float
    scores: dict[str, float]
    large: bool


def compare(profile: Profile, limits: Limits | None = None) -> Drift:
    """Return what a window says of its reference's features."""
    limits = limits or Limits()
    reference = profile.reference
    judged = reference.stack.judged(profile.counts, profile.totals)
    values = [_values(profile, place, judged, limits) for place in range(len(reference.features))]
    enough = np.array([_enough(profile, place) for place in range(len(values))], dtype=bool)
    drifted = np.zeros(len(values), dtype=bool)
    drifted[enough] = significance.discoveries(np.array([found.p for found in values])[enough], limits.rate, limits.table)
    missing = _missing(profile, limits)
    features = {}
    for place, (feature, found) in enumerate(zip(reference.features, values, strict=True)):
        verdicts, detail = _verdicts(profile, place, limits, enough=bool(enough[place]), missing=bool(missing[place]))
        if enough[place] and drifted[place] and found.large:
            verdicts.append(Verdict.DRIFTED)
        tested = enough[place] and Verdict.ABSENT not in verdicts
        features[feature.name] = FeatureDrift(
            feature.name,
            feature.kind,
            tuple(sorted(verdicts or [Verdict.STABLE], key=list(Verdict).index)),
            int(profile.tallies[place, PRESENT]),
            found.p if tested else 1.0,
            found.scores | _shares(profile, place) if tested else _shares(profile, place),
            detail,
        )
    for name, rows in profile.unknown.items():
        features[name] = FeatureDrift(name, "unknown", (Verdict.UNKNOWN,), rows)
    return Drift(features, _correlated(profile, limits), profile.rows, reference.hash)


def _enough(profile: Profile, place: int) -> bool:
    """Return whether there are rows enough to say something, those that depend on each other counted as fewer."""
    feature = profile.reference.features[place]
    return min(int(profile.tallies[place, PRESENT]), feature.rows) / feature.effect >= FEWEST


def _values(profile: Profile, place: int, judged: Judged, limits: Limits) -> Values:
    feature = profile.reference.features[place]
    if feature.levels:
        return _of_levels(profile, feature, limits)
    start = profile.plan.tracks[place]
    chosen = slice(start, start + len(feature.tracks))
    if not feature.tracks or not profile.tallies[place, PRESENT]:
        return Values(1.0, {}, large=False)
    found = _of_tracks(judged, chosen, limits)
    return _with_cloud(profile, place, found, limits) if feature.cloud else found


def _of_tracks(judged: Judged, chosen: slice, limits: Limits) -> Values:
    """Return what one series says, or what several say together, each score that of the one that moved most."""
    effects, tails = judged.effects[chosen], judged.tails[chosen]
    large = (
        (np.abs(effects).max(axis=1) >= limits.score)
        | (judged.ks[chosen] >= limits.ks)
        | (judged.psi[chosen] >= limits.psi)
        | (np.abs(tails).max(axis=1) >= limits.tail)
    )
    most = int(np.argmin(judged.p[chosen]))
    scores = {
        "ks": judged.ks[chosen][most],
        "psi": judged.psi[chosen][most],
        "wasserstein": judged.wasserstein[chosen][most],
        "shift": judged.shift[chosen][most],
        **dict(zip(polynomials.NAMES, effects[most], strict=True)),
        "lower tail": tails[most, 0],
        "upper tail": tails[most, 1],
    }
    count = len(effects)
    p = judged.p[chosen] if count == 1 else significance.together(judged.p[None, chosen])
    return Values(float(p[0]), {name: float(score) for name, score in scores.items()}, large=bool(large.any()))


def _with_cloud(profile: Profile, place: int, found: Values, limits: Limits) -> Values:
    """Return the same with the distance of the mean vectors, whose law under chance is that of a sum of squares."""
    feature, rows = profile.reference.features[place], int(profile.tallies[place, PRESENT])
    cloud = feature.cloud
    assert cloud is not None
    width = sum(deviation > 0 for deviation in cloud.deviation)
    apart = cloud.deviations(profile.clouds[feature.name], rows)
    squares = float((apart**2).sum())
    if not width or not rows:
        return found
    chance = (1 / rows + 1 / cloud.rows) * feature.effect
    shape = width**2 / (2 * cloud.correlated + cloud.peaked / rows)
    p = significance.special().gammaincc(shape, shape * squares / chance / width)
    both = significance.together(np.array([[found.p, float(p)]]))[0]
    distance = max(squares / width - chance, 0.0) ** 0.5
    return Values(float(both), {**found.scores, "mean distance": distance}, found.large or distance >= limits.score)


def _of_levels(profile: Profile, feature: Feature, limits: Limits) -> Values:
    levels = feature.levels
    assert levels is not None
    now = profile.levels[feature.name].astype(np.float64)[None]
    before = np.append(np.array(levels.counts, dtype=np.float64), 0.0)[None]
    if not now.sum() or not before.sum():
        return Values(1.0, {}, large=False)
    statistic, freedom = distances.chi_square(now, before)
    p = significance.chi_square(statistic / levels.effect, freedom)
    there = (now + before > 0).astype(np.float64)
    by_chance = distances.psi_by_chance(now.sum(axis=1), before.sum(axis=1), there.sum(axis=1))
    moved = now / now.sum() - before / before.sum()
    scores = {
        "psi": float((distances.psi(now, before, there) - by_chance)[0]),
        "jensen shannon": float(distances.jensen_shannon(now, before)[0]),
        "level": float(np.abs(moved).max()),
        "new levels": float(now[0, -1] / now.sum()),
    }
    return Values(float(p[0]), scores, large=scores["psi"] >= limits.psi or scores["level"] >= limits.level)


def _missing(profile: Profile, limits: Limits) -> Floats:
    """Return for which features the share of missing rows is neither chance nor small."""
    tally, features = profile.tallies, profile.reference.features
    rows = tally[:, [PRESENT, MISSING, ABOVE, BELOW, ABSENT]].sum(axis=1).astype(np.float64)
    missing = tally[:, [MISSING, ABSENT]].sum(axis=1).astype(np.float64)
    before = np.array([feature.missing for feature in features], dtype=np.float64)
    total = np.array([feature.rows + feature.missing + feature.infinite for feature in features], dtype=np.float64)
    effect = np.array([feature.missing_effect for feature in features])
    some = np.maximum(rows, 1.0)
    p = significance.shares(missing / effect, some / effect, before / effect, total / effect)
    apart = np.abs(missing / some - before / total) >= limits.missing
    found: Floats = significance.discoveries(p, limits.rate, limits.table) & apart & (rows / effect >= FEWEST)
    return found


def _verdicts(
    profile: Profile, place: int, limits: Limits, *, enough: bool, missing: bool
) -> tuple[list[Verdict], tuple[str, ...]]:
    """Return what holds for a feature besides the drift of its values, and the names that it is about."""
    feature, tally = profile.reference.features[place], profile.tallies[place]
    there = int(tally[:ABSENT].sum())
    if not profile.rows:
        return [Verdict.EMPTY], ()
    if tally[ABSENT] and not there:
        name = _renamed(profile, feature, limits)
        return [Verdict.RENAMED] if name else [Verdict.ABSENT], (name,) if name else ()
    new = tuple(profile.named.get(feature.name, ()))
    known = not new or _by_chance(profile, feature, limits)
    held = {
        Verdict.WRONG_TYPE: tally[REFUSED] > 0,
        Verdict.ALL_MISSING: there >= FEWEST and tally[MISSING] == there and feature.rows > 0,
        Verdict.INFINITE: _infinite(feature, int(tally[ABOVE] + tally[BELOW]), there, limits),
        Verdict.MISSING: missing,
        Verdict.CONSTANT: enough and _constant(profile, place, limits),
        Verdict.NEW_LEVELS: not known,
        Verdict.RARE_LEVELS: bool(new) and known,
    }
    found = [verdict for verdict, holds in held.items() if holds]
    if not enough and not any(verdict.changed for verdict in found):
        found.append(Verdict.INSUFFICIENT)
    return found, new


def _infinite(feature: Feature, count: int, rows: int, limits: Limits) -> bool:
    """Return whether there are infinities where there were none, or not by chance as many."""
    if not count:
        return False
    total = feature.rows + feature.missing + feature.infinite
    p = significance.shares(*(np.array([float(number)]) for number in (count, rows, feature.infinite, total)))
    return not feature.infinite or bool(p[0] < limits.table)


def _constant(profile: Profile, place: int, limits: Limits) -> bool:
    """Return whether all rows have one value, and chance does not explain it."""
    feature = profile.reference.features[place]
    if feature.levels:
        counts, before = profile.levels[feature.name], np.append(feature.levels.counts, 0)
        one = int((counts > 0).sum()) == 1
    else:
        start = profile.plan.tracks[place]
        counts, before = profile.counts[start], profile.reference.stack.counts[start]
        one = feature.kind == "numeric" and bool(profile.lows[start] == profile.highs[start])
    if not one or int((before > 0).sum()) < 2:
        return False
    share = float(before[counts.argmax()] / before.sum())
    return share ** (counts.sum() / feature.effect) <= limits.table


def _by_chance(profile: Profile, feature: Feature, limits: Limits) -> bool:
    """Return whether the reference may have missed the levels that it does not have.

    All rows of one level lie in the window by chance as often as `share ** rows`; of how many names that can be said at
    all, those that were seen once tell (Good, Turing).
    """
    names, levels = profile.named[feature.name], feature.levels
    assert levels is not None
    rows = int(profile.levels[feature.name].sum())
    share, limit = rows / (rows + feature.rows), limits.table / len(profile.reference.features)
    expected = (levels.rare + 2 * levels.rare**0.5 + 1) * rows / max(feature.rows, 1)
    one = len(names) * share ** (max(names.values()) / levels.effect)
    return one > limit and bool(significance.special().pdtrc(len(names) - 1, expected) > limit)


def _renamed(profile: Profile, feature: Feature, limits: Limits) -> str:
    """Return the name of the unknown column that has a feature's values, or nothing."""
    before = np.append(feature.levels.counts, 0) if feature.levels else None
    for (name, other), counts in profile.strays.items():
        if name == feature.name and counts.sum() >= FEWEST:
            reference = np.array(feature.tracks[0].counts if before is None else before, dtype=np.float64)
            now = counts.astype(np.float64)
            alike = significance.chi_square(*distances.chi_square(now[None], reference[None]))[0] > limits.table
            unlike = float(distances.psi(now, reference) - distances.psi_by_chance(now.sum(), reference.sum(), now.size))
            if alike or unlike < limits.psi:
                return other
    return ""


def _shares(profile: Profile, place: int) -> dict[str, float]:
    """Return which shares of the rows had no value, an infinite one, or one of another kind."""
    tally = profile.tallies[place].astype(float)
    rows = max(tally[:ABSENT].sum(), 1.0)
    shares = {"missing": tally[MISSING], "infinite": tally[ABOVE] + tally[BELOW], "wrong type": tally[REFUSED]}
    return {name: float(count / rows) for name, count in shares.items()}


def _correlated(profile: Profile, limits: Limits) -> CorrelationDrift | None:
    """Return whether features go together as they did; None where there are too few rows, or no two features."""
    known = profile.reference.correlation
    if not known or not (profile.pairs[known.upper] >= correlation.SMALLEST).any():
        return None
    tracks = [profile.plan.tracks[feature] for feature in known.features]
    counts = profile.counts[tracks].astype(np.float64)
    rows = np.maximum(counts.sum(axis=1), 1.0)
    mean, square = ((counts * steps).sum(axis=1) / rows for steps in (profile.plan.steps, profile.plan.steps**2))
    seen = correlation.correlated(profile.products, profile.pairs, mean, np.sqrt(np.maximum(square - mean**2, 1e-12)))
    z, p = correlation.compared(known, seen, profile.pairs)
    most = int(np.abs(z).argmax())
    names = [profile.reference.features[feature].name for feature in known.features]
    one, other = (int(places[most]) for places in known.upper)
    pair = (names[one], names[other])
    return CorrelationDrift(p, p <= limits.correlation, pair, known.values[most], float(seen[one, other]))
