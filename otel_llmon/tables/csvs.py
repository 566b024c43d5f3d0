"""CSV: rows of cells, the first row their names."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from otel_llmon.scores.columns import Column
from otel_llmon.tables.cells import Cells
from otel_llmon.tables.parts import Choose, Part, Raw, every, rows_of
from otel_llmon.tables.sources import Source, TableFileError

DELIMITERS = ",;\t|"
LARGEST = 1 << 24
"""Characters of one cell."""
STEP = 256
BYTES = 1 << 24
"""Of one part about, where rows are long."""


class Csv:
    """A CSV file; `delimiter` and `header` where they cannot be seen."""

    def __init__(
        self, source: Source, encoding: str, cells: Cells, delimiter: str | None = None, *, header: bool | None = None
    ) -> None:
        self.source, self._encoding, self._cells = source, encoding, cells
        self._delimiter = delimiter or _delimiter(source.head.decode(encoding, errors="replace"))
        self._header = header
        csv.field_size_limit(LARGEST)

    def parts(self, choose: Choose | None = None) -> Iterator[Part]:
        """Return all rows, or those that are chosen."""
        start, chosen = 0, choose or every
        with self.source.text(self._encoding) as lines:
            reader = csv.reader(lines, delimiter=self._delimiter, skipinitialspace=True, strict=True)
            try:
                names, first = self._names(reader)
                most = rows_of(len(names))
                while rows := self._some(reader, most, first):
                    self._even(rows, len(names), start)
                    places = chosen(start, len(rows))
                    wanted = rows if len(places) == len(rows) else [rows[place] for place in places.tolist()]
                    found: dict[str, Raw] = dict(zip(names, zip(*wanted, strict=True), strict=True)) if wanted else {}
                    yield Part(start, len(rows), places, found or dict.fromkeys(names, ()))
                    start, first = start + len(rows), []
            except csv.Error as exc:
                raise TableFileError(f"{self.source.name}: line {reader.line_num}: {_said(exc)}") from exc
        if not start:
            yield Part(0, 0, every(0, 0), dict.fromkeys(names, ()))

    def _names(self, reader: Any) -> tuple[list[str], list[list[str]]]:
        """Return the columns' names, and the first row where that holds none."""
        first = next((row for row in reader if row), None)
        name = self.source.name
        if first is None:
            raise TableFileError(f"{name}: empty, expected names of columns and rows below")
        if self._header is False:
            return [str(place) for place in range(len(first))], [first]
        if self._header is None and all(self._cells.guess([cell]) == "numeric" for cell in first):
            shown = ", ".join(first[:3])[:60]
            raise TableFileError(f"{name}: found numbers in the first row ({shown}), expected names; or: --no-header")
        names = [cell.strip() or f"column {place}" for place, cell in enumerate(first, 1)]
        if len(set(names)) < len(names):
            twice = next(each for each in names if names.count(each) > 1)
            raise TableFileError(f"{name}: column {twice[:80]!r}: found twice, expected once")
        return names, []

    def _some(self, reader: Any, most: int, before: Sequence[list[str]]) -> list[list[str]]:
        """Return the next rows: so many, or fewer where they are long."""
        rows, began = list(before), self.source.done
        while len(rows) < most and self.source.done - began < BYTES:
            more = list(islice(reader, min(STEP, most)))
            rows += more if all(more) else [row for row in more if row]  # an empty line is no row
            if not more:
                break
        return rows

    def _even(self, rows: list[list[str]], width: int, start: int) -> None:
        lengths = list(map(len, rows))
        if lengths.count(width) == len(rows):
            return
        place = next(place for place, length in enumerate(lengths) if length != width)
        where = self.place(start + place)
        raise TableFileError(f"{self.source.name}: {where}: found {_cells(lengths[place])}, expected {width}")

    def guess(self, values: Raw) -> str | None:
        """Return what a column holds."""
        return self._cells.guess(values)

    def column(self, values: Raw, kind: str | None) -> Column:
        """Return a column of that kind."""
        return self._cells.column(values, kind)

    def place(self, row: int) -> str:
        """Return the line at which a row ends."""
        with self.source.text(self._encoding) as lines:
            reader = csv.reader(lines, delimiter=self._delimiter, skipinitialspace=True, strict=True)
            rows = (reader.line_num for cells in reader if cells)
            return f"line {next(islice(rows, row + (self._header is not False), None), reader.line_num)}"


def _delimiter(head: str) -> str:
    """Return the delimiter that the first line has most of, outside quotes."""
    line = next((line for line in head.splitlines() if line.strip()), "")
    bare = "".join(line.split('"')[::2])
    return max(DELIMITERS, key=bare.count)


def _said(exc: csv.Error) -> str:
    text = str(exc)
    if "unexpected end" in text:
        return "a quoted cell that begins before never ends; is the file whole?"
    return f"{text}; is this CSV?"


def _cells(count: int) -> str:
    return "1 cell" if count == 1 else f"{count} cells"
