"""Traces and metrics as text for a terminal, drawn from plain snapshots: what `otel_llmon.backends` returns.

`Console().print(Tree(trace))`: as wide as the console, with colours where it has some, in ASCII where it knows no more.
"""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from rich.cells import cell_len
from rich.text import Text

from otel_llmon.semconv import rows
from otel_llmon.semconv.attributes import (
    EXCEPTION_MESSAGE,
    EXCEPTION_TYPE,
    GEN_AI_INPUT_TOKENS,
    GEN_AI_OUTPUT_TOKENS,
    OUTCOME,
)

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

NARROWEST_BAR = 10
GAP = 2
DOT = " · "
TIMES = "\N{MULTIPLICATION SIGN}"
_ASCII = str.maketrans(f"├└│─━✗→·…µ{TIMES}", "|`|-=x>,~ux")
_EXPECTED = ((OUTCOME, "success"), (OUTCOME, "completed"))
_Snapshot = Any
"""A frozen dataclass of `otel_llmon.backends`, which stands above us; only its fields are read."""


@dataclass(frozen=True)
class Tree:
    """A trace as a tree: durations as bars on one time line, errors marked, tokens of LLM calls beside them."""

    trace: _Snapshot
    most: int = 200
    """How many spans are drawn at most."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the lines: what the whole was, then one per span, with an error's message below its span."""
        spans = list(_tree(self.trace.spans))
        yield from _lines(self._head(spans, options.max_width), options)
        yield from _lines(_Drawing(spans[: self.most]).lines(options.max_width), options)
        if len(spans) > self.most:
            yield from _lines([Text(f"… and {counted(len(spans) - self.most, 'more span')}", "dim")], options)

    def _head(self, spans: Sequence[_Row], width: int) -> Iterator[Text]:
        services = dict.fromkeys(_plain(row.span.service) for row in spans)
        errors = sum(row.failed for row in spans)
        head = Text(DOT.join([*services, amount(self.trace.seconds, "s"), counted(len(spans), "span")]))
        if errors:
            head.append(DOT).append(counted(errors, "error"), "red")
        identity = Text(f"trace {self.trace.trace_id}", "dim")
        if head.cell_len + identity.cell_len + len(DOT) > width:
            yield identity
            yield head
        else:
            yield head.append(DOT).append_text(identity)


class _Row(NamedTuple):
    """A span, and where it stands in the tree."""

    span: _Snapshot
    stem: tuple[bool, ...]
    """For each ancestor below the root, and for the span itself: whether it is its parent's last child."""
    parent: _Snapshot | None
    leaf: bool
    tells: bool
    """Whether its error is told here, and not by a span above or below that says as much."""

    @property
    def failed(self) -> bool:
        return bool(self.span.status == "error")

    @property
    def colour(self) -> str:
        if self.failed:
            return "red"
        return "magenta" if any(key.startswith("gen_ai.") for key in self.span.attributes) else "cyan"


def _tree(spans: Sequence[_Snapshot]) -> Iterator[_Row]:
    """Yield the spans in the order of the tree; one whose parent is not there stands at the root."""
    known = {span.span_id: span for span in spans}
    children = defaultdict(list)
    for span in spans:
        children[span.parent_id if span.parent_id in known else None].append(span)
    seen: set[str] = set()
    # spans that are each other's parents hang on no root: their circle is cut at the first one
    for root in (*children[None], *spans):
        waiting: list[tuple[_Snapshot, tuple[bool, ...]]] = [(root, ())]
        while waiting:
            span, stem = waiting.pop()
            if span.span_id in seen:
                continue
            seen.add(span.span_id)
            below = [child for child in children[span.span_id] if child.span_id not in seen]
            parent = known[span.parent_id] if stem else None
            yield _Row(span, stem, parent, not below, _tells(span, parent, below))
            waiting += [(child, (*stem, child is below[-1])) for child in reversed(below)]


def _tells(span: _Snapshot, parent: _Snapshot | None, children: Iterable[_Snapshot]) -> bool:
    """Tell whether nobody beside this span says the same error: below it as well, or above it in more words."""
    error = _error(span)
    above = "" if parent is None else _error(parent)
    in_more_words = above.startswith(error) and above != error
    return not in_more_words and not any(_error(child).startswith(error) for child in children)


def _error(span: _Snapshot) -> str:
    """Return what a span says of its error."""
    if span.status != "error":
        return ""
    for event in reversed(span.events):
        told = [str(event.attributes[key]) for key in (EXCEPTION_TYPE, EXCEPTION_MESSAGE) if key in event.attributes]
        if told:
            return ": ".join(told)
    return str(span.message or "error")


