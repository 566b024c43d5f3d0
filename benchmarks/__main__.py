"""The command: `python -m benchmarks`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from benchmarks import (
    breaker,
    collection,
    drift,
    eta,
    gpu,
    health,
    in_place,
    instructions,
    leaving,
    logs,
    metrics,
    openai_chat,
    phases,
    predictions,
    probing,
    progress,
    quality,
    reference_files,
    report,
    resources,
    starting,
    timing,
    training,
    viewer,
)
from benchmarks.figures import Figure, Result

GROUPS = {
    "metrics": metrics,
    "phases": phases,
    "probes": probing,
    "logs": logs,
    "collection": collection,
    "resources": resources,
    "starting": starting,
    "leaving": leaving,
    "openai": openai_chat,
    "training": training,
    "viewer": viewer,
    "progress": progress,
    "breaker": breaker,
    "predictions": predictions,
    "drift": drift,
    "gpu": gpu,
    "health": health,
    "quality": quality,
    "reference": reference_files,
}
OWN = ("in-place", "eta")
"""Groups that measure and print in their own way."""


def main(arguments: Sequence[str]) -> int:
    """Measure, print and store; return 1 where `--gate` is given and a figure is missed."""
    options = _parser().parse_args(arguments)
    console = Console()
    console.width = max(console.width, 120)  # where there is no terminal it is 80, and too narrow
    facts: dict[str, Any] = {}
    missed = []
    if options.instructions:
        if why := instructions.missing():
            console.print(f"instructions: skipped: {why}")
            return 0
        with _bar(console, "instructions", len(instructions.OPERATIONS)) as step:
            facts["instructions"] = instructions.count(step)
        console.print(report.of_instructions(facts["instructions"]))
    else:
        if groups := _chosen(options.only):
            results = _measure(console, groups, 5 if options.quick else options.rounds)
            missed = [result.figure.name for result in results if result.met is False]
            facts["figures"] = [result.as_json() for result in results]
            console.print(report.of_figures(results))
        if options.only in (None, "in-place"):
            samples = 40 if options.quick else 200
            with _bar(console, "in place", in_place.steps(samples)) as step:
                facts["in place"] = in_place.measure(samples, step)
            console.print(report.of_places(facts["in place"]))
        if options.only in (None, "eta"):
            with _bar(console, "eta", eta.steps()) as step:
                facts["eta"] = eta.measure(3 if options.quick else 20, step)
            missed += [name for name, _, _, met in eta.promises(facts["eta"]) if not met]
            console.print(*eta.tables(facts["eta"]))
    if options.only is None and not options.quick:
        console.print("stored in", report.store(facts, arguments))
    if missed:
        console.print(f"{len(missed)} missed: " + "; ".join(missed), style="bold red")
    return 1 if missed and options.gate else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m benchmarks", description="What telemetry costs, beside the plain SDK.")
    groups = ", ".join((*GROUPS, *OWN))
    parser.add_argument("--only", metavar="NAME", help=f"a group ({groups}) or part of a figure's name; not stored")
    parser.add_argument("--rounds", type=int, default=25, help="rounds of every operation (25)")
    parser.add_argument("--quick", action="store_true", help="5 rounds, to see that it runs; not stored")
    parser.add_argument("--instructions", action="store_true", help="count instructions with callgrind instead")
    parser.add_argument("--gate", action="store_true", help="end with status 1 where a figure is missed")
    return parser


def _chosen(only: str | None) -> list[list[Figure]]:
    """Return the figures to measure, by group."""
    if only in OWN:
        return []
    if only in GROUPS:
        return [list(GROUPS[only].FIGURES)]
    chosen = [[figure for figure in group.FIGURES if only is None or only in figure.name] for group in GROUPS.values()]
    return [figures for figures in chosen if figures]


def _measure(console: Console, groups: Sequence[Sequence[Figure]], rounds: int) -> list[Result]:
    """Measure group by group: rounds stay short, so that a change of the machine's speed meets both sides alike."""
    sides = [
        {timing.YARDSTICK} | {side for figure in figures for side in (figure.ours, figure.peer) if side}
        for figures in groups
    ]
    total = sum(min(rounds, sampler.most or rounds) for samplers in sides for sampler in samplers)
    results = []
    with _bar(console, "figures", total) as step:
        for figures, samplers in zip(groups, sides, strict=True):
            samples = timing.measure(samplers, rounds, step)
            results += [Result.of(figure, samples) for figure in figures]
    return results


class _bar:  # noqa: N801  # reads as the function that it is
    """Draw a bar; as a context manager it gives the function that moves it on."""

    def __init__(self, console: Console, title: str, total: int) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
        # no thread that redraws: it would run beside what is measured
        self._progress = Progress(*columns, console=console, auto_refresh=False, transient=True)
        self._task = self._progress.add_task(title, total=total)

    def __enter__(self) -> Callable[[], None]:
        self._progress.start()
        return self._step

    def _step(self) -> None:
        self._progress.advance(self._task)
        self._progress.refresh()

    def __exit__(self, *_: object) -> None:
        self._progress.stop()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
