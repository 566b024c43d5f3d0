"""What callers give: a wrong type is an error at the call, a value that makes no sense a warning and a result."""

from __future__ import annotations

import math
import sys
from collections.abc import AsyncIterable, Iterable
from typing import TYPE_CHECKING, Any

from otel_llmon import telemetry
from otel_llmon.metering import values
from otel_llmon.progress.books import COMPLETED, OUTCOMES
from otel_llmon.progress.pace import Every

if TYPE_CHECKING:
    from otel_llmon.scores.eta import Phase

MOST = 2**63
"""Items or tokens told at once, and items in all: what OTLP counts with goes no further."""


def iterable(items: Any, name: str) -> None:
    """Raise TypeError for what no loop can go over."""
    if not goes_over(items) and not isinstance(items, AsyncIterable):
        way = f"; for a number of steps give total={_short(items)}" if isinstance(items, int) else ""
        raise TypeError(f"progress {name!r}: found {_short(items)}, expected items to go over{way}")


def goes_over(items: Any) -> bool:
    """Tell whether a `for` goes over these items."""
    return isinstance(items, Iterable) or hasattr(type(items), "__getitem__")


def name(found: Any, depth: int) -> str:
    """Return the loop's name: the one given, or that of the function or file that the loop stands in."""
    if found is None:
        frame = sys._getframe(depth)  # there is no other way to it
        inner = [part for part in frame.f_code.co_qualname.split(".") if not part.startswith("<")]
        return inner[-1] if inner else _stem(frame.f_code.co_filename).strip("<>") or "progress"
    if not isinstance(found, str):
        raise TypeError(f"progress: name={_short(found)}: expected text")
    return values.text(found)


def total(found: Any, name: str) -> float | None:
    """Return how many items there are, or None where that is not known."""
    number = _number(found, f"progress {name!r}: total")
    if number is None or number == math.inf:
        return None
    if not 0 <= number <= MOST:
        what = f"total={values.shown(number)}: {_expected(number)}"
        telemetry.warn_once("progress %r: %s; going on as if it were not known", name, what)
        return None
    return number


def initial(found: Any, name: str) -> float:
    """Return how many items an earlier run has done."""
    return _counted(found, "initial", name, "progress %r: %s; going on from 0")


def amount(found: Any, what: str, name: str) -> float:
    """Return a number of items or tokens to count; 0 where it cannot be counted."""
    return _counted(found, what, name, "progress %r: %s; not counted")


def _counted(found: Any, what: str, name: str, message: str) -> float:
    number = _number(found, f"progress {name!r}: {what}")
    if number is None or not 0 <= number <= MOST:
        telemetry.warn_once(message, name, f"{what}={values.shown(number)}: {_expected(number)}")
        return 0
    return number


def outcome(found: Any, name: str) -> str:
    """Return one of OUTCOMES."""
    if not isinstance(found, str):
        raise TypeError(f"progress {name!r}: outcome={_short(found)}: expected one of {', '.join(OUTCOMES)}")
    if found not in OUTCOMES:
        telemetry.warn_once(
            "progress %r: outcome=%r: expected one of %s; counted as %s", name, found, ", ".join(OUTCOMES), COMPLETED
        )
        return COMPLETED
    return found


def every(found: Any, name: str) -> Every | None:
    """Return when to speak; None where that is never."""
    made = None if found is None else Every.of(found)
    if made is None and found is not None:
        what = f"every={values.shown(found)}: expected more than 0"
        telemetry.warn_once("progress %r: %s; going on without such log records", name, what)
    return made


def phases(found: Any, name: str) -> list[Phase]:
    """Return the phases that have items; a weight that makes no sense is one that nobody knows."""
    if found is None:
        return []
    if not isinstance(found, Iterable) or isinstance(found, str):
        raise TypeError(f"progress {name!r}: phases={_short(found)}: expected pairs of items and weight")
    return [phase for phase in (_phase(each, name) for each in found) if phase[0]]


def _phase(found: Any, name: str) -> Phase:
    try:
        given_items, given_weight = found
    except (TypeError, ValueError) as exc:
        raise TypeError(f"progress {name!r}: phase {_short(found)}: expected a pair of items and weight") from exc
    items = _counted(given_items, "items of a phase", name, "progress %r: %s; going on without that phase")
    weight = _number(given_weight, f"progress {name!r}: weight of a phase")
    if weight is not None and not 0 < weight <= MOST:
        what = f"weight of a phase={values.shown(weight)}: expected a number above 0"
        telemetry.warn_once("progress %r: %s; going on as if it were not known", name, what)
        weight = None
    return items, weight


def _number(found: Any, what: str) -> float | None:
    if found is None:
        return None
    number = values.number(found)
    if number is None:
        raise TypeError(f"{what}={_short(found)}: expected a number")
    return number


def _expected(number: float | None) -> str:
    return "expected 2**63 at most" if number is not None and number > MOST else "expected 0 or more"


def _short(found: Any) -> str:
    return values.text(values.shown(found) if isinstance(found, str | int | float) else f"a {type(found).__name__}", 80)


def _stem(file: str) -> str:
    from pathlib import Path  # with which `urllib` comes

    return Path(file).stem
