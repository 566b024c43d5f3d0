"""`llmon bench -- COMMAND`: how long a command takes, whether it takes longer than another, and both as metrics."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from otel_llmon.cli import _program, _target
from otel_llmon.cli._output import as_json, as_table
from otel_llmon.errors import SettingsError

if TYPE_CHECKING:
    from otel_llmon.cli._measuring import Contender
    from otel_llmon.scores.regression import Comparison

SERVICE = "llmon-bench"
CONTEXT = {"allow_interspersed_args": False}
STATUSES = {"regression": 1, "insufficient": 3}

Clock = Literal["wall", "cpu"]


def run(  # noqa: PLR0913, PLR0917  # the options that there are
    command: Annotated[list[str], typer.Argument(help="What to run, with its arguments.", metavar="COMMAND")],
    runs: Annotated[int, typer.Option("--runs", "-n", min=1, help="How often.")] = 10,
    warmup: Annotated[int, typer.Option(min=0, help="Runs before that do not count.")] = 1,
    against: Annotated[str | None, typer.Option(help="Another command, run in turn with it.")] = None,
    fail_above: Annotated[float | None, typer.Option(min=1, help="Times as long as the other that fail.")] = None,
    by: Annotated[Clock, typer.Option(help="What is compared: elapsed or CPU seconds.")] = "wall",
    name: Annotated[str | None, typer.Option(help="Name of the benchmark; else that of the script.")] = None,
    build: Annotated[str | None, typer.Option(help="Name of the build that is measured.")] = None,
    against_build: Annotated[str, typer.Option(help="Name of the other's build.")] = "against",
    json: Annotated[bool, typer.Option("--json", help="Print the runs for a program.")] = False,
) -> None:
    """Run a command some times, print how long it takes, and report that as `llmon.benchmark.duration`.

    Leaves with 1 when a run fails, or when the command takes longer than `--fail-above` allows; with 3 when too little
    was measured to tell.
    """
    if fail_above is not None and against is None:
        raise SettingsError(f"--fail-above={fail_above:g}: found no command to compare with; add --against")
    environ = dict(os.environ)  # as it is before telemetry sets defaults in our own
    from otel_llmon.cli._measuring import Contender, bench, measure, revision, tell_regression

    called = name or _target.name_of(command)
    contenders = [Contender(command, called, build, revision())]
    if against is not None:
        contenders.append(Contender(_words(against), called, against_build, contenders[0].revision))
    for contender in contenders:
        _program.find(contender.command[0], {"PATH": os.defpath} | environ)
    with _reporting(_target.environment(command, environ)), bench(called):
        with _steps((runs + warmup) * len(contenders)) as step:
            measure(contenders, runs, warmup, environ, step)
        found = _compared(contenders, by, fail_above)
        if found is not None and found.verdict == "regression":
            candidate, baseline = (getattr(each, by) for each in contenders)
            tell_regression(contenders[0], candidate, baseline, found)
    if json:
        as_json(_facts(contenders, found))
    else:
        _print(contenders, found)
    raise typer.Exit(0 if fail_above is None or found is None else STATUSES.get(found.verdict, 0))


def _words(line: str) -> list[str]:
    try:
        words = shlex.split(line)
    except ValueError as exc:
        raise SettingsError(f"--against={line!r}: {str(exc).lower()}, expected a command") from None
    if not words:
        raise SettingsError(f"--against={line!r}: expected a command")
    return words


@contextmanager
def _reporting(environ: dict[str, str]) -> Iterator[None]:
    """Send what is measured, where somebody listens; with buckets so fine that two builds can be told apart."""
    target = _target.of(environ)
    if target is None or not target.answers():
        if target is not None:
            _say(f"nothing listens at {target}, so the runs are not kept")
        yield
        return
    from otel_llmon import metering
    from otel_llmon.lifecycle import configure
    from otel_llmon.settings import effective

    with configure(SERVICE, observers=()) as handle:
        if effective()["histograms"][1] == "default":
            metering.use_exponential(on=True)
        yield
    for signal, why in handle.lost().items():
        _say(f"{signal} not sent: {why}")


@contextmanager
def _steps(count: int) -> Iterator[Callable[[], None]]:
    """Show in a terminal how far the runs are."""
    if not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("runs", total=count)
        yield lambda: progress.advance(task)


def _compared(contenders: Sequence[Contender], by: Clock, fail_above: float | None) -> Comparison | None:
    if len(contenders) < 2:
        return None
    from otel_llmon.scores.regression import TOLERANCE, compare_runs

    candidate, baseline = contenders
    return compare_runs(getattr(baseline, by), getattr(candidate, by), tolerance=fail_above or TOLERANCE)


def _facts(contenders: Sequence[Contender], found: Comparison | None) -> dict[str, Any]:
    return {
        "name": contenders[0].name,
        "revision": contenders[0].revision,
        "commands": [
            {"command": list(each.command), "build": each.build, "wall": each.wall, "cpu": each.cpu}
            for each in contenders
        ],
        "comparison": None if found is None else found._asdict(),
    }


def _print(contenders: Sequence[Contender], found: Comparison | None) -> None:
    as_table(
        ("command", "build", "runs", "elapsed (median, 95 %)", "CPU (median, 95 %)"),
        (
            (
                shlex.join(each.command),
                each.build or "",
                str(len(each.wall)),
                _spread(each.wall),
                _spread(each.cpu),
            )
            for each in contenders
        ),
    )
    if found is not None:
        print(f"{found.verdict}: {found.why}")


def _spread(seconds: Sequence[float]) -> str:
    """Return the median with its interval, in seconds."""
    if not seconds:
        return ""
    from statistics import median

    from otel_llmon.scores.regression import interval

    low, high = interval(seconds)
    return f"{median(seconds):.4g} s ({low:.4g} to {high:.4g})"


def _say(line: str) -> None:
    print(f"llmon: {line}", file=sys.stderr, flush=True)
