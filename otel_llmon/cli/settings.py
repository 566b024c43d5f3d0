"""`llmon settings`: the settings in force, and where each came from."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from otel_llmon.cli._output import as_json, as_table
from otel_llmon.forms import Headers
from otel_llmon.prices import Prices
from otel_llmon.settings import effective, spelt
from otel_llmon.targets import Targets


def run(
    config: Annotated[Path | None, typer.Option(help="File to read in place of OTEL_LLMON_CONFIG.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the values for a program.")] = False,
) -> None:
    """Show the settings in force and where each came from: default, file or environment."""
    found = effective(file=config)
    if json:
        as_json({name: {"value": _plain(value), "source": source} for name, (value, source) in found.items()})
        return
    as_table(("setting", "value", "from"), ((name, spelt(value), source) for name, (value, source) in found.items()))


def _plain(value: Any) -> Any:
    """Return a value as JSON has it, without what may be a password."""
    if isinstance(value, Prices):
        return asdict(value)
    if isinstance(value, Targets):
        return value.plain()
    return spelt(value) if isinstance(value, str | Headers) else value
