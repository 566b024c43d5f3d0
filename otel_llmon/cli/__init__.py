"""The `llmon` command: one module per sub-command, and one place where an error becomes a line."""

from __future__ import annotations

import sys
from importlib.metadata import version
from typing import Annotated

import typer

from otel_llmon.cli import doctor, metrics, run, settings, stack, view
from otel_llmon.errors import LlmonError

app = typer.Typer(
    name="llmon",
    help="Look at what otel-llmon emits and how it is set.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("doctor")(doctor.run)
app.command("metrics")(metrics.run)
app.command("run", context_settings={"allow_interspersed_args": False})(run.run)
app.command("settings")(settings.run)
app.add_typer(stack.app)
app.command("view")(view.run)


def _version(wanted: bool) -> None:
    if wanted:
        print(version("otel-llmon"))
        raise typer.Exit


@app.callback()
def _options(
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """Look at what otel-llmon emits and how it is set."""


def main() -> None:
    """Run the command line; what the user can put right is one line on stderr and exit status 1."""
    try:
        app()
    except LlmonError as exc:
        print(f"llmon: {exc}", file=sys.stderr)
        raise SystemExit(1) from None
