"""What is known of a loop before it runs: its phases, and how an earlier run went; both turn items into work.

Work is what takes equal time: where an item of one phase takes six times as long as an item of another, it is six times
the work. A route knows how much work lies before each item, and where one phase ends and the next one begins.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple, TypedDict, TypeGuard

from otel_llmon.errors import LlmonError
from otel_llmon.scores.history import between, thinned

LARGEST = 2.0**1000
"""Number; what is larger might overflow where it is multiplied."""
MOST_KNOTS = 32
Phase = tuple[float, float | None]
"""How many items, and how long one takes compared with the items of other phases; None where nobody knows."""


class EtaError(LlmonError, ValueError):
    """A method, a phase or an earlier run's profile cannot be used."""


class RunProfile(TypedDict):
    """How a run went, for a later one: items, seconds of active time, and pairs of (share of items, share of time)."""

    items: float
    seconds: float
    course: list[list[float]]


class Route(NamedTuple):
    """Shares of the items with the work before each, and the shares at which phases end; all from 0 to 1."""

    items: tuple[float, ...] = (0.0, 1.0)
    work: tuple[float, ...] = (0.0, 1.0)
    ends: tuple[float, ...] = (1.0,)

    @classmethod
    def of(cls, phases: Sequence[Phase], profile: RunProfile | None) -> Route:
        """Return the route by an earlier run where there was one, else by the phases' weights.

        Raise EtaError where a phase or the profile makes no sense.
        """
        ends = _shares([_items(phase) for phase in phases]) if phases else (0.0, 1.0)
        if profile is not None:
            items, work = _course(profile)
        elif phases:
            work = _shares([items * _weight(phase) for phase in phases for items in (_items(phase),)])
            items = ends
        else:
            items, work = (0.0, 1.0), (0.0, 1.0)
        return cls(items, work, tuple(between(end, items, work) for end in ends[1:]))

    @property
    def plain(self) -> bool:
        """Return whether nothing is known: every item is the same work, and there is one phase."""
        return len(self.items) == 2 and len(self.ends) == 1

    def before(self, share: float) -> float:
        """Return the share of the work that lies before a share of the items."""
        return between(share, self.items, self.work)

    def phase(self, work: float) -> int:
        """Return the number of the phase in which that share of the work lies."""
        return min(bisect_right(self.ends, work + 1e-12), len(self.ends) - 1)


def profile_of(done: Sequence[float], times: Sequence[float]) -> RunProfile:
    """Return how a finished run went, at no more than 33 points."""
    items, seconds = done[-1] - done[0], times[-1] - times[0]
    moments, places = thinned(times, done, seconds / MOST_KNOTS)
    course = [[(n - done[0]) / items, (t - times[0]) / seconds] for n, t in zip(places, moments, strict=True)]
    return {"items": items, "seconds": seconds, "course": course}


def known(profile: RunProfile) -> float:
    """Return the seconds per item of an earlier run; raise EtaError where it tells none."""
    items, seconds = (_positive(profile, key) for key in ("items", "seconds"))
    return seconds / items


def _course(profile: RunProfile) -> tuple[tuple[float, ...], tuple[float, ...]]:
    known(profile)
    try:
        items, work = zip(*((float(share), float(spent)) for share, spent in profile["course"]), strict=True)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise EtaError(f"profile's course: {error!r}, expected pairs of shares from [0, 0] to [1, 1]") from error
    for shares in (items, work):
        grows = all(before < after for before, after in pairwise(shares))
        if len(shares) < 2 or not grows or (shares[0], shares[-1]) != (0.0, 1.0):
            raise EtaError(f"profile's course: {list(shares)!r}, expected shares that grow from 0 to 1")
    return items, work


def _positive(profile: object, key: str) -> float:
    value = profile.get(key) if isinstance(profile, Mapping) else None
    if not _is_positive(value):
        raise EtaError(f"profile's {key}: {_said(value)}, expected a number above 0; give what profile() returned")
    return float(value)


def _items(phase: Phase) -> float:
    try:
        items, _ = phase
    except (TypeError, ValueError) as error:
        raise EtaError(f"phase {_said(phase)}: expected (items, weight)") from error
    if not _is_positive(items):
        raise EtaError(f"phase {_said(phase)}: expected a number of items above 0")
    return items


def _weight(phase: Phase) -> float:
    weight = 1.0 if phase[1] is None else phase[1]
    if not _is_positive(weight):
        raise EtaError(f"phase {_said(phase)}: expected a weight above 0, or None")
    return weight


def _is_positive(value: object) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value <= LARGEST


def _said(value: object) -> str:
    try:
        return repr(value)
    except ValueError:  # Python refuses to write out a number of very many digits
        return f"of a {type(value).__name__} with a number of very many digits"


def _shares(parts: Sequence[float]) -> tuple[float, ...]:
    whole = sum(parts)
    return (0.0, *(part / whole for part in list(accumulate(parts))[:-1]), 1.0)