class _Drawing:
    """The lines of a tree, in columns: name, duration, bar and, where there are any, notes."""

    def __init__(self, spans: Sequence[_Row]) -> None:
        self.spans = spans
        self.start = min((row.span.start for row in spans), default=0)
        self.length = max(max((row.span.end for row in spans), default=0) - self.start, 1)
        self.names = [_name(row) for row in spans]
        self.durations = [amount(row.span.seconds, "s") for row in spans]
        self.notes = [_note(row) for row in spans]

    def lines(self, width: int) -> Iterator[Text]:
        """Yield the lines of all rows in this width; where a name must be cut, it is."""
        notes = max(map(len, self.notes), default=0)
        taken = max(map(len, self.durations), default=0)
        rest = width - taken - 2 * GAP - (notes + GAP if notes else 0)
        names = min(max((name.cell_len for name in self.names), default=0), max(rest - NARROWEST_BAR, rest // 2))
        for row, name, took, note in zip(self.spans, self.names, self.durations, self.notes, strict=True):
            line = _fit(name, names).append(f"{'':{GAP}}{took:>{taken}}{'':{GAP}}")
            yield line.append_text(self._bar(row, max(rest - names, 1))).append(f"{'':{GAP}}{note:>{notes}}", "magenta")
            if row.failed and row.tells:
                yield _guides(row, below=True).append(_plain(_error(row.span)), "red")

    def _bar(self, row: _Row, width: int) -> Text:
        begin, end = ((moment - self.start) / self.length for moment in (row.span.start, row.span.end))
        left = min(int(begin * width), width - 1)
        right = min(max(round(end * width), left + 1), width)
        return Text(" " * left).append("━" * (right - left), row.colour).append(" " * (width - right))


def _guides(row: _Row, *, below: bool = False) -> Text:
    """Return the lines that lead from the root to this row, or to what is said below it."""
    guides = ["   " if ended else "│  " for ended in row.stem]
    if below:
        guides += [] if row.leaf else ["│  "]
    elif row.stem:
        guides[-1] = "└─ " if row.stem[-1] else "├─ "
    return Text().append("".join(guides), "dim")


def _name(row: _Row) -> Text:
    mark = "✗ " if row.failed else ""
    name = _guides(row).append(mark + _plain(row.span.name), row.colour if row.stem else f"bold {row.colour}")
    if row.parent is not None and row.parent.service != row.span.service:
        name.append(f" {_plain(row.span.service)}", "dim")
    return name


def _note(row: _Row) -> str:
    facts = row.span.attributes
    if GEN_AI_INPUT_TOKENS in facts or GEN_AI_OUTPUT_TOKENS in facts:
        return _plain(f"{facts.get(GEN_AI_INPUT_TOKENS, '?')} → {facts.get(GEN_AI_OUTPUT_TOKENS, '?')} tokens")
    return "parent missing" if row.parent is None and row.span.parent_id else ""


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
        plain = [Value(*map(_plain, value)) for value in self.values]
        names, series, amounts = (max(map(cell_len, column)) for column in zip(Value._fields, *plain, strict=True))
        rest = options.max_width - amounts - 2 * GAP
        names = min(names, max(rest - series, rest * 2 // 3))
        series = min(series, max(rest - names, 1))
        yield from _lines(_table(plain, (names, series, amounts)), options)


def _table(values: Sequence[Value], widths: tuple[int, int, int]) -> Iterator[Text]:
    before = ""
    for value, styles in ((Value(*Value._fields), ("dim",) * 3), *((value, ("cyan", "", "bold")) for value in values)):
        cells = zip(("" if value.metric == before else value.metric, value.series), styles, widths, strict=False)
        line = Text(" " * GAP).join(_fit(Text(text, style), width) for text, style, width in cells)
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


_SCALES = {
    "s": ((60, 1 / 60, "min"), (1, 1, "s"), (1e-3, 1e3, "ms"), (1e-6, 1e6, "µs")),
    "By": ((2**30, 2**-30, "GiB"), (2**20, 2**-20, "MiB"), (2**10, 2**-10, "KiB"), (0, 1, "B")),
}
"""For a unit: from where on, by how much, and what it is called then."""


def amount(value: float, unit: str) -> str:
    """Return a value with its unit, in a size that people read: `0.0123` of `s` is `12.3 ms`."""
    if unit.startswith("{"):
        return counted(value, unit.strip("{}").replace("_", " "))
    for least, factor, name in _SCALES.get(unit, ()):
        if abs(value) >= least:
            return f"{_digits(value * factor)} {name}"
    return _digits(value) if unit in ("", "1") else f"{_digits(value)} {unit}"


def counted(number: float, thing: str) -> str:
    """Return a number of things: `1 span`, `2 spans`."""
    return f"{_digits(number)} {thing}{'' if number == 1 or thing.endswith('s') else 's'}"


def _digits(value: float) -> str:
    """Return three digits that matter, and whole numbers in full."""
    if value == round(value):
        return f"{value:,.0f}"
    size = abs(value)
    return f"{value:.2g}" if size < 0.01 else f"{value:,.{0 if size >= 100 else 1 if size >= 10 else 2}f}"


def _plain(text: object) -> str:
    """Return text on one line that moves no cursor: names come from whoever sends them."""
    return "".join(" " if unicodedata.category(char).startswith("C") else char for char in str(text))


def _fit(text: Text, width: int) -> Text:
    """Return text of exactly this width."""
    text.truncate(width, overflow="ellipsis")
    text.pad_right(max(width - text.cell_len, 0))
    return text


def _lines(lines: Iterable[Text], options: ConsoleOptions) -> Iterator[Text]:
    """Cut lines at the console's edge, without blanks at their ends, in the characters that it has."""
    for line in lines:
        if options.ascii_only:
            line.plain = line.plain.translate(_ASCII).encode("ascii", "replace").decode("ascii")
        line.rstrip()
        line.truncate(options.max_width, overflow="ellipsis")
        yield line
