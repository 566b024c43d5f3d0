"""Cells that add up: one per thread and series, written by their thread alone, summed by whoever reads.

A thread owns its cells through `threading.local`, so an update needs no lock. A dead thread's cells are folded into
the series' base at the next read. Exact on builds with and without the GIL; the figures stand in docs/decisions/.
"""

# mypy: disable-error-code="redundant-expr, unreachable"
# what is annotated as a float may be anything when a user's program calls, and is looked at for that reason

from __future__ import annotations

import math
import threading
import time
import weakref
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

from opentelemetry import trace
from opentelemetry.context import Context

LARGEST = 2.0**1000
"""Of one value; so far below the largest float that the sum of millions of them is none too large."""
LARGEST_INT = int(LARGEST)  # comparing an int with an int is the cheaper one
LOOK_EVERY = 63
"""Mask: of the values of a bucket that come without a span, the first and every 64th look for a current one."""

SCALE = 6
"""Resolution of exponential cells: 64 buckets per power of two, each 1.1 % wide."""

ZERO = -1 << 20
"""The bucket of 0, which no power of two reaches; below every other."""


def exponential(value: float) -> int:
    """Return the index i of the bucket (2^(i/64), 2^((i+1)/64)] that holds `value`, or ZERO."""
    return math.ceil(math.log2(value) * (1 << SCALE)) - 1 if value else ZERO


Refuse = Callable[[Any], "float | None"]
"""Called with what is no plain finite number; gives the number in it, or counts a refusal and gives None."""

lock = threading.RLock()  # guards cells coming and going, never an update; re-entered by finalizers and signal handlers
_thread = threading.local()


class _Alive:
    """Lives as long as its thread; a weak reference to it tells whether the thread still runs."""

    __slots__ = ("__weakref__",)


def _alive() -> weakref.ref[_Alive]:
    try:
        return _thread.alive  # type: ignore[no-any-return]
    except AttributeError:
        _thread.token = _Alive()
        _thread.alive = weakref.ref(_thread.token)
        return _alive()


Also = Callable[[float, Mapping[str, Any], Context | None], None]
"""The SDK's `record`."""

CellT = TypeVar("CellT")


class Series(Generic[CellT]):
    """One attribute set of one metric."""

    __slots__ = ("_cells", "_local", "_refuse", "attributes", "start")

    def __init__(self, attributes: Mapping[str, Any], refuse: Refuse) -> None:
        self.attributes = attributes
        self._refuse = refuse
        self.reset()

    def reset(self) -> None:
        """Forget every update, as after a fork: the parent reports its own."""
        self._local = threading.local()
        self._cells: list[tuple[weakref.ref[_Alive], CellT]] = []
        self.start = time.time_ns()

    def _own(self, cell: CellT) -> CellT:
        """Make `cell` the calling thread's."""
        with lock:
            if len(self._cells) >= 64:
                self._fold()
            self._cells.append((_alive(), cell))
            self._local.cell = cell
        return cell

    def _fold(self) -> list[CellT]:
        """Absorb the cells of dead threads; return the live ones. The caller holds the lock."""
        live = []
        for alive, cell in self._cells:
            if alive() is None:
                self._absorb(cell)
            else:
                live.append((alive, cell))
        self._cells = live
        return [cell for _, cell in live]

    def _absorb(self, cell: CellT) -> None:
        raise NotImplementedError


class SumSeries(Series[list[float]]):
    """A sum that may go down."""

    __slots__ = ("_base",)

    def reset(self) -> None:
        """Forget every update."""
        super().reset()
        self._base: float | None = None

    def add(self, value: float = 1) -> None:
        """Add `value`; what is no finite number is refused and counted."""
        if (value.__class__ is int and -LARGEST_INT <= value <= LARGEST_INT) or (
            value.__class__ is float and -LARGEST <= value <= LARGEST
        ):
            try:
                self._local.cell[0] += value
            except AttributeError:
                self._own([value])
        elif (number := self._refuse(value)) is not None:
            self.add(number)

    def _absorb(self, cell: list[float]) -> None:
        self._base = (self._base or 0) + cell[0]

    def read(self) -> float | None:
        """Return the total, or None where nothing was ever added."""
        with lock:
            cells = self._fold()
            if not cells:
                return self._base
            return (self._base or 0) + sum(cell[0] for cell in cells)


