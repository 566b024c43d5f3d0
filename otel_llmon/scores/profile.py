"""What a window looked like, as whole numbers: of bounded size, and of two windows the sum of both.

`Profile.of(x) + Profile.of(y)` is exactly what both rows together give, in whatever order and parts they came.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from otel_llmon.errors import LlmonError
from otel_llmon.scores import columns
from otel_llmon.scores.binning import Ints
from otel_llmon.scores.columns import Floats
from otel_llmon.scores.counting import OUTCOMES, count, count_matrix, first
from otel_llmon.scores.reference import Reference

__all__ = ["Profile", "ProfileError", "Reference"]

BLOCK = 256
"""Rows of a matrix that are looked at at once."""
PART = 16_384
"""Rows that are looked at at once: they stay in the processor's cache, and memory is bounded."""


class ProfileError(LlmonError, ValueError):
    """What is no reference, or two profiles that do not belong to one."""


class Profile:
    """The rows of a window, counted in the bins of a reference.

    `counts` (bins) and `totals` (sums in whole units) have a row per track, `tallies` one per feature.
    """

    __slots__ = (
        "clouds", "counts", "highs", "levels", "lows", "named", "pairs", "plan", "products", "reference", "rows",
        "strays", "tallies", "totals", "unknown",
    )  # fmt: skip

    def __init__(self, reference: Reference) -> None:
        if not isinstance(reference, Reference):
            raise ProfileError(
                f"reference: found {type(reference).__name__}, expected one that Reference.fit() returned"
            )
        tracks, bins = len(reference.tracks), max((track.binning.size for track in reference.tracks), default=1)
        pairs = len(reference.correlation.features) if reference.correlation else 0
        self.reference, self.plan = reference, reference.plan
        self.rows = 0
        self.counts = np.zeros((tracks, bins), dtype=np.int64)
        self.totals = np.zeros(tracks, dtype=np.int64)
        self.lows, self.highs = np.full(tracks, np.inf), np.full(tracks, -np.inf)
        self.tallies = np.zeros((len(reference.features), OUTCOMES), dtype=np.int64)
        self.levels = {
            found.name: np.zeros(len(found.levels.names) + 1, dtype=np.int64)
            for found in reference.features
            if found.levels
        }
        self.named: dict[str, dict[str, int]] = {name: {} for name in self.levels}
        self.clouds = {
            found.name: np.zeros(found.cloud.width, dtype=np.int64) for found in reference.features if found.cloud
        }
        self.products, self.pairs = (np.zeros((pairs, pairs), dtype=np.int64) for _ in range(2))
        self.unknown: dict[str, int] = {}
        self.strays: dict[tuple[str, str], Ints] = {}

    @classmethod
    def of(cls, table: Any, reference: Reference) -> Profile:
        """Return the profile of a table; raises ColumnsError for what is none."""
        profile = cls(reference)
        profile.add(table)
        return profile

    def add(self, table: Any) -> None:
        """Count the rows of a table; raises ColumnsError for what is none.

        Values that a feature's kind does not have are counted, and so are columns that are not there or not known.
        """
        found = columns.read(table, self.reference)
        rows = columns.rows_of(found)
        with np.errstate(over="ignore"):  # a distance beyond all numbers is far, and counts as that
            for start in range(0, rows, PART):
                part = found if rows <= PART else {name: column[start : start + PART] for name, column in found.items()}
                count(self, part, min(PART, rows - start))

    def add_matrix(self, values: Floats) -> None:
        """Count rows of numbers, NaN for none: a column for each of the reference's `numeric` features, in their order.

        This is the way for few rows at a time: all columns are counted at once.
        """
        if values.ndim != 2 or values.shape[1] != len(self.reference.numeric):
            raise columns.ColumnsError(
                f"an array of shape {values.shape}: expected rows by {len(self.reference.numeric)} numeric features"
            )
        with np.errstate(over="ignore"):
            for start in range(0, len(values), BLOCK):
                count_matrix(self, values[start : start + BLOCK])

    def __add__(self, other: Profile) -> Profile:
        if not isinstance(other, Profile):
            return NotImplemented
        if other.reference.hash != self.reference.hash:
            raise ProfileError(
                f"profiles of two references: found {self.reference.hash} and {other.reference.hash}, expected one"
            )
        both = Profile(self.reference)
        both.rows = self.rows + other.rows
        for name in ("counts", "totals", "tallies", "products", "pairs"):
            getattr(both, name)[...] = getattr(self, name) + getattr(other, name)
        np.minimum(self.lows, other.lows, out=both.lows)
        np.maximum(self.highs, other.highs, out=both.highs)
        both.levels = {name: counts + other.levels[name] for name, counts in self.levels.items()}
        both.clouds = {name: sums + other.clouds[name] for name, sums in self.clouds.items()}
        both.named = {name: first(Counter(seen) + Counter(other.named[name])) for name, seen in self.named.items()}
        both.unknown = first(Counter(self.unknown) + Counter(other.unknown))
        strays = dict(self.strays)
        for pair, counts in other.strays.items():
            strays[pair] = strays[pair] + counts if pair in strays else counts
        both.strays = first(strays)
        return both

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Profile):
            return NotImplemented
        return self.reference.hash == other.reference.hash and all(
            _same(getattr(self, name), getattr(other, name))
            for name in self.__slots__
            if name not in ("reference", "plan")
        )

    __hash__ = None  # type: ignore[assignment]  # it changes


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same(value, other[name]) for name, value in one.items())
    return bool(np.array_equal(one, other))
