"""Which column that nobody knows is one that is gone: by its name, or by its values."""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import SequenceMatcher

from otel_llmon.scores import columns, conditions, counting
from otel_llmon.scores.columns import Column
from otel_llmon.scores.features import Feature
from otel_llmon.scores.reference import FEWEST
from otel_llmon.scores.verdicts import Limits

ALIKE = 0.85
"""From 0 to 1: how like each other two spellings of one name are."""


def renamed(gone: Mapping[str, Feature | None], new: Mapping[str, Column]) -> dict[str, str]:
    """Return the new name of each column that has one, as far as that can be told."""
    found: dict[str, str] = {}
    left = dict(list(new.items())[: counting.NAMED])
    for alike in (_by_name, _by_values):
        for name, feature in list(gone.items())[: counting.NAMED]:
            match = next(
                (other for other in left if name not in found and alike(name, feature, other, left[other])), None
            )
            if match is not None:
                found[name] = match
                del left[match]
    return found


def _by_name(name: str, feature: Feature | None, other: str, column: Column) -> bool:
    if feature is not None and columns.kind_of(column) != feature.kind:
        return False
    one, two = (re.sub(r"[\W_]+", "", spelling.lower()) for spelling in (name[:128], other[:128]))
    return one == two or SequenceMatcher(None, one, two).ratio() >= ALIKE


def _by_values(_: str, feature: Feature | None, __: str, column: Column) -> bool:
    counts = counting.as_if(feature, column) if feature else None
    return (
        feature is not None
        and counts is not None
        and counts.sum() >= FEWEST
        and conditions.alike(feature, counts, Limits())
    )
