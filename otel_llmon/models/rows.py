"""Rows of features on their way to those who watch them, handed over in blocks: one row costs as much as hundreds.

Rows whose numbers are all there go into one array. What is odd about a row, a column too few, a word where a number
was, is for the watchers to count: it goes to them as it came.
"""

from __future__ import annotations

import threading
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from math import nan
from numbers import Real
from operator import itemgetter
from typing import Any, Protocol, TypeVar

import numpy as np

from otel_llmon.metering import values
from otel_llmon.models import converting
from otel_llmon.models.classes import OTHER
from otel_llmon.scores import columns, surprise
from otel_llmon.scores.columns import Column, Floats
from otel_llmon.scores.reference import Reference
from otel_llmon.scores.surprise import Surprise

MOST = 4096
"""Rows of a block at most."""
LARGEST = 1 << 19
"""Values of a block at most."""

STRAYS = 32
"""Names of a block that nobody knows and that are kept; what has any other is counted as `other`."""
WIDEST = 2_000
"""Names of its first row that a block keeps where nobody says which there should be."""

_PLAIN = {bool, int, float, str, type(None)}

Value = TypeVar("Value")


class Watcher(Protocol):
    """Takes columns by name, or rows of numbers; it raises nothing."""

    @property
    def numeric(self) -> tuple[str, ...]:
        """The features that a matrix has a column for."""

    def add(self, table: Any, /) -> None:
        """Count the rows of a table."""

    def add_matrix(self, matrix: Floats, /) -> None:
        """Count rows of numbers."""


