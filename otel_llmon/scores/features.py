"""What a reference keeps of one feature: plain numbers, from which everything else follows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np

from otel_llmon.scores import columns, polynomials
from otel_llmon.scores.binning import BINS, Binning, Ints, binning, centroids, codes, spread_of
from otel_llmon.scores.clouds import Cloud, cloud
from otel_llmon.scores.columns import HUGE, Column, ColumnsError, Floats, Words
from otel_llmon.scores.dependence import design_effect
from otel_llmon.scores.describing import MEASURES, bag, measured

KINDS = ("numeric", "categorical", "text", "embedding")
MOST_LEVELS = 1000
"""Levels that are kept by name; the others are counted as one."""
REST = "\x00rest"
"""The name that all other levels go by."""


class How(NamedTuple):
    """How a reference is fitted: quantiles per numeric feature, and whether its rows stand in the order of time."""

    bins: int = BINS
    ordered: bool = True


@dataclass(frozen=True)
class Track:
    """One series of numbers in its bins: a numeric feature, a measure of a text, a direction of an embedding.

    `counts` and `centroids` are per bin, `mean` is in the binning's units, `spread` in the values' own; `effects` is
    how many rows count as one for each score, from the reference's order in time.
    """

    name: str
    binning: Binning
    counts: tuple[int, ...]
    centroids: tuple[float, ...]
    mean: float
    spread: float
    low: float
    high: float
    effects: tuple[float, ...] = (1.0,) * polynomials.DEGREES

    @property
    def rows(self) -> int:
        """Return how many rows had a value."""
        return sum(self.counts)

    @cached_property
    def scores(self) -> Floats:
        """Return the score vectors, one row per degree."""
        return polynomials.scores(np.array(self.counts, dtype=np.float64))


@dataclass(frozen=True)
class Levels:
    """The categories of a reference with their rows, most frequent first; `rare` is how many were seen once only."""

    names: tuple[str, ...]
    counts: tuple[int, ...]
    rare: int
    effect: float = 1.0

    @cached_property
    def places(self) -> dict[str, int]:
        """Return where each level stands."""
        return {name: place for place, name in enumerate(self.names)}

    @cached_property
    def alphabet(self) -> Ints:
        """Return each level's place in the alphabet."""
        return np.argsort(np.argsort(np.array(self.names, dtype=object), kind="stable"), kind="stable")

    @property
    def whole(self) -> bool:
        """Return whether every level is known by name."""
        return REST not in self.places


@dataclass(frozen=True)
class Feature:
    """One column of a reference: `rows` had a value, others had none or an infinite one."""

    name: str
    kind: str
    rows: int
    missing: int = 0
    infinite: int = 0
    missing_effect: float = 1.0
    tracks: tuple[Track, ...] = ()
    levels: Levels | None = None
    cloud: Cloud | None = None

    @property
    def total(self) -> int:
        """Return how many rows there were, with a value or without."""
        return self.rows + self.missing + self.infinite

    @property
    def counts(self) -> tuple[int, ...]:
        """Return the rows per level, and one for unknown levels, or per bin of the first series."""
        if self.levels:
            return (*self.levels.counts, 0)
        return self.tracks[0].counts if self.tracks else ()

    @cached_property
    def constant(self) -> bool:
        """Return whether all rows have one value."""
        if self.levels:
            return len(self.levels.names) == 1
        return self.kind == "numeric" and bool(self.tracks) and self.tracks[0].low == self.tracks[0].high

    @cached_property
    def effect(self) -> float:
        """Return how many rows count as one: the largest of all its parts."""
        found = [effect for track in self.tracks for effect in track.effects]
        return max([1.0, *found, *([self.levels.effect] if self.levels else [])])


def feature(name: str, column: Column, kind: str, how: How) -> Feature:
    """Return what is kept of a column; raises ColumnsError for values that its kind does not have."""
    return {"numeric": _numeric, "categorical": _categorical, "text": _text, "embedding": _embedding}[kind](
        name, column, how
    )


def _numeric(name: str, column: Column, how: How) -> Feature:
    found = columns.numeric(column)
    refuse(name, "numbers", found.refused, found.example)
    values = found.values
    missing, infinite = np.isnan(values), np.abs(values) > HUGE
    kept = values[~(missing | infinite)]
    return Feature(
        name=name,
        kind="numeric",
        rows=len(kept),
        missing=int(missing.sum()),
        infinite=int(infinite.sum()),
        missing_effect=design_effect(missing.astype(np.float64)) if how.ordered else 1.0,
        tracks=tuple(_tracks({name: kept}, how)),
    )


