"""What a prediction is: a class with a bounded number of names, a number, or a text that is nobody else's business."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from otel_llmon.errors import SettingsError
from otel_llmon.metering import values
from otel_llmon.models.converting import scalar

OTHER = "other"
MOST = 40
"""Classes that a metric can tell apart: their pairs are its series."""
LONGEST = 64
"""Characters of a class; what is longer, or has lines, is a text."""

CLASS, NUMBER = "classification", "regression"


class Found(NamedTuple):
    """What was predicted, or was true: `label` of a class, `number`, or neither of a text."""

    label: str | None = None
    number: float | None = None
    sent: Any = None
    """What the log record says."""


NOTHING = Found()
_TEXT: Any = object()
"""Stands for a text that waits."""


class Classes:
    """The names that classes go by: those given or the first that come, so many; all further ones are `other`."""

    def __init__(self, task: str | None, most: int, given: Iterable[Any] = ()) -> None:
        if task not in (None, CLASS, NUMBER):
            raise SettingsError(f"task={task!r}: expected {CLASS!r} or {NUMBER!r}")
        if type(most) is not int or not 1 <= most <= MOST:
            raise SettingsError(f"most_classes={most!r}: expected 1 to {MOST}")
        self._task, self._most = task, most
        self._given = tuple(_name(scalar(value)) or "" for value in given)
        if len(self._given) > MOST:
            raise SettingsError(f"classes: found {len(self._given)}, expected {MOST} at most; name those that matter")
        if self._given:
            self._most = len(set(self._given))
        self._names = {name: name for name in self._given}
        self._found: dict[Any, Found] = {}

    def of(self, value: Any) -> Found:
        """Return what a prediction or a truth is."""
        kind = value.__class__
        try:
            return self._found[kind, value]
        except (KeyError, TypeError):
            pass
        found = self._look(value)
        if found.label is not None and kind in (str, int, bool) and len(self._found) < 10 * MOST:
            self._found[kind, value] = found
        return found

    def alike(self, one: Any, other: Any) -> tuple[Found, Found]:
        """Return what a prediction and its truth are, a truth of 0 or 1 as a boolean where the prediction is one."""
        one, other = scalar(one), scalar(other)
        if isinstance(one, bool) and other in (0, 1):
            other = bool(other)
        elif isinstance(other, bool) and one in (0, 1):
            one = bool(one)
        return self.of(one), self.of(other)

    def number(self, value: Any) -> Found:
        """Return the truth of a predicted number, which may be a whole one."""
        number = values.number(scalar(value))
        return NOTHING if number is None else Found(number=float(number), sent=number)

    def label(self, value: Any) -> Found:
        """Return the truth of a class, which may be a whole number written as a float."""
        name = _name(scalar(value))
        return NOTHING if name is None else Found(label=self._bounded(name), sent=name)

    def kept(self, value: Any) -> Any:
        """Return what of a prediction waits for its truth: its value, True for a text."""
        found = self.of(value)
        value = scalar(value)
        return value if found is not NOTHING and isinstance(value, bool | int | float | str) else _TEXT

    def _look(self, value: Any) -> Found:
        value = scalar(value)
        if value is None:
            return NOTHING
        if self._is_number(value):
            number = values.number(value)
            return NOTHING if number is None else Found(number=number, sent=number)
        name = _name(value)
        return NOTHING if name is None else Found(label=self._bounded(name), sent=name)

    def _is_number(self, value: Any) -> bool:
        if self._task is None:
            return not isinstance(value, int | str) and hasattr(type(value), "__float__")
        return self._task == NUMBER

    def _bounded(self, name: str) -> str:
        known = self._names.get(name)
        if known is None and len(self._names) < self._most:
            known = self._names.setdefault(name, name)
        return known or OTHER


def _name(value: Any) -> str | None:
    """Return a class's name, the same for 1, 1.0 and "1"; None for what is a text, or no single value."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int | float):
        return values.text(value)
    if not isinstance(value, str) or len(value) > LONGEST or not value.isprintable():
        return None
    return values.text(value)
