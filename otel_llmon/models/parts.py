"""The parts of a prediction as they are told, checked: what cannot be taken is refused by name, the rest is taken."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, TypeVar

from otel_llmon.metering import values
from otel_llmon.metering.cells import LARGEST
from otel_llmon.models import converting
from otel_llmon.models.classes import Classes, Found, name_of

Taken = TypeVar("Taken")
Refuse = Callable[[str, str], None]
"""Called with the part that cannot be taken, and with what was found and expected."""


def guarded(what: str, refuse: Refuse, take: Callable[[Any], Taken], given: Any) -> Taken | None:
    """Return what `take` makes of a part; None where a foreign object's own code raises, which costs this part only."""
    try:
        return take(given)
    except Exception as exc:
        refuse(what, f"found {type(given).__name__}, which raised {type(exc).__name__}")
        return None


def refuse_prediction(prediction: Any, refuse: Refuse) -> None:
    """Refuse what can be neither class nor number nor text."""
    found = "None" if prediction is None else type(prediction).__name__
    refuse("prediction", f"found {found}, expected a class or a finite number")


def confidence(proba: Any, found: Found, classes: Classes, refuse: Refuse) -> float | None:
    """Return how sure a model is: the number itself, that of the class it chose, or the largest of all."""
    if proba.__class__ is float and 0.0 <= proba <= 1.0:
        return proba
    return guarded("proba", refuse, lambda told: _confidence(told, found, classes, refuse), proba)


def _confidence(proba: Any, found: Found, classes: Classes, refuse: Refuse) -> float | None:
    proba = converting.single(proba)
    if converting.absent(proba):
        return None
    number = values.number(proba) if not isinstance(proba, Mapping | Sequence) else None
    if number is None:
        number = _of_many(proba, found, classes)
    if number is not None and 0 <= number <= 1:
        return float(number)
    shown = type(proba).__name__ if number is None else values.shown(number)
    refuse("proba", f"found {shown}, expected 0 to 1, for the prediction or for each class")
    return None


def _of_many(proba: Any, found: Found, classes: Classes) -> float | None:
    if isinstance(proba, Mapping):
        chosen = [number for name, number in proba.items() if found.label and name_of(name) == found.sent]
        return values.number(chosen[0] if chosen else max(proba.values(), default=None))
    row = converting.row(proba)
    if not row:
        return None
    place = classes.given.get(found.sent) if len(row) == len(classes.given) else None
    return values.number(max(row) if place is None else row[place])


def seconds(latency: Any, refuse: Refuse) -> float | None:
    """Return a latency in seconds."""
    if latency.__class__ is float and 0.0 <= latency <= LARGEST:
        return latency
    return guarded("latency", refuse, lambda told: _seconds(told, refuse), latency)


def _seconds(latency: Any, refuse: Refuse) -> float | None:
    latency = converting.single(latency)
    if converting.absent(latency):
        return None
    number = None if isinstance(latency, str) else values.number(latency)
    if number is not None and 0 <= number <= LARGEST:
        return float(number)
    shown = type(latency).__name__ if number is None else values.shown(number)
    refuse("latency", f"found {shown}, expected seconds, 0 or more, or a timedelta")
    return None


def key(id: Any, refuse: Refuse) -> str | None:  # noqa: A002  # as everywhere here
    """Return an id as text, the same for 5, 5.0 and "5"; None for what stands for none: None, NaN and ""."""
    if id.__class__ is str and len(id) <= values.LONGEST and id.isascii():
        return id or None
    return guarded("id", refuse, _key, id)


def _key(id: Any) -> str | None:  # noqa: A002  # likewise
    found = converting.single(id)
    if converting.absent(found):
        return None
    if isinstance(found, float) and found.is_integer():
        found = int(found)
    return values.text(str(found)) or None  # what has no text raises here


def named(features: Any, names: Sequence[str], refuse: Refuse) -> Mapping[Any, Any] | None:
    """Return features by name; those without names are taken in the order of `names`, or of their places."""
    return guarded("features", refuse, lambda told: _named(told, names, refuse), features)


def _named(features: Any, names: Sequence[str], refuse: Refuse) -> Mapping[Any, Any] | None:
    found = converting.mapping(features)
    if found is not None:
        return found
    row = converting.row(features)
    if converting.is_frame(features):
        refuse(
            "features",
            f"found {type(features).__name__} of {features.shape[0]} rows, expected one; log_batch() takes many",
        )
    elif row is None:
        refuse("features", f"found {type(features).__name__}, expected values by name, or in the reference's order")
    elif names and len(row) != len(names):
        refuse("features", f"found {len(row)} values, expected {len(names)} as in the reference, or values by name")
    else:
        return dict(zip(names or map(str, range(len(row))), row, strict=True))
    return None


def column(what: str, given: Any, rows: int | None, refuse: Refuse) -> list[Any] | None:
    """Return a column of so many values, or of any number, as a list."""
    return None if given is None else guarded(what, refuse, lambda told: _column(what, told, rows, refuse), given)


def _column(what: str, given: Any, rows: int | None, refuse: Refuse) -> list[Any] | None:
    found = given.to_numpy() if converting.is_frame(given) and hasattr(given, "to_numpy") else given
    found = found.tolist() if hasattr(found, "tolist") else found
    if hasattr(found, "to_pylist"):  # Arrow's
        found = found.to_pylist()
    if isinstance(found, str | bytes | Mapping) or not hasattr(found, "__len__"):
        refuse(what, f"found {type(given).__name__}, expected a column of values")
    elif rows not in (None, len(found)):
        refuse(what, f"found {len(found)} values, expected a column of {rows}, as of the predictions")
    else:
        return _flat(list(found))
    return None


def _flat(found: list[Any]) -> list[Any]:
    """Return the values of a matrix of one column."""
    one = all(type(each) is list and len(each) == 1 for each in found)
    return [each[0] for each in found] if one else found


def every(given: Any) -> bool:
    """Return whether a value is said of a whole batch, and belongs to each of its rows."""
    try:
        return isinstance(given, int | float | timedelta | Mapping) or getattr(given, "ndim", None) == 0
    except Exception:  # a foreign object's own code
        return False
