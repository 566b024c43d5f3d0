"""A reference of more rows than fit into memory: its bins from a sample, its counts from every row.

What needs the rows themselves is the sample's: correlations and mean vectors, which say of how many rows they are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from otel_llmon.scores import columns, describing, polynomials
from otel_llmon.scores.binning import centres
from otel_llmon.scores.columns import HUGE, Column, Floats
from otel_llmon.scores.features import MOST_LEVELS, REST, Feature, How, Levels, Track, feature, levels_of, refuse
from otel_llmon.scores.reference import Reference, correlation_of
from otel_llmon.scores.stretches import Stretches

BUDGET = 2_000_000
"""Sums that are kept of all series together, to tell how much rows depend on each other."""
LONGEST, SHORTEST = 1 << 14, 1 << 9
"""Of one series."""
MOST_WORDS = 10 * MOST_LEVELS
"""Kinds of words of one column that are counted by name, besides those of the sample."""
MOST_RARE = 1 << 16
"""Values that are kept of a column that the sample has none of."""


class Census:
    """Counts all rows of a table, part by part, in the bins and levels of a reference of some of them: the `sketch`."""

    def __init__(self, sketch: Reference, how: How) -> None:
        self.sketch, self._how = sketch, how
        self.rows = 0
        series = sum(1 + polynomials.DEGREES * max(len(found.tracks), 1) for found in sketch.features)
        most = 1 << int(np.log2(np.clip(BUDGET // max(series, 1), SHORTEST, LONGEST)))
        self._columns = [_Counted(found, how, most) for found in sketch.features]

    def add(self, table: Any) -> None:
        """Count the rows of a table; of a column that it does not have, all are missing. Raises ColumnsError."""
        found = columns.read(table)
        rows = columns.rows_of(found)
        self.rows += rows
        with np.errstate(over="ignore"):  # as in a profile
            for counted in self._columns:
                counted.add(found.get(counted.feature.name), rows)

    def reference(self, sample: Mapping[str, Column]) -> Reference:
        """Return the reference of all rows; `sample` are the columns that the sketch is of."""
        features = tuple(counted.whole() for counted in self._columns)
        pairs = correlation_of(features, sample) if self.sketch.correlation else None
        return replace(self.sketch, features=features, rows=self.rows, ordered=self._how.ordered, correlation=pairs)


class _Counted:
    """The rows of one column, as far as they were seen."""

    def __init__(self, sketch: Feature, how: How, most: int) -> None:
        self.feature, self._how = sketch, how
        self.rows = self.missing = self.infinite = 0
        self.tracks = [_Series(track, how, most) for track in sketch.tracks]
        self.words = _Words(sketch.levels, how, most) if sketch.levels else None
        self.rare: list[Any] = []
        self._gaps = Stretches(1, most) if how.ordered else None

    def add(self, column: Column | None, rows: int) -> None:
        """Count a column's rows; None stands for rows without one."""
        if column is None:
            there = np.zeros(rows, dtype=bool)
            self.missing += rows
        else:
            there = _COUNTERS[self.feature.kind](self, column)
        if self._gaps:
            self._gaps.add(~there[None] * 1.0)

    def keep_rare(self, values: Any) -> None:
        """Keep values that the sample knows nothing of."""
        self.rare.extend(values[: MOST_RARE - len(self.rare)])

    def whole(self) -> Feature:
        """Return the feature with the counts of all rows."""
        found = self.feature
        if self.rare:
            found = feature(found.name, self.rare, found.kind, self._how)
        else:
            levels = self.words.levels() if self.words else None
            tracks = tuple(series.track() for series in self.tracks)
            found = replace(found, rows=self.rows, tracks=tracks, levels=levels)
        effect = self._gaps.effects()[0] if self._gaps else 1.0
        return replace(found, missing=self.missing, infinite=self.infinite, missing_effect=effect)


class _Series:
    """The rows of one track."""

    def __init__(self, sketch: Track, how: How, most: int) -> None:
        self._sketch, self._most = sketch, most
        size = sketch.binning.size
        self._counts, self._sums = np.zeros(size, dtype=np.int64), np.zeros(size)
        self._total, self._low, self._high = 0, np.inf, -np.inf
        self._stretches = Stretches(polynomials.DEGREES, most) if how.ordered else None

    def add(self, values: Floats) -> None:
        """Count finite values."""
        if not len(values):
            return
        low, high = float(values.min()), float(values.max())
        bins, total = self._sketch.binning.bins(values, (low, high))
        self._total += total
        self._low, self._high = min(self._low, low), max(self._high, high)
        self._counts += np.bincount(bins, minlength=len(self._counts))
        self._sums += np.bincount(bins, weights=values, minlength=len(self._counts))
        if self._stretches:
            self._stretches.add(self._sketch.scores[:, bins])

    def track(self) -> Track:
        """Return the track with the counts of all rows."""
        found = self._sketch
        return replace(
            found,
            counts=tuple(map(int, self._counts)),
            centroids=tuple(map(float, centres(self._sums, self._counts, found.binning.edges))),
            mean=self._total / max(int(self._counts.sum()), 1),
            low=self._low,
            high=self._high,
            effects=self._stretches.effects() if self._stretches else found.effects,
        )


