"""A trace as a tree with bars."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from rich.text import Text

from otel_llmon.semconv.attributes import (
    EXCEPTION_MESSAGE,
    EXCEPTION_TYPE,
    GEN_AI_INPUT_TOKENS,
    GEN_AI_OUTPUT_TOKENS,
)
from otel_llmon.terminal.text import GAP, amount, counted, fit, lines, plain

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

NARROWEST_BAR = 10
DOT = " · "
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
        yield from lines(self._head(spans, options.max_width), options)
        yield from lines(_Drawing(spans[: self.most]).rows(options.max_width), options)
        if len(spans) > self.most:
            yield from lines([Text(f"… and {counted(len(spans) - self.most, 'more span')}", "dim")], options)

    def _head(self, spans: Sequence[_Row], width: int) -> Iterator[Text]:
        services = dict.fromkeys(plain(row.span.service) for row in spans)
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

    def rows(self, width: int) -> Iterator[Text]:
        """Yield the lines of all rows in this width; where a name must be cut, it is."""
        notes = max(map(len, self.notes), default=0)
        taken = max(map(len, self.durations), default=0)
        rest = width - taken - 2 * GAP - (notes + GAP if notes else 0)
        names = min(max((name.cell_len for name in self.names), default=0), max(rest - NARROWEST_BAR, rest // 2))
        for row, name, took, note in zip(self.spans, self.names, self.durations, self.notes, strict=True):
            line = fit(name, names).append(f"{'':{GAP}}{took:>{taken}}{'':{GAP}}")
            yield line.append_text(self._bar(row, max(rest - names, 1))).append(f"{'':{GAP}}{note:>{notes}}", "magenta")
            if row.failed and row.tells:
                yield _guides(row, below=True).append(plain(_error(row.span)), "red")

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
    name = _guides(row).append(mark + plain(row.span.name), row.colour if row.stem else f"bold {row.colour}")
    if row.parent is not None and row.parent.service != row.span.service:
        name.append(f" {plain(row.span.service)}", "dim")
    return name


def _note(row: _Row) -> str:
    facts = row.span.attributes
    if GEN_AI_INPUT_TOKENS in facts or GEN_AI_OUTPUT_TOKENS in facts:
        return plain(f"{facts.get(GEN_AI_INPUT_TOKENS, '?')} → {facts.get(GEN_AI_OUTPUT_TOKENS, '?')} tokens")
    return "parent missing" if row.parent is None and row.span.parent_id else ""
