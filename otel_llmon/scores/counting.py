"""How the rows of a table are counted into a profile: everything becomes whole numbers here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from otel_llmon.scores import columns, correlation, describing
from otel_llmon.scores.binning import Ints
from otel_llmon.scores.columns import HUGE, Column, Floats
from otel_llmon.scores.features import REST, Feature

if TYPE_CHECKING:
    from otel_llmon.scores.profile import Profile

PRESENT, MISSING, ABOVE, BELOW, REFUSED, ABSENT = range(6)
"""What became of a feature's rows: a value, none, an infinity of either sign, something else, no such column."""
OUTCOMES = 6
NAMED = 16
"""Unknown levels, columns, and pairs of columns that are counted by name: the first ones of the alphabet."""

Singles = npt.NDArray[np.float32]
Name = TypeVar("Name", str, tuple[str, str])
Value = TypeVar("Value")


def first(found: Mapping[Name, Value]) -> dict[Name, Value]:
    """Return what stands first in the alphabet: of two sums the same as of the sum, which the most frequent is not."""
    return {name: found[name] for name in sorted(found)[:NAMED]}


class Pairs(NamedTuple):
    """The rows of the correlated features on the normal scale, and where they have a value: a row per feature."""

    steps: Singles
    there: Singles


def count(profile: Profile, found: Mapping[str, Column], rows: int) -> None:
    """Count so many rows of a table."""
    plan = profile.plan
    profile.rows += rows
    pairs = Pairs(*(make((len(plan.pairs), rows), dtype=np.float32) for make in (np.zeros, np.ones)))
    for place, feature in enumerate(profile.reference.features):
        column = found.get(feature.name)
        if column is None:
            profile.tallies[place, ABSENT] += rows
            pairs.there[plan.pairs.get(place, slice(0))] = 0
        else:
            _COUNTERS[feature.kind](profile, place, column, pairs)
    _multiply(profile, pairs)
    known = profile.reference
    unknown = sorted(name for name in found if name not in known and name not in known.excluded)
    if unknown:
        gone = [feature for feature in profile.reference.features if feature.name not in found]
        _unknown(profile, {name: found[name] for name in unknown}, gone, rows)


def _multiply(profile: Profile, pairs: Pairs) -> None:
    """Add the products of all pairs, in blocks whose sums are exact."""
    steps, there = pairs
    rows = steps.shape[1]
    if not len(steps):
        return
    whole = bool(there.all())
    for start in range(0, rows, correlation.BLOCK):
        part = steps[:, start : start + correlation.BLOCK]
        profile.products += correlation.products(part)
        if not whole:
            present = there[:, start : start + correlation.BLOCK]
            profile.pairs += correlation.products(present)
    if whole:
        profile.pairs += rows


def _numeric(profile: Profile, place: int, column: Column, pairs: Pairs) -> None:
    values, refused, _ = columns.numeric(column)
    profile.tallies[place, REFUSED] += refused
    profile.tallies[place, MISSING] -= refused
    low, high = np.minimum.reduce(values), np.maximum.reduce(values)
    kept = None
    if not (low >= -HUGE and high <= HUGE):
        kept = np.abs(values) <= HUGE
        profile.tallies[place, [MISSING, ABOVE, BELOW]] += [
            np.isnan(values).sum(), (values > HUGE).sum(), (values < -HUGE).sum()
        ]  # fmt: skip
        values = values[kept]
        if place in profile.plan.pairs:
            pairs.there[profile.plan.pairs[place]] = kept
    profile.tallies[place, PRESENT] += len(values)
    if not len(values) or not profile.reference.features[place].tracks:
        return
    if kept is not None:
        low, high = np.minimum.reduce(values), np.maximum.reduce(values)
    bins = _count_track(profile, profile.plan.tracks[place], values, low, high)
    pair = profile.plan.pairs.get(place)
    if pair is not None:
        normal = profile.plan.normal[pair].take(bins, mode="clip")
        pairs.steps[pair, slice(None) if kept is None else kept] = normal


def _count_track(profile: Profile, track: int, values: Floats, low: float, high: float) -> Ints:
    bins, total = profile.reference.tracks[track].binning.bins(values, (float(low), float(high)))
    counts = profile.counts[track]
    counts += np.bincount(bins, minlength=len(counts))
    profile.totals[track] += total
    profile.lows[track] = min(profile.lows[track], low)
    profile.highs[track] = max(profile.highs[track], high)
    return bins


def _categorical(profile: Profile, place: int, column: Column, _: Pairs) -> None:
    feature = profile.reference.features[place]
    found = columns.words(column)
    counted = Counter(found.values)
    missing = counted.pop(None, 0) - found.refused
    profile.tallies[place, [PRESENT, MISSING, REFUSED]] += [sum(counted.values()), missing, found.refused]
    levels, counts = feature.levels, profile.levels[feature.name]
    places = levels.places if levels else {}
    unseen: Counter[str] = Counter()
    for word, rows in counted.items():
        if word is not None:
            level = word[: columns.LONGEST]
            seen = places.get(level, places.get(REST, -1))
            counts[seen] += rows
            if seen < 0:
                unseen[level] += rows
    if unseen:
        profile.named[feature.name] = first(Counter(profile.named[feature.name]) + unseen)