class CountSeries(SumSeries):
    """A sum that only grows."""

    __slots__ = ()

    def add(self, value: float = 1) -> None:
        """Add `value`; what is no finite number, or negative, is refused and counted."""
        if (value.__class__ is int and 0 <= value <= LARGEST_INT) or (
            value.__class__ is float and 0.0 <= value <= LARGEST
        ):
            try:
                self._local.cell[0] += value
            except AttributeError:
                self._own([value])
        elif (number := self._refuse(value)) is not None:
            self.add(number)


class GaugeSeries(Series[None]):
    """The last value that was set."""

    __slots__ = ("_value",)

    def reset(self) -> None:
        """Forget every update."""
        super().reset()
        self._value: float | None = None

    def set(self, value: float | None) -> None:
        """Report `value` from now on; None means nothing to report."""
        kind = value.__class__
        if (
            value is None
            or (kind is int and -LARGEST_INT <= value <= LARGEST_INT)
            or (kind is float and -LARGEST <= value <= LARGEST)
        ):
            self._value = value
        elif (number := self._refuse(value)) is not None:
            self.set(number)

    def read(self) -> float | None:
        """Return the last value, or None where there is none."""
        return self._value


class Witness(NamedTuple):
    """A measurement together with the sampled span in which it was taken: an exemplar to be."""

    value: float
    time: int
    trace_id: int
    span_id: int


class Seen(NamedTuple):
    """What a histogram series has seen so far. `buckets` maps a bucket's index to its count."""

    buckets: dict[int, int]
    sum: float
    low: float
    high: float
    witnesses: dict[int, Witness]


class _HistogramCell:
    __slots__ = ("counts", "high", "low", "sum", "witnesses")

    def __init__(self, counts: Any) -> None:
        self.counts = counts
        self.sum = 0.0
        self.low = math.inf
        self.high = -math.inf
        self.witnesses: dict[int, Witness] = {}

    def items(self) -> list[tuple[int, int]]:
        """Return the buckets that hold something; a copy, since the owner goes on."""
        counts = self.counts
        pairs = dict(counts).items() if isinstance(counts, dict) else enumerate(list(counts))
        return [(bucket, count) for bucket, count in pairs if count]


