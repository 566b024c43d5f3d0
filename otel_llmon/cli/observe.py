"""`llmon observe`: one sample of everything that can be read here."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from otel_llmon.cli._output import as_json, as_table
from otel_llmon.errors import NoDataError, SettingsError
from otel_llmon.metering import Reading
from otel_llmon.observers import Observe
from otel_llmon.observers.patience import Patient
from otel_llmon.observers.sources import Made, everything, sources
from otel_llmon.semconv import Metric

LONGEST = 86_400
"""Seconds, at most, over which a sample is taken."""

YES_OR_NO = ("{state}", "{reason}")
"""Units of what is 1 or 0."""

SILENT = "efficiency"
"""It tells of phases, of which this command has none."""


@dataclass
class _Said:
    """What one source said: its readings, or why there are none."""

    source: str
    readings: list[Reading]
    nothing: str = ""


def run(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            help="Observers, or groups of them: host host.memory, or host,host.memory. Default: all there are."
        ),
    ] = None,
    over: Annotated[float, typer.Option(help="Seconds over which utilizations are taken.")] = 1.0,
    json: Annotated[bool, typer.Option("--json", help="Print the readings for a program.")] = False,
) -> None:
    """Print one sample of everything that can be read here: machine, container, process, devices."""
    if not 0 <= over <= LONGEST:
        raise SettingsError(f"--over {over:g}: expected seconds from 0 to {LONGEST}")
    wanted = [part.strip() for name in names or () for part in name.split(",")]
    said = list(_sample(wanted or [name for name in everything() if name != SILENT], over))
    if json:
        as_json(
            [
                {"source": one.source, "nothing": one.nothing, "readings": [_plain(each) for each in one.readings]}
                for one in said
            ]
        )
        return
    as_table(("metric", "value", "of", "source"), (cells for one in said for cells in _cells(one)))


def _sample(names: Iterable[str], over: float) -> Iterator[_Said]:
    """Read every source, and once more after a while: what a utilization is taken over lies between."""
    observed = {name: Patient(_Reading(make)) for name, make in sources(names, reported=False).items()}
    for observe in observed.values():
        _readings(observe)
    time.sleep(over)
    for name, observe in observed.items():
        found = _readings(observe)
        yield _Said(name, found) if isinstance(found, list) else _Said(name, [], found)


class _Reading:
    """An observer that is made where it is read first: a driver may hang there already."""

    def __init__(self, make: Callable[[], Made]) -> None:
        self._make = make
        self._observe: Observe | None = None

    def __call__(self) -> list[Reading]:
        """Read it."""
        if self._observe is None:
            self._observe = self._make()[0]
        return [Reading(*told) for told in self._observe()]


def _readings(observe: Callable[[], list[Reading]]) -> list[Reading] | str:
    """Return the readings, or why there are none."""
    try:
        return observe()
    except NoDataError as exc:
        return str(exc)
    except Exception as exc:  # what is foreign may raise anything, and the others are to be shown
        return f"{type(exc).__name__}: {exc}"


def _plain(reading: Reading) -> dict[str, Any]:
    row = reading.metric
    return {"metric": row.name, "value": reading.value, "unit": row.unit, "attributes": dict(reading.attributes)}


def _cells(said: _Said) -> Iterator[tuple[str, str, str, str]]:
    for reading in said.readings:
        of = ", ".join(str(value) for value in reading.attributes.values())
        yield reading.metric.name, shown(reading.value, reading.metric), of, said.source
    if not said.readings:
        yield "-", said.nothing or "nothing to say", "", said.source


def shown(value: float, row: Metric) -> str:
    """Return a metric's value as a person reads it."""
    unit = row.unit
    if unit == "By":
        for word, size in (("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
            if abs(value) >= size:
                return f"{value / size:.2f} {word}"
        return f"{value:.0f} B"
    if unit == "1" and row.kind == "gauge":  # else it is a state, as of `hw.status`
        return f"{value * 100:.1f} %"
    number = f"{value:.0f}" if value == int(value) else f"{value:.3f}"
    return number if unit in ("1", *YES_OR_NO) else f"{number} {unit.strip('{}')}".strip()
