"""`llmon doctor`: does what a program sends arrive, and if not, which hop has lost it."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import Annotated

import typer

from otel_llmon.cli._output import as_json, replace_what_cannot_be_printed
from otel_llmon.doctor import Check, Report, examine
from otel_llmon.errors import SettingsError

MARKS = {"ok": ("✔", "green"), "note": ("·", "dim"), "warn": ("!", "yellow"), "fail": ("✘", "bold red")}


def run(
    embedded: Annotated[bool, typer.Option("--embedded", help="Look into the viewer.")] = False,
    stack: Annotated[bool, typer.Option("--stack", help="Look into Prometheus, Jaeger and Loki.")] = False,
    wait: Annotated[float, typer.Option(min=0, help="Seconds in which what was sent must be found.")] = 7.0,
    json: Annotated[bool, typer.Option("--json", help="Print the findings for a program.")] = False,
) -> None:
    """Send one span, metric and log the way a program does, find them again, and name the hop that lost one.

    Leaves with 0 when all three arrived and lead to one another, else with 1.
    """
    if embedded and stack:
        raise SettingsError("--embedded and --stack: found both, expected one or none")
    replace_what_cannot_be_printed()
    report = examine(way="embedded" if embedded else "stack" if stack else None, wait=wait)
    if json:
        as_json({**asdict(report), "ok": report.ok})
    elif sys.stdout.isatty() and _can_print("".join(mark for mark, _ in MARKS.values())):
        _draw(report)
    else:
        _write(report)
    raise typer.Exit(0 if report.ok else 1)


def _can_print(text: str) -> bool:
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True


def _verdict(report: Report) -> str:
    if report.ok:
        return f"all three arrived and lead to one another, seen within {report.seconds:.1f} s"
    lost = [check.name for check in report.checks if check.state == "fail"]
    return f"not well: {', '.join(dict.fromkeys(lost))}; looked for {report.seconds:.1f} s"


def _said(check: Check) -> str:
    return f"{check.found}; {check.advice}" if check.advice else check.found


def _write(report: Report) -> None:
    """Print one line per check, with tabs between its parts."""
    print("way", report.way, report.because, sep="\t")
    for check in report.checks:
        print(check.state, check.name, _said(check), sep="\t")
    print("ok" if report.ok else "fail", "verdict", _verdict(report), sep="\t")


def _draw(report: Report) -> None:
    """Print the same with marks and colours."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    console.print(Text(f"{report.way}: {report.because}", "dim"))
    table = Table.grid(padding=(0, 1))
    table.add_column()
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for check in report.checks:
        mark, style = MARKS[check.state]
        said = Text(check.found)
        if check.advice:
            said.append(f"; {check.advice}", "bold" if check.state == "fail" else "")
        table.add_row(Text(mark, style), check.name, said)
    console.print(table)
    console.print(Text(_verdict(report), "bold green" if report.ok else "bold red"))