class HistogramSeries(Series[_HistogramCell]):
    """A distribution over fixed edges, or over exponential buckets where there are no edges.

    `also` is called with every value where a reader of the provider takes no binned histograms.
    """

    __slots__ = ("_base", "_witnesses", "also", "edges")

    def __init__(self, attributes: Mapping[str, Any], refuse: Refuse, edges: tuple[float, ...]) -> None:
        self.edges = edges
        self.also: Also | None = None
        super().__init__(attributes, refuse)

    def reset(self) -> None:
        """Forget every update."""
        super().reset()
        self._base: _HistogramCell | None = None
        self._witnesses: dict[int, Witness] = {}

    def record(self, value: float, span: trace.Span | None = None) -> None:
        """Record `value`, taken in `span`; what is no finite number, or negative, is refused and counted."""
        if self.also is not None and not self._pass_on(value, span):
            return
        try:
            cell = self._local.cell
        except AttributeError:
            cell = self._own(self._empty())
        # what lies between two values that were accepted needs no further look
        if (value.__class__ is not float and value.__class__ is not int) or not cell.low <= value <= cell.high:
            if (number := self._accepted(value)) is None:
                return
            value = number
            cell.low, cell.high = min(value, cell.low), max(value, cell.high)
        edges = self.edges
        bucket = bisect_left(edges, value) if edges else exponential(value)
        counts = cell.counts
        counts[bucket] = count = counts[bucket] + 1
        cell.sum += value
        if span is not None or count & LOOK_EVERY == 1:
            self._witness(cell, bucket, value, span)

    def record_all(self, values: Sequence[float], span: trace.Span | None = None) -> None:
        """Record many values at once; the caller sees to it that they are finite and not negative.

        Of all of them the largest becomes an exemplar.
        """
        if not values:
            return
        if self.also is not None:
            for value in values:
                self.record(value, span)
            return
        try:
            cell = self._local.cell
        except AttributeError:
            cell = self._own(self._empty())
        ordered = sorted(values)
        for bucket, count in self._spread(ordered):
            cell.counts[bucket] += count
        cell.sum += sum(ordered)
        cell.low, cell.high = min(cell.low, ordered[0]), max(cell.high, ordered[-1])
        largest = bisect_left(self.edges, ordered[-1]) if self.edges else exponential(ordered[-1])
        self._witness(cell, largest, ordered[-1], span)

    def _spread(self, ordered: list[float]) -> Iterable[tuple[int, int]]:
        """Yield how many of some values lie in which bucket: edges are fewer than values, so they are looked for."""
        if not self.edges:
            yield from Counter(map(exponential, ordered)).items()
            return
        before = 0
        for bucket, edge in enumerate(self.edges):
            upto = bisect_right(ordered, edge, before)
            yield bucket, upto - before
            before = upto
        yield len(self.edges), len(ordered) - before

    def _accepted(self, value: Any) -> float | None:
        """Return the number in `value`, or count its refusal and return None."""
        if (value.__class__ is float and 0.0 <= value <= LARGEST) or (
            value.__class__ is int and 0 <= value <= LARGEST_INT
        ):
            return value
        return self._refuse(value)

    def _pass_on(self, value: Any, span: trace.Span | None) -> bool:
        """Give `value` to the SDK; return whether it is one."""
        number = self._accepted(value)
        if number is None or self.also is None:
            return False
        self.also(number, self.attributes, None if span is None else trace.set_span_in_context(span))
        return True

    def _empty(self) -> _HistogramCell:
        return _HistogramCell([0] * (len(self.edges) + 1) if self.edges else defaultdict(int))

    def _witness(self, cell: _HistogramCell, bucket: int, value: float, span: trace.Span | None) -> None:
        """Keep the first value of each bucket since the last reading that was taken in a sampled span."""
        if bucket not in cell.witnesses:
            taken_in = span or trace.get_current_span()
            if taken_in is trace.INVALID_SPAN:
                return
            context = taken_in.get_span_context()
            if context.trace_flags.sampled and context.is_valid:
                cell.witnesses[bucket] = Witness(value, time.time_ns(), context.trace_id, context.span_id)

    def _absorb(self, cell: _HistogramCell) -> None:
        if self._base is None:
            self._base = cell
            return
        self._witnesses.update(cell.witnesses)
        for bucket, count in cell.items():
            self._base.counts[bucket] += count
        self._base.sum += cell.sum
        self._base.low = min(self._base.low, cell.low)
        self._base.high = max(self._base.high, cell.high)

    def read(self) -> Seen | None:
        """Return what was recorded since the start, or None where nothing was."""
        with lock:
            cells = self._fold()
            if self._base is not None:
                cells.append(self._base)
            if not cells:
                return None
            buckets: dict[int, int] = {}
            for cell in cells:
                for bucket, count in cell.items():
                    buckets[bucket] = buckets.get(bucket, 0) + count
                fresh, cell.witnesses = cell.witnesses, {}
                self._witnesses.update(dict(fresh))
            if not buckets:  # all that came was refused
                return None
            return Seen(
                buckets,
                math.fsum(cell.sum for cell in cells),
                min(cell.low for cell in cells),
                max(cell.high for cell in cells),
                dict(self._witnesses),
            )


def renew() -> None:
    """Give a forked child locks and a thread token of its own."""
    global lock, _thread  # noqa: PLW0603  # a child has one of each, as its parent has
    lock = threading.RLock()
    _thread = threading.local()
