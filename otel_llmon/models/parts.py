"""The parts of a prediction as they are told, checked: what cannot be taken is refused by name, the rest is taken."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from otel_llmon.metering import values
from otel_llmon.metering.cells import LARGEST
from otel_llmon.models import converting
from otel_llmon.models.classes import Found

Refuse = Callable[[str, str], None]
"""Called with the part that cannot be taken, and with what was found and expected."""


def confidence(proba: Any, found: Found, refuse: Refuse) -> float | None:
    """Return how sure a model is: the number itself, that of the class it chose, or the largest of all."""
    if proba.__class__ is float and 0.0 <= proba <= 1.0:
        return proba
    number = values.number(proba) if not isinstance(proba, Mapping | Sequence) else None
    if number is None:
        number = _of_many(proba, found)
    if number is not None and 0 <= number <= 1:
        return float(number)
    shown = type(proba).__name__ if number is None else values.shown(number)
    refuse("proba", f"found {shown}, expected 0 to 1, for the prediction or for each class")
    return None


def _of_many(proba: Any, found: Found) -> float | None:
    if isinstance(proba, Mapping):
        chosen = proba.get(found.sent)
        return values.number(max(proba.values(), default=None) if chosen is None else chosen)
    row = converting.row(proba)
    return values.number(max(row)) if row else None


def seconds(latency: Any, refuse: Refuse) -> float | None:
    """Return a latency in seconds."""
    number = latency if latency.__class__ is float else _number_of_seconds(latency)
    if number is not None and 0 <= number <= LARGEST:
        return float(number)
    shown = type(latency).__name__ if number is None else values.shown(number)
    refuse("latency", f"found {shown}, expected seconds, 0 or more, or a timedelta")
    return None


def _number_of_seconds(latency: Any) -> float | None:
    latency = converting.scalar(latency)
    return None if isinstance(latency, str) else values.number(latency)


def key(id: Any) -> str:  # noqa: A002  # as everywhere here
    """Return an id as text."""
    return id if id.__class__ is str and len(id) <= values.LONGEST else values.text(converting.scalar(id))


def metadata(given: Any, refuse: Refuse) -> Mapping[Any, Any] | None:
    """Return metadata, a mapping."""
    if given is None or isinstance(given, Mapping):
        return given
    refuse("metadata", f"found {type(given).__name__}, expected a mapping")
    return None


def named(features: Any, names: Sequence[str], refuse: Refuse) -> Mapping[Any, Any] | None:
    """Return features by name; those without names are taken in the order of `names`, or of their places."""
    found = converting.mapping(features)
    if found is not None:
        return found
    row = converting.row(features)
    if row is None:
        refuse("features", f"found {type(features).__name__}, expected values by name, or in the reference's order")
    elif names and len(row) != len(names):
        refuse("features", f"found {len(row)} values, expected {len(names)} as in the reference, or values by name")
    else:
        return dict(zip(names or map(str, range(len(row))), row, strict=True))
    return None


def column(what: str, given: Any, rows: int, refuse: Refuse) -> list[Any] | None:
    """Return a column of so many values as a list."""
    if given is None:
        return None
    found = given.tolist() if hasattr(given, "tolist") else given
    if hasattr(found, "to_pylist"):  # Arrow's
        found = found.to_pylist()
    if isinstance(found, str | bytes | Mapping) or not hasattr(found, "__len__") or len(found) != rows:
        size = f"{len(found)} values" if hasattr(found, "__len__") else type(found).__name__
        refuse(what, f"found {size}, expected a column of {rows}, as of the predictions")
        return None
    return list(found)


def every(what: str, given: Any, rows: int, refuse: Refuse) -> list[Any] | None:
    """Return a column, or one value as a column: what is said of a whole batch belongs to each of its rows."""
    if isinstance(given, int | float | timedelta | Mapping):
        return [given] * rows
    return column(what, given, rows, refuse)
