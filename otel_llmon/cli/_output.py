"""How a command prints: a table in a terminal, tabs in a pipe, JSON where asked for."""

from __future__ import annotations

import errno
import io
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from otel_llmon.cli._ending import let_go_of_stdout
from otel_llmon.errors import LlmonError, reason


@contextmanager
def printing() -> Iterator[None]:
    """See that what is printed arrives; raises LlmonError where it cannot."""
    if sys.stdout is None:
        raise LlmonError("standard output: closed, nothing can be printed")
    try:
        yield
        sys.stdout.flush()
    except OSError as exc:
        let_go_of_stdout()
        if exc.errno == errno.EPIPE:  # whoever read it has seen enough
            raise
        raise LlmonError(f"standard output: not written, {reason(exc)}") from exc


def as_json(value: Any) -> None:
    """Print a value as indented JSON, in ASCII where the terminal has no other characters."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    with printing():
        try:
            text.encode(sys.stdout.encoding or "utf-8")
        except UnicodeEncodeError:
            text = json.dumps(value, indent=2)
        print(text)


def write_file(path: Path, text: str) -> None:
    """Write a file; raises LlmonError where it cannot be written."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as exc:
        raise LlmonError(f"{path}: not written, {reason(exc)}") from exc


def replace_what_cannot_be_printed() -> None:
    """Let no name end in a traceback where the terminal knows ASCII only, or the name is no text."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


SHORT = 16
"""Characters of a column that is not worth folding."""

NARROW = 12
"""Cells that a column needs so that what folds in it can still be read."""


def as_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows of text: in columns in a terminal, else one line per row with tabs between the cells.

    Where a terminal has no room for the columns, what follows the first cell of a row stands below it.
    """
    rows = list(rows)
    with printing():
        replace_what_cannot_be_printed()
        if sys.stdout.isatty():
            _columns(header, rows)
            return
        for row in (header, *rows):
            print(*row, sep="\t")


def _columns(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    first = max(len(row[0]) for row in (header, *rows))
    if console.width - first < NARROW * (len(header) - 1):
        for name, *cells in rows:
            console.print(Text(name), Text("  " + "  ".join(filter(None, cells))), sep="\n")
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for index, title in enumerate(header):
        whole = index == 0 or max(len(row[index]) for row in (header, *rows)) <= SHORT
        table.add_column(title, no_wrap=whole, overflow="fold")
    for row in rows:
        # Text, so that a bracket in a value is no markup.
        table.add_row(*map(Text, row))
    console.print(table)
