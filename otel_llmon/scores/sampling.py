"""A sample of a table's rows: of bounded size, spread evenly over all rows, the same at every run.

Which rows it holds follows from their numbers alone, so that it does not matter in what parts a table comes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from otel_llmon.scores.binning import Ints

MOST_ROWS, MOST_CELLS, MOST_BYTES = 1 << 16, 4_000_000, 1 << 27
TOGETHER, CELLS_TOGETHER = 4096, 500_000
"""Rows that are packed at once."""
LEVELS = 48
"""How often half of the rows may be let go: more rows than anybody has."""
_STEP, _ONE, _TWO = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def levels(rows: Ints) -> Ints:
    """Return each row's level by its number: half of the rows have 0, a quarter 1, and so on, as if by chance."""
    bits = (rows.astype(np.uint64) + np.uint64(1)) * _STEP
    bits = (bits ^ (bits >> np.uint64(30))) * _ONE
    bits = (bits ^ (bits >> np.uint64(27))) * _TWO
    bits ^= bits >> np.uint64(31)
    lowest = bits & (~bits + np.uint64(1))
    return np.minimum(np.log2(np.maximum(lowest, 1).astype(np.float64)), LEVELS).astype(np.int64)


class Sample:
    """Rows as they were read, in columns, packed.

    `whole` says that it holds all rows there were; `least` is the level below which rows are let go.
    """

    def __init__(self, rows: int = MOST_ROWS, cells: int = MOST_CELLS, size: int = MOST_BYTES) -> None:
        self._most_rows, self._most_cells, self._most_bytes = rows, cells, size
        self._pieces: dict[int, list[tuple[Ints, dict[str, Any]]]] = {}
        self._names: dict[str, None] = {}
        self._waiting: list[tuple[Ints, Mapping[str, Any]]] = []
        self._unpacked = self._rows = self._bytes = 0
        self.least = 0

    @property
    def whole(self) -> bool:
        """Return whether no row was let go."""
        self._pack()
        return self.least == 0

    @property
    def names(self) -> tuple[str, ...]:
        """Return the columns that there are, in the order in which they came."""
        return tuple(self._names)

    def choose(self, start: int, rows: int) -> Ints:
        """Return which of the next rows are wanted, as places among them; `start` is the number of the first."""
        return np.flatnonzero(levels(np.arange(start, start + rows)) >= self.least)

    def add(self, numbers: Ints, columns: Mapping[str, Sequence[Any] | np.ndarray[Any, Any]]) -> None:
        """Keep rows that were chosen, with their numbers."""
        self._names.update(dict.fromkeys(columns))
        self._waiting.append((numbers, columns))
        self._unpacked += len(numbers)
        if self._unpacked >= TOGETHER or self._unpacked * len(self._names) >= CELLS_TOGETHER:
            self._pack()

    def _pack(self) -> None:
        """Pack what waits, the rows of each level together: they go together."""
        waiting, self._waiting, self._unpacked = self._waiting, [], 0
        by_level = [(numbers, levels(numbers), columns) for numbers, columns in waiting]
        for level in range(self.least, LEVELS + 1):
            chosen = [(numbers, np.flatnonzero(found == level), columns) for numbers, found, columns in by_level]
            chosen = [one for one in chosen if len(one[1])]
            if chosen:
                names = {name: None for _, _, columns in chosen for name in columns}
                piece = {
                    name: _packed([(columns.get(name), places) for _, places, columns in chosen]) for name in names
                }
                numbers = np.concatenate([numbers[places] for numbers, places, _ in chosen])
                self._pieces.setdefault(level, []).append((numbers, piece))
                self._bytes += sum(map(_size, piece.values()))
                self._rows += len(numbers)
        while self._too_much():
            self._let_go()

    def _too_much(self) -> bool:
        return self._rows > 1 and (
            self._rows > self._most_rows
            or self._rows * len(self._names) > max(self._most_cells, 1000 * len(self._names))
            or self._bytes > self._most_bytes
        )

    def _let_go(self) -> None:
        for numbers, piece in self._pieces.pop(self.least, ()):
            self._rows -= len(numbers)
            self._bytes -= sum(map(_size, piece.values()))
        self.least += 1

    def numbers(self) -> Ints:
        """Return the numbers of the rows, ascending."""
        found = [numbers for numbers, _ in self._all()]
        return np.sort(np.concatenate(found)) if found else np.zeros(0, dtype=np.int64)

    def column(self, name: str) -> list[Any] | np.ndarray[Any, Any]:
        """Return a column's values in the order of the rows, None where a row had no such column."""
        pieces = [(numbers, _unpacked(piece.get(name), len(numbers))) for numbers, piece in self._all()]
        if not pieces:
            return []
        order = np.argsort(np.concatenate([numbers for numbers, _ in pieces]), kind="stable")
        if all(isinstance(values, np.ndarray) for _, values in pieces):
            return np.concatenate([values for _, values in pieces])[order]
        values = [value for _, found in pieces for value in found]
        return [values[place] for place in order.tolist()]

    def _all(self) -> list[tuple[Ints, dict[str, Any]]]:
        self._pack()
        return [piece for pieces in self._pieces.values() for piece in pieces]


def _packed(pieces: Sequence[tuple[Any, Ints]]) -> Any:
    """Return some of a column's values in few bytes: an array, JSON, or as they are where JSON has none such."""
    if all(isinstance(column, np.ndarray) and column.dtype != object for column, _ in pieces):
        return np.concatenate([column[places] for column, places in pieces])
    values = [None if column is None else column[place] for column, places in pieces for place in places.tolist()]
    try:
        return json.dumps(values)
    except (TypeError, ValueError):
        return values


def _unpacked(piece: Any, rows: int) -> Any:
    if piece is None:
        return [None] * rows
    return json.loads(piece) if isinstance(piece, str) else piece


def _size(piece: Any) -> int:
    if isinstance(piece, np.ndarray):
        return piece.nbytes
    return len(piece) if isinstance(piece, str) else 256 * len(piece)