def _tracks(series: dict[str, Floats], how: How) -> list[Track]:
    return [_track(name, values, how) for name, values in series.items() if len(values)]


def _track(name: str, values: Floats, how: How) -> Track:
    inorder = np.sort(values)
    found = binning(inorder, how.bins)
    places, _ = found.bins(values)
    counts = np.bincount(places, minlength=found.size)
    track = Track(
        name=name,
        binning=found,
        counts=tuple(map(int, counts)),
        centroids=tuple(map(float, centroids(values, places, found.edges))),
        mean=float(codes(values, found.origin, found.unit).mean()),
        spread=spread_of(inorder),
        low=float(inorder[0]),
        high=float(inorder[-1]),
    )
    if not how.ordered:
        return track
    return replace(track, effects=tuple(design_effect(score[places]) for score in track.scores))


def _categorical(name: str, column: Column, how: How) -> Feature:
    found = columns.words(column)
    refuse(name, "one word per row", found.refused, found.example)
    counted = Counter(word[: columns.LONGEST] for word in found.values if word is not None)
    levels = levels_of(counted)
    if how.ordered and counted:
        levels = replace(levels, effect=_effect(found, levels))
    return Feature(
        name=name,
        kind="categorical",
        rows=sum(counted.values()),
        missing=sum(word is None for word in found.values),
        missing_effect=_missing_effect(found) if how.ordered else 1.0,
        levels=levels,
    )


def levels_of(counted: Mapping[str, int], others: int = 0) -> Levels:
    """Return the most frequent levels, and the others as one; so many `others` have no name here."""
    names = sorted(counted, key=lambda level: (-counted[level], level))
    kept = {level: counted[level] for level in names[:MOST_LEVELS]}
    if rest := sum(counted.values()) - sum(kept.values()) + others:
        kept[REST] = rest
    return Levels(tuple(kept), tuple(kept.values()), rare=sum(count == 1 for count in counted.values()))


def _effect(found: Words, levels: Levels) -> float:
    rest = levels.places.get(REST, -1)
    places = [levels.places.get(word[: columns.LONGEST], rest) for word in found.values if word is not None]
    scores = polynomials.contrasts(np.array(levels.counts, dtype=np.float64))
    return max(design_effect(score[np.array(places)]) for score in scores)


def _missing_effect(found: Words) -> float:
    return design_effect(np.array([word is None for word in found.values], dtype=np.float64))


def _text(name: str, column: Column, how: How) -> Feature:
    found = columns.words(column)
    refuse(name, "one text per row", found.refused, found.example)
    present = [text for text in found.values if text is not None]
    series = {f"{name} {measure}": values for measure, values in zip(MEASURES, measured(present), strict=True)}
    return Feature(
        name=name,
        kind="text",
        rows=len(present),
        missing=len(found.values) - len(present),
        missing_effect=_missing_effect(found) if how.ordered else 1.0,
        tracks=tuple(_tracks(series, how)),
        cloud=cloud(bag(present), directions=False) if present else None,
    )


def _embedding(name: str, column: Column, how: How) -> Feature:
    matrix, whole, refused = columns.vectors(column)
    refuse(name, "as many numbers in every row", refused, next((row for row in column if row is not None), None))
    kept = matrix[whole]
    if not len(kept) or not kept.shape[1]:
        return Feature(name, "embedding", rows=0, missing=len(matrix))
    seen = cloud(kept, directions=True)
    projected = seen.projected(seen.steps(kept))
    series = {f"{name} direction {place + 1}": values for place, values in enumerate(projected)}
    return Feature(
        name=name,
        kind="embedding",
        rows=len(kept),
        missing=len(matrix) - len(kept),
        missing_effect=design_effect((~whole).astype(np.float64)) if how.ordered else 1.0,
        tracks=tuple(_tracks(series, how)),
        cloud=seen,
    )


def refuse(name: str, expected: str, refused: int, example: object) -> None:
    """Raise ColumnsError where any value was refused."""
    if refused:
        shown = columns.shown(example)
        more = f" and {refused - 1} like it" if refused > 1 else ""
        way = f"excluded=[{name!r}]"
        if isinstance(example, str):
            way = f"kinds={{{name!r}: 'categorical'}} or {way}"
        raise ColumnsError(f"column {name!r}: found {shown}{more}, expected {expected}; say {way} where it is none")
