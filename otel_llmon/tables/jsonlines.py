"""JSON Lines: an object per line."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from itertools import islice
from typing import Any

from otel_llmon.scores.columns import Column
from otel_llmon.tables import cells
from otel_llmon.tables.parts import Choose, Part, Raw, every, rows_of
from otel_llmon.tables.sources import Source, TableFileError

STEP = 256
BYTES = 1 << 24
"""Of one part about, where lines are long."""


class JsonLines:
    """A file of JSON objects, one per line; empty lines are none."""

    def __init__(self, source: Source, encoding: str, missing: Collection[str] = ()) -> None:
        self.source, self._encoding, self._missing = source, encoding, frozenset(missing)

    def parts(self, choose: Choose | None = None) -> Iterator[Part]:
        """Return all rows, or those that are chosen: what the others hold is not looked at."""
        start, chosen = 0, choose or every
        names: dict[str, None] = {}
        with self.source.text(self._encoding) as lines:
            while True:
                some = self._some(lines, rows_of(len(names)))
                if not some:
                    break
                places = chosen(start, len(some))
                rows = [self._row(some[place], start + place) for place in places.tolist()]
                names = {name: None for row in rows for name in row}
                yield Part(start, len(some), places, {name: [row.get(name) for row in rows] for name in names})
                start += len(some)
        if not start:
            raise TableFileError(f"{self.source.name}: empty, expected a JSON object per line")

    def _some(self, lines: Iterator[str], most: int) -> list[str]:
        """Return the next lines that hold anything: so many, or fewer where they are long."""
        found: list[str] = []
        began = self.source.done
        while len(found) < most and self.source.done - began < BYTES:
            more = list(islice(lines, min(STEP, most)))
            found += [line for line in more if not line.isspace()]
            if not more:
                break
        return found

    def _row(self, line: str, row: int) -> dict[str, Any]:
        try:
            found = json.loads(line)
        except (ValueError, RecursionError) as exc:
            raise TableFileError(self._no_json(line, row, exc)) from None
        if not isinstance(found, dict):
            raise TableFileError(
                f"{self.source.name}: {self.place(row)}: found {_shown(found)}, expected an object per line"
            )
        return found

    def _no_json(self, line: str, row: int, exc: Exception) -> str:
        where = f"{self.source.name}: {self.place(row)}"
        if row == 0 and line.strip() in ("[", "{"):
            return f"{where}: JSON over several lines, expected an object per line; for a list: jq -c '.[]'"
        if not line.endswith("\n"):
            return f"{where}: the file ends amid an object"
        return f"{where}: no JSON ({getattr(exc, 'msg', exc)}), expected an object per line"

    def guess(self, values: Raw) -> str | None:
        """Return "numeric" for dates; all else says what it is."""
        return cells.typed_guess(values, self._missing)

    def column(self, values: Raw, kind: str | None) -> Column:
        """Return a column of that kind."""
        return cells.typed(values, kind, self._missing)

    def place(self, row: int) -> str:
        """Return the line on which a row stands."""
        with self.source.text(self._encoding) as lines:
            rows = (number for number, line in enumerate(lines, 1) if not line.isspace())
            return f"line {next(islice(rows, row, None), row + 1)}"


def _shown(found: Any) -> str:
    if isinstance(found, list):
        return "a list (jq -c '.[]' makes lines of it)"
    return f"{str(found)[:40]!r}"
