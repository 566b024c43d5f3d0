"""What can be asked of a column: each function returns a check, which says how many values it saw and how many failed.

A value is asked for what it is worth: what is missing is missing and nothing else, text among numbers has a wrong type
and is in no range, an infinity is not finite. So each fault is counted once, by the check that is about it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, NamedTuple

import numpy as np

from otel_llmon.errors import LlmonError
from otel_llmon.scores import columns, patterns, usual
from otel_llmon.scores.columns import HUGE
from otel_llmon.scores.contents import Flags, Values
from otel_llmon.scores.features import Feature
from otel_llmon.scores.usual import Usual

TYPES = ("number", "integer", "string", "boolean", "datetime", "duration", "vector")
"""What `of_type` knows."""
_ALSO = {"number": ("integer", "boolean", "datetime", "duration")}
"""What is as good as the type that was asked for."""


class CheckError(LlmonError, ValueError):
    """A check that cannot be made."""


class Outcome(NamedTuple):
    """How many values a check saw, how many failed, and one that did."""

    seen: int
    failed: int = 0
    example: Any = None


@dataclass(frozen=True)
class Check:
    """A question to a column. More than a share `at_most` of failures is a violation, unless `usual` explains it.

    `bounds` hold where all the check asks is that no value is missing, or beyond them: then many columns are asked at
    once. `fitted` makes the check out of a feature of the reference, None where it has no answer to that feature.
    """

    name: str
    count: Callable[..., Outcome]
    at_most: float = 0.0
    bounds: tuple[float, float] | None = None
    usual: Usual | None = None
    fitted: Callable[[Feature | None], Check | None] | None = None
    timed: bool = False
    """Whether it is told the time: `count(values, now=...)`."""
    several: bool = False
    """Whether it can be asked of several columns at once."""


def _check(name: str, count: Callable[..., Outcome], at_most: float, **more: Any) -> Check:
    if not name or not str(name).isprintable():
        raise CheckError(f"a check named {name!r}: expected a name")
    if not _is_number(at_most) or not 0 <= at_most <= 1:
        raise CheckError(f"{name}: at_most={at_most!r}: expected a share, from 0 to 1")
    return Check(name, count, at_most, **more)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def missing(at_most: float = 0.0, *, also: Iterable[Any] = ()) -> Check:
    """Ask that there is a value; `also` are values that stand for none, such as `""` or `-999`."""
    words = _levels("missing: also", also)

    def count(values: Values) -> Outcome:
        gone = len(values) - values.present
        if words:
            gone += sum(rows for word, rows in values.counted.items() if word in words)
        return Outcome(len(values), gone)

    return _check("missing", count, at_most, bounds=None if words else (-math.inf, math.inf))


def finite(at_most: float = 0.0) -> Check:
    """Ask that numbers are finite."""

    def count(values: Values) -> Outcome:
        odd = values.infinite
        return Outcome(len(odd) + len(values.finite), len(odd), float(odd[0]) if len(odd) else None)

    return _check("finite", count, at_most, bounds=(-HUGE, HUGE))


def within(low: float | None, high: float | None = None, *, at_most: float = 0.0, name: str = "range") -> Check:
    """Ask that numbers are `low` or more and `high` or less; None leaves a side open."""
    least, most = -math.inf if low is None else low, math.inf if high is None else high
    if not (_is_number(least) and _is_number(most) and least <= most):
        raise CheckError(f"{name}: found {low!r} to {high!r}, expected two numbers, the lower one first")

    def count(values: Values) -> Outcome:
        return _failing(values.finite, (values.finite < least) | (values.finite > most))

    return _check(name, count, at_most, bounds=(float(least), float(most)))


def positive(*, at_most: float = 0.0) -> Check:
    """Ask that numbers are more than 0."""
    return within(math.ulp(0.0), at_most=at_most, name="positive")


def probability(*, at_most: float = 0.0) -> Check:
    """Ask that numbers are from 0 to 1."""
    return within(0, 1, at_most=at_most, name="probability")


def binary(*, at_most: float = 0.0) -> Check:
    """Ask that numbers are 0 or 1."""

    def count(values: Values) -> Outcome:
        return _failing(values.finite, (values.finite != 0) & (values.finite != 1))

    return _check("binary", count, at_most)


def _failing(found: Any, failing: Flags) -> Outcome:
    failed = int(np.count_nonzero(failing))
    return Outcome(len(found), failed, found[failing][0].item() if failed else None)


def one_of(levels: Iterable[Any], *, at_most: float = 0.0) -> Check:
    """Ask that values are some of these; 1, 1.0 and "1" are the same."""
    known = _levels("set", levels)
    if not known:
        raise CheckError("set: found no values, expected one at least")
    return _check("set", lambda values: _of_words(values, lambda word: word[: columns.LONGEST] in known), at_most)


def _levels(what: str, given: Any) -> frozenset[str]:
    if isinstance(given, str | bytes) or not isinstance(given, Iterable):
        raise CheckError(f"{what}: found {given!r}, expected a collection of values")
    found = [value for value in given if not columns.absent(value)]
    levels = [columns.level(value) for value in found]
    odd = next((value for value, level in zip(found, levels, strict=True) if level is None), None)
    if odd is not None:
        raise CheckError(f"{what}: found {odd!r}, expected words and numbers")
    return frozenset(level for level in levels if level is not None)


def matches(pattern: str, *, at_most: float = 0.0, longest: int = patterns.LONGEST, ignore_case: bool = False) -> Check:
    """Ask that the whole of a text matches a regular expression; a text of more than `longest` characters does not.

    It takes a time that grows with the text's length and no faster, whatever the pattern and the text are. Patterns
    for which that cannot be had (some with look-around or references back) are refused with PatternError.
    """
    accepts = patterns.matcher(pattern, ignore_case=ignore_case)
    return _check(
        "pattern", lambda values: _of_words(values, lambda word: len(word) <= longest and accepts(word)), at_most
    )


def _of_words(values: Values, accepts: Callable[[str], bool]) -> Outcome:
    counted = values.counted
    bad = {word: rows for word, rows in counted.items() if not accepts(word)}
    return Outcome(counted.total(), sum(bad.values()), min(bad, default=None))


def of_type(kind: str, *, at_most: float = 0.0) -> Check:
    """Ask that values are of a type: "number", "integer", "string", "boolean", "datetime", "duration", "vector".

    Whole floats are integers, since frames make floats of integers where some are missing.
    """
    if kind not in TYPES:
        raise CheckError(f"type: found {kind!r}, expected one of {', '.join(TYPES)}")
    good = (kind, *_ALSO.get(kind, ()))

    def count(values: Values) -> Outcome:
        types = values.types
        wrong = types.total() - sum(types[one] for one in good)
        if kind == "integer" and types["number"]:
            wrong -= types["number"] - int(np.count_nonzero(values.finite % 1))
        return Outcome(
            types.total(), wrong, next((name for name in types if name not in good), None) if wrong else None
        )

    return _check("type", count, at_most, bounds=(-math.inf, math.inf) if kind == "number" else None)


def unique(*, at_most: float = 0.0) -> Check:
    """Ask that no value comes twice in a table; of several columns, no row."""

    def count(*parts: Values) -> Outcome:
        if len(parts) == 1:
            rows = parts[0].present
            return Outcome(rows, rows - len(_distinct(parts[0])))
        rows = len(parts[0])
        return Outcome(rows, rows - len(set(zip(*map(_hashable, parts), strict=True))))

    return _check("unique", count, at_most, several=True)


def _distinct(values: Values) -> Any:
    if isinstance(values.column, np.ndarray) and values.column.ndim == 1:
        return np.unique(values.column[~values.absent])
    return {value for value, gone in zip(_hashable(values), values.absent, strict=True) if not gone}


def _hashable(values: Values) -> Sequence[Any]:
    """Return each row's value as something to compare; NaN is like NaN here."""
    if isinstance(values.column, np.ndarray) and values.column.ndim == 2:
        return [row.tobytes() for row in np.ascontiguousarray(values.column)]
    if isinstance(values.column, np.ndarray):
        return [None if gone else value for value, gone in zip(values.column.tolist(), values.absent, strict=True)]
    return [value if isinstance(value, str) else repr(value) for value in values.column]


