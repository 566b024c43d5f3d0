"""Where the parts of each feature stand in a profile's arrays, and all numeric features as one table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

import numpy as np
import numpy.typing as npt

from otel_llmon.scores import polynomials
from otel_llmon.scores.binning import CELLS, Ints, codes, wide
from otel_llmon.scores.columns import Floats
from otel_llmon.scores.correlation import Correlation
from otel_llmon.scores.features import Feature


@dataclass(frozen=True)
class Plan:
    """Where the parts of each feature stand in a profile's arrays, and what a numeric one is counted with."""

    features: Sequence[Feature]
    correlation: Correlation | None

    @cached_property
    def tracks(self) -> list[int]:
        """Return each feature's first track."""
        return list(accumulate((len(found.tracks) for found in self.features), initial=0))[:-1]

    @cached_property
    def of_names(self) -> dict[str, int]:
        """Return each feature's first track by the feature's name."""
        return {feature.name: track for feature, track in zip(self.features, self.tracks, strict=True)}

    @cached_property
    def pairs(self) -> dict[int, int]:
        """Return where each feature stands among the correlated ones."""
        found = self.correlation.features if self.correlation else ()
        return {feature: place for place, feature in enumerate(found)}

    @cached_property
    def steps(self) -> Floats:
        """Return the normal steps of every bin, a row per correlated feature."""
        size = max((track.binning.size for feature in self.features for track in feature.tracks), default=1)
        found = np.zeros((len(self.pairs), size))
        for feature, place in self.pairs.items():
            counts = np.array(self.features[feature].tracks[0].counts, dtype=np.float64)
            found[place, : len(counts)] = polynomials.normal_steps(counts)
        return found

    @cached_property
    def normal(self) -> npt.NDArray[np.float32]:
        """Return the same in single precision, which is exact and half as large."""
        return self.steps.astype(np.float32)

    @cached_property
    def matrix(self) -> Matrix:
        """Return what numeric features are counted with all at once."""
        return Matrix(self)


class Matrix:
    """All numeric features as arrays: bins by one table for all, a row per feature."""

    def __init__(self, plan: Plan) -> None:
        features = plan.features
        numeric = [place for place, found in enumerate(features) if found.kind == "numeric"]
        self.features = np.array(numeric, dtype=np.int64)
        self.others = np.setdiff1d(np.arange(len(features)), self.features)
        self.known = np.array([bool(features[place].tracks) for place in numeric], dtype=bool)
        self.tracks = np.array([plan.tracks[place] for place in numeric if features[place].tracks], dtype=np.int64)
        binnings = [features[place].tracks[0].binning for place in numeric if features[place].tracks]
        self.searched = [place for place, found in enumerate(binnings) if found.grid == "search"]
        self.edges = [np.asarray(found.edges) for found in binnings]
        self.origins = np.array([found.origin for found in binnings])[:, None]
        self.units = np.array([found.unit for found in binnings])[:, None]
        self.bases = np.array([found.base for found in binnings], dtype=np.int64)[:, None]
        self.wide = np.array([found.grid == "wide" for found in binnings], dtype=bool)
        self.size = max((found.size for found in binnings), default=1) + 1  # one more for what is not counted
        starts = np.arange(len(binnings))[:, None] * self.size
        tables = [np.zeros(CELLS, dtype=np.int64) if found.grid == "search" else found.table for found in binnings]
        self.table = (np.array(tables, dtype=np.int64).reshape(-1, CELLS) + starts).ravel()
        self.starts, self.cells = starts, np.arange(len(binnings))[:, None] * CELLS
        self.pairs = np.array([plan.pairs.get(place, -1) for place in numeric if features[place].tracks])
        self.normal = np.zeros(len(binnings) * self.size, dtype=np.float32)
        for place, feature in enumerate(self.features[self.known]):
            if feature in plan.pairs:
                steps = plan.normal[plan.pairs[feature], : self.size - 1]
                self.normal[place * self.size : place * self.size + len(steps)] = steps

    def bins(self, values: Floats) -> tuple[Ints, Ints]:
        """Return bins, those of each feature behind those of the one before, and the sums in whole units."""
        found = codes(values, self.origins, self.units)
        totals = found.sum(axis=1)
        if self.wide.any():
            found[self.wide] = wide(values[self.wide] - self.origins[self.wide], self.bases[self.wide])
        np.clip(found, 0, CELLS - 1, out=found)
        found += self.cells
        bins = self.table.take(found, mode="clip")
        for place in self.searched:
            bins[place] = np.searchsorted(self.edges[place], values[place], side="left") + self.starts[place]
        return bins, totals
