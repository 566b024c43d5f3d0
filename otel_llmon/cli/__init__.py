"""The `llmon` command: one module per sub-command, and one place where an error becomes a line."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.metadata import version
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

from otel_llmon.errors import LlmonError

COMMANDS = ("bench", "doctor", "events", "metrics", "run", "settings", "stack", "view")
"""A module each, with a function `run`, or an `app` where there are commands below it; loaded when called."""


class _Commands(TyperGroup):
    """The sub-commands; one that is not called costs nothing."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"{__name__}.{cmd_name}")
        if hasattr(module, "app"):
            return get_command(module.app)
        alone = typer.Typer(add_completion=False)
        alone.command(cmd_name, context_settings=getattr(module, "CONTEXT", None))(module.run)
        return get_command(alone)


app = typer.Typer(
    name="llmon",
    cls=_Commands,
    help="Run programs with their telemetry on, and look at what they send.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


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
    """Run programs with their telemetry on, and look at what they send."""


def main() -> None:
    """Run the command line; what the user can put right is one line on stderr and exit status 1."""
    try:
        app()
    except LlmonError as exc:
        print(f"llmon: {exc}", file=sys.stderr)
        raise SystemExit(1) from None
