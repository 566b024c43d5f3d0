"""Numbers as people read them, and lines that fit a terminal."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from rich.text import Text

if TYPE_CHECKING:
    from rich.console import ConsoleOptions

GAP = 2
TIMES = "\N{MULTIPLICATION SIGN}"
SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_ASCII = str.maketrans(f"├└│─━╸✗✓■‖→·…µ{TIMES}{SPINNER}", "|`|-==x+#=>,~ux" + "|/-\\|/-\\|/")
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


def plain(text: object) -> str:
    """Return text on one line that moves no cursor: names come from whoever sends them."""
    return "".join(" " if unicodedata.category(char).startswith("C") else char for char in str(text))


def fit(text: Text, width: int) -> Text:
    """Return text of exactly this width."""
    text.truncate(width, overflow="ellipsis")
    text.pad_right(max(width - text.cell_len, 0))
    return text


def lines(given: Iterable[Text], options: ConsoleOptions) -> Iterator[Text]:
    """Cut lines at the console's edge, without blanks at their ends, in the characters that it has."""
    for line in given:
        if options.ascii_only:
            line.plain = line.plain.translate(_ASCII).encode("ascii", "replace").decode("ascii")
        line.rstrip()
        line.truncate(options.max_width, overflow="ellipsis")
        yield line
