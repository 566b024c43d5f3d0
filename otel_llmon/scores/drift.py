"""Whether a window looks like its reference: a verdict per feature, how far it moved, and how likely by chance.

A feature has drifted where both hold: chance does not explain it, over all features together, and it is large enough to
matter. Where that cannot be said, the verdict says why.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from otel_llmon.scores import correlation, significance
from otel_llmon.scores.conditions import conditions
from otel_llmon.scores.counting import ABOVE, ABSENT, BELOW, MISSING, PRESENT, REFUSED
from otel_llmon.scores.findings import findings
from otel_llmon.scores.profile import Profile
from otel_llmon.scores.reference import FEWEST
from otel_llmon.scores.significance import Flags
from otel_llmon.scores.verdicts import CorrelationDrift, FeatureDrift, Limits, Verdict

__all__ = ["CorrelationDrift", "Drift", "FeatureDrift", "Limits", "Verdict", "compare"]


@dataclass(frozen=True)
class Drift:
    """What a window says of all features, by name; columns that the reference does not have among them.

    `constant` are those that have one value in the reference: that they have it still says nothing of the others.
    """

    features: Mapping[str, FeatureDrift]
    correlation: CorrelationDrift | None
    rows: int
    reference: str
    constant: frozenset[str] = frozenset()

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
        """Return whether anything has changed; None where that cannot be said of half of the features, or more.

        A feature that has changed is one, however many others could not be judged.
        """
        if (self.correlation and self.correlation.changed) or any(found.changed for found in self.judged):
            return True
        telling = [found for found in self.features.values() if found.name not in self.constant]
        silent = sum(found.changed is None for found in telling)
        return None if not self.judged or (silent and 2 * silent >= len(telling)) else False

    def weighted(self, weights: Mapping[str, float]) -> float | None:
        """Return the share that has changed, every judged feature counting as much as its weight (0 without one)."""
        total = sum(weights.get(found.name, 0.0) for found in self.judged)
        changed = sum(weights.get(found.name, 0.0) for found in self.judged if found.changed)
        return changed / total if total > 0 else None


def compare(profile: Profile, limits: Limits | None = None) -> Drift:
    """Return what a window says of its reference's features."""
    limits = limits or Limits()
    reference = profile.reference
    found = findings(profile, limits)
    enough = _enough(profile)
    drifted = np.zeros(len(found), dtype=bool)
    drifted[enough] = significance.discoveries(np.array([one.p for one in found])[enough], limits.rate, limits.table)
    drifted &= np.array([one.large for one in found], dtype=bool)
    odd = conditions(profile, enough, limits)
    shares, rows = _shares(profile), profile.tallies[:, PRESENT].tolist()
    features = {}
    for place, feature in enumerate(reference.features):
        verdicts, detail = odd[place]
        if drifted[place]:
            verdicts = [*verdicts, Verdict.DRIFTED]
        features[feature.name] = FeatureDrift(
            feature.name,
            feature.kind,
            tuple(verdicts) or (Verdict.STABLE,),
            rows[place],
            found[place].p if enough[place] else 1.0,
            {**found[place].scores, **shares[place]} if enough[place] else shares[place],
            detail,
        )
    for name, count in profile.unknown.items():
        features[name] = FeatureDrift(name, "unknown", (Verdict.UNKNOWN,), count)
    constant = frozenset(feature.name for feature in reference.features if feature.constant)
    return Drift(features, _correlated(profile, limits), profile.rows, reference.hash, constant)


def _enough(profile: Profile) -> Flags:
    """Return of which features there are rows enough, those that depend on each other counted as fewer."""
    features = profile.reference.features
    rows = np.minimum(profile.tallies[:, PRESENT], np.array([feature.rows for feature in features], dtype=np.int64))
    found: Flags = rows / np.array([feature.effect for feature in features], dtype=np.float64) >= FEWEST
    return found


def _shares(profile: Profile) -> list[dict[str, float]]:
    """Return which shares of each feature's rows had no value, an infinite one, or one of another kind."""
    tally = profile.tallies
    rows = np.maximum(tally[:, :ABSENT].sum(axis=1), 1)
    parts = (tally[:, MISSING] / rows, (tally[:, ABOVE] + tally[:, BELOW]) / rows, tally[:, REFUSED] / rows)
    found = zip(*(part.tolist() for part in parts), strict=True)
    return [{"missing": missing, "infinite": infinite, "wrong type": wrong} for missing, infinite, wrong in found]


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
