"""What keeps a feature from telling much as a part of a reference."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from otel_llmon.scores.features import MOST_LEVELS, Feature
from otel_llmon.scores.reference import FEWEST, Reference

FEW = 500
"""Rows of a reference below which only large changes can be told from chance."""
DEPENDENT = 0.99
"""Rows that depend on each other as much as can be: they rise or fall from the first to the last."""
ROWS_IN_ORDER = (
    "rises or falls through all rows, as an id or a time: later rows will differ; exclude it, or fit with --unordered"
    " (ordered=False) where rows stand in another order than that of time"
)
MOST_MISSING = 0.5
_NUMBER = re.compile(r"[\s$€£¥+-]*\d[\d.,'\s]*[\s%$€£¥]*")


class Note(NamedTuple):
    """What is to be known of a feature, or of all of them (`feature` is empty), and whether it can say nothing."""

    feature: str
    text: str
    useless: bool = False


def notes(reference: Reference) -> list[Note]:
    """Return what is to be known of a reference before it is used."""
    found = [note for feature in reference.features for note in _notes(feature, ordered=reference.ordered)]
    if reference.rows < FEW:
        found.insert(0, Note("", f"{reference.rows} rows: only large changes will be told from chance"))
    return found


def usable(reference: Reference) -> bool:
    """Return whether any feature can say anything."""
    useless = {note.feature for note in notes(reference) if note.useless}
    return any(feature.name not in useless for feature in reference.features)


def _notes(feature: Feature, *, ordered: bool) -> Iterator[Note]:
    name, rows = feature.name, feature.rows
    if rows < FEWEST:
        yield Note(name, f"{rows} rows have a value, at least {FEWEST} are needed", useless=True)
        return
    if (value := _only(feature)) is not None:
        yield Note(name, f"constant: all rows are {value}; only another value would be noticed")
    total = feature.total
    if feature.missing > MOST_MISSING * total:
        yield Note(name, f"{feature.missing / total:.0%} of rows have no value")
    if feature.infinite:
        yield Note(name, f"{feature.infinite} rows are infinite")
    if ordered and feature.effect >= DEPENDENT * rows / 30:
        yield Note(name, ROWS_IN_ORDER)
    if feature.levels and not feature.levels.whole:
        yield Note(name, f"more than {MOST_LEVELS} kinds of words: the rarer ones are counted as one")
    if feature.levels and all(map(_NUMBER.fullmatch, feature.levels.names)):
        yield Note(name, f"words that look like numbers, such as {feature.levels.names[0]!r}")


def _only(feature: Feature) -> str | None:
    """Return the value that all rows have; None where there are several."""
    if not feature.constant:
        return None
    return repr(feature.levels.names[0]) if feature.levels else f"{feature.tracks[0].low:.6g}"
