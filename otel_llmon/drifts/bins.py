"""What a backend needs to find drift over all processes: counts that only grow, and what they are compared with.

Every bin is there from the first collection on: of a count that appears later, a backend does not see the beginning.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from otel_llmon import metering
from otel_llmon.metering import Reading, values
from otel_llmon.scores import polynomials
from otel_llmon.scores.dense import Dense, Sums, Tally, dense
from otel_llmon.scores.profile import Profile
from otel_llmon.scores.reference import Reference
from otel_llmon.semconv import Metric
from otel_llmon.semconv import attributes as key
from otel_llmon.semconv import drift as rows

COUNTS = (rows.BIN_ROWS, rows.BIN_SCORE, rows.BIN_SHIFT)
CONSTANTS = (
    rows.REFERENCE_ROWS,
    rows.REFERENCE_STEP,
    rows.REFERENCE_LOWEST,
    rows.REFERENCE_REACH,
    rows.REFERENCE_EFFECT,
)
BEGINNING, OFTEN, TURN = 120.0, 60.0, 4
"""Seconds in which constants are told at every collection, and afterwards in one of so many stretches of so many
seconds: they are twice as many series as the counts, and never change."""

Attributes = Mapping[str, Any]


class Ledger:
    """The rows of one model and reference since the start, over all watches of both."""

    def __init__(
        self, reference: Reference, facts: Mapping[str, str], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.reference, self.series = reference.hash, dense(reference)
        self._lock = threading.Lock()
        self._tally = Tally.of(Profile(reference))
        self._clock, self._born = clock, clock()
        self._up, self._down, self._before = ([0.0] * len(self.series) for _ in range(3))
        self._hash = {key.REFERENCE: reference.hash}
        self._keys = [_keys(one, {**facts, **self._hash}) for one in self.series]
        self._constants: dict[str, list[Reading]] = {}

    def grow(self, now: Tally, before: Tally) -> None:
        """Take in what a watch has counted since it last told."""
        with self._lock:
            self._tally.grow(now, before)

    def counts(self, row: Metric) -> list[Reading]:
        """Return one of the counters, all its series."""
        found: list[Reading] = []
        with self._lock:
            for place, one in enumerate(self.series):
                keys = self._keys[place][row.name]
                numbers = self._numbers(row, place, one.sums(self._tally))
                found += map(_told, [row] * len(keys), numbers, keys)
        return found

    def _numbers(self, row: Metric, place: int, sums: Sums) -> Sequence[float]:
        if row is rows.BIN_ROWS:
            return sums.rows.tolist()  # type: ignore[no-any-return]
        if row is rows.BIN_SCORE:
            return sums.scores.tolist()  # type: ignore[no-any-return]
        return self._moved(place, sums.shift)

    def _moved(self, place: int, shift: float) -> tuple[float, float]:
        """Return a sum that goes up and down as two that only go up."""
        step, self._before[place] = shift - self._before[place], shift
        self._up[place] += max(step, 0.0)
        self._down[place] += max(-step, 0.0)
        return self._up[place], self._down[place]

    def constants(self, row: Metric) -> Sequence[Reading]:
        """Return one of what the counts are compared with, now and then."""
        age = self._clock() - self._born
        if age >= BEGINNING and int(age / OFTEN) % TURN:
            return ()
        if not self._constants:
            for one in self.series:
                for reading in _constants(one, self._hash):
                    self._constants.setdefault(reading.metric.name, []).append(reading)
        return self._constants.get(row.name, ())


_ledgers: weakref.WeakValueDictionary[tuple[str, ...], Ledger] = weakref.WeakValueDictionary()
KEPT = 64
"""Ledgers that are told though nobody writes into them any more: counters do not vanish with who counted."""


def ledger(reference: Reference, facts: Mapping[str, str]) -> Ledger:
    """Return the ledger of a model and a reference; watches of the same ones share it, so that no series has two."""
    where = (reference.hash, *facts.values())
    found = _ledgers.get(where)
    if found is None:
        _ledgers[where] = found = Ledger(reference, facts)
    _kept().pop(id(found), None)
    return found


def keep(ledger: Ledger) -> None:
    """Have a ledger told whose watch is gone."""
    kept = _kept()
    kept.pop(id(ledger), None)
    kept[id(ledger)] = ledger
    for oldest in list(kept)[:-KEPT]:
        kept.pop(oldest, None)


def _kept() -> dict[int, Ledger]:
    """Return what is forgotten when all series are: with the provider, and in a forked child."""
    return metering.instrument_of(rows.BIN_ROWS, sourced=True).memo


def ledgers() -> list[Ledger]:
    """Return the ledgers in the order in which they were begun, those that nobody writes into any more last."""
    kept = _kept()
    return sorted(_ledgers.values(), key=lambda ledger: id(ledger) in kept)


def forget() -> None:
    """Begin anew in a forked child: what was counted is its parent's."""
    _ledgers.clear()


def _constants(one: Dense, facts: Attributes) -> Iterator[Reading]:
    keys = _keys(one, facts)
    bins = keys[rows.BIN_ROWS.name]
    alone = [{name: value for name, value in each.items() if name != key.BIN_NEXT} for each in bins]
    yield from map(_told, [rows.REFERENCE_ROWS] * len(bins), one.rows.tolist(), bins)
    yield from map(_told, [rows.REFERENCE_STEP] * len(one.steps), one.steps.tolist(), alone)
    for row, numbers in ((rows.REFERENCE_LOWEST, one.lowest), (rows.REFERENCE_REACH, one.reach)):
        yield from map(_told, [row] * len(numbers), numbers.tolist(), keys[rows.BIN_SCORE.name])
    yield Reading(rows.REFERENCE_EFFECT, one.effect, {**facts, key.FEATURE: values.text(one.name)})


def _keys(one: Dense, facts: Attributes) -> dict[str, list[Attributes]]:
    """Return the attributes of a series' counters."""
    facts = {**facts, key.FEATURE: values.text(one.name)}
    names = [f"{number:02d}" for number in range(len(one.ends))]
    bins = [{**facts, key.BIN: name, key.BIN_NEXT: later} for name, later in pairwise(names)]
    ways = ("up", "down") if one.scale else ()
    return {
        rows.BIN_ROWS.name: [*bins, {**facts, key.BIN: names[-1]}],
        rows.BIN_SCORE.name: [{**facts, key.METHOD: name} for name in polynomials.NAMES],
        rows.BIN_SHIFT.name: [{**facts, key.DIRECTION: way} for way in ways],
    }


def _told(row: Metric, number: float, facts: Attributes) -> Reading:
    found: Reading = tuple.__new__(Reading, (row, number, facts))
    return found
