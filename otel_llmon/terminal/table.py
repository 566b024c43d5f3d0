"""Metrics as a table of their newest values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from rich.cells import cell_len
from rich.text import Text

from otel_llmon.semconv import rows
from otel_llmon.semconv.attributes import OUTCOME
from otel_llmon.terminal.text import GAP, TIMES, amount, fit, lines, plain

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

_EXPECTED = ((OUTCOME, "success"), (OUTCOME, "completed"))
_Snapshot = Any
"""A frozen dataclass of `otel_llmon.backends`, which stands above us; only its fields are read."""


class Value(NamedTuple):
    """The newest value of one series of a metric, in words."""

    metric: str
    series: str
    value: str


@dataclass(frozen=True)
class Table:
    """A table of metrics: name, series, newest value; of a histogram how many there were and their mean."""

    values: Sequence[Value]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield a heading and a line for each series; a name that is that of the line above is not repeated."""
        shown = [Value(*map(plain, value)) for value in self.values]
        names, series, amounts = (max(map(cell_len, column)) for column in zip(Value._fields, *shown, strict=True))
        rest = options.max_width - amounts - 2 * GAP
        names = min(names, max(rest - series, rest * 2 // 3))
        series = min(series, max(rest - names, 1))
        yield from lines(_table(shown, (names, series, amounts)), options)


def _table(values: Sequence[Value], widths: tuple[int, int, int]) -> Iterator[Text]:
    before = ""
    for value, styles in ((Value(*Value._fields), ("dim",) * 3), *((value, ("cyan", "", "bold")) for value in values)):
        cells = zip(("" if value.metric == before else value.metric, value.series), styles, widths, strict=False)
        line = Text(" " * GAP).join(fit(Text(text, style), width) for text, style, width in cells)
        yield line.append(" " * (GAP + widths[2] - cell_len(value.value))).append(value.value, styles[2])
        before = value.metric


def newest(metric: _Snapshot, series: Iterable[_Snapshot]) -> list[Value]:
    """Return the newest value of each series of a metric, each called by what tells it apart from the others."""
    told = [one for one in series if one.points]
    facts = [{"service": one.service, **one.attributes} for one in told]
    keys = _telling(_in_order(metric.name, facts), facts)
    return sorted(
        Value(metric.name, _label(about, keys), _value(one.points[-1], metric.unit))
        for one, about in zip(told, facts, strict=True)
    )


def _in_order(name: str, facts: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the keys of these series: of a metric of ours in its row's order, which has the telling ones first."""
    row = next((row.attributes for row in rows() if row.name == name), ())
    keys = dict.fromkeys(key for about in facts for key in about)
    return [*(key for key in row if key in keys), *(key for key in keys if key not in row)]


def _telling(keys: Sequence[str], facts: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the first keys that are enough to tell the series apart; a single one is told by all but its service."""

    def told_apart(by: Iterable[str]) -> int:
        return len({tuple(str(about.get(key)) for key in by) for about in facts})

    kept = list(keys)
    for key in reversed(keys):
        rest = [other for other in kept if other != key]
        if (key == "service" or len(facts) > 1) and told_apart(rest) == told_apart(kept):
            kept = rest
    return kept


def _label(about: Mapping[str, Any], keys: Iterable[str]) -> str:
    """Return the values of these keys; that all went well is what everybody expects and is left out."""
    return " ".join(str(about[key]) for key in keys if key in about and (key, about[key]) not in _EXPECTED)


def _value(point: _Snapshot, unit: str) -> str:
    if point.count is None:
        return amount(point.value, unit)
    if not point.count:
        return "none"
    return f"{point.count:,} {TIMES} {amount(point.sum / point.count, unit)}"
