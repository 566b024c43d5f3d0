"""What cells of text hold: numbers, words, true and false, dates, vectors, or nothing."""

from __future__ import annotations

import json
import math
import numbers
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import numpy as np

from otel_llmon.scores import columns
from otel_llmon.scores.columns import Column, Floats

NONE = frozenset({"", "NULL", "null", "NaN", "nan", "<NA>", "#N/A", "\\N"})
"""Cells that stand for none in every column."""
NO_NUMBER = NONE | {"NA", "N/A", "na", "n/a", "None", "none", "-", "NAN", "Null", "#NA", "?"}
"""Cells that stand for none among numbers; among words they may be words."""
BOOLEANS = {"true": 1.0, "True": 1.0, "TRUE": 1.0, "false": 0.0, "False": 0.0, "FALSE": 0.0}
MOST_OTHERS = 0.1
"""So many cells of a column of numbers may be something else, which is then an error; with more, all are words."""
SEEN = 2000
"""Cells that are looked at one by one."""


class Cells:
    """What cells are; those that are `missing` are none, among numbers however such a number is written."""

    def __init__(self, missing: Collection[str] = ()) -> None:
        self._none = NONE | frozenset(missing)
        self._no_number = dict.fromkeys(NO_NUMBER | frozenset(missing), "nan")
        self._numbers_for_none = numbers_for_none(missing)

    def guess(self, cells: Sequence[str]) -> str | None:
        """Return "numeric" or "embedding"; None for words. Where not all are numbers, some of them tell."""
        none = self._no_number
        present = [cell for cell in cells if cell not in none and not cell.isspace()]
        if not present or ("_" not in "".join(present[:SEEN]) and _all_numbers(present)):
            return "numeric"
        some = present[:: -(-len(present) // SEEN)]
        if sum(_number(cell) is None or "_" in cell for cell in some) <= MOST_OTHERS * len(some):
            return "numeric"
        if all(cell.startswith("[") and _vector(cell) is not None for cell in some):
            return "embedding"
        return None

    def column(self, cells: Sequence[str], kind: str | None) -> Column:
        """Return a column of that kind; a cell that is no number stays as it is."""
        if kind == "numeric":
            return without(self._numbers(cells), self._numbers_for_none)
        if kind == "embedding":
            return [self._vector(cell) for cell in cells]
        gone = {cell for cell in set(cells) if cell in self._none or cell.isspace()}
        return [None if cell in gone else cell for cell in cells] if gone else list(cells)

    def _numbers(self, cells: Sequence[str]) -> Column:
        try:
            return np.fromiter(map(float, cells), np.float64, len(cells))
        except ValueError:
            pass
        none = self._no_number
        marked = [none.get(cell, cell) for cell in cells]
        try:
            return np.fromiter(map(float, marked), np.float64, len(cells))
        except ValueError:
            pass
        found = [math.nan if cell.isspace() else _number(cell) for cell in marked]
        if None in found:
            return [cell if number is None else number for cell, number in zip(cells, found, strict=True)]
        return np.array(found, dtype=np.float64)

    def _vector(self, cell: str) -> Any:
        if cell in self._none or cell.isspace():
            return None
        found = _vector(cell)
        return cell if found is None else found


def numbers_for_none(missing: Collection[str]) -> Floats:
    """Return those of the words for none that are numbers."""
    found = [number for number in map(_number, missing) if number is not None and not math.isnan(number)]
    return np.array(found, dtype=np.float64)


def without(column: Column, given: Floats) -> Column:
    """Return a column in which the given numbers are none."""
    if not len(given):
        return column
    if isinstance(column, list):
        gone = frozenset(given.tolist())
        return [None if _plain_number(value) and value in gone else value for value in column]
    gone_at = np.isin(column, given) if column.ndim == 1 and column.dtype.kind in "fiu" else np.False_
    return np.where(gone_at, np.nan, column) if gone_at.any() else column


def _plain_number(value: Any) -> bool:
    return isinstance(value, numbers.Real | Decimal) and not isinstance(value, bool)


def _all_numbers(cells: Sequence[str]) -> bool:
    try:
        return all(number is not None for number in map(float, cells))
    except ValueError:
        return False


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        found = BOOLEANS.get(cell.strip())
        return seconds(cell) if found is None else found


def seconds(cell: str) -> float | None:
    """Return a date or moment (ISO 8601) in seconds; without a zone it is UTC's. None for anything else."""
    cell = cell.strip()
    if not (cell[:4].isdigit() and cell[4:5] == "-"):
        return None
    try:
        found = datetime.fromisoformat(cell)
    except ValueError:
        return None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def _vector(cell: str) -> list[float] | None:
    try:
        found = json.loads(cell)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, list) and all(isinstance(one, int | float) for one in found) else None


def typed_guess(values: Any, missing: Collection[str] = ()) -> str | None:
    """Return "numeric" for texts that are dates, all of them; None for what says by itself what it is."""
    found = [] if _plain(values) else values
    present = [value for value in found if not (columns.absent(value) or (isinstance(value, str) and value in missing))]
    if present and all(isinstance(value, str) and seconds(value) is not None for value in present):
        return "numeric"
    return None


def typed(values: Any, kind: str | None, missing: Collection[str] = ()) -> Column:
    """Return a column of values that have types; among numbers, dates become seconds."""
    given = numbers_for_none(missing)
    if _plain(values):
        return without(values, given)
    found = list(values)
    if missing:
        found = [None if isinstance(value, str) and value in missing else value for value in found]
    if kind == "numeric":
        found = [_typed_number(value) for value in found]
    return without(columns.read({"": found})[""], given)


def _typed_number(value: Any) -> Any:
    if isinstance(value, str):
        found = seconds(value)
        return value if found is None else found
    return value


def _plain(values: Any) -> bool:
    return isinstance(values, np.ndarray) and values.dtype != object
