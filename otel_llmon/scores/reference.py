"""What a model's inputs looked like when all was well: fitted once, kept as one file, compared with windows later."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from otel_llmon.scores import columns, polynomials
from otel_llmon.scores.binning import BINS
from otel_llmon.scores.columns import HUGE, Column, ColumnsError, Floats
from otel_llmon.scores.correlation import MOST, Correlation
from otel_llmon.scores.correlation import correlation as correlate
from otel_llmon.scores.features import KINDS, Feature, How, Track, feature
from otel_llmon.scores.plans import Plan
from otel_llmon.scores.stacks import Stack, stack

FEWEST = 30
"""Rows below which nothing is said: of a reference, of a window, of a feature in either."""


@dataclass(frozen=True)
class Reference:
    """The features of a reference by name, with the model and version that they belong to.

    `ordered` says that its rows stood in the order of time, which tells how much they depend on each other. Columns
    that are `excluded` belong to its tables and are not looked at.
    """

    features: tuple[Feature, ...]
    rows: int
    ordered: bool
    model: str | None = None
    version: str | None = None
    created: str | None = None
    correlation: Correlation | None = None
    excluded: tuple[str, ...] = ()

    @classmethod
    def fit(  # noqa: PLR0913  # an option each
        cls,
        table: Any,
        *,
        kinds: Mapping[str, str] | None = None,
        bins: int = BINS,
        ordered: bool = True,
        correlation: bool = True,
        model: str | None = None,
        version: str | None = None,
        created: str | None = None,
        excluded: Collection[str] = (),
    ) -> Reference:
        """Return the reference of a table: columns by name, a frame of pandas, Arrow or polars, a matrix, or mappings.

        `kinds` says what a column is where that cannot be seen: "numeric", "categorical", "text" or "embedding". Say
        `ordered=False` for rows that do not stand in the order of time, and `correlation=False` where it does not
        matter which features go together. Columns that are `excluded`, one name or several, are none of its features,
        and no strangers in a window. Raises ColumnsError for what is no table.
        """
        _texts(model=model, version=version, created=created)
        number = _bins(bins)
        found = columns.read(table)
        without = _excluded(found, excluded)
        found = {name: column for name, column in found.items() if name not in without}
        rows = _rows(found)
        chosen = _kinds(found, {} if kinds is None else kinds)
        with np.errstate(over="ignore"):  # a distance beyond all numbers is far, and counts as that
            how = How(number, bool(ordered))
            features = tuple(feature(name, column, chosen[name], how) for name, column in found.items())
            pairs = correlation_of(features, found) if correlation else None
        return cls(features, rows, how.ordered, model, version, created, pairs, without)

    def save(self, path: str | Path) -> None:
        """Write the reference into a file, whole or not at all."""
        from otel_llmon.scores import storing

        storing.save(self, Path(path))

    @classmethod
    def load(cls, path: str | Path) -> Reference:
        """Return the reference that a file holds; raises ReferenceFileError for a damaged or a newer one."""
        from otel_llmon.scores import storing

        return storing.load(Path(path))

    @cached_property
    def hash(self) -> str:
        """Return what tells this reference from every other: twelve hexadecimal digits of its content."""
        from otel_llmon.scores import storing

        return storing.digest(self)

    def __getitem__(self, name: str) -> Feature:
        return self._by_name[name]

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    @cached_property
    def _by_name(self) -> dict[str, Feature]:
        return {found.name: found for found in self.features}

    @cached_property
    def numeric(self) -> tuple[str, ...]:
        """Return the names of the numeric features."""
        return tuple(found.name for found in self.features if found.kind == "numeric")

    @cached_property
    def plan(self) -> Plan:
        """Return where its parts stand in a profile."""
        return Plan(self.features, self.correlation)

    @cached_property
    def stack(self) -> Stack:
        """Return all tracks as arrays of one shape."""
        return stack(self.tracks)

    @cached_property
    def tracks(self) -> tuple[Track, ...]:
        """Return all series of numbers, feature by feature."""
        return tuple(track for found in self.features for track in found.tracks)


def _rows(found: Mapping[str, Column]) -> int:
    if not found:
        raise ColumnsError("no columns: expected at least one")
    rows = columns.rows_of(found)
    if rows < FEWEST:
        raise ColumnsError(f"found {rows} rows, expected at least {FEWEST}")
    return rows


def _bins(given: Any) -> int:
    if isinstance(given, bool) or not isinstance(given, int | np.integer) or not 2 <= given <= 100:
        raise ColumnsError(f"bins={columns.shown(given)}: expected 2 to 100")
    return int(given)


def _texts(**given: Any) -> None:
    for name, value in given.items():
        if value is not None and not isinstance(value, str):
            raise ColumnsError(f"{name}={columns.shown(value)}: expected a text")


def _excluded(found: Mapping[str, Column], given: Any) -> tuple[str, ...]:
    """Return the names that are excluded, of which one may stand for itself; all are columns."""
    if not isinstance(given, Collection) or isinstance(given, bytes):
        raise ColumnsError(f"excluded={columns.shown(given)}: expected names of columns")
    names = [given] if isinstance(given, str) else list(given)
    for name in names:
        if name not in found:
            raise ColumnsError(f"excluded: found {columns.shown(name)}, expected some of {', '.join(found)[:200]}")
    return tuple(sorted(set(names)))


def _kinds(found: Mapping[str, Column], given: Mapping[str, str]) -> dict[str, str]:
    if not isinstance(given, Mapping):
        raise ColumnsError(f"kinds={columns.shown(given)}: expected kinds by the names of columns")
    for name, kind in given.items():
        if name not in found:
            raise ColumnsError(f"kinds: found {name!r}, expected one of the columns: {', '.join(found)[:200]}")
        if kind not in KINDS:
            raise ColumnsError(f"kinds: found {kind!r} for {name!r}, expected one of {', '.join(KINDS)}")
    return {name: given.get(name) or columns.kind_of(column) for name, column in found.items()}


def correlation_of(features: tuple[Feature, ...], found: Mapping[str, Column]) -> Correlation | None:
    """Return how the numeric features that have a spread go together."""
    numeric = [place for place, one in enumerate(features) if one.kind == "numeric" and one.rows >= FEWEST]
    numeric = [place for place in numeric if sum(count > 0 for count in features[place].tracks[0].counts) > 1]
    if not 2 <= len(numeric) <= MOST:
        return None
    steps, present = [], []
    for place in numeric:
        track = features[place].tracks[0]
        values = columns.numeric(found[features[place].name]).values
        there = np.abs(values) <= HUGE
        bins, _ = track.binning.bins(np.where(there, values, track.low))
        normal = polynomials.normal_steps(np.array(track.counts, dtype=np.float64))
        steps.append(np.where(there, normal[bins], 0).astype(np.float64))
        present.append(there.astype(np.float64))
    effects: Floats = np.array([max(features[place].tracks[0].effects) for place in numeric])
    return correlate(numeric, np.array(steps), np.array(present), effects)
