"""What the values of each feature say: a p-value, the effects by name, and whether one is large enough to matter."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from otel_llmon.scores import distances, polynomials, significance
from otel_llmon.scores.counting import PRESENT
from otel_llmon.scores.features import Feature
from otel_llmon.scores.pooling import pooled
from otel_llmon.scores.profile import Profile
from otel_llmon.scores.stacks import Judged
from otel_llmon.scores.verdicts import Limits

SCORES = ("ks", "psi", "wasserstein", "shift", *polynomials.NAMES, "lower tail", "upper tail")


class Finding(NamedTuple):
    """How likely chance alone is, the effects, and whether one of them is large enough to matter."""

    p: float
    scores: dict[str, float]
    large: bool


NOTHING = Finding(1.0, {}, large=False)


def findings(profile: Profile, limits: Limits) -> list[Finding]:
    """Return what a window says of each feature of its reference, in their order."""
    judged = profile.reference.stack.judged(profile.counts, profile.totals)
    tracks = _of_tracks(judged, limits)
    found, present = [], profile.tallies[:, PRESENT].tolist()
    for feature, start, rows in zip(profile.reference.features, profile.plan.tracks, present, strict=True):
        if not rows:
            found.append(NOTHING)
        elif feature.levels:
            found.append(_of_levels(profile, feature, limits))
        elif feature.kind == "numeric":
            found.append(tracks[start] if feature.tracks else NOTHING)
        else:
            several = _together(tracks[start : start + len(feature.tracks)])
            found.append(_with_cloud(profile, feature, rows, several, limits))
    return found


def _of_tracks(judged: Judged, limits: Limits) -> list[Finding]:
    """Return what every series says by itself."""
    apart = (judged.ks, judged.psi, judged.wasserstein, judged.shift)
    scores = np.concatenate([np.stack(apart, axis=1), judged.effects, judged.tails], axis=1).tolist()
    large = (
        (np.abs(judged.effects).max(axis=1, initial=0.0) >= limits.score)
        | (judged.ks >= limits.ks)
        | (judged.psi >= limits.psi)
        | (np.abs(judged.tails).max(axis=1, initial=0.0) >= limits.tail)
    )
    found = zip(judged.p.tolist(), scores, large.tolist(), strict=True)
    return [Finding(p, dict(zip(SCORES, row, strict=True)), matters) for p, row, matters in found]


def _together(tracks: list[Finding]) -> Finding:
    """Return what several series say, with the scores of the one that chance explains least."""
    if not tracks:
        return NOTHING
    p = significance.together(np.array([[one.p for one in tracks]]))
    most = min(tracks, key=lambda one: one.p)
    return Finding(float(p[0]), most.scores, any(one.large for one in tracks))


def _with_cloud(profile: Profile, feature: Feature, rows: int, found: Finding, limits: Limits) -> Finding:
    """Return the same with the distance of the mean vectors, whose law under chance is that of a sum of squares."""
    cloud = feature.cloud
    width = sum(deviation > 0 for deviation in cloud.deviation) if cloud else 0
    if not cloud or not width:
        return found
    squares = float((cloud.deviations(profile.clouds[feature.name], rows) ** 2).sum())
    chance = 1 / rows + 1 / cloud.rows
    # Few rows know little of a coordinate's deviation, the less the more of it is theirs, and a mean that is too low by
    # chance is one of a deviation that is too low.
    known = 1 + (1 + 1 / cloud.rows / chance) * cloud.peaked / width / cloud.rows
    shape = width**2 / (2 * cloud.correlated + cloud.peaked * chance)
    chance *= known * feature.effect
    p = significance.special().gammaincc(shape, shape * squares / chance / width)
    both = significance.together(np.array([[found.p, float(p)]]))
    distance = max(squares / width - chance, 0.0) ** 0.5
    scores = {**found.scores, "mean distance": distance}
    return Finding(float(both[0]), scores, found.large or distance >= limits.score)


def _of_levels(profile: Profile, feature: Feature, limits: Limits) -> Finding:
    levels = feature.levels
    if not levels or not feature.rows:
        return NOTHING
    now = profile.levels[feature.name].astype(np.float64)[None]
    before = np.array([[*levels.counts, 0]], dtype=np.float64)
    statistic, freedom = distances.chi_square(*(side[None] for side in pooled(levels, profile.levels[feature.name])))
    p = significance.chi_square(statistic / levels.effect, freedom)
    there = (now + before > 0).astype(np.float64)
    by_chance = distances.psi_by_chance(now.sum(axis=1), before, there)
    moved = np.abs(now / now.sum() - before / before.sum())
    scores = {
        "psi": float((distances.psi(now, before, there) - by_chance)[0]),
        "jensen shannon": float(distances.jensen_shannon(now, before)[0]),
        "chi square": float((statistic[0] / (now.sum() + before.sum())) ** 0.5),  # Cramer's V: between 0 and 1
        "level": float(moved.max()),
        "new levels": float(now[0, -1] / now.sum()),
    }
    return Finding(float(p[0]), scores, scores["psi"] >= limits.psi or scores["level"] >= limits.level)
