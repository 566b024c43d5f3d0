"""A reference, or a profile, of a table in a file: in memory that does not grow with it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any

import numpy as np

from otel_llmon.scores import columns
from otel_llmon.scores.binning import BINS
from otel_llmon.scores.census import Census
from otel_llmon.scores.columns import Column, ColumnsError
from otel_llmon.scores.excluding import without
from otel_llmon.scores.features import How
from otel_llmon.scores.profile import Profile
from otel_llmon.scores.reference import Reference
from otel_llmon.scores.sampling import Sample
from otel_llmon.tables.parts import Part, Reader

BLOCK, BLOCK_CELLS = 8192, 1 << 22
"""Rows that are counted at once, and cells at most."""

Step = Callable[[Reader, int, int], None]
"""Told after each part: how many times the file is read, counted from 0, and how many rows were."""


@dataclass(frozen=True)
class Wanted:
    """What is wanted of a reference, as `Reference.fit` has it; columns that are `excluded` are not looked at."""

    kinds: Mapping[str, str] = field(default_factory=dict)
    excluded: Collection[str] = ()
    bins: int = BINS
    ordered: bool = True
    model: str | None = None
    version: str | None = None
    created: str | None = None


def nothing(*_: Any) -> None:
    """Tell nobody how far it is."""


def fit(reader: Reader, wanted: Wanted, step: Step = nothing, sample: Sample | None = None) -> Reference:
    """Return the reference of a table; raises TableFileError or ColumnsError, which name the place.

    What fits into the sample is fitted as it is. A larger file is read twice: for a sample, which tells where bins lie,
    and for the counts of all rows.
    """
    sample = Sample() if sample is None else sample
    rows = _sampled(reader, sample, wanted, step)
    kinds, table = _table(reader, sample, wanted)
    if not table:
        raise ColumnsError(f"{reader.source.name}: no columns left, expected at least one that is not excluded")
    sketch = _fitted(
        reader,
        table,
        kinds=kinds,
        bins=wanted.bins,
        ordered=wanted.ordered and sample.whole,
        model=wanted.model,
        version=wanted.version,
        created=wanted.created,
        excluded=tuple(sorted(wanted.excluded)),
    )
    if sample.whole:
        return sketch
    census = Census(sketch, How(wanted.bins, wanted.ordered))
    _count(reader, census, step)
    if census.rows != rows:
        raise ColumnsError(f"{reader.source.name}: {rows} rows, and then {census.rows}; is it written to? try again")
    return census.reference(table)


def _fitted(reader: Reader, table: Mapping[str, Column], excluded: tuple[str, ...], **options: Any) -> Reference:
    try:
        return replace(Reference.fit(table, **options), excluded=excluded)  # they are no columns here: nobody read them
    except ColumnsError as exc:
        raise ColumnsError(f"{reader.source.name}: {exc}") from exc


def profile(reader: Reader, reference: Reference, excluded: Collection[str] = (), step: Step = nothing) -> Profile:
    """Return the profile of a table; what is no number where numbers were is counted.

    Features that are `excluded` are no part of its reference, which is then another one.
    """
    kept = without(reference, excluded)
    if not kept.features:
        raise ColumnsError(f"{reader.source.name}: no features left, expected at least one that is not excluded")
    found = Profile(kept)
    kinds: dict[str, str | None] = {feature.name: feature.kind for feature in kept.features}
    gone = {*excluded, *reference.excluded}
    names = dict.fromkeys([*(feature.name for feature in reference.features), *reference.excluded])

    def columns_of(part: Part) -> dict[str, Column]:
        names.update(dict.fromkeys(part.columns))
        for name in part.columns.keys() - kinds.keys() - gone:
            kinds[name] = reader.guess(part.columns[name])
        return {name: reader.column(values, kinds[name]) for name, values in part.columns.items() if name not in gone}

    for block in _blocks(reader, columns_of):
        found.add(block)
        step(reader, 0, found.rows)
    _known("--exclude", excluded, names)
    return found


def _blocks(reader: Reader, columns_of: Callable[[Part], dict[str, Column]]) -> Iterator[dict[str, Column]]:
    """Return the rows of all parts in larger ones: what a part costs beside its rows is paid less often."""
    waiting: list[tuple[int, dict[str, Column]]] = []
    rows = cells = 0
    for part in reader.parts():
        if part.rows:
            waiting.append((part.rows, columns_of(part)))
            rows, cells = rows + part.rows, cells + part.rows * len(part.columns)
        if rows >= BLOCK or cells >= BLOCK_CELLS:
            yield _joined(waiting)
            waiting, rows, cells = [], 0, 0
    if waiting:
        yield _joined(waiting)


def _joined(parts: Sequence[tuple[int, dict[str, Column]]]) -> dict[str, Column]:
    names = {name: None for _, part in parts for name in part}
    return {name: _one([part.get(name, [None] * rows) for rows, part in parts]) for name in names}


def _one(pieces: Sequence[Column]) -> Column:
    arrays = [piece for piece in pieces if isinstance(piece, np.ndarray)]
    if len(arrays) == len(pieces):
        return np.concatenate(arrays)
    return list(chain.from_iterable(piece.tolist() if isinstance(piece, np.ndarray) else piece for piece in pieces))


def _sampled(reader: Reader, sample: Sample, wanted: Wanted, step: Step) -> int:
    rows, names = 0, dict[str, None]()
    for part in reader.parts(sample.choose):
        rows += part.rows
        names |= dict.fromkeys(part.columns)
        sample.add(part.numbers, {name: one for name, one in part.columns.items() if name not in wanted.excluded})
        step(reader, 0, rows)
    _known("--kind", wanted.kinds, sample.names)
    _known("--exclude", wanted.excluded, names)
    return rows


def _known(option: str, given: Collection[str], names: Collection[str]) -> None:
    for name in given:
        if name not in names:
            raise ColumnsError(f"{option} {name}: no such column, expected one of {', '.join(names)[:200]}")


def _table(reader: Reader, sample: Sample, wanted: Wanted) -> tuple[dict[str, str], dict[str, Column]]:
    """Return what each column holds, and the columns of the sample."""
    kinds, table, numbers = {}, {}, sample.numbers()
    for name in sample.names:
        values = sample.column(name)
        kind = wanted.kinds.get(name) or reader.guess(values)
        table[name] = reader.column(values, kind)
        kinds[name] = kind or columns.kind_of(table[name])
        _refuse(reader, name, kinds[name], table[name], numbers)
    return kinds, table


def _count(reader: Reader, census: Census, step: Step) -> None:
    kinds = {feature.name: feature.kind for feature in census.sketch.features}
    for block in _blocks(reader, lambda part: _columns(reader, part, kinds)):
        census.add(block)
        step(reader, 1, census.rows)


def _columns(reader: Reader, part: Part, kinds: Mapping[str, str]) -> dict[str, Column]:
    found = {}
    for name, kind in kinds.items():
        if name in part.columns:
            found[name] = reader.column(part.columns[name], kind)
            _refuse(reader, name, kind, found[name], part.numbers)
    return found or {next(iter(kinds)): [None] * part.rows}


def _refuse(reader: Reader, name: str, kind: str, column: Column, rows: Any) -> None:
    """Raise ColumnsError, which names the place, where a column of numbers has something else."""
    if kind != "numeric" or isinstance(column, np.ndarray) or not columns.numeric(column).refused:
        return
    place = next(place for place, value in enumerate(column) if columns.numeric([value]).refused)
    shown, where = repr(column[place])[:60], reader.place(int(rows[place]))
    way = f"--missing {shown}, --kind {name}=categorical or --exclude {name}"
    if not isinstance(column[place], str):
        way = f"--exclude {name}"
    raise ColumnsError(f"{reader.source.name}: {where}: column {name!r}: found {shown}, expected a number; {way}")
