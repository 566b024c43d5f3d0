"""`llmon metrics`: every metric that this package can emit."""

from __future__ import annotations

from typing import Annotated

import typer

from otel_llmon import semconv
from otel_llmon.cli._output import as_json, as_table
from otel_llmon.semconv import Metric


def run(json: Annotated[bool, typer.Option("--json", help="Print the rows for a program.")] = False) -> None:
    """List every metric: kind, unit, attributes, meaning."""
    rows = semconv.rows()
    if json:
        as_json([row._asdict() for row in rows])
        return
    as_table(("metric", "kind, unit", "meaning"), (_cells(row) for row in rows))


def _cells(row: Metric) -> tuple[str, str, str]:
    by = f" By {', '.join(row.attributes)}." if row.attributes else ""
    return row.name, f"{row.kind}, {row.unit}", row.description + by
