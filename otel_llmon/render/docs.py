"""The generated pages of the docs: every metric, attribute and setting."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from otel_llmon.semconv import Metric
from otel_llmon.semconv.events import Event

_NOTE = "<!-- Generated: `make docs` rewrites this page. -->"

_METRICS = """\
Every metric that this package emits. A point carries the attributes of its row and no others. A metric that has as many
series as it may adds up all further ones in one series that says `otel.metric.overflow`."""

_SETTINGS = """\
The environment wins over the file, the file over the defaults. A name that is not in this table is an error in both.
An empty value counts as unset, save for a list of names in the environment, where it means none.
`llmon settings` shows what is in force and where it came from."""

_EVENTS = """\
`event("checkpoint.saved", {"step": 300})` reports one of these, or anything else by a name of your own. Those in this
table mean the same in every program, and bring a severity of their own. Any further field may be given; one that is
nearly spelt like one of the event's is warned about, once. `llmon events` prints the table."""


class _Setting(NamedTuple):
    name: str
    variable: str
    default: str
    expected: str
    meaning: str


def metrics_page(rows: Iterable[Metric], meanings: Mapping[str, str]) -> str:
    """Return the page of all metrics, grouped by namespace, with the attributes' meanings and the histograms' edges."""
    rows = tuple(rows)
    namespaces = dict.fromkeys(_namespace(row.name) for row in rows)
    parts = [_NOTE, "# Metrics", _METRICS]
    for namespace in namespaces:
        parts += [f"## `{namespace}`", _metrics(row for row in rows if _namespace(row.name) == namespace)]
    parts += ["## Attributes", _table(("attribute", "meaning"), ((f"`{key}`", text) for key, text in meanings.items()))]
    parts += ["## Histogram edges", _edges(rows)]
    return "\n\n".join(parts) + "\n"


def settings_page(rows: Iterable[tuple[str, str, str, str, str]], config: str) -> str:
    """Return the page of all settings, from (name, variable, default, expected, meaning); `config` names the file."""
    settings = [_Setting(*row) for row in rows]
    table = _table(
        ("in the file", "in the environment", "default", "expected", "meaning"),
        (
            (f"`{row.name}`", f"`{row.variable}`", f"`{row.default}`" if row.default else "", row.expected, row.meaning)
            for row in settings
        ),
    )
    example = f"```yaml\n{settings[0].name}: {settings[0].default}\n```"
    parts = [_NOTE, "# Settings", _SETTINGS, f"Where `{config}` names a YAML file, it is read too:", example, table]
    return "\n\n".join(parts) + "\n"


def events_page(rows: Iterable[Event]) -> str:
    """Return the page of the events that have fields of their own, each with its fields' meanings."""
    rows = tuple(rows)
    table = _table(
        ("event", "severity", "what happened"), ((f"`{row.name}`", row.severity, row.meaning) for row in rows)
    )
    parts = [_NOTE, "# Events", _EVENTS, table, "## Fields"]
    for row in rows:
        fields = _table(("field", "meaning"), ((f"`{name}`", meaning) for name, meaning in row.fields.items()))
        parts += [f"### `{row.name}`", fields]
    return "\n\n".join(parts) + "\n"


def coverage_page(capabilities: Mapping[str, str], tests: Mapping[str, Sequence[str]]) -> str:
    """Return the page of what is proven: each capability that a test or a figure is marked with, and those."""
    counted = f"{len(tests)} of {len(capabilities)} capabilities are proven, by a test or by a figure of `make bench`."
    table = _table(
        ("row", "capability", "proven by"),
        ((row, capabilities[row].replace("|", "\\|"), "<br>".join(names)) for row, names in tests.items()),
    )
    return f"{_NOTE}\n\n# Coverage\n\n{counted}\n\n{table}\n"


def _namespace(name: str) -> str:
    """Return the first word of a metric's name, and the second as well where the first is ours."""
    words = name.split(".")
    return ".".join(words[: 2 if words[0] == "llmon" else 1])


def _metrics(rows: Iterable[Metric]) -> str:
    return _table(
        ("metric", "kind", "unit", "attributes", "series at most", "meaning"),
        (
            (
                f"`{row.name}`",
                row.kind,
                f"`{row.unit}`",
                ", ".join(f"`{key}`" for key in row.attributes),
                f"{row.cap:,}" if row.attributes else "1",
                row.description,
            )
            for row in rows
        ),
    )


def _edges(rows: Iterable[Metric]) -> str:
    users: dict[tuple[float, ...], list[str]] = {}
    for row in rows:
        if row.edges:
            users.setdefault(row.edges, []).append(f"`{row.name}`")
    return _table(
        ("metrics", "upper edges"),
        ((", ".join(names), ", ".join(f"{edge:g}" for edge in edges)) for edges, names in users.items()),
    )


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = (header, ["---"] * len(header), *rows)
    return "\n".join(f"| {' | '.join(cell.replace('|', '&#124;') for cell in line)} |" for line in lines)