def _text(profile: Profile, place: int, column: Column, _: Pairs) -> None:
    feature = profile.reference.features[place]
    found = columns.words(column)
    present = [text for text in found.values if text is not None]
    missing = len(found.values) - len(present) - found.refused
    profile.tallies[place, [PRESENT, MISSING, REFUSED]] += [len(present), missing, found.refused]
    if present and feature.cloud:
        _count_tracks(profile, place, describing.measured(present))
        profile.clouds[feature.name] += feature.cloud.steps(describing.bag(present)).sum(axis=0).astype(np.int64)


def _embedding(profile: Profile, place: int, column: Column, _: Pairs) -> None:
    feature = profile.reference.features[place]
    width = feature.cloud.width if feature.cloud else None
    matrix, whole, refused = columns.vectors(column, width)
    missing = int((~whole).sum()) - refused
    profile.tallies[place, [PRESENT, MISSING, REFUSED]] += [int(whole.sum()), missing, refused]
    if whole.any() and feature.cloud:
        steps = feature.cloud.steps(matrix[whole])
        _count_tracks(profile, place, feature.cloud.projected(steps))
        profile.clouds[feature.name] += steps.sum(axis=0).astype(np.int64)


def _count_tracks(profile: Profile, place: int, series: Floats) -> None:
    for number, values in enumerate(series):
        _count_track(profile, profile.plan.tracks[place] + number, values, values.min(), values.max())


_COUNTERS: dict[str, Callable[[Profile, int, Column, Pairs], None]] = {
    "numeric": _numeric,
    "categorical": _categorical,
    "text": _text,
    "embedding": _embedding,
}


def _unknown(profile: Profile, unknown: Mapping[str, Column], gone: list[Feature], rows: int) -> None:
    """Count columns that the reference does not have, and each as if it were one of those that are not there."""
    profile.unknown = first(Counter(profile.unknown) + Counter(dict.fromkeys(unknown, rows)))
    for feature in gone[:NAMED]:
        for name in list(unknown)[:NAMED]:
            counts = as_if(feature, unknown[name])
            if counts is not None:
                pair = (feature.name, name)
                profile.strays[pair] = profile.strays[pair] + counts if pair in profile.strays else counts


def as_if(feature: Feature, column: Column) -> Ints | None:
    """Return a column's rows in the bins or levels of a feature; None where it is of another kind."""
    if columns.kind_of(column) != feature.kind or not feature.rows:
        return None
    if feature.levels:
        rest = feature.levels.places.get(REST, len(feature.levels.names))
        found = [word[: columns.LONGEST] for word in columns.words(column).values if word is not None]
        places = np.array([feature.levels.places.get(word, rest) for word in found], dtype=np.int64)
        return np.bincount(places, minlength=len(feature.levels.names) + 1)
    if feature.kind == "numeric":
        values = columns.numeric(column).values
        bins, _ = feature.tracks[0].binning.bins(values[np.abs(values) <= HUGE])
        return np.bincount(bins, minlength=feature.tracks[0].binning.size)
    return None


def count_matrix(profile: Profile, rows: Floats) -> None:
    """Count few rows of all numeric features at once; every other feature of the reference is absent."""
    matrix = profile.plan.matrix
    profile.rows += len(rows)
    profile.tallies[matrix.others, ABSENT] += len(rows)
    values = np.ascontiguousarray(rows.T, dtype=np.float64)
    dropped = None if np.abs(values).max(initial=0.0) <= HUGE else ~(np.abs(values) <= HUGE)
    if dropped is not None:
        tally = (np.isnan(values), values > HUGE, values < -HUGE)
        profile.tallies[matrix.features, MISSING : BELOW + 1] += np.stack(
            [found.sum(axis=1) for found in tally], axis=1
        )
    profile.tallies[matrix.features, PRESENT] += len(rows) - (0 if dropped is None else dropped.sum(axis=1))
    values = values[matrix.known]
    lows, highs = values, values
    if dropped is not None:
        dropped = dropped[matrix.known]
        lows, highs = np.where(dropped, np.inf, values), np.where(dropped, -np.inf, values)
        values = np.where(dropped, matrix.origins, values)
    tracks = matrix.tracks
    profile.lows[tracks] = np.minimum(profile.lows[tracks], lows.min(axis=1))
    profile.highs[tracks] = np.maximum(profile.highs[tracks], highs.max(axis=1))
    bins, totals = matrix.bins(values)
    profile.totals[tracks] += totals
    if dropped is not None:
        bins = np.where(dropped, matrix.starts + matrix.size - 1, bins)
    counts = np.bincount(bins.ravel(), minlength=len(tracks) * matrix.size).reshape(len(tracks), matrix.size)
    profile.counts[tracks, : matrix.size - 1] += counts[:, :-1]
    if len(profile.plan.pairs):
        chosen = matrix.pairs >= 0
        steps = matrix.normal.take(bins[chosen], mode="clip")
        there = np.ones_like(steps) if dropped is None else (~dropped[chosen]).astype(np.float32)
        _multiply(profile, Pairs(steps, there))
