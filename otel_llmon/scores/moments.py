"""Moments and durations as numbers: seconds since 1970, in UTC where no zone is named, and seconds."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt


def of_array(column: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Return an array of moments or durations as seconds, NaN where there is none."""
    unit = "datetime64[us]" if column.dtype.kind == "M" else "timedelta64[us]"
    return np.where(np.isnat(column), np.nan, column.astype(unit).astype(np.int64) / 1e6)


def of_values(column: Sequence[Any]) -> npt.NDArray[np.float64] | None:
    """Return values that are all moments or durations, or none, as seconds; None where any is something else."""
    kinds = {kind for kind in set(map(type, column)) if not _none(kind)}
    if not kinds or not all(issubclass(kind, date | timedelta | np.datetime64 | np.timedelta64) for kind in kinds):
        return None
    return np.array([np.nan if _none(type(value)) else _seconds(value) for value in column])


def _none(kind: type) -> bool:
    return kind is type(None) or kind.__name__ in ("NAType", "NaTType")


def _seconds(value: Any) -> float:
    if isinstance(value, np.datetime64 | np.timedelta64):
        return float(of_array(np.array([value]))[0])
    if isinstance(value, timedelta):
        return value.total_seconds()
    if not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day, tzinfo=UTC)
    return float((value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp())
