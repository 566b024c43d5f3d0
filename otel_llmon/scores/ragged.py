"""Rows by name as columns, where rows may have names of their own: in time and memory that the rows' values bound."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Mapping, Sequence
from typing import Any

RARE = 64
"""A name that fewer rows have, of so many one, is rare."""
MOST = 16
"""Rare names that become columns where nobody knows them: as many as a profile counts by name."""


def columns(rows: Sequence[Mapping[Any, Any]], known: Container[str] = ()) -> dict[Any, list[Any]]:
    """Return columns by name, None where a row has no value.

    Names that are rare and not `known` may be another one in every row; the first ones of the alphabet are kept.
    """
    found = Counter(name for row in rows for name in row)
    rare = [name for name, count in found.items() if count * RARE < len(rows) and str(name) not in known]
    dropped = set(sorted(rare, key=str)[MOST:])
    return {name: [row.get(name) for row in rows] for name in found if name not in dropped}
