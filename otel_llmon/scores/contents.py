"""One column in the forms that checks ask for; each is made once, when it is asked for."""

from __future__ import annotations

import datetime as dt
import decimal
import numbers
from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from otel_llmon.scores import columns
from otel_llmon.scores.columns import HUGE, Column, Floats

Flags = npt.NDArray[np.bool_]

KINDS = {"b": "boolean", "i": "integer", "u": "integer", "f": "number", "M": "datetime", "m": "duration"}
"""What numpy's kinds of numbers are called here."""
NAMES = {
    "int": "integer", "uint": "integer", "float": "number", "double": "number", "half": "number", "decimal": "number",
    "bool": "boolean", "date": "datetime", "timestamp": "datetime", "duration": "duration",
}  # fmt: skip
"""What types of Arrow and polars are called here, by how their names begin."""


class Values:
    """A column as it came, and as it was read: an array of numbers, or a list."""

    numeric = True
    """Whether its finite numbers are values of its own."""

    def __init__(self, raw: Any, column: Column) -> None:
        self.raw, self.column = raw, column

    def __len__(self) -> int:
        return len(self.column)

    @cached_property
    def absent(self) -> Flags:
        """Return where there is no value."""
        column = self.column
        if isinstance(column, list):
            return np.fromiter(map(columns.absent, column), dtype=bool, count=len(column))
        if column.dtype.kind != "f":
            return np.zeros(len(column), dtype=bool)
        gone: Flags = np.asarray(np.isnan(column) if column.ndim == 1 else np.isnan(column).any(axis=1))
        return gone

    @cached_property
    def present(self) -> int:
        """Return how many rows have a value."""
        return len(self) - int(np.count_nonzero(self.absent))

    @cached_property
    def numbers(self) -> Floats:
        """Return the column as numbers, NaN for whatever is none."""
        return columns.numeric(self.column).values

    @cached_property
    def finite(self) -> Floats:
        """Return the numbers that have a square."""
        found: Floats = self.numbers[np.abs(self.numbers) <= HUGE]
        return found

    @cached_property
    def infinite(self) -> Floats:
        """Return the numbers that have none."""
        found: Floats = self.numbers[:0]
        return found if len(self.finite) == self.present else self.numbers[np.abs(self.numbers) > HUGE]

    @cached_property
    def moments(self) -> Floats:
        """Return the column as seconds since 1970, NaN for what is no moment; where no zone is said it is UTC."""
        if isinstance(self.column, np.ndarray):
            return self.finite
        found = [_moment(value) for value in self.column]
        return np.array([moment for moment in found if moment is not None], dtype=np.float64)

    @cached_property
    def counted(self) -> Counter[str]:
        """Return how often each value is there, as a word."""
        if not isinstance(self.column, np.ndarray) or self.column.ndim != 1:
            found = Counter(columns.words(self.column).values)
            found.pop(None, None)
            return found  # type: ignore[return-value]
        kept, rows = np.unique(self.column[~self.absent], return_counts=True)
        return Counter(dict(zip(columns.words(kept).values, rows.tolist(), strict=True)))  # type: ignore[arg-type]

    @cached_property
    def types(self) -> Counter[str]:
        """Return how many values there are of each type."""
        found: Counter[str] = Counter()
        if isinstance(self.column, np.ndarray) and self.column.ndim == 2:
            found["vector"] = self.present
        elif isinstance(self.raw, list | tuple):
            for kind, rows in Counter(map(type, self.raw)).items():
                found[_type_of(kind)] += rows
            found.pop("", None)
            if gone := sum(isinstance(value, float) and columns.absent(value) for value in self.raw):
                found["number"] -= gone
        elif name := _declared(self.raw):
            found[name] = self.present
        else:
            return Values(list(self.column), list(self.column)).types
        return +found


class Vectors(Values):
    """A column of vectors of one width; rows of another one are of a wrong type."""

    numeric = False

    def __init__(self, raw: Any, column: Column, width: int) -> None:
        super().__init__(raw, column)
        self.matrix, self.whole, self.refused = columns.vectors(column, width)

    @cached_property
    def absent(self) -> Flags:
        """Return where there is no vector, or one with a number missing."""
        found: Flags = np.asarray(np.isnan(self.matrix).any(axis=1))
        if self.refused:
            found &= ~np.array([self._is_wrong(row) for row in self.column])
        return found

    def _is_wrong(self, row: Any) -> bool:
        if columns.absent(row):
            return False
        found = columns.vector(row)
        return found is None or found.shape != self.matrix.shape[1:]

    @cached_property
    def types(self) -> Counter[str]:
        """Return how many vectors there are."""
        return +Counter({"vector": self.present - self.refused, "other": self.refused})

    @cached_property
    def finite(self) -> Floats:
        """Return a number for each vector that is whole."""
        return np.zeros(int(self.whole.sum()))

    @cached_property
    def infinite(self) -> Floats:
        """Return an infinity for each vector that has one."""
        return np.full(self.present - self.refused - int(self.whole.sum()), np.inf)


_TYPES: tuple[tuple[str, tuple[type, ...]], ...] = (
    ("string", (str,)),
    ("boolean", (bool, np.bool_)),
    ("integer", (numbers.Integral,)),
    ("number", (numbers.Real, decimal.Decimal)),
    ("datetime", (dt.date, np.datetime64)),
    ("duration", (dt.timedelta, np.timedelta64)),
    ("bytes", (bytes, bytearray)),
    ("vector", (Sequence, np.ndarray)),
)
"""What Python's types are called here; the first that fits."""


def _type_of(kind: type) -> str:
    """Return what a Python type is called here; nothing for those that stand for no value."""
    if kind is type(None) or kind.__name__ in ("NAType", "NaTType"):
        return ""
    return next((name for name, kinds in _TYPES if issubclass(kind, kinds)), kind.__name__)


def _declared(raw: Any) -> str | None:
    """Return the type that a column of numpy, pandas, Arrow or polars says it has, where all its values have it."""
    dtype = getattr(raw, "dtype", None)
    kind = getattr(dtype, "kind", None)
    if isinstance(kind, str):
        return KINDS.get(kind)
    name = str(dtype if dtype is not None else getattr(raw, "type", "")).lower()
    return next((found for start, found in NAMES.items() if name.startswith(start)), None)


def _moment(value: Any) -> float | None:
    """Return seconds since 1970."""
    try:
        if isinstance(value, str):
            value = dt.datetime.fromisoformat(value)
        if isinstance(value, np.datetime64):
            return None if np.isnat(value) else float(value.astype("datetime64[us]").astype(np.int64)) / 1e6
        if isinstance(value, dt.date) and not isinstance(value, dt.datetime):
            value = dt.datetime(value.year, value.month, value.day)  # noqa: DTZ001  # the zone comes next
        if isinstance(value, dt.datetime):
            return (value if value.tzinfo else value.replace(tzinfo=dt.UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
    if isinstance(value, numbers.Real) and abs(columns.as_float(value)) <= HUGE:
        return columns.as_float(value)
    return None
