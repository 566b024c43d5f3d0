"""Tables in files: CSV, JSON Lines and Parquet, read part by part, so that their size does not matter."""

from __future__ import annotations

import codecs
import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import PurePath
from typing import Literal

from otel_llmon.scores.storing import FORMAT
from otel_llmon.tables.cells import Cells
from otel_llmon.tables.csvs import Csv
from otel_llmon.tables.jsonlines import JsonLines
from otel_llmon.tables.parquet import Parquet
from otel_llmon.tables.parts import Reader
from otel_llmon.tables.sources import Source, TableFileError

__all__ = ["ENDINGS", "PACKED", "Manner", "Reader", "TableFileError", "is_reference", "open_table"]

Format = Literal["csv", "jsonl", "parquet"]
ENDINGS: dict[str, Format] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
}
PACKED = (".gz", ".bz2", ".xz")


@dataclass(frozen=True)
class Manner:
    """How a file is read, as far as it does not say that itself: None stands for what can be seen in it."""

    format: Format | None = None
    encoding: str | None = None
    delimiter: str | None = None
    header: bool | None = None
    missing: Collection[str] = ()


def open_table(name: str, manner: Manner | None = None) -> Reader:
    """Return the reader of a file, or of "-"; raises TableFileError for what is no table."""
    manner = manner or Manner()
    source = Source(name)
    found = manner.format or _format(name, source)
    if found == "parquet":
        return Parquet(source, manner.missing)
    if not source.head:
        raise TableFileError(f"{source.name}: empty, expected a table")
    encoding = _encoding(source, manner.encoding)
    if "\0" in source.head.decode(encoding, errors="replace"):
        raise TableFileError(f"{source.name}: found binary data, expected CSV, JSON Lines or Parquet")
    if is_reference(source.head):
        raise TableFileError(f"{source.name}: found a reference, expected a table; what it holds: llmon reference show")
    if found == "jsonl":
        return JsonLines(source, encoding, manner.missing)
    return Csv(source, encoding, Cells(manner.missing), _delimiter(manner.delimiter), header=manner.header)


def is_reference(head: bytes) -> bool:
    """Return whether a file that begins so is meant to be a reference, however damaged."""
    return head.lstrip().startswith(b"{") and json.dumps(FORMAT).encode() in head[:200]


def _format(name: str, source: Source) -> Format:
    if source.head.startswith(b"PAR1"):
        return "parquet"
    path = PurePath(name)
    ending = PurePath(path.stem).suffix if path.suffix in PACKED else path.suffix
    if ending.lower() in ENDINGS:
        return ENDINGS[ending.lower()]
    return "jsonl" if source.head.decode(source.encoding, errors="replace").lstrip()[:1] == "{" else "csv"


def _encoding(source: Source, given: str | None) -> str:
    if given is None:
        return source.encoding
    try:
        codecs.lookup(given)
    except LookupError:
        raise TableFileError(
            f"--encoding {given!r}: expected one that Python knows, such as utf-8 or latin-1"
        ) from None
    return given


def _delimiter(given: str | None) -> str | None:
    if given is None:
        return None
    found = {"tab": "\t", "\\t": "\t"}.get(given, given)
    if len(found) != 1 or found in '"\r\n ':
        raise TableFileError(f"--delimiter {given!r}: expected one character, or tab")
    return found
