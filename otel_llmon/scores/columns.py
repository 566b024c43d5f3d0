"""What a table is: columns by name, of numbers, words or vectors, from arrays, frames or plain Python.

Frames are known by what they offer (`columns`, `column_names`, `__array__`), so that none of their libraries is
imported here. Whatever is no table is one ColumnsError, which names the column and says what was found.
"""

from __future__ import annotations

import numbers
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from types import NoneType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from otel_llmon.errors import LlmonError

Floats = npt.NDArray[np.float64]
Column = npt.NDArray[Any] | list[Any]
"""One column: an array of numbers (two-dimensional: vectors), or a list of whatever else."""

HUGE = 1e150
"""What is larger has no finite square, and is counted with the infinities."""
LONGEST = 128
"""Characters of a level that are kept: a category is a name, not a page."""
_PLAIN = {int, float, bool, NoneType}
FEW_LEVELS, MOST_ALONE = 20, 0.1
"""Short words of so few kinds are categories, and others of which so small a share of rows has one of its own."""


class ColumnsError(LlmonError, ValueError):
    """A table is none: no columns, ragged, or of values that its kind does not have."""


class Numbers(NamedTuple):
    """A column of numbers, NaN where there is none; `refused` values were something else, `example` the first."""

    values: Floats
    refused: int = 0
    example: Any = None


class Words(NamedTuple):
    """A column of words, None where there is none; `refused` values were something else."""

    values: list[str | None]
    refused: int = 0
    example: Any = None


def read(table: Any) -> dict[str, Column]:
    """Return the columns of a table by name; raises ColumnsError for what is none, or is ragged."""
    columns = {name: _column(name, column) for name, column in raw(table).items()}
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        (one, rows), (other, more) = next(iter(lengths.items())), max(lengths.items(), key=lambda pair: pair[1])
        if rows == more:
            other, more = min(lengths.items(), key=lambda pair: pair[1])
        raise ColumnsError(f"ragged columns: found {rows} rows in {one!r} and {more} in {other!r}, expected as many")
    return columns


def raw(table: Any) -> dict[str, Any]:
    """Return the columns of a table as they came; raises ColumnsError for what is none."""
    return {str(name): column for name, column in _pairs(table)}


def rows_of(found: Mapping[str, Column]) -> int:
    """Return how many rows columns have, as `read` returned them."""
    return len(next(iter(found.values()), ()))


def _pairs(table: Any) -> Iterable[tuple[Any, Any]]:
    if isinstance(table, Mapping):
        return table.items()
    if isinstance(table, np.ndarray):
        return _of_array(table)
    for names in ("column_names", "columns"):  # Arrow has both, and its `columns` are no names
        found = getattr(table, names, None)
        if found is not None and not callable(found) and hasattr(table, "__getitem__"):
            return ((name, table[name]) for name in _distinct(found))
    if isinstance(table, Sequence) and not isinstance(table, str | bytes):
        return _of_rows(table)
    raise ColumnsError(
        f"{_shown(table)} is no table: expected columns by name, a frame, a matrix or a list of mappings"
    )


def _of_array(table: npt.NDArray[Any]) -> Iterable[tuple[Any, Any]]:
    if table.dtype.names:
        return ((name, table[name]) for name in table.dtype.names)
    if table.ndim != 2:
        raise ColumnsError(f"an array of shape {table.shape}: expected rows by columns")
    return ((str(place), table[:, place]) for place in range(table.shape[1]))


def _of_rows(rows: Sequence[Any]) -> Iterable[tuple[Any, Any]]:
    names: dict[Any, None] = {}
    for place, row in enumerate(rows):
        if not isinstance(row, Mapping):
            raise ColumnsError(f"row {place}: found {_shown(row)}, expected values by name")
        names.update(dict.fromkeys(row))
    return ((name, [row.get(name) for row in rows]) for name in names)


def _distinct(found: Iterable[Any]) -> list[Any]:
    names = list(found)
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ColumnsError(f"column {twice!r}: found twice, expected once")
    return names


def _column(name: str, column: Any) -> Column:
    """Return a column as an array of numbers or as a list."""
    if isinstance(column, str | bytes | Mapping) or not hasattr(column, "__len__"):
        raise ColumnsError(f"column {name!r}: found {_shown(column)}, expected a sequence of values")
    if isinstance(column, list | tuple):
        return _of_list(column)
    if isinstance(column, np.ma.MaskedArray):
        return _of_array_column(name, np.ma.filled(column.astype(float), np.nan))
    try:
        return _of_array_column(name, np.asarray(column))
    except (TypeError, ValueError) as exc:
        if isinstance(exc, ColumnsError):
            raise
        raise ColumnsError(f"column {name!r}: found {_shown(column)}, expected a sequence of values") from exc


def _of_array_column(name: str, column: npt.NDArray[Any]) -> Column:
    if column.ndim not in (1, 2) or column.dtype.kind in "cV":
        raise ColumnsError(f"column {name!r}: found {column.dtype} of shape {column.shape}, expected one value per row")
    if column.dtype.kind in "mM":
        return _seconds(column)
    if column.dtype.kind in "fiub":
        return column
    if column.dtype.kind == "S":
        return [value.decode(errors="replace") for value in column.tolist()]
    return _of_list(column.tolist())