class _Words:
    """The rows of a column of words: those of the sample's levels, and others while they are not too many."""

    def __init__(self, sketch: Levels, how: How, most: int) -> None:
        self._places = {name: place for name, place in sketch.places.items() if name != REST}
        self._counts = [0] * len(self._places)
        self._others: Counter[str] = Counter()
        self._nameless = 0
        self._full = False
        rest = sketch.places.get(REST, len(sketch.names))
        self._place = {**sketch.places, REST: rest}
        contrasts = polynomials.contrasts(np.array(sketch.counts, dtype=np.float64))
        self._scores = np.pad(contrasts, ((0, 0), (0, 1)))
        self._stretches = Stretches(polynomials.DEGREES, most) if how.ordered else None

    def add(self, words: list[str | None]) -> None:
        """Count words, None among them."""
        for word, rows in Counter(words).items():
            if word is not None:
                self._count(word[: columns.LONGEST], rows)
        if self._stretches:
            place, rest = self._place, self._place[REST]
            places = [place.get(word[: columns.LONGEST], rest) for word in words if word is not None]
            self._stretches.add(self._scores[:, np.array(places, dtype=np.int64)])

    def _count(self, level: str, rows: int) -> None:
        place = self._places.get(level)
        if place is not None:
            self._counts[place] += rows
        elif self._full:
            self._nameless += rows
        else:
            self._others[level] += rows
            if len(self._others) > MOST_WORDS:
                self._full, self._nameless = True, self._others.total()
                self._others.clear()

    def levels(self) -> Levels:
        """Return the levels with the counts of all rows."""
        counted = dict(zip(self._places, self._counts, strict=True)) | self._others
        found = levels_of({name: rows for name, rows in counted.items() if rows}, self._nameless)
        return replace(found, effect=max(self._stretches.effects())) if self._stretches else found


def _numeric(counted: _Counted, column: Column) -> Any:
    values, refused, example = columns.numeric(column)
    refuse(counted.feature.name, "numbers", refused, example)
    missing, infinite = np.isnan(values), np.abs(values) > HUGE
    kept = values[~(missing | infinite)]
    counted.rows += len(kept)
    counted.missing += int(missing.sum())
    counted.infinite += int(infinite.sum())
    for series in counted.tracks:
        series.add(kept)
    if not counted.tracks:
        counted.keep_rare(kept.tolist())
    return ~missing


def _categorical(counted: _Counted, column: Column) -> Any:
    found = columns.words(column)
    refuse(counted.feature.name, "one word per row", found.refused, found.example)
    there = np.array([word is not None for word in found.values], dtype=bool)
    _present(counted, there)
    if counted.words and counted.feature.rows:
        counted.words.add(found.values)
    else:
        counted.keep_rare([word for word in found.values if word is not None])
    return there


def _text(counted: _Counted, column: Column) -> Any:
    found = columns.words(column)
    refuse(counted.feature.name, "one text per row", found.refused, found.example)
    there = np.array([text is not None for text in found.values], dtype=bool)
    _present(counted, there)
    texts = [text for text in found.values if text is not None]
    if not counted.tracks:
        counted.keep_rare(texts)
        return there
    for series, values in zip(counted.tracks, describing.measured(texts), strict=True):
        series.add(values)
    return there


def _embedding(counted: _Counted, column: Column) -> Any:
    cloud = counted.feature.cloud
    matrix, there, refused = columns.vectors(column, cloud.width if cloud else None)
    example = next((row for row in column if row is not None), None)
    refuse(counted.feature.name, "as many numbers in every row", refused, example)
    there = there & (matrix.shape[1] > 0)
    _present(counted, there)
    if not cloud:
        counted.keep_rare(list(matrix[there]))
        return there
    for series, values in zip(counted.tracks, cloud.projected(cloud.steps(matrix[there])), strict=True):
        series.add(values)
    return there


def _present(counted: _Counted, there: Any) -> None:
    rows = int(there.sum())
    counted.rows += rows
    counted.missing += len(there) - rows


_COUNTERS: dict[str, Callable[[_Counted, Column], Any]] = {
    "numeric": _numeric,
    "categorical": _categorical,
    "text": _text,
    "embedding": _embedding,
}
