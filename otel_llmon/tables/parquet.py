"""Parquet, where pyarrow is installed."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from importlib import import_module
from typing import Any

import numpy as np

from otel_llmon.errors import MissingExtraError
from otel_llmon.scores.columns import Column
from otel_llmon.tables import cells
from otel_llmon.tables.parts import Choose, Part, Raw, every, rows_of
from otel_llmon.tables.sources import Source, TableFileError


class Parquet:
    """A Parquet file, read in batches."""

    def __init__(self, source: Source, missing: Collection[str] = ()) -> None:
        self.source, self._missing = source, frozenset(missing)

    def parts(self, choose: Choose | None = None) -> Iterator[Part]:
        """Return all rows, or those that are chosen."""
        arrow, parquet = _arrow()
        start, chosen = 0, choose or every
        try:
            with self.source.binary() as file:
                opened = parquet.ParquetFile(file)
                names = opened.schema_arrow.names
                if len(set(names)) < len(names):
                    twice = next(each for each in names if names.count(each) > 1)
                    raise TableFileError(f"{self.source.name}: column {twice[:80]!r}: found twice, expected once")
                for batch in opened.iter_batches(batch_size=rows_of(len(names))):
                    places = chosen(start, batch.num_rows)
                    values = zip(names, batch.columns, strict=True)
                    yield Part(start, batch.num_rows, places, {name: _array(one)[places] for name, one in values})
                    start += batch.num_rows
        except (arrow.ArrowException, ArithmeticError) as exc:
            first = str(exc).partition("\n")[0][:120]
            raise TableFileError(f"{self.source.name}: no Parquet that can be read ({first})") from exc
        if not start:
            yield Part(0, 0, every(0, 0), {name: np.zeros(0) for name in names})

    def guess(self, values: Raw) -> str | None:
        """Return "numeric" for dates that are texts; all else says what it is."""
        return cells.typed_guess(values, self._missing)

    def column(self, values: Raw, kind: str | None) -> Column:
        """Return a column of that kind."""
        return cells.typed(values, kind, self._missing)

    def place(self, row: int) -> str:
        """Return which row it is, the first being 1."""
        return f"row {row + 1}"


def _arrow() -> tuple[Any, Any]:
    try:
        return import_module("pyarrow"), import_module("pyarrow.parquet")
    except ImportError as exc:
        raise MissingExtraError("Parquet: 'pyarrow' is not installed; run: pip install pyarrow") from exc


def _array(column: Any) -> np.ndarray[Any, Any]:
    """Return a column's values as numpy has them."""
    if hasattr(column, "dictionary_decode"):
        column = column.dictionary_decode()
    found: np.ndarray[Any, Any] = column.to_numpy(zero_copy_only=False)
    return found
