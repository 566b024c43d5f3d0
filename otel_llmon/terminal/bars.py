"""Loops as bars: a line for each, those within it below it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from rich.text import Text

from otel_llmon import wording
from otel_llmon.terminal.text import GAP, SPINNER, fit, lines, plain
from otel_llmon.wording import CANCELLED, FAILED, FINISHED, PAUSED, RUNNING, STOPPED, Snapshot

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

SHORTEST, LONGEST = 8, 40
"""Characters of a bar."""
_LOOKS = {
    RUNNING: ("", "cyan"),
    PAUSED: ("‖", "blue"),
    FINISHED: ("✓", "green"),
    STOPPED: ("■", "yellow"),
    CANCELLED: ("■", "yellow"),
    FAILED: ("✗", "red"),
}
"""For each state its mark and its colour; what runs has a spinner."""
_WAITING = ("·", "dim")


class _Row(NamedTuple):
    stem: str
    shot: Snapshot


@dataclass
class Bars:
    """Loops as they are now. One object draws all the time, so that columns do not jump to and fro."""

    shots: Sequence[Snapshot] = ()
    heading: str = ""
    """What runs inside of them."""
    _widths: dict[str, int] = field(default_factory=dict)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield a line per loop, after one for the heading."""
        yield from lines(self._drawn(options.max_width), options)

    def _drawn(self, width: int) -> Iterator[Text]:
        rows = [row for shot in self.shots for row in _rows(shot, "", "")]
        cells = [_cells(row) for row in rows]
        for name in _COLUMNS:
            longest = max((cell[name].cell_len for cell in cells), default=0)
            self._widths[name] = max(longest, self._widths.get(name, 0) if rows else 0)
        shown = dict(self._widths)
        bar = _room(shown, width)
        if self.heading:
            yield Text(f"{'':{GAP}}{plain(self.heading)}", "dim")
        for row, cell in zip(rows, cells, strict=True):
            yield _line(row.shot, cell, shown, bar)


_COLUMNS = ("name", "percent", "counted", "rate", "left", "odd", "tokens")
_LEAST = ("tokens", "rate", "counted", "odd")
"""What is left out first where there is no room."""


def _rows(shot: Snapshot, stem: str, below: str) -> Iterator[_Row]:
    yield _Row(stem, shot)
    for place, each in enumerate(shot.below, 1):
        last = place == len(shot.below)
        yield from _rows(each, below + ("└ " if last else "├ "), below + ("  " if last else "│ "))


def _cells(row: _Row) -> dict[str, Text]:
    shot = row.shot
    odd = Text(", ").join(Text(note, "red" if note.endswith("failed") else "yellow") for note in wording.odd(shot))
    return {
        "name": Text.assemble((row.stem, "dim"), (plain(shot.name), "bold" if not row.stem else "")),
        "percent": Text(wording.percent(shot)),
        "counted": Text(wording.counted(shot), "dim"),
        "rate": Text("" if shot.rate is None else wording.rate(shot.rate), "cyan"),
        "left": _left(shot),
        "odd": odd,
        "tokens": Text(wording.tokens(shot) if shot.tokens else "", "magenta"),
    }


def _left(shot: Snapshot) -> Text:
    """Return the time that is left, its band in the background; of what is over, how it ended and when."""
    if shot.state == FINISHED:
        return Text(f"in {wording.duration(shot.elapsed)}", "green")
    if shot.state != RUNNING:
        after = f" after {wording.duration(shot.elapsed)}" if shot.elapsed else ""
        return Text(f"{shot.state}{after}", _LOOKS.get(shot.state, _WAITING)[1])
    middle, mark, band = wording.left(shot).partition(" (")
    return Text.assemble(middle, (mark + band, "dim"))


def _room(shown: dict[str, int], width: int) -> int:
    """Leave columns out until there is room for a bar; return the bar's width."""

    def rest() -> int:
        return width - 2 - GAP - sum(size + GAP for size in shown.values() if size) + GAP

    shown["name"] = min(shown["name"], max(width // 3, 8))
    for name in _LEAST:
        if rest() >= SHORTEST:
            break
        shown[name] = 0
    if rest() < SHORTEST:
        shown["left"] = max(min(shown["left"], shown["left"] + rest() - SHORTEST), 0)
    return max(min(rest(), LONGEST), 0)


def _line(shot: Snapshot, cells: dict[str, Text], shown: dict[str, int], bar: int) -> Text:
    mark, colour = _LOOKS.get(shot.state, _WAITING)
    if shot.state == RUNNING:
        mark = SPINNER[int(shot.elapsed * 10) % len(SPINNER)]
    parts = [Text.assemble((mark, colour), " ", fit(cells["name"], shown["name"])), _bar(shot, bar, colour)]
    for name in _COLUMNS[1:]:
        if shown[name]:
            cell = cells[name]
            right = name in ("percent", "counted", "rate")
            if right:
                cell.pad_left(max(shown[name] - cell.cell_len, 0))
            parts.append(fit(cell, shown[name]))
    return Text(" " * GAP).join(part for part in parts if part.cell_len)


def _bar(shot: Snapshot, width: int, colour: str) -> Text:
    """Return the bar, in steps of half a character; where nobody knows the total, something that moves."""
    if shot.part is None:
        if shot.state != RUNNING:
            return Text(("━" if shot.state == FINISHED else "─") * width, colour)
        length = max(width // 5, 1)
        start = int(shot.elapsed * 5) % max(width - length + 1, 1)
        return Text.assemble(("─" * start, "dim"), ("━" * length, colour), ("─" * (width - start - length), "dim"))
    full, half = divmod(int(shot.part * width * 2), 2)
    return Text.assemble(("━" * full + "╸" * half, colour), ("─" * (width - full - half), "dim"))
