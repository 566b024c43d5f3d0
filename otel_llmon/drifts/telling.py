"""A verdict as readings: the features that matter most by name, the others as one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from otel_llmon.metering import Reading, values
from otel_llmon.scores import significance
from otel_llmon.scores.dense import PREDICTION
from otel_llmon.scores.drift import Drift, FeatureDrift
from otel_llmon.scores.performance import Change, Combined, combined
from otel_llmon.scores.reference import FEWEST, Reference
from otel_llmon.scores.verdicts import ORDER, Verdict
from otel_llmon.semconv import attributes as key
from otel_llmon.semconv import drift as rows

Attributes = Mapping[str, Any]
METHODS = {
    name: name.replace(" ", "_")
    for name in (
        "ks", "psi", "wasserstein", "shift", "location", "scale", "skew", "kurtosis", "jensen shannon", "chi square",
        "level", "new levels", "mean distance",
    )
}  # fmt: skip
"""Scores of features that are told, by their names in a verdict; shares of missing values are the quality's."""
OTHER = "other"
ALL = "\x00all"
PERFORMANCE, CORRELATION = "performance", "correlation"
MIXED, UNJUDGED, NO_REFERENCE = "mixed reference", "not judged", "no reference"


class Shown:
    """Which features have series of their own: the first ones, and later those that have changed.

    A feature keeps its place until one that has changed needs it, so that chance makes no new series.
    """

    def __init__(self, reference: Reference, top: int, weights: Mapping[str, float]) -> None:
        names = [feature.name for feature in reference.features]
        names.sort(key=lambda name: (name != PREDICTION, -weights.get(name, 0.0)))
        self.names = names[: max(top, 1)] if top < len(names) else names
        self.all = len(self.names) == len(names)

    def follow(self, drift: Drift) -> None:
        """Let the features that have changed, the least likely first, take the places of those that have not."""
        changed = [found for found in drift.judged if found.changed and found.name not in self.names]
        if self.all or not changed:
            return
        changed.sort(key=lambda found: found.p_value)
        quiet = [name for name in self.names if name in drift.features and not drift.features[name].changed]
        for found, name in zip(changed, reversed([name for name in quiet if name != PREDICTION]), strict=False):
            self.names[self.names.index(name)] = found.name


def states(drift: Drift, reference: Reference, shown: Shown) -> dict[str, str]:
    """Return the verdict on every feature that is shown, and the worst on the others."""
    worst: dict[str, FeatureDrift] = {}
    for found in drift.features.values():
        name = found.name if found.name in shown.names else OTHER
        worst[name] = min(worst.get(name, found), found, key=_gravity)
    return {name: _state(found, reference) for name, found in worst.items()}


def _gravity(found: FeatureDrift) -> tuple[bool, int]:
    return not found.changed, ORDER.index(found.verdict)


def _state(found: FeatureDrift, reference: Reference) -> str:
    if found.verdict is Verdict.INSUFFICIENT and reference[found.name].rows < FEWEST:
        return NO_REFERENCE
    return str(found.verdict)


def of_features(drift: Drift, reference: Reference, shown: Shown, facts: Attributes) -> Iterator[Reading]:
    """Yield the scores and p-values of every feature; of those without series of their own the worst."""
    scores: dict[tuple[str, str], float] = {}
    chances: dict[tuple[str, str], float] = {}
    for found in drift.features.values():
        name = values.text(found.name) if found.name in shown.names else OTHER
        for score, method in METHODS.items():
            if score in found.scores:
                at, size = (name, method), found.scores[score]
                scores[at] = max(scores.get(at, size), size, key=abs)
        for method, chance in _chances(found, reference):
            chances[name, method] = min(chances.get((name, method), 1.0), chance)
    for (name, method), size in scores.items():
        yield Reading(rows.DRIFT_SCORE, size, {**facts, key.FEATURE: name, key.METHOD: method})
    for (name, method), chance in chances.items():
        yield Reading(rows.DRIFT_P_VALUE, chance, {**facts, key.FEATURE: name, key.METHOD: method})
    for method in {method for _, method in scores}:
        most = max((score for (_, one), score in scores.items() if one == method), key=abs)
        yield Reading(rows.DRIFT_SCORE_MAX, abs(most), {**facts, key.METHOD: method})


def _chances(found: FeatureDrift, reference: Reference) -> Iterator[tuple[str, float]]:
    """Yield the p-values of a feature of which something can be said."""
    if found.name not in reference or not found.scores.keys() & METHODS:
        return
    yield "combined", found.p_value
    if "chi square" in found.scores:
        yield "chi_square", found.p_value
    elif "ks" in found.scores and found.kind == "numeric":
        distance = np.array([found.scores["ks"]])
        yield "ks", float(significance.two_samples(distance, found.rows, reference[found.name].rows)[0])


def of_correlation(drift: Drift, facts: Attributes) -> Iterator[Reading]:
    """Yield how the pair of features that moved most goes together now and before."""
    found = drift.correlation
    if found:
        facts = {**facts, key.METHOD: CORRELATION}
        yield Reading(rows.DRIFT_SCORE, abs(found.now - found.before), facts)
        yield Reading(rows.DRIFT_P_VALUE, found.p_value, facts)


def parts(drift: Drift, change: Change | None) -> Combined | None:
    """Return all signs in one number, each as large as it is; None where nothing can be said."""
    if drift.share is None:
        return None
    found = {"features": drift.share}
    said = drift.features.get(PREDICTION)
    if said is not None and said.changed is not None:
        found["prediction"] = _moved(said) if said.changed else 0.0
    pair = drift.correlation
    if pair:
        found[CORRELATION] = min(abs(pair.now - pair.before) / 2, 1.0) if pair.changed else 0.0
    if change is not None:
        found[PERFORMANCE] = min(max(change.worse, 0.0), 1.0) if change.drifted is not False else 0.0
    return combined(found, labels=change is not None)


def _moved(found: FeatureDrift) -> float:
    """Return which share of a feature's values would have to change to be what they were, or a bound of it."""
    return next((found.scores[name] for name in ("level", "ks") if name in found.scores), 1.0)


def of_parts(found: Combined | None, facts: Attributes) -> Iterator[Reading]:
    """Yield the whole under the name of what it can show, and its parts."""
    for name, part in {**found.parts, found.name.replace(" ", "_"): found.score}.items() if found else ():
        yield Reading(rows.DRIFT_COMBINED, part, {**facts, key.PART: name})


def of_change(change: Change | None, facts: Attributes) -> Iterator[Reading]:
    """Yield how much worse the model is; negative where it is better."""
    if change is not None:
        facts = {**facts, key.METHOD: PERFORMANCE}
        yield Reading(rows.DRIFT_SCORE, change.worse, facts)
        if change.p_value == change.p_value:
            yield Reading(rows.DRIFT_P_VALUE, change.p_value, facts)


def of_evidence(evidence: Mapping[str, float], shown: Shown, facts: Attributes) -> Iterator[Reading]:
    """Yield the evidence of all features together, and that of those that are shown."""
    for name, found in evidence.items():
        if np.isfinite(found) and (name == ALL or name in shown.names):
            yield Reading(
                rows.DRIFT_EVIDENCE, found, facts if name == ALL else {**facts, key.FEATURE: values.text(name)}
            )
