"""Whatever a program hands over, as values that OTLP can carry."""

from __future__ import annotations

import math
from typing import Any

from otel_llmon.metering.cells import LARGEST_INT

LONGEST = 256
"""Characters of an attribute value that a metric keeps; every series holds its values for good."""

LIMIT = 2**63
"""What integers are less than in OTLP."""

_SENT = (bool, float, int, type(None))


def plain(value: Any, longest: int = LONGEST) -> Any:
    """Return an attribute value that every backend can carry, of bounded size; what is no number becomes text."""
    kind = value.__class__
    if kind is not str and kind not in _SENT:
        try:
            value = _own(value)
        except Exception:  # as in text()
            return f"<{kind.__name__}>"
        kind = value.__class__
    if kind in _SENT and (kind is not int or -LIMIT <= value < LIMIT):
        return value
    return text(value, longest)


def _own(value: Any) -> Any:
    """Return the Python value in a scalar of numpy, torch or their like."""
    return value.item() if getattr(value, "ndim", None) == 0 and hasattr(value, "item") else value


def text(value: Any, longest: int = LONGEST) -> str:
    """Return `value` as text of bounded size that can be sent: half a surrogate pair would take its batch with it."""
    try:
        found = value if value.__class__ is str else str(value)
        found = found if len(found) <= longest else found[:longest]
        return found if found.isascii() else found.encode("utf-8", "replace").decode()
    except Exception:  # a foreign object's own code must not reach the caller's work
        return f"<{type(value).__name__}>"


def number(value: Any) -> float | None:
    """Return `value` as a plain number, or None where it is none; booleans are none."""
    try:
        item = getattr(value, "item", None)
        if item is not None:
            value = item()
        if isinstance(value, bool | str):
            return None
        if isinstance(value, int):
            return int(value)
        return float(value) if hasattr(type(value), "__float__") else None
    except Exception:  # a foreign object's own code: whatever it raises, there is no number in it
        return None


def length(items: object) -> int | None:
    """Return the number of items, where they can tell it and it can be counted."""
    try:
        if type(items) is range and items:  # `len` ends below what a range may hold
            found = (items[-1] - items[0]) // items.step + 1
            return found if found <= LIMIT else None
        return len(items)  # type: ignore[arg-type]
    except Exception:  # no length, or a foreign object's own failure to tell it
        return None


def shown(value: Any) -> str:
    """Return a number as a message says it; Python refuses to write out one of very many digits."""
    if not isinstance(value, int) or -LARGEST_INT <= value <= LARGEST_INT:
        return repr(value)
    return f"a {'negative ' if value < 0 else ''}number of {math.floor(math.log10(abs(value)) + 1e-9) + 1} digits"


def fitting(value: float) -> float:
    """Return a value that OTLP can carry: integers have 64 bits there, and one that has more fails the whole batch."""
    if not isinstance(value, int) or -LIMIT <= value < LIMIT:
        return value
    return math.copysign(min(abs(value), LARGEST_INT), value)
