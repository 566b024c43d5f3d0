"""What is odd about a feature's rows, whatever their values: missing, infinite, constant, under another name."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from otel_llmon.scores import distances, significance
from otel_llmon.scores.binning import Ints
from otel_llmon.scores.counting import ABOVE, ABSENT, BELOW, MISSING, PRESENT, REFUSED
from otel_llmon.scores.features import Feature
from otel_llmon.scores.pooling import expected, pooled
from otel_llmon.scores.profile import Profile
from otel_llmon.scores.reference import FEWEST
from otel_llmon.scores.significance import Flags
from otel_llmon.scores.verdicts import Limits, Verdict

Odd = tuple[list[Verdict], tuple[str, ...]]
"""The verdicts on a feature, and the names that they are about."""


class Rows(NamedTuple):
    """The rows of one feature by what became of them, and whether they are enough.

    `apart` says that chance does not explain how many are missing, `missing` that they are enough more or fewer.
    """

    tally: list[int]
    enough: bool
    apart: bool
    missing: bool


def conditions(profile: Profile, enough: Flags, limits: Limits) -> list[Odd]:
    """Return what is odd about each feature; `enough` says which of them have rows enough."""
    apart, missing = _missing(profile, limits)
    rows = zip(profile.tallies.tolist(), enough.tolist(), apart.tolist(), missing.tolist(), strict=True)
    return [_odd(profile, place, Rows(*found), limits) for place, found in enumerate(rows)]


def _odd(profile: Profile, place: int, rows: Rows, limits: Limits) -> Odd:
    feature, tally, enough = profile.reference.features[place], rows.tally, rows.enough
    there = sum(tally[:ABSENT])
    if not profile.rows:
        return [Verdict.EMPTY], ()
    if tally[ABSENT] and not there:
        name = _renamed(profile, feature, limits)
        return ([Verdict.RENAMED], (name,)) if name else ([Verdict.ABSENT], ())
    new = tuple(profile.named.get(feature.name, ()))
    known = not new or _by_chance(profile, feature, limits)
    found = []
    if tally[REFUSED]:
        found.append(Verdict.WRONG_TYPE)
    if rows.apart and tally[MISSING] == there >= FEWEST and feature.rows:
        found.append(Verdict.ALL_MISSING)
    if _infinite(feature, tally[ABOVE] + tally[BELOW], there, limits):
        found.append(Verdict.INFINITE)
    if rows.missing:
        found.append(Verdict.MISSING)
    if enough and _constant(profile, place, limits):
        found.append(Verdict.CONSTANT)
    if new:
        found.append(Verdict.RARE_LEVELS if known else Verdict.NEW_LEVELS)
    if not enough and not any(verdict.changed for verdict in found):
        found.append(Verdict.INSUFFICIENT)
    return found, new


def _missing(profile: Profile, limits: Limits) -> tuple[Flags, Flags]:
    """Return for which features the share of missing rows is not chance, and for which it is not small either."""
    tally, features = profile.tallies, profile.reference.features
    rows = tally[:, [PRESENT, MISSING, ABOVE, BELOW, ABSENT]].sum(axis=1).astype(np.float64)
    missing = tally[:, [MISSING, ABSENT]].sum(axis=1).astype(np.float64)
    before = np.array([feature.missing for feature in features], dtype=np.float64)
    total = np.array([feature.total for feature in features], dtype=np.float64)
    effect = np.array([feature.missing_effect for feature in features], dtype=np.float64)
    some = np.maximum(rows, 1.0)
    p = significance.shares(missing / effect, some / effect, before / effect, total / effect)
    apart = significance.discoveries(p, limits.rate, limits.table)
    far = np.abs(missing / some - before / total) >= limits.missing
    return apart, apart & far & (rows / effect >= FEWEST)


def _infinite(feature: Feature, count: int, rows: int, limits: Limits) -> bool:
    """Return whether there are infinities where there were none, or not by chance as many."""
    if not count or not feature.infinite:
        return bool(count)
    return significance.share(count, rows, feature.infinite, feature.total) < limits.table


def _constant(profile: Profile, place: int, limits: Limits) -> bool:
    """Return whether all rows have one value, and chance does not explain it."""
    feature = profile.reference.features[place]
    if feature.levels:
        counts, before = profile.levels[feature.name], np.array([*feature.levels.counts, 0])
        one = int((counts > 0).sum()) == 1 and (not counts[-1] or len(profile.named[feature.name]) == 1)
    else:
        start = profile.plan.tracks[place]
        one = feature.kind == "numeric" and bool(profile.lows[start] == profile.highs[start])
        counts, before = profile.counts[start], profile.reference.stack.counts[start]
    if not one or int((before > 0).sum()) < 2:
        return False
    share = float(before[counts.argmax()] / before.sum())
    return bool(share ** (float(counts.sum()) / feature.effect) <= limits.table)


def _by_chance(profile: Profile, feature: Feature, limits: Limits) -> bool:
    """Return whether the reference may have missed the levels that it does not have."""
    if not feature.levels or not feature.rows:
        return False
    limit = limits.table / len(profile.reference.features)
    return expected(feature.levels, profile.levels[feature.name], profile.named[feature.name], limit)


def _renamed(profile: Profile, feature: Feature, limits: Limits) -> str:
    """Return the name of the unknown column that has a feature's values, or nothing."""
    for (name, other), seen in profile.strays.items():
        if name == feature.name and seen.sum() >= FEWEST and alike(feature, seen, limits):
            return other
    return ""


def alike(feature: Feature, seen: Ints, limits: Limits) -> bool:
    """Return whether rows, counted in a feature's bins or levels, may be those of the feature."""
    before, now = np.array([feature.counts], dtype=np.float64), seen.astype(np.float64)[None]
    beside = tuple(side[None] for side in pooled(feature.levels, seen)) if feature.levels else (now, before)
    p = significance.chi_square(*distances.chi_square(*beside))
    apart = distances.psi(now, before) - distances.psi_by_chance(now.sum(axis=1), before)
    return bool(p[0] > limits.table or apart[0] < limits.psi)
