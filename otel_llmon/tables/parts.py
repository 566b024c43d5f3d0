"""Some rows of a table as they were read, and what every reader offers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np

from otel_llmon.scores.binning import Ints
from otel_llmon.scores.columns import Column
from otel_llmon.tables.sources import Source

ROWS, CELLS = 1024, 4096
"""Of one part: so few cells that they stay in the processor's cache, which halves the time that they take."""
FEWEST = 16
"""Rows of a very wide table."""

Raw = Any
"""A column as it was read: a sequence of cells of text, or of JSON's values, or an array."""
Choose = Callable[[int, int], Ints]
"""Which of the next rows are wanted: from the number of the first, and how many there are."""


class Part(NamedTuple):
    """Some rows, `start` the number of the first and `rows` how many; of those that were `chosen` the values."""

    start: int
    rows: int
    chosen: Ints
    columns: Mapping[str, Raw]

    @property
    def numbers(self) -> Ints:
        """Return the numbers of the chosen rows."""
        return self.chosen + self.start


class Reader(Protocol):
    """A table that may be read again and again, part by part."""

    source: Source

    def parts(self, choose: Choose | None = None) -> Iterator[Part]:
        """Return all rows, or those that are chosen."""

    def guess(self, values: Raw) -> str | None:
        """Return what a column holds, as far as its cells have to be asked; None where its values say it."""

    def column(self, values: Raw, kind: str | None) -> Column:
        """Return a column of that kind; what its kind does not have stays as it is."""

    def place(self, row: int) -> str:
        """Return where a row stands, in words."""


def rows_of(columns: int) -> int:
    """Return how many rows of so many columns are read at once."""
    return max(min(ROWS, CELLS // max(columns, 1)), FEWEST)


def every(_: int, rows: int) -> Ints:
    """Choose all rows."""
    return np.arange(rows)
