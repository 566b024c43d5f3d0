"""How a command prints: a table in a terminal, tabs in a pipe, JSON where asked for."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any


def as_json(value: Any) -> None:
    """Print a value as indented JSON."""
    print(json.dumps(value, indent=2, ensure_ascii=False))


def as_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows of text: in columns in a terminal, else one line per row with tabs between the cells."""
    if not sys.stdout.isatty():
        for row in (header, *rows):
            print(*row, sep="\t")
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for index, title in enumerate(header):
        table.add_column(title, no_wrap=index == 0, overflow="fold")
    for row in rows:
        # Text, so that a bracket in a value is no markup.
        table.add_row(*map(Text, row))
    Console().print(table)
