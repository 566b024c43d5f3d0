"""The sub-commands as `main()` runs them, and what stands before them on the line."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

from otel_llmon import cli


class _Commands(TyperGroup):
    """The sub-commands; one that is not called costs nothing."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002
        return list(cli.COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002
        if cmd_name not in cli.COMMANDS:
            return None
        module = import_module(f"{cli.__name__}.{cmd_name}")
        if hasattr(module, "app"):
            return get_command(module.app)
        alone = typer.Typer(add_completion=False)
        alone.command(cmd_name, context_settings=getattr(module, "CONTEXT", None))(module.run)
        return get_command(alone)

    def invoke(self, ctx: Any) -> Any:
        """Run a command; one that lets Ctrl-C through ends by it without a word."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise SystemExit(cli.INTERRUPTED) from None


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
