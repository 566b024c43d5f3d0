"""What doctor says: one check per line, and whether all is well."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "note", "warn", "fail"]

SIGNALS = {"traces": "trace", "metrics": "metric", "logs": "log"}
"""Each signal, and what doctor calls the one thing that it sends of it."""

TESTED = {
    "Collector": ("0.150", "1", "0.159.0"),
    "Prometheus": ("3.0", "4", "3.14.0"),
    "Jaeger": ("2.2", "3", "2.2.0"),
    "Loki": ("3.0", "4", "3.7.6"),
    "Alertmanager": ("0.27", "1", "0.31.1"),
}
"""Per server: from which version on and up to which we expect it to work, and the one that our tests run."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at, what was found, and what to do about it."""

    name: str
    state: State
    found: str
    advice: str = ""

    @classmethod
    def of(cls, name: str, state: State, reason: str) -> Check:
        """Return a check of a reason that holds its own way out, behind a semicolon."""
        found, _, advice = reason.partition("; ")
        return cls(name, state, found, advice)


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that doctor found."""

    way: Literal["stack", "embedded"]
    because: str
    mark: str
    """The name of the span and of the log, and the metric's phase."""
    trace_id: str | None
    checks: tuple[Check, ...]
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether everything arrived and can be found from one another."""
        return not any(check.state == "fail" for check in self.checks)


def of_version(server: str, version: str | None) -> tuple[State, str, str]:
    """Return state, version in words, and advice."""
    lowest, above, tested = TESTED[server]
    if not version:
        return "ok", "version unknown", ""
    if not _numbers(lowest) <= _numbers(version) < _numbers(above):
        return "warn", version, f"expected: {lowest} or newer, and below {above}; our tests run {tested}"
    return "ok", version, ""


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version.partition("-")[0])[:3])


def of_clocks(skews: Iterable[tuple[str, float]], most: float = 2.0) -> Check:
    """Return what the servers' clocks say beside ours, in seconds; a Date header knows full seconds only."""
    known = list(skews)
    off = [(server, skew) for server, skew in known if abs(skew) > most]
    if not known:
        return Check("clocks", "note", "no server told the time")
    if not off:
        return Check("clocks", "ok", f"{', '.join(server for server, _ in known)}: within {most:g} s of ours")
    told = ", ".join(f"{server} is {abs(skew):.0f} s {'ahead' if skew > 0 else 'behind'}" for server, skew in off)
    return Check("clocks", "warn", told, "set both clocks by NTP: data out of a server's window is refused")
