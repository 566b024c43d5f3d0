"""HTML and SVG from elements: every text is escaped, and nothing in it can turn lines around or end them."""

from __future__ import annotations

import html
import unicodedata
from collections.abc import Iterable, Mapping


class Markup(str):
    """Text that is markup already."""

    __slots__ = ()


def text(value: object) -> Markup:
    """Return a text as markup: what cannot be seen, or turns what follows around, is named."""
    if isinstance(value, Markup):
        return value
    return Markup(html.escape("".join(map(_seen, str(value)))))


def _seen(char: str) -> str:
    if char in "\n\t":
        return " "
    return f"⟨U+{ord(char):04X}⟩" if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp") else char


def tag(name: str, attributes: Mapping[str, object] | None = None, *children: object) -> Markup:
    """Return an element with its children; an attribute that is None is left out."""
    given = (attributes or {}).items()
    found = "".join(f' {key}="{text(value)}"' for key, value in given if value is not None)
    return Markup(f"<{name}{found}>{joined(children)}</{name}>")


def void(name: str, attributes: Mapping[str, object]) -> Markup:
    """Return an HTML element that has no end."""
    return Markup("<" + name + "".join(f' {key}="{text(value)}"' for key, value in attributes.items()) + ">")


def joined(children: Iterable[object]) -> Markup:
    """Return texts and elements one after the other."""
    return Markup("".join(map(text, children)))


def table(headings: Iterable[object], rows: Iterable[Iterable[object]], label: str) -> Markup:
    """Return a table whose first cell of each row names it."""
    head = tag("tr", None, *(tag("th", {"scope": "col"}, heading) for heading in headings))
    body = (
        tag(
            "tr",
            None,
            *(tag("td", None, cell) if place else tag("th", {"scope": "row"}, cell) for place, cell in cells),
        )
        for cells in map(enumerate, rows)
    )
    return tag("table", {"aria-label": label}, tag("thead", None, head), tag("tbody", None, *body))