def fresh(within: float | timedelta, *, ahead: float | timedelta = 60.0, at_most: float = 0.0) -> Check:
    """Ask that moments are no more than `within` seconds ago, and no more than `ahead` seconds from now.

    Both may be timedeltas. Moments are datetimes, UTC unless they say their zone, texts in ISO 8601, or seconds since
    1970.
    """
    oldest, newest = _seconds(within), _seconds(ahead)
    if oldest is None or not oldest > 0:
        raise CheckError(f"fresh: found {within!r}, expected more than 0 seconds, or a timedelta")
    if newest is None or not newest >= 0:
        raise CheckError(f"fresh: ahead={ahead!r}: expected 0 seconds or more, or a timedelta")

    def count(values: Values, *, now: float) -> Outcome:
        ages = now - values.moments
        return Outcome(len(ages), int(np.count_nonzero((ages > oldest) | (ages < -newest))))

    return _check("fresh", count, at_most, timed=True)


def _seconds(value: Any) -> float | None:
    if isinstance(value, timedelta):
        return value.total_seconds()
    return float(value) if _is_number(value) else None


def outliers(beyond: float = 3.0, *, at_most: float = 0.01) -> Check:
    """Ask that numbers are no more than so many deviations from the middle of the reference.

    Middle and deviations are those of the reference's quartiles, so the window cannot hide its outliers by having many.
    """
    if not _is_number(beyond) or not beyond > 0:
        raise CheckError(f"outliers: beyond={beyond!r}: expected more than 0 deviations")

    def fitted(feature: Feature | None) -> Check | None:
        ends = None if feature is None else usual.limits(feature, beyond)
        if feature is None or ends is None:
            return None
        return replace(within(*ends, at_most=at_most, name="outliers"), usual=usual.outside(feature, *ends))

    return _check("outliers", lambda _: Outcome(0), at_most, fitted=fitted)


