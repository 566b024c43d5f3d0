"""What the phases of one name came to in this process so far, from the same cells that their metrics leave from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from otel_llmon import metering, phases
from otel_llmon.metering import values
from otel_llmon.semconv import attributes as key


@dataclass(frozen=True, slots=True)
class Summary:
    """What the phases of one name came to; each number is what its metric says at the next collection."""

    phase: str
    count: int
    """Phases that ended, however they did."""
    seconds: float
    errors: Mapping[str, int] = field(default_factory=dict)
    """Phases that failed, by the class of the exception."""
    items: Mapping[str, float] = field(default_factory=dict)
    """What `count()` was told."""

    @property
    def mean(self) -> float:
        """Seconds that one of them took."""
        return self.seconds / self.count

    @property
    def error_rate(self) -> float:
        """The part of them that failed, 0 to 1."""
        return sum(self.errors.values()) / self.count

    def rate(self, what: str) -> float | None:
        """Return how many of these a second of the phases dealt with; None where nothing of that name was counted."""
        return self.items[what] / self.seconds if what in self.items and self.seconds else None


def of(phase: str, pipeline: str | None = None) -> Summary | None:
    """Return what the phases of this name came to, in one pipeline or in all; None where none has ended.

    Those past a metric's cap of series are in its overflow series, and in no summary.
    """
    here = {key.PHASE: values.text(phase)} | ({} if pipeline is None else {key.PIPELINE: values.text(pipeline)})
    seen = [found for series in _series(phases._duration, here) if (found := series.read()) is not None]
    if not seen:
        return None
    return Summary(
        phase,
        sum(sum(one.buckets.values()) for one in seen),
        sum(one.sum for one in seen),
        {name: int(number) for name, number in _by(phases._errors, here, key.ERROR_TYPE).items()},
        _by(phases._items, here, key.ITEMS),
    )


def _series(instrument: metering.Instrument[Any], here: Mapping[str, str]) -> list[Any]:
    return [series for series in instrument.all() if here.items() <= series.attributes.items()]


def _by(counter: metering.Counter, here: Mapping[str, str], name: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for series in _series(counter, here):
        what = str(series.attributes[name])
        found[what] = found.get(what, 0) + (series.read() or 0)
    return found
