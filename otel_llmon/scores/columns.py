"""What a table is: columns by name, of numbers, words or vectors, from arrays, frames or plain Python.

Frames are known by what they offer (`columns`, `column_names`, `__array__`), so that none of their libraries is
imported here. Whatever is no table is one ColumnsError, which names the column and says what was found.
"""

from __future__ import annotations

import numbers
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from types import NoneType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from otel_llmon.errors import LlmonError
from otel_llmon.scores import moments, ragged

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


def read(table: Any, known: Container[str] = (), names: Sequence[str] = ()) -> dict[str, Column]:
    """Return the columns of a table by name; raises ColumnsError for what is none, or is ragged.

    Of rows by name that have many names in few rows each, those that are `known` are kept and few others. Columns
    without names, as those of a matrix, have these `names` where they are as many, and else those of their places.
    """
    columns = {name: _column(name, column) for name, column in raw(table, known, names).items()}
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        (one, rows), (other, more) = next(iter(lengths.items())), max(lengths.items(), key=lambda pair: pair[1])
        if rows == more:
            other, more = min(lengths.items(), key=lambda pair: pair[1])
        raise ColumnsError(f"ragged columns: found {rows} rows in {one!r} and {more} in {other!r}, expected as many")
    return columns


def raw(table: Any, known: Container[str] = (), names: Sequence[str] = ()) -> dict[str, Any]:
    """Return the columns of a table as they came; raises ColumnsError for what is none."""
    found: dict[str, Any] = {}
    for name, column in _pairs(table, known, names):
        if str(name) in found:
            raise ColumnsError(f"column {str(name)!r}: found twice, expected once; 1 and '1' are one name")
        found[str(name)] = column
    return found


def rows_of(found: Mapping[str, Column]) -> int:
    """Return how many rows columns have, as `read` returned them."""
    return len(next(iter(found.values()), ()))


def _pairs(table: Any, known: Container[str], names: Sequence[str]) -> Iterable[tuple[Any, Any]]:
    if callable(getattr(table, "collect", None)):
        raise ColumnsError(f"found {_kind(table)}, which has no rows yet, expected a frame; call its collect()")
    if isinstance(table, Mapping):
        return table.items()
    if isinstance(table, np.ndarray):
        return _of_array(table, names)
    for attribute in ("column_names", "columns"):  # Arrow has both, and its `columns` are no names
        found = getattr(table, attribute, None)
        if found is not None and not callable(found) and hasattr(table, "__getitem__"):
            return ((name, table[name]) for name in _distinct(found))
    if getattr(table, "ndim", None) == 2:
        return _of_array(array(table), names)
    if isinstance(table, Sequence) and not isinstance(table, str | bytes):
        return _of_rows(table, known, names)
    raise ColumnsError(f"found {_kind(table)}, expected columns by name, a frame, a matrix or a list of mappings")


def _of_array(table: npt.NDArray[Any], names: Sequence[str]) -> Iterable[tuple[Any, Any]]:
    if table.dtype.names:
        return ((name, table[name]) for name in table.dtype.names)
    if table.ndim != 2:
        raise ColumnsError(f"an array of shape {table.shape}: expected rows by columns")
    return zip(_labels(table.shape[1], names), table.T, strict=True)


def _labels(columns: int, names: Sequence[str]) -> Sequence[str]:
    return names if len(names) == columns else [str(place) for place in range(columns)]


def _of_rows(rows: Sequence[Any], known: Container[str], names: Sequence[str]) -> Iterable[tuple[Any, Any]]:
    if len(rows) and _is_list(rows[0]):
        return _of_lists(rows, names)
    for place, row in enumerate(rows):
        if not isinstance(row, Mapping):
            raise ColumnsError(f"row {place}: found {_kind(row)}, expected values by name")
    return ragged.columns(rows, known).items()


def _of_lists(rows: Sequence[Any], names: Sequence[str]) -> Iterable[tuple[Any, Any]]:
    width = len(rows[0])
    for place, row in enumerate(rows):
        if not _is_list(row) or len(row) != width:
            found = f"{len(row)} values" if _is_list(row) else _kind(row)
            raise ColumnsError(f"row {place}: found {found}, expected {width} values as in the first row")
    return zip(_labels(width, names), map(list, zip(*rows, strict=True)), strict=True)


def _is_list(row: Any) -> bool:
    return isinstance(row, list | tuple) or (isinstance(row, np.ndarray) and row.ndim == 1)


def _distinct(found: Iterable[Any]) -> list[Any]:
    names = list(found)
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ColumnsError(f"column {twice!r}: found twice, expected once")
    return names


def _column(name: str, column: Any) -> Column:
    """Return a column as an array of numbers or as a list."""
    if isinstance(column, str | bytes | Mapping) or not hasattr(column, "__len__"):
        raise ColumnsError(f"column {name!r}: found {_kind(column)}, expected a sequence of values")
    if isinstance(column, list | tuple):
        return _of_list(column)
    if isinstance(column, np.ma.MaskedArray):
        return _of_array_column(name, np.ma.filled(column.astype(float), np.nan))
    try:
        found = array(column)
    except Exception as exc:  # a foreign column's own code: whole numbers of 128 bits in polars, ...
        if not isinstance(exc, TypeError | ValueError) and hasattr(column, "__iter__"):
            return _of_list(list(column))
        raise ColumnsError(f"column {name!r}: found {_kind(column)}, expected a sequence of values") from exc
    return _of_array_column(name, found)


def array(values: Any, dtype: npt.DTypeLike | None = None) -> npt.NDArray[Any]:
    """Return an array of what an object holds; one that NumPy cannot read (on a device, with gradients) says it itself.

    Raises whatever its own code does.
    """
    try:
        return np.asarray(values, dtype)
    except Exception:
        if not hasattr(values, "tolist"):
            raise
        return np.asarray(values.tolist(), dtype)


def _of_array_column(name: str, column: npt.NDArray[Any]) -> Column:
    if column.ndim not in (1, 2) or column.dtype.kind in "cV":
        raise ColumnsError(f"column {name!r}: found {column.dtype} of shape {column.shape}, expected one value per row")
    if column.dtype.kind in "mM":
        return moments.of_array(column)
    if column.dtype.kind in "fiub":
        return column
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
    if any(issubclass(kind, bytes) for kind in kinds):
        return [value.decode(errors="replace") if isinstance(value, bytes) else value for value in column]
    found = moments.of_values(column)
    return list(column) if found is None else found


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
    except Exception:  # a Decimal that is a signaling NaN, a foreign number's own code
        return float("nan")


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
    try:
        return str(value)
    except Exception:  # a foreign object's own code
        return None


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
        row = array(value, np.float64)
    except Exception:  # no numbers, or a foreign object's own code
        return None
    return row if row.ndim == 1 else None


def _whole(matrix: Floats) -> npt.NDArray[np.bool_]:
    return np.asarray((np.abs(matrix) <= HUGE).all(axis=1) & (matrix.shape[1] > 0))


def _kind(value: Any) -> str:
    """Return what a value is, and not what it says: what is told of it may leave the process."""
    return type(value).__name__


def shown(value: Any) -> str:
    """Return how a value is written, cut where that is long."""
    try:
        written = repr(value)
    except Exception:  # a foreign object's own code
        return f"<{type(value).__name__}>"
    return written if len(written) <= 40 else written[:40] + "..."
