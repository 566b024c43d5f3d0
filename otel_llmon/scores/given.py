"""What those are given who watch a model: a reference or the file of one, a name, whole numbers."""

from __future__ import annotations

import os
from numbers import Integral
from typing import TYPE_CHECKING, Any

from otel_llmon.errors import SettingsError

if TYPE_CHECKING:
    from otel_llmon.scores.reference import Reference


def reference(given: Any) -> Reference:
    """Return the reference that was given, or is in the file of that name; raises SettingsError for anything else."""
    from otel_llmon.scores.reference import Reference  # which loads NumPy

    if isinstance(given, Reference):
        return given
    if not isinstance(given, str | os.PathLike):
        raise SettingsError(f"reference: found {type(given).__name__}, expected a Reference, or the file of one")
    return Reference.load(os.fspath(given))


def whole(**numbers: Any) -> None:
    """Raise SettingsError for what is no whole number of 1 or more."""
    for name, number in numbers.items():
        if isinstance(number, bool) or not isinstance(number, Integral) or number < 1:
            raise SettingsError(f"{name}={number!r}: expected a whole number of 1 or more")


def named(model: str) -> str:
    """Return a model's name; raises SettingsError where there is none."""
    if not model.strip():
        raise SettingsError(f"model {model!r}: expected a name")
    return model