def _of_list(column: Sequence[Any]) -> Column:
    """Return an array where all are plain numbers or none; numpy would make text of a mixture."""
    kinds = set(map(type, column))
    if kinds == {bool}:  # as words they are true and false, whatever holds them
        return np.array(column)
    if kinds <= _PLAIN and not kinds <= {bool, NoneType}:
        try:
            return np.array(column, dtype=np.float64)
        except OverflowError:  # a whole number beyond all floats
            return list(column)
    return list(column)


def _seconds(column: npt.NDArray[Any]) -> Floats:
    """Return moments or durations as seconds, NaN where there is none."""
    unit = "datetime64[us]" if column.dtype.kind == "M" else "timedelta64[us]"
    return np.where(np.isnat(column), np.nan, column.astype(unit).astype(np.int64) / 1e6)


def kind_of(column: Column) -> str:
    """Return what a column holds: "numeric", "categorical", "text" or "embedding"."""
    if isinstance(column, np.ndarray):
        return "embedding" if column.ndim == 2 else "numeric"
    present = [value for value in column if not absent(value)]
    if present and all(isinstance(value, str) for value in present):
        return "categorical" if _repeated(present) else "text"
    if present and all(isinstance(value, Sequence | np.ndarray) and not isinstance(value, str) for value in present):
        return "embedding"
    return "numeric"


def _repeated(values: list[str]) -> bool:
    """Return whether words are short and come again, as categories do."""
    counted = Counter(values)
    alone = sum(rows == 1 for rows in counted.values())
    return max(map(len, counted)) <= LONGEST and (len(counted) <= FEW_LEVELS or alone <= MOST_ALONE * len(values))


def absent(value: Any) -> bool:
    """Return whether a value stands for none: None, NaN, and what pandas writes for it."""
    if value is None:
        return True
    if isinstance(value, float | np.floating):
        return bool(value != value)  # noqa: PLR0124  # only NaN differs from itself
    return type(value).__name__ in ("NAType", "NaTType")


def numeric(column: Column) -> Numbers:
    """Return a column as numbers; what is none and no number is counted."""
    if isinstance(column, np.ndarray):
        if column.ndim == 2:
            return Numbers(np.full(len(column), np.nan), len(column), column[0] if len(column) else None)
        return Numbers(np.ascontiguousarray(column, dtype=np.float64))
    values, refused, example = np.full(len(column), np.nan), 0, None
    for place, value in enumerate(column):
        if absent(value):
            continue
        if isinstance(value, numbers.Real | np.bool_) or type(value).__name__ == "Decimal":
            values[place] = as_float(value)
        else:
            refused, example = refused + 1, value if example is None else example
    return Numbers(values, refused, example)


def as_float(value: Any) -> float:
    """Return a number as a float, an infinity where it is beyond all floats."""
    try:
        return float(value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")


def words(column: Column) -> Words:
    """Return a column as words; numbers are written as words, vectors are counted as refused."""
    if isinstance(column, np.ndarray) and column.ndim == 2:
        return Words([None] * len(column), len(column), column[0] if len(column) else None)
    plain = column.tolist() if isinstance(column, np.ndarray) else column
    if set(map(type, plain)) <= {str, type(None)}:
        return Words(plain)
    found: list[str | None] = []
    refused, example = 0, None
    for value in plain:
        word = level(value)
        if word is None and not absent(value):
            refused, example = refused + 1, value if example is None else example
        found.append(word)
    return Words(found, refused, example)


def level(value: Any) -> str | None:
    """Return a level's name, the same for 1, 1.0 and numpy's 1."""
    if absent(value):
        return None
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    if isinstance(value, numbers.Real):
        number = as_float(value)
        return str(int(number)) if number.is_integer() and abs(number) < 2**53 else repr(number)
    if isinstance(value, Sequence | np.ndarray | Mapping) and not isinstance(value, str):
        return None
    return str(value)


def vectors(column: Column, width: int | None = None) -> tuple[Floats, npt.NDArray[np.bool_], int]:
    """Return a column as a matrix, which of its rows are whole, and how many were something else.

    `width` is how many numbers a row has; None takes it from the first row that has any.
    """
    if isinstance(column, np.ndarray) and column.ndim == 2 and width in (None, column.shape[1]):
        matrix = np.asarray(column, dtype=np.float64)
        return matrix, _whole(matrix), 0
    rows = [None if absent(value) else vector(value) for value in column]
    if width is None:
        width = next((len(row) for row in rows if row is not None), 0)
    matrix = np.full((len(rows), width), np.nan)
    refused = 0
    for place, (row, value) in enumerate(zip(rows, column, strict=True)):
        if row is not None and len(row) == width:
            matrix[place] = row
        else:
            refused += not absent(value)
    return matrix, _whole(matrix), refused


def vector(value: Any) -> Floats | None:
    """Return a value as a vector; None where it is none."""
    try:
        row = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        return None
    return row if row.ndim == 1 else None


def _whole(matrix: Floats) -> npt.NDArray[np.bool_]:
    return np.asarray((np.abs(matrix) <= HUGE).all(axis=1))


def _shown(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 40 else f"{type(value).__name__} {shown[:32]}..."
