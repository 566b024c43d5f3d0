"""The first of some targets that is up: breakers, checks, or anything else that says so."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol, TypeVar

from otel_llmon.errors import NoneUpError, SettingsError
from otel_llmon.events import note
from otel_llmon.metering import values
from otel_llmon.semconv import attributes as key

EVENT = "llmon.failover"
"""Name of the span events."""


class Target(Protocol):
    """What may be up or down, such as a breaker or what a check found; None where nobody knows."""

    @property
    def name(self) -> str:
        """What it is called."""

    @property
    def up(self) -> bool | None:
        """Whether it is worth a call."""


TargetT = TypeVar("TargetT", bound=Target)


def first_up(targets: Iterable[TargetT]) -> TargetT:
    """Return the first of the targets that is not known to be down.

    Where that is not the first of all, the current span gets an event `llmon.failover`. Raises NoneUpError where all
    are down, SettingsError for what is no target.
    """
    wanted: list[TargetT] = _listed(targets)
    for target in wanted:
        if target.up is not False:
            if target is not wanted[0]:
                names = values.text(wanted[0].name), values.text(target.name)
                note(EVENT, dict(zip((key.FAILOVER_FROM, key.FAILOVER_TO), names, strict=True)))
            return target
    names_of_all = ", ".join(repr(target.name) for target in wanted) or "no target"
    raise NoneUpError(f"{names_of_all}: none is up; call again later, or add a target")


def _listed(targets: Any) -> list[Any]:
    if not isinstance(targets, Iterable):
        raise SettingsError(f"first_up: found {targets!r}, expected several: first_up([local, hosted])")
    found = list(targets)
    for target in found:
        if not (hasattr(target, "name") and (hasattr(type(target), "up") or hasattr(target, "up"))):
            raise SettingsError(f"first_up: found {target!r}, expected breakers, checks, or what has `name` and `up`")
    return found
