"""`llmon rules`: files for Prometheus' `rule_files`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from otel_llmon.cli._ending import Judging
from otel_llmon.cli._output import write_file

app = typer.Typer(
    name="rules", cls=Judging, help="Write rules for Prometheus.", no_args_is_help=True, add_completion=False
)


@app.callback()
def _rules() -> None:
    """Write rules for Prometheus."""


@app.command()
def drift(  # noqa: PLR0913, PLR0917  # an option each
    reference: Annotated[Path, typer.Argument(help="The file that a reference was saved in.", show_default=False)],
    window: Annotated[str, typer.Option(help="How far back rows are added up: 30m, 1h, 1d.")] = "1h",
    out: Annotated[Path | None, typer.Option(help="File to write to; else it is printed.", show_default=False)] = None,
    ks: Annotated[float, typer.Option(help="Alert where KS is more than this, and more than chance explains.")] = 0.05,
    psi: Annotated[float, typer.Option(help="The same for PSI, less what chance adds to it.")] = 0.05,
    score: Annotated[float, typer.Option(help="The same for the mean of a score, in deviations.")] = 0.1,
    rows: Annotated[int, typer.Option(help="Alert from so many rows in the window on.")] = 100,
) -> None:
    """Write the rules that find the drift of all processes together from what each of them counts."""
    from otel_llmon.render.drift import Floors, rules_file
    from otel_llmon.scores.dense import dense
    from otel_llmon.scores.reference import Reference

    found = Reference.load(reference)
    text = rules_file(found.hash, len(dense(found)), window=window, floors=Floors(ks, psi, score, rows))
    if out is None:
        print(text, end="")
        return
    write_file(out, text)
    print(f"{out}: rules for {reference}, over {window}")
