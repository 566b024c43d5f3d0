"""The `llmon` command: one module per sub-command, and one place where an error becomes a line."""

from __future__ import annotations

import os
import signal
import sys

from otel_llmon.errors import LlmonError

COMMANDS = (
    "bench",
    "doctor",
    "events",
    "health",
    "metrics",
    "observe",
    "reference",
    "rules",
    "run",
    "settings",
    "stack",
    "view",
)
"""A module each, with a function `run`, or an `app` where there are commands below it; loaded when called."""

INTERRUPTED = 128 + signal.SIGINT


def main() -> None:
    """Run the command line; what the user can put right is one line on stderr and exit status 1."""
    handler = signal.getsignal(signal.SIGINT)
    if handler is signal.default_int_handler:  # nothing else: somebody may have Ctrl-C ignored
        signal.signal(signal.SIGINT, lambda *_: os._exit(INTERRUPTED))  # no traceback of what is being imported
    from otel_llmon.cli import _commands

    if handler is signal.default_int_handler:
        signal.signal(signal.SIGINT, handler)
    try:
        _commands.app()
    except LlmonError as exc:
        print(f"llmon: {exc}", file=sys.stderr)
        raise SystemExit(1) from None
