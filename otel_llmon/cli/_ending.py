"""How commands end whose status is a verdict: what keeps them from one is a line, and a status that is none."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import traceback
from typing import Any

import typer
from typer.core import TyperGroup

from otel_llmon.errors import LlmonError, reason

TROUBLE = 2
"""Nothing was judged. Python itself ends with 1 where nobody caught an exception, and here 1 may say: drifted."""


class Judging(TyperGroup):
    """Commands that end with a verdict, or with TROUBLE."""

    def invoke(self, ctx: Any) -> Any:
        """Run one; what it printed has to arrive, or it has said nothing."""
        status = 0
        try:
            try:
                super().invoke(ctx)
            except typer.Exit as left:
                status = left.exit_code
            if sys.stdout is not None:
                sys.stdout.flush()
        except LlmonError as exc:
            say(str(exc))
            status = TROUBLE
        except OSError as exc:
            let_go_of_stdout()
            if exc.errno != errno.EPIPE:  # whoever read it has seen enough
                say(f"{exc.filename or 'standard output'}: not written, {reason(exc)}")
            status = TROUBLE
        except Exception as exc:
            if hasattr(exc, "exit_code") or isinstance(exc, typer.Abort):  # wrong usage, which has its own words
                raise
            traceback.print_exc()
            status = TROUBLE
        raise typer.Exit(status)


def let_go_of_stdout() -> None:
    """Let what could not be written go nowhere, or Python would try again at its end."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def say(line: str) -> None:
    """Print a line that is no part of the result."""
    print(f"llmon: {line}", file=sys.stderr, flush=True)
