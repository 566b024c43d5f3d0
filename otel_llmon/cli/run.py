"""`llmon run -- python app.py`: a program with telemetry, and a viewer beside it where nobody else listens.

Where nothing is left to do at the end, it takes the place of this process, as `opentelemetry-instrument` does.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from otel_llmon.cli import _beside, _program, _target
from otel_llmon.errors import LlmonError

CONTEXT = {"allow_interspersed_args": False}
"""Options after the command are the command's own."""


def run(
    command: Annotated[list[str], typer.Argument(help="What to run, with its arguments.", metavar="COMMAND")],
    service: Annotated[str | None, typer.Option(help="Name it goes by; else that of the script.")] = None,
    viewer: Annotated[bool, typer.Option(help="Start a viewer where nothing listens and you are there.")] = True,
) -> None:
    """Run a program under `opentelemetry-instrument`, and say where its telemetry can be seen."""
    environ = _target.environment(command, os.environ, service)
    try:
        _program.find(command[0], environ)
        _run(command, environ, viewer_wanted=viewer)
    except _program.CannotRunError as exc:
        _say(str(exc))
        raise typer.Exit(exc.status) from None


def _run(command: Sequence[str], environ: dict[str, str], *, viewer_wanted: bool) -> None:
    target = _target.of(environ)
    if target is None:
        _say("no telemetry is sent by OTLP here")
    elif target.answers():
        page = _beside.page_of(target, _target.settings(environ).viewer_url)
        _say(f"look at {page}" if page else f"telemetry goes to {target}")
    elif viewer_wanted and target.could_be_ours and _somebody_is_here():
        _run_beside_viewer(command, environ, target)
    else:
        way_out = "to see it: llmon view" if target.could_be_ours else "is the Collector running?"
        _say(f"nothing listens at {target}, so nothing is kept; {way_out}")
    _program.become(command, environ)


def _run_beside_viewer(command: Sequence[str], environ: dict[str, str], target: _target.Target) -> None:
    """Run the program, stay with the viewer until Ctrl-C, and end as the program did; return if no viewer starts."""
    _end_orderly()
    try:
        with _beside.viewer(target, environ) as viewer:
            _say(f"look at {viewer.page}")
            ended = _program.run(command, environ)
            if not ended.by_request:
                _stay(viewer, f"the program {ended}; {viewer.page} stays until Ctrl-C")
    except LlmonError as exc:
        _say(f"no viewer: {exc}")
        return
    raise typer.Exit(ended.status())


def _stay(viewer: _beside.Viewer, why: str) -> None:
    """Wait for Ctrl-C, or for the viewer's own end."""
    try:
        _say(why)
        _let_go_of_output()
        viewer.wait()
    except KeyboardInterrupt:
        print(file=sys.stderr)


def _end_orderly() -> None:
    """Let a request to end go through our own ways out, so that no viewer is left behind."""
    for number in _program.ENDING:
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, lambda number, _: sys.exit(128 + number))


def _somebody_is_here() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()


def _let_go_of_output() -> None:
    """Close stdout, so that whoever reads the program's output in a pipe sees its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def _say(line: str) -> None:
    print(f"llmon: {line}", file=sys.stderr, flush=True)
