"""What a prediction is: a class with a bounded number of names, a number, or a text that is nobody else's business."""

from __future__ import annotations

from collections.abc import Iterable
from math import isfinite
from typing import Any, NamedTuple

from otel_llmon.errors import SettingsError
from otel_llmon.metering import values
from otel_llmon.models.converting import single

OTHER = "other"
ANOTHER = "another other"
"""The truth of an `other` that was taken for a different one: as a pair, equal names are right and no others are."""
MOST = 40
"""Classes that a metric can tell apart: their pairs are its series."""
LONGEST = 64
"""Characters of a class; what is longer, or has lines, is a text."""

_TRUE = {"false": 0.0, "true": 1.0}

CLASS, NUMBER = "classification", "regression"


class Found(NamedTuple):
    """What was predicted, or was true: `label` of a class, `number`, or neither: of a TEXT, and of NOTHING."""

    label: str | None = None
    number: float | None = None
    sent: Any = None
    """What the log record says."""


NOTHING, TEXT = Found(), Found()
"""What can be neither class nor number, and a text that is nobody's class; they differ in being themselves."""
KEPT: Any = object()
"""Stands for a text that waits for its truth."""


class Classes:
    """The names that classes go by: those given or the first that come, so many; all further ones are `other`."""

    def __init__(self, task: str | None, most: int, given: Iterable[Any] = ()) -> None:
        if task not in (None, CLASS, NUMBER):
            raise SettingsError(f"task={task!r}: expected {CLASS!r} or {NUMBER!r}")
        if type(most) is not int or not 1 <= most <= MOST:
            raise SettingsError(f"most_classes={most!r}: expected 1 to {MOST}")
        self._task, self._most = task, most
        self.given = _given(given)
        """The classes that were named, by their places."""
        if self.given:
            self._most = len(self.given)
        self._names = {name: name for name in self.given}
        self._found: dict[Any, Found] = {}

    def of(self, value: Any) -> Found:
        """Return what a prediction or a truth is: NOTHING where it can be neither class nor number nor text."""
        try:
            return self._found[value.__class__, value]
        except Exception:  # a new one, one that has no hash, or a foreign object's own code
            return self._new(value)

    def _new(self, value: Any) -> Found:
        try:
            found = self._look(single(value))
        except Exception:  # likewise
            return NOTHING
        kind = type(value)
        if found.label is not None and kind in (str, int, bool) and len(self._found) < 10 * MOST:
            self._found[kind, value] = found
        return found

    def alike(self, one: Any, other: Any) -> tuple[Found, Found]:
        """Return what a prediction and its truth are, a truth of 0 or 1 as a boolean where the prediction is one.

        Both are as `kept()` and `single()` return them.
        """
        if isinstance(one, bool) and other in (0, 1):
            other = bool(other)
        elif isinstance(other, bool) and one in (0, 1):
            one = bool(one)
        return self.of(one), self.of(other)

    def number(self, value: Any) -> Found:
        """Return the truth of a predicted number, which may be a whole one."""
        return _number(value)

    def label(self, value: Any) -> Found:
        """Return the truth of a class, which may be a whole number written as a float."""
        return self._labelled(value)

    @property
    def unnamed(self) -> tuple[str, ...]:
        """Return what stands for many classes, or for one that is called so."""
        return (ANOTHER,) if OTHER in self._names else (OTHER, ANOTHER)

    def kept(self, value: Any, found: Found) -> Any:
        """Return what of a prediction waits for its truth: its value, or that it was a text."""
        if found is TEXT or found is NOTHING:
            return KEPT
        kept = single(value)
        return kept if isinstance(kept, bool | int | float | str) else found.sent

    def _look(self, value: Any) -> Found:
        if value is KEPT:
            return TEXT
        return _number(value) if self._is_number(value) else self._labelled(value)

    def _labelled(self, value: Any) -> Found:
        name = _name(value)
        if name is not None:
            return Found(label=self._bounded(name), sent=name)
        return TEXT if isinstance(value, str) else NOTHING

    def _is_number(self, value: Any) -> bool:
        if self._task is None:
            return not isinstance(value, int | str) and hasattr(type(value), "__float__")
        return self._task == NUMBER

    def _bounded(self, name: str) -> str:
        known = self._names.get(name)
        if known is None and name and len(self._names) < self._most:
            known = self._names.setdefault(name, name)
        return known or OTHER


def _given(classes: Any) -> dict[str, int]:
    """Return the names of classes by their places; raises SettingsError for what is none."""
    expected = f'expected {MOST} names at most: ["yes", "no"]'
    if isinstance(classes, str | bytes) or not isinstance(classes, Iterable):
        raise SettingsError(f"classes={classes!r}: {expected}")
    found: dict[str, int] = {}
    for place, value in enumerate(classes):
        name = name_of(value)
        if not name:
            raise SettingsError(f"classes: found {value!r}, {expected}")
        found[name] = place
    if len(found) > MOST:
        raise SettingsError(f"classes: found {len(found)}, {expected}; name those that matter")
    return found


def _number(value: Any) -> Found:
    """Return a finite number."""
    number = values.number(value)
    try:
        finite = number is not None and isfinite(number)
    except OverflowError:  # a whole number beyond all floats
        finite = False
    return Found(number=number, sent=number) if finite else NOTHING


def number_of(found: Found) -> Any:
    """Return what was said as a number, for a reference whose labels are some; as it is where it is none."""
    if found.label is None:
        return found.sent
    try:
        return _TRUE[found.sent] if found.sent in _TRUE else float(found.sent)
    except ValueError:
        return found.sent


def name_of(value: Any) -> str | None:
    """Return the name that a value has as a class; None where it can be none."""
    try:
        return _name(single(value))
    except Exception:  # a foreign object's own code
        return None


def _name(value: Any) -> str | None:
    """Return a class's name, the same for 1, 1.0 and "1"; None for what is a text, or no single value."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int | float):
        return None if isinstance(value, float) and not isfinite(value) else values.text(value)
    if not isinstance(value, str) or len(value) > LONGEST:
        return None
    name = values.text(value)
    return name if name.isprintable() else None
