"""`llmon events`: every event that has fields of its own."""

from __future__ import annotations

from typing import Annotated

import typer

from otel_llmon.cli._output import as_json, as_table
from otel_llmon.semconv.events import Event, rows


def run(json: Annotated[bool, typer.Option("--json", help="Print the rows for a program.")] = False) -> None:
    """List every event of the vocabulary: severity, meaning, fields."""
    if json:
        as_json([row._asdict() for row in rows()])
        return
    as_table(("event", "severity", "meaning"), (_cells(row) for row in rows()))


def _cells(row: Event) -> tuple[str, str, str]:
    return row.name, row.severity, f"{row.meaning} Fields: {', '.join(row.fields)}."