def satisfies(name: str, function: Callable[..., Any], *, at_most: float = 0.0) -> Check:
    """Ask a function of yours: it is called with the column, an array of numbers or a list, and returns who passes.

    That is a boolean for each row, or one for all. Of several columns it gets each as an argument. Rows with a value
    missing are not counted. One that raises fails nothing and is a violation of its own.
    """
    if not callable(function):
        raise CheckError(f"{name}: found {function!r}, expected a function")

    def count(*parts: Values) -> Outcome:
        there = ~np.logical_or.reduce([values.absent for values in parts])
        passed = np.asarray(function(*(values.column for values in parts)), dtype=bool)
        if passed.shape not in ((), there.shape):
            raise CheckError(
                f"{name}: found an answer of shape {passed.shape}, expected one of {there.shape}, or one boolean"
            )
        rows = int(np.count_nonzero(there))
        return Outcome(rows, int(np.count_nonzero(there & ~passed)))

    return _check(name, count, at_most, several=True)


def of_reference(feature: Feature) -> list[Check]:
    """Return what a feature is asked unless somebody says otherwise: whether it is as it was."""
    return [check for check in _KINDS[feature.kind](feature) if check is not None]


def _numeric(feature: Feature) -> list[Check | None]:
    found = [_missing(feature), of_type("number"), replace(finite(), usual=usual.infinite(feature))]
    if not feature.rows:
        return [*found]
    track = feature.tracks[0]
    known = replace(within(track.low, track.high), usual=usual.beyond_range(feature))
    fitted = outliers().fitted
    return [*found, known, fitted(feature) if fitted else None]


def _missing(feature: Feature) -> Check:
    return replace(missing(), usual=usual.missing(feature))


def _categorical(feature: Feature) -> list[Check | None]:
    kind = _check("type", _words, 0.0)
    if not feature.rows or feature.levels is None or not feature.levels.whole:
        return [_missing(feature), kind]
    return [_missing(feature), kind, replace(one_of(feature.levels.names), usual=usual.unseen(feature))]


def _words(values: Values) -> Outcome:
    """Count what is no word: vectors and mappings. Numbers are words where a reference has categories."""
    return Outcome(values.present, columns.words(values.column).refused)


def _text(feature: Feature) -> list[Check | None]:
    return [_missing(feature), _check("type", _words, 0.0)]


def _embedding(feature: Feature) -> list[Check | None]:
    return [_missing(feature), of_type("vector"), finite()]


_KINDS: dict[str, Callable[[Feature], list[Check | None]]] = {
    "numeric": _numeric,
    "categorical": _categorical,
    "text": _text,
    "embedding": _embedding,
}
