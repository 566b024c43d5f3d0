"""How commands read tables: the options that say how, and a bar for files that take a while."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from otel_llmon.errors import SettingsError

if TYPE_CHECKING:
    from otel_llmon.tables import Reader

FormatOption = Annotated[
    Literal["csv", "jsonl", "parquet"] | None, typer.Option("--format", help="What the file is; else it is seen.")
]
EncodingOption = Annotated[str | None, typer.Option("--encoding", help="Of text; UTF-8 unless a mark says otherwise.")]
DelimiterOption = Annotated[str | None, typer.Option("--delimiter", help="Between cells of CSV, or: tab.")]
HeaderOption = Annotated[
    bool | None,
    typer.Option("--header/--no-header", help="Whether the first row of CSV are names.", show_default=False),
]
MissingOption = Annotated[
    list[str] | None, typer.Option("--missing", metavar="TEXT", help="A cell that stands for none; may be repeated.")
]
ExcludeOption = Annotated[
    list[str] | None, typer.Option("--exclude", metavar="COLUMN", help="A column to leave out; may be repeated.")
]
KindOption = Annotated[
    list[str] | None,
    typer.Option(
        "--kind",
        metavar="COLUMN=KIND",
        help="What a column is: numeric, categorical, text or embedding; may be repeated.",
    ),
]


def kinds_of(given: Sequence[str]) -> dict[str, str]:
    """Return the kinds that were said, by column; raises SettingsError for what is none."""
    from otel_llmon.scores.features import KINDS

    found = {}
    for one in given:
        name, equals, kind = one.rpartition("=")
        if not equals or not name or kind not in KINDS:
            raise SettingsError(f"--kind {one!r}: expected COLUMN=KIND, KIND one of {', '.join(KINDS)}")
        found[name] = kind
    return found


@contextmanager
def steps(reader: Reader, times: int = 1) -> Iterator[Callable[[Reader, int, int], None]]:
    """Show in a terminal how far reading is, of so many times at most."""
    if not sys.stderr.isatty():
        yield lambda *_: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    said = TextColumn("{task.description} {task.fields[rows]:,} rows")
    console = Console(stderr=True)
    with Progress(
        said, BarColumn(), TaskProgressColumn(), TimeRemainingColumn(), console=console, transient=True
    ) as bar:
        task = bar.add_task("reading", total=reader.source.size, rows=0)

        def step(reader: Reader, time: int, rows: int) -> None:
            words = "reading" if times == 1 else ("looking", "counting")[time]
            bar.update(task, completed=reader.source.done, rows=rows, description=words)

        yield step
