"""`llmon reference`: what a model's inputs looked like when all was well, kept as a file and compared with others."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from otel_llmon.cli import _tables
from otel_llmon.cli._ending import Judging, say
from otel_llmon.cli._output import as_json, write_file
from otel_llmon.cli._tables import (
    DelimiterOption,
    EncodingOption,
    ExcludeOption,
    FormatOption,
    HeaderOption,
    KindOption,
    MissingOption,
)
from otel_llmon.errors import LlmonError, SettingsError

if TYPE_CHECKING:
    from otel_llmon.scores.profile import Profile
    from otel_llmon.scores.reference import Reference
    from otel_llmon.tables import Manner
    from otel_llmon.tables.fitting import Wanted

STATUSES = {"stable": 0, "drifted": 1, "insufficient": 3}
UNFIT = 1
"""Where a file is no sound reference, or cannot become one."""

app = typer.Typer(
    name="reference",
    cls=Judging,
    help="Keep what a model's inputs looked like when all was well, and compare other data with it.",
    no_args_is_help=True,
    add_completion=False,
)

File = Annotated[
    str, typer.Argument(metavar="FILE", help="CSV, JSON Lines or Parquet, also .gz, .bz2, .xz; - is stdin.")
]
Stored = Annotated[Path, typer.Argument(metavar="REFERENCE", help="A file that `llmon reference fit` wrote.")]
Json = Annotated[bool, typer.Option("--json", help="Print it for a program.")]
Model = Annotated[str | None, typer.Option(help="The model that it belongs to.")]
Version = Annotated[str | None, typer.Option(help="The version of that model.")]
Expected = Annotated[str | None, typer.Option("--model", help="The model that it has to belong to.")]
ExpectedVersion = Annotated[str | None, typer.Option("--version", help="The version that it has to belong to.")]


@app.command()
def fit(  # noqa: PLR0913, PLR0917  # an option each
    file: File,
    out: Annotated[
        Path | None, typer.Option(help="Where to write it; default: FILE's name and .reference.json.")
    ] = None,
    kind: KindOption = None,
    exclude: ExcludeOption = None,
    bins: Annotated[int, typer.Option(min=2, max=100, help="Quantiles per column of numbers.")] = 20,
    unordered: Annotated[bool, typer.Option("--unordered", help="Rows do not stand in the order of time.")] = False,
    model: Model = None,
    version: Version = None,
    missing: MissingOption = None,
    format: FormatOption = None,  # noqa: A002  # the option's name
    encoding: EncodingOption = None,
    delimiter: DelimiterOption = None,
    header: HeaderOption = None,
    json: Json = False,
) -> None:
    """Make a reference of a file, whatever its size, and write it into another one.

    Columns of numbers, of true and false and of dates are numeric; few words are categories, many are text, lists of
    numbers embeddings. A file of many rows is read twice: bins come from a sample of them, counts from all.
    """
    from otel_llmon.cli import _features
    from otel_llmon.scores import fitness
    from otel_llmon.tables import Manner
    from otel_llmon.tables.fitting import Wanted

    now = datetime.now(UTC)
    target = _target(file, out)
    wanted = Wanted(
        _tables.kinds_of(kind or ()), frozenset(exclude or ()), bins, not unordered, model, version, _written(now)
    )
    found = _fitted(file, Manner(format, encoding, delimiter, header, missing or ()), wanted)
    found.save(target)
    notes = fitness.notes(found)
    if json:
        as_json({"file": str(target), **_features.facts(found, now), "notes": [note._asdict() for note in notes]})
        return
    _features.show(found, now)
    for note in notes:
        say(f"{note.feature!r}: {note.text}" if note.feature else note.text)
    print(f"written to {target}")


@app.command()
def show(reference: Stored, json: Json = False) -> None:
    """Print what a reference holds: its model, its age, and each feature with its range or its levels."""
    from otel_llmon.cli import _features
    from otel_llmon.scores.reference import Reference

    found, now = Reference.load(reference), datetime.now(UTC)
    if json:
        as_json(_features.facts(found, now))
        return
    _features.show(found, now)


@app.command()
def check(  # noqa: PLR0913, PLR0917  # an option each
    file: Annotated[str, typer.Argument(metavar="FILE", help="A reference, or data that is to become one.")],
    strict: Annotated[bool, typer.Option("--strict", help="Leave with 1 for every finding.")] = False,
    model: Expected = None,
    version: ExpectedVersion = None,
    kind: KindOption = None,
    exclude: ExcludeOption = None,
    unordered: Annotated[bool, typer.Option("--unordered", help="Rows do not stand in the order of time.")] = False,
    missing: MissingOption = None,
    format: FormatOption = None,  # noqa: A002  # the option's name
    encoding: EncodingOption = None,
    delimiter: DelimiterOption = None,
    header: HeaderOption = None,
    json: Json = False,
) -> None:
    """Say whether a file is a sound reference, or data that makes a good one.

    A reference is sound where it is whole, not newer than this version, and of the model that you name. Of both it
    tells which features say little: constant ones, ids and times, mostly missing ones, too few rows. Leaves with 1
    where the file is no sound reference, or cannot become one; findings alone leave with 0, with --strict with 1.
    """
    from otel_llmon.cli import _features
    from otel_llmon.scores import fitness
    from otel_llmon.tables import Manner
    from otel_llmon.tables.fitting import Wanted

    wanted = Wanted(_tables.kinds_of(kind or ()), frozenset(exclude or ()), ordered=not unordered)
    stored = _is_reference(file)
    try:
        if stored:
            found = _loaded(Path(file), model, version)
        else:
            found = _fitted(file, Manner(format, encoding, delimiter, header, missing or ()), wanted)
    except LlmonError as exc:  # which is what was asked
        say(str(exc))
        raise typer.Exit(UNFIT) from None
    notes, usable = fitness.notes(found), fitness.usable(found)
    what = ("a sound reference" if stored else "fit to be a reference") if usable else "no feature can say anything"
    if json:
        facts = {"kind": "reference" if stored else "data", "usable": usable, "rows": found.rows}
        as_json({**facts, "features": len(found.features), "notes": [note._asdict() for note in notes]})
    else:
        if notes:
            _features.show_notes(notes)
        print(f"{what}: {found.rows:,} rows, {len(found.features):,} features, {len(notes)} findings")
    raise typer.Exit(UNFIT if not usable or (strict and notes) else 0)


@app.command()
def compare(  # noqa: PLR0913, PLR0917  # an option each
    reference: Stored,
    file: File,
    html: Annotated[
        Path | None, typer.Option(help="Write a report with plots there: one file, nothing fetched.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Print all features that are stable, too.")] = False,
    model: Expected = None,
    version: ExpectedVersion = None,
    exclude: ExcludeOption = None,
    missing: MissingOption = None,
    format: FormatOption = None,  # noqa: A002  # the option's name
    encoding: EncodingOption = None,
    delimiter: DelimiterOption = None,
    header: HeaderOption = None,
    json: Json = False,
) -> None:
    """Say which features of a file do not look as they did in a reference, the worst first.

    Leaves with 0 where nothing has changed, with 1 where something has, with 3 where there are too few rows to say, and
    with 2 where nothing could be compared: no such file, another model, no table.
    """
    from otel_llmon.tables import Manner

    manner = Manner(format, encoding, delimiter, header, missing or ())
    known = _loaded(reference, model, version)
    raise typer.Exit(_compared(reference, known, file, manner, exclude or (), html, everything, json))


def _compared(  # noqa: PLR0913, PLR0917  # as the command has them
    stored: Path,
    reference: Reference,
    file: str,
    manner: Manner,
    exclude: list[str] | tuple[str, ...],
    html: Path | None,
    everything: bool,
    json: bool,
) -> int:
    from otel_llmon.cli import _features
    from otel_llmon.scores import drift, telling

    profile = _profiled(file, manner, reference, exclude)
    result = replace(drift.compare(profile), reference=reference.hash)  # the file's, whatever was left out of it
    found = telling.told(result, profile)
    if html is not None:
        from otel_llmon.pages import drift as page

        about = page.About(str(stored), file, _written(datetime.now(UTC)))
        write_file(html, page.page(profile, result, found, about))
    if json:
        as_json(_features.comparison(result, found, profile))
    else:
        _features.show_comparison(result, found, everything=everything)
        if html is not None:
            print(f"report in {html}")
    return STATUSES[telling.outcome(result)]


def _fitted(file: str, manner: Manner, wanted: Wanted) -> Reference:
    from otel_llmon.tables import open_table
    from otel_llmon.tables.fitting import fit

    reader = open_table(file, manner)
    with closing(reader.source), _tables.steps(reader, times=2) as step:
        return fit(reader, wanted, step)


def _profiled(file: str, manner: Manner, reference: Reference, exclude: list[str] | tuple[str, ...]) -> Profile:
    from otel_llmon.tables import open_table
    from otel_llmon.tables.fitting import profile

    reader = open_table(file, manner)
    with closing(reader.source), _tables.steps(reader) as step:
        return profile(reader, reference, exclude, step)


def _loaded(path: Path, model: str | None, version: str | None) -> Reference:
    from otel_llmon.scores.reference import Reference

    found = Reference.load(path)
    _belongs(found, str(path), model, version)
    return found


def _belongs(found: Reference, path: str, model: str | None, version: str | None) -> None:
    for name, has, wanted in (("model", found.model, model), ("version", found.version, version)):
        if wanted is not None and has != wanted:
            raise SettingsError(f"{path}: {name} {has!r}, expected {wanted!r}; fit one for it, or leave --{name} out")


def _is_reference(file: str) -> bool:
    """Return whether a file is meant to be a reference, however damaged: its format stands at its start."""
    from otel_llmon.tables import is_reference

    if file == "-":
        return False
    try:
        with Path(file).open("rb") as found:
            return is_reference(found.read(200))
    except OSError:
        return False  # whoever reads it as a table says why


def _target(file: str, out: Path | None) -> Path:
    """Return where a reference goes; raises SettingsError where that is the data itself."""
    from otel_llmon.tables import ENDINGS, PACKED

    if file == "-":
        return out or Path("reference.json")
    path = Path(file)
    stem = path.name
    while Path(stem).suffix in (*PACKED, *ENDINGS):
        stem = Path(stem).stem
    found = out or Path(f"{stem}.reference.json")
    if found.exists() and path.exists() and found.samefile(path):
        raise SettingsError(f"--out {found}: is the data itself, expected another file")
    if found.is_dir():
        raise SettingsError(f"--out {found}: is a folder, expected a file")
    return found


def _written(now: datetime) -> str:
    return now.isoformat(timespec="seconds")
