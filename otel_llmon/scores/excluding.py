"""A reference without some of its features: what nobody asks about is not judged, and takes no part in what is."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from otel_llmon.scores.correlation import Correlation
from otel_llmon.scores.reference import Reference


def without(reference: Reference, names: Collection[str]) -> Reference:
    """Return a reference that has none of these features; it is the same one where it has none of them."""
    kept = [place for place, feature in enumerate(reference.features) if feature.name not in names]
    if len(kept) == len(reference.features):
        return reference
    return replace(
        reference,
        features=tuple(reference.features[place] for place in kept),
        correlation=reference.correlation and _among(reference.correlation, kept),
        excluded=tuple(sorted({*reference.excluded, *names})),
    )


def _among(known: Correlation, kept: list[int]) -> Correlation | None:
    """Return the correlations among some features; None where there is no pair of them."""
    places = {place: number for number, place in enumerate(kept)}
    features = tuple(places[place] for place in known.features if place in places)
    there = [place in places for place in known.features]
    pairs = [pair for pair, (one, other) in enumerate(zip(*known.upper, strict=True)) if there[one] and there[other]]
    if not pairs:
        return None
    share = len(pairs) / len(known.values)
    second = share * known.second  # as if the pairs that are left were as much alike as all are
    return replace(
        known,
        features=features,
        values=tuple(known.values[pair] for pair in pairs),
        variance=tuple(known.variance[pair] for pair in pairs),
        second=second,
        third=min(share * known.third, second**1.5),
    )
