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
    job: Annotated[
        str | None, typer.Option(help="It is this job: stay beside it, and count it also when it is killed.")
    ] = None,
) -> None:
    """Run a program under `opentelemetry-instrument`, and say where its telemetry can be seen."""
    environ = _target.environment(command, os.environ, service)
    try:
        _program.find(command[0], environ)
        _run(command, environ, job, viewer_wanted=viewer)
    except _program.CannotRunError as exc:
        _program.say(str(exc))
        raise typer.Exit(exc.status) from None


def _run(command: Sequence[str], environ: dict[str, str], job: str | None, *, viewer_wanted: bool) -> None:
    target = _target.of(environ)
    if target is None:
        _program.say("no telemetry is sent by OTLP here")
    elif target.answers():
        page = _beside.page_of(target, _target.settings(environ).viewer_url)
        _program.say(f"look at {page}" if page else f"telemetry goes to {target}")
    elif viewer_wanted and target.could_be_ours and _somebody_is_here():
        _run_beside_viewer(command, environ, target, job)
    else:
        way_out = "to see it: llmon view" if target.could_be_ours else "is the Collector running?"
        _program.say(f"nothing listens at {target}, so nothing is kept; {way_out}")
    if job is not None:
        raise typer.Exit(_watched(command, environ, job).status())
    _program.become(command, environ)


def _run_beside_viewer(
    command: Sequence[str], environ: dict[str, str], target: _target.Target, job: str | None
) -> None:
    """Run the program, stay with the viewer until Ctrl-C, and end as the program did; return if no viewer starts."""
    _end_orderly()
    try:
        with _beside.viewer(target, environ) as viewer:
            _program.say(f"look at {viewer.page}")
            ended = _watched(command, environ, job)
            if not ended.by_request:
                _stay(viewer, f"the program {ended}; {viewer.page} stays until Ctrl-C")
    except LlmonError as exc:
        _program.say(f"no viewer: {exc}".replace("--data", "XDG_STATE_HOME"))  # it is not our option
        return
    raise typer.Exit(ended.status())


def _watched(command: Sequence[str], environ: dict[str, str], job: str | None) -> _program.Ended:
    from otel_llmon.cli import _jobs  # it loads OpenTelemetry, which costs nothing where nobody stays

    return _jobs.run(command, environ, job)


def _stay(viewer: _beside.Viewer, why: str) -> None:
    """Wait for Ctrl-C, or for the viewer's own end."""
    try:
        _program.say(why)
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
