"""Results as a table for people and as JSON for later; the JSON names no machine."""

from __future__ import annotations

import json
import platform
import shlex
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.table import Table

from benchmarks.figures import Figure, Result
from benchmarks.timing import Spread

RESULTS = Path(__file__).parent / "results"
_UNITS = ((1e9, "s"), (1e6, "ms"), (1e3, "µs"), (1.0, "ns"))
_SAID = {True: "[green]met[/]", False: "[bold red]missed[/]", None: ""}


def path() -> Path:
    """Return where this run's results belong."""
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    return RESULTS / f"{version('opentelemetry-sdk')}-py{python}.json"


def store(facts: Mapping[str, Any], arguments: Sequence[str]) -> Path:
    """Write what this run found over what an earlier one of its kind did; return where."""
    target = path()
    kept = json.loads(target.read_text()) if target.exists() else {}
    head = {
        "command": shlex.join(["python", "-m", "benchmarks", *arguments]),
        "date": datetime.now(UTC).date().isoformat(),
        "versions": {name: version(name) for name in ("otel-llmon", "opentelemetry-api", "opentelemetry-sdk")}
        | {"python": platform.python_version(), "platform": f"{platform.system()} {platform.machine()}"},
    }
    sections = {name: head | {"results": found} for name, found in facts.items()}
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(kept | sections, indent=2, ensure_ascii=False) + "\n")
    return target


def of_figures(results: Sequence[Result]) -> Table:
    """Return one line per figure."""
    table = Table(title=f"opentelemetry-sdk {version('opentelemetry-sdk')}, Python {platform.python_version()}")
    table.add_column("")
    for heading in ("ours", "SDK", "ratio", "at most", "of that"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("")
    for result in results:
        unit = result.figure.unit
        table.add_row(
            result.figure.name,
            spread(result.ours, unit),
            spread(result.peer, unit),
            ratio(result.ratio),
            limit(result.figure),
            "" if result.used is None else f"{result.used:.0%}",
            _SAID[result.met],
        )
    return table


def of_places(found: Mapping[str, Mapping[str, Mapping[str, float]]]) -> Table:
    """Return one line per operation, one column per work."""
    table = Table(title="in place: one operation right after …, ours / SDK")
    table.add_column("")
    for work in found:
        table.add_column(work, justify="right", no_wrap=True)
    for name in next(iter(found.values())):
        table.add_row(name, *(" / ".join(map(amount, by_name[name].values())) for by_name in found.values()))
    return table


def of_instructions(found: Mapping[str, int]) -> Table:
    """Return one line per operation."""
    table = Table("", "instructions", title="instructions per operation")
    for name, number in found.items():
        table.add_row(name, f"{number:,}")
    return table


def amount(value: float, unit: str = "ns") -> str:
    """Return a value with the unit that suits its size."""
    if unit != "ns":
        return f"{value:g} {unit}".strip()
    size, name = _scale(value)
    return f"{value / size:.3g} {name}"


def _scale(nanoseconds: float) -> tuple[float, str]:
    return next((unit for unit in _UNITS if abs(nanoseconds) >= unit[0]), _UNITS[-1])


def limit(figure: Figure) -> str:
    """Return what the figure promises: a share of the peer's, an amount, or both together."""
    parts = (figure.times and ratio(figure.times), figure.plus and amount(figure.plus, figure.unit))
    said = " + ".join(part for part in parts if part)
    return said or ("" if figure.times is None else "0")


def spread(samples: list[float], unit: str) -> str:
    """Return the median with its quarters."""
    if not samples:
        return ""
    found = Spread.of(samples)
    if found.p25 == found.p75:
        return amount(found.median, unit)
    size, name = _scale(found.median) if unit == "ns" else (1.0, unit)
    low, middle, high = (f"{value / size:.3g}" for value in (found.p25, found.median, found.p75))
    return f"{middle} {name} \\[{low}-{high}]"


def ratio(value: float | None) -> str:
    """Return a ratio as people say it: 1/85, or 1.12."""
    if value is None:
        return ""
    return f"1/{1 / value:.3g}" if 0 < value < 0.5 else f"{value:.3g}"