class Rows:
    """Rows that wait for `watchers`; one that knows the features of `reference` gets plain numbers as a matrix.

    They are handed over where a window of so many rows ends, so that each is judged by itself. `expected` are names
    that somebody asks for though the reference does not have them.
    """

    def __init__(
        self,
        reference: Reference | None,
        watchers: Sequence[Watcher],
        window: int = MOST,
        expected: Iterable[str] = (),
    ) -> None:
        self._watchers, self._window = watchers, window
        self.names = () if reference is None else tuple(one.name for one in reference.features)
        self._numeric = () if reference is None else reference.numeric
        self._limits = None if reference is None or not self._numeric else surprise.limits(reference)
        self.plain = bool(self._numeric) and len(self._numeric) == len(self.names)
        """Whether rows are numbers and nothing else."""
        self._getter = _getter(self._numeric)
        self._block = max(min(MOST, LARGEST // max(len(self.names), 1)), 16)
        self._strays = Strays((*self.names, *expected, *(reference.excluded if reference else ())), reference is None)
        self.forget()

    def forget(self) -> None:
        """Hold nothing, as a forked child does: its parent hands over what it took."""
        self._lock, self._handing = threading.RLock(), threading.RLock()
        self._numbers = array("d")
        self._rows: list[Mapping[Any, Any]] = []
        self._tables: list[Mapping[str, Column]] = []
        self._waiting = 0
        self._before = 0
        """Rows of the window that is open which were handed over."""
        self._strays.forget()

    def _waits(self, rows: int) -> bool:
        """Count rows that wait, with the lock held; return whether it is time to hand them over."""
        self._waiting += rows
        return self._waiting >= min(self._window - self._before, self._block)

    def add(self, features: Mapping[Any, Any]) -> Surprise | None:
        """Take a row; return what is surprising about it."""
        if self.plain and len(features) == len(self.names):
            try:
                row = array("d", self._getter(features))  # it refuses words, which NumPy would read as numbers
            except Exception:  # a name that is not there, a word, a foreign object's own code
                return self._add_odd(features)
            with self._lock:
                self._numbers.extend(row)
                full = self._waits(1)
            if full:
                self.flush()
            return self._surprise(np.frombuffer(row))
        return self._add_odd(features)

    def _add_odd(self, features: Mapping[Any, Any]) -> Surprise | None:
        with self._lock:
            kept = {
                name: value if type(value) in _PLAIN else _kept(value)
                for name, value in self._strays.bounded(features).items()
            }
            self._rows.append(kept)
            full = self._waits(1)
        if full:
            self.flush()
        return None if self._limits is None else self._surprise(self._numbers_of(kept))

    def _numbers_of(self, features: Mapping[Any, Any]) -> Floats:
        found = [features.get(name, nan) for name in self._numeric]
        try:
            return np.frombuffer(array("d", found))
        except Exception:  # as in add()
            numbers = (values.number(value) for value in found)
            return np.array([nan if number is None else columns.as_float(number) for number in numbers])

    def _surprise(self, row: Floats) -> Surprise | None:
        limits = self._limits
        if limits is None or not ((row > limits.highs) | (row < limits.lows)).any():
            return None
        return surprise.surprise(limits, row)

    def add_table(self, found: Mapping[str, Column]) -> list[tuple[int, Surprise]]:
        """Take many rows as columns; return what is surprising, with where it stands."""
        if self.plain and found.keys() == set(self.names) and all(map(_is_numbers, found.values())):
            return self.add_matrix(np.column_stack([found[name] for name in self.names]))
        rows = columns.rows_of(found)
        with self._lock:
            kept = {name: _counted(column) for name, column in self._strays.bounded(found).items()}
            self._tables.append(kept)
            full = self._waits(rows)
        if full:
            self.flush()
        if self._limits is None:
            return []
        known = [columns.numeric(kept[name]).values if name in kept else None for name in self._numeric]
        return self._surprises(np.column_stack([np.full(rows, nan) if each is None else each for each in known]))

    def add_matrix(self, matrix: Floats) -> list[tuple[int, Surprise]]:
        """Take many rows of numbers, in the order of the reference's features, all of which are numeric."""
        matrix = np.ascontiguousarray(matrix, dtype=np.float64)
        with self._lock:
            self._numbers.frombytes(matrix.data.cast("B"))
            full = self._waits(len(matrix))
        if full:
            self.flush()
        return self._surprises(matrix)

    def _surprises(self, matrix: Floats) -> list[tuple[int, Surprise]]:
        limits = self._limits
        if limits is None:
            return []
        outside = ((matrix > limits.highs) | (matrix < limits.lows)).any(axis=1)
        found = ((int(place), surprise.surprise(limits, matrix[place])) for place in np.flatnonzero(outside))
        return [(place, each) for place, each in found if each is not None]

    def flush(self) -> None:
        """Hand over what there is; what another thread hands over now has arrived when this returns."""
        with self._handing:
            self._flush()

    def _flush(self) -> None:
        with self._lock:
            numbers, self._numbers = self._numbers, array("d")
            rows, self._rows = self._rows, []
            tables, self._tables = self._tables, []
            self._before = (self._before + self._waiting) % self._window
            self._waiting = 0
            self._strays.forget()
        if numbers:
            self._hand_over(np.frombuffer(numbers).reshape(-1, len(self.names)))
        if rows:
            tables.append(columns.read(rows))
        for table in _joined(tables):
            for watcher in self._watchers:
                watcher.add(table)

    def _hand_over(self, matrix: Floats) -> None:
        table: dict[str, Column] | None = None
        for watcher in self._watchers:
            if watcher.numeric == self.names:
                watcher.add_matrix(matrix)
            else:
                table = table or dict(zip(self.names, np.ascontiguousarray(matrix.T), strict=True))
                watcher.add(table)


class Strays:
    """Names that nobody knows: a client may choose a new one for each row, and all rows share the columns of a block.

    Where `nobody` says which there should be, those of the first row are as good as known.
    """

    def __init__(self, known: Iterable[str], nobody: bool) -> None:  # noqa: FBT001
        self._known, self._nobody = frozenset(known), nobody
        self._rest = OTHER if OTHER not in self._known else f"{OTHER} names"
        self.forget()

    def forget(self) -> None:
        """Begin a block."""
        self._kept: set[str] = set()
        self._most = 0

    def bounded(self, row: Mapping[Any, Value]) -> Mapping[Any, Value]:
        """Return a row, or columns, with as many names as are kept; one value stands for all others."""
        if self._known.issuperset(row):
            return row
        found: dict[str, Value] = {}
        self._most = self._most or STRAYS + (min(len(row), WIDEST) if self._nobody else 0)
        for each, value in row.items():
            name = each if type(each) is str and len(each) <= values.LONGEST else values.text(each)
            if name not in self._known and name not in self._kept:
                if len(self._kept) < self._most:
                    self._kept.add(name)
                else:
                    name = self._rest
            found[name] = value
        return found


def _getter(names: tuple[str, ...]) -> Callable[[Any], tuple[Any, ...]]:
    if len(names) == 1:
        return lambda features: (features[names[0]],)
    return itemgetter(*names) if names else lambda _: ()


def _is_numbers(column: Column) -> bool:
    return isinstance(column, np.ndarray) and column.ndim == 1


def _counted(column: Column) -> Column:
    """Return a copy of a column, which its owner may use for something else, with moments as numbers."""
    if isinstance(column, np.ndarray) or set(map(type, column)) <= _PLAIN:
        return column.copy()
    return [value if value.__class__ in _PLAIN else _kept(value) for value in column]


def _kept(value: Any) -> Any:
    """Return a value as a column takes it, and as it is now: its owner may fill an array or a list again."""
    found = converting.counted(value)
    if isinstance(found, list):
        return found.copy()
    if not hasattr(type(found), "__array__") or isinstance(found, Real):
        return found
    try:
        return np.array(columns.array(found))
    except Exception:  # a foreign object's own code costs its own value only
        return converting.unreadable(found)


def _joined(tables: Sequence[Mapping[str, Column]]) -> list[dict[str, Column]]:
    """Return tables of the same columns as one."""
    alike: dict[frozenset[str], list[Mapping[str, Column]]] = {}
    for table in tables:
        alike.setdefault(frozenset(table), []).append(table)
    return [{name: _concatenated([table[name] for table in found]) for name in found[0]} for found in alike.values()]


def _concatenated(parts: Sequence[Column]) -> Column:
    if len(parts) == 1:
        return parts[0]
    if all(isinstance(part, np.ndarray) and part.shape[1:] == np.shape(parts[0])[1:] for part in parts):
        return np.concatenate(parts)
    return list(chain.from_iterable(parts))
