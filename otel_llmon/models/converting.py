"""Whatever a program hands over of a prediction, as plain values: of NumPy and torch, moments, any object.

No library is imported here: their values are known by what they offer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import lru_cache
from math import isnan
from numbers import Real
from typing import Any

from otel_llmon.metering import values

LONGEST_SEQUENCE = 128
"""Items of a sequence that are kept."""
DEEPEST = 4
"""Levels of values within values that are kept."""

_PLAIN = frozenset((bool, float, type(None)))
_NONE = frozenset(("NAType", "NaTType"))


def plain(value: Any, longest: int, depth: int = DEEPEST) -> Any:
    """Return a value that a log record can carry: of bounded size, and of Python's own kinds."""
    kind = type(value)
    if kind in _PLAIN:
        return value
    try:
        value = scalar(value)
        if isinstance(value, Mapping) and depth:
            kept = list(value.items())[:LONGEST_SEQUENCE]
            return {values.text(key): plain(each, longest, depth - 1) for key, each in kept}
        if hasattr(value, "tolist"):  # an array or a tensor
            value = _listed(value)
        if isinstance(value, Sequence | AbstractSet) and not isinstance(value, str | bytes | bytearray) and depth:
            return [plain(each, longest, depth - 1) for each in list(value)[:LONGEST_SEQUENCE]]
    except Exception:  # a foreign object's own code must not reach the caller's work
        return f"<{kind.__name__}>"
    return values.plain(value, longest)


def scalar(value: Any) -> Any:
    """Return the Python value in a scalar of whatever library; a moment in ISO 8601, a duration in seconds."""
    kind = value.__class__
    if kind in _PLAIN or kind is str or kind is int:
        return value
    value = _unwrapped(value)
    match value:
        case Enum():
            return scalar(value.value)
        case datetime() | date() | time():
            return None if kind.__name__ in _NONE else value.isoformat()
        case timedelta():
            return value.total_seconds()
        case bytes() | bytearray():
            return value.decode("utf-8", "replace")
    return None if kind.__name__ in _NONE else value


def single(value: Any) -> Any:
    """Return the one value in an array, a column or a list of one as `scalar()` does; all else as it is."""
    kind = value.__class__
    if kind in _PLAIN or kind is str or kind is int:
        return value
    for _ in range(DEEPEST):
        found = value if isinstance(value, list | tuple) else _column_of_one(value)
        if found is None or len(found) != 1:
            break
        value = found[0]
    return scalar(value)


def _column_of_one(value: Any) -> Any:
    """Return the values of an array or a column of one; None for any other, whose values are not read."""
    if isinstance(value, str | bytes | Mapping):
        return None
    form = getattr(value, "shape", None)
    if form and all(int(length) == 1 for length in form):
        method = getattr(value, "tolist", None) or getattr(value, "to_list", None)  # polars has the other one
    else:
        method = getattr(value, "to_pylist", None)  # Arrow's
        method = method if method is not None and len(value) == 1 else None
    return None if method is None else method()


def absent(value: Any) -> bool:
    """Return whether what `single()` made of a value stands for none: None, which NaT and NA are too, and NaN."""
    return value is None or (isinstance(value, float | Decimal) and isnan(value))


def counted(value: Any) -> Any:
    """Return a value as a column takes it: one of a kind that nobody knows as its text, so that it spoils no other."""
    try:
        found = numeric(value)
        if isinstance(found, int | float | str | list | tuple | None) or hasattr(type(found), "__array__"):
            return found
        if isinstance(found, Mapping):
            return {}
        return found if isinstance(found, Real | Decimal) else _stand_in(type(found).__name__)(values.text(found))
    except Exception:  # a foreign object's own code
        return unreadable(value)


def unreadable(value: Any) -> _StandIn:
    """Return what stands for a value whose own code raises."""
    return _stand_in(type(value).__name__)(f"<{type(value).__name__}>")


class _StandIn:
    """The text of an object, in a class that is called as the object's: types are told by their names."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __str__(self) -> str:
        return self._text


@lru_cache(maxsize=256)
def _stand_in(name: str) -> type[_StandIn]:
    return type(name, (_StandIn,), {})


def numeric(value: Any) -> Any:
    """Return a value as a number: a moment in seconds since 1970, in UTC where it names no zone."""
    value = _unwrapped(value)
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=UTC).timestamp()
    return value.total_seconds() if isinstance(value, timedelta) else value


def _unwrapped(value: Any) -> Any:
    """Return the value in a scalar of NumPy's, torch's or Arrow's."""
    if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):
        return _item(value)
    return value.as_py() if hasattr(value, "as_py") else value


def _item(value: Any) -> Any:
    """Return what a scalar holds; NumPy gives bare numbers for moments that are finer than Python's."""
    if getattr(getattr(value, "dtype", None), "kind", "") in ("m", "M"):
        value = value.astype(f"{value.dtype.name[: value.dtype.name.index('64')]}64[us]")
    return value.item()


def _listed(value: Any) -> Any:
    """Return the values of an array in rows; of a large one only its form, which is read without the values."""
    form = tuple(getattr(value, "shape", ()))
    size = 1
    for length in form:
        size *= int(length)
    if size > LONGEST_SEQUENCE:
        return f"<{type(value).__name__} {'x'.join(str(int(length)) for length in form)}>"
    return value.tolist()


def mapping(features: Any) -> Mapping[Any, Any] | None:
    """Return features by name, where they have names: a mapping, a row of a frame, a model of pydantic, a record."""
    if isinstance(features, Mapping):
        return dict(features)
    if is_frame(features):
        return _of_frame(features)
    for method in ("_asdict", "model_dump", "to_dict"):  # a named tuple, pydantic, a pandas Series
        found = getattr(features, method, None)
        if callable(found):
            named = found()
            return named if isinstance(named, Mapping) else None
    if hasattr(features, "__dataclass_fields__") and not isinstance(features, type):
        return {name: getattr(features, name) for name in features.__dataclass_fields__}
    return None


def is_frame(features: Any) -> bool:
    """Return whether features are a frame: of pandas, polars or Arrow."""
    return len(getattr(features, "shape", ())) == 2 and hasattr(features, "columns")


def _of_frame(frame: Any) -> Mapping[Any, Any] | None:
    """Return the row of a frame of one by name; None where it has none, or several."""
    if frame.shape[0] != 1:
        return None
    names = getattr(frame, "column_names", frame.columns)  # Arrow has both, and its `columns` are no names
    return {name: _column_of_one(frame[name])[0] for name in names}


def row(features: Any) -> list[Any] | None:
    """Return features without names in their order; None where they are none."""
    if isinstance(features, str | bytes | bytearray | AbstractSet):
        return None
    if hasattr(features, "tolist"):
        found = features.tolist()
        while isinstance(found, list) and len(found) == 1 and isinstance(found[0], list):  # a row as a matrix
            found = found[0]
        return found if isinstance(found, list) and not any(isinstance(each, list) for each in found) else None
    return list(features) if isinstance(features, Sequence) else None
