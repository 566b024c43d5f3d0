"""What a monitor's metrics say in this process: read from the cells that are exported, so that both are the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any, NamedTuple

from otel_llmon.metering.cells import Seen
from otel_llmon.scores.confusion import Errors, Quality


class Spread(NamedTuple):
    """A histogram in few numbers; its quantiles lie between what was seen.

    Within that they are as Prometheus reads them out of the buckets.
    """

    number: int
    mean: float
    low: float
    high: float
    p50: float
    p95: float
    p99: float


@dataclass(frozen=True)
class ModelReport:
    """Numbers of one model and version in this process, since it began."""

    model: str
    version: str | None
    predictions: int
    classes: Mapping[str, int]
    """Predictions by class."""
    confusion: Mapping[tuple[str, str], int]
    """Predictions whose truth is known, by prediction and truth."""
    scores: Quality | None
    """Accuracy, precision, recall and F1 of a classifier, as means of its classes and by class."""
    errors: Errors | None
    """How far off numbers were."""
    confidence: Spread | None
    duration: Spread | None
    failures: int
    outcomes: Mapping[str, int]
    waiting: int
    anomalies: int
    violations: Mapping[str, int]
    drift: Any = None
    """The verdict of the last whole window, where there is a reference."""
    quality: Any = None
    """Quality of the inputs, where there is a reference or are checks."""

    @property
    def accuracy(self) -> float | None:
        """Share of predictions that were right; None where no truth is known."""
        return None if self.scores is None else self.scores.accuracy

    @property
    def precision(self) -> float | None:
        """Mean of the classes' precision, each class as much as any other (macro); None where no truth is known."""
        return None if self.scores is None else self.scores.precision

    @property
    def recall(self) -> float | None:
        """Mean of the classes' recall, likewise."""
        return None if self.scores is None else self.scores.recall

    @property
    def f1(self) -> float | None:
        """Mean of the classes' F1, likewise."""
        return None if self.scores is None else self.scores.f1


def spread(seen: Seen | None, edges: Sequence[float]) -> Spread | None:
    """Return a histogram in few numbers; None where nothing was recorded. No quantile lies beyond what was seen."""
    if seen is None or not edges:
        return None
    count = sum(seen.buckets.values())
    quantiles = (min(max(quantile(share, seen, edges), seen.low), seen.high) for share in (0.5, 0.95, 0.99))
    return Spread(count, seen.sum / count, seen.low, seen.high, *quantiles)


def quantile(share: float, seen: Seen, edges: Sequence[float]) -> float:
    """Return a quantile as `histogram_quantile` does: by a straight line within its bucket."""
    counts = [seen.buckets.get(place, 0) for place in range(len(edges) + 1)]
    rank, below = share * sum(counts), 0
    for place, count in enumerate(counts):
        if count and below + count >= rank:
            low, high = (edges[place - 1] if place else 0.0), (edges[place] if place < len(edges) else inf)
            return edges[-1] if high == inf else low + (high - low) * (rank - below) / count
        below += count
    return edges[-1]
