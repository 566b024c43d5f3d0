"""What a loop pays for being watched, per item, beside tqdm in the same round; tqdm writes into memory.

Updates are those of a bar that has run for a while: until tqdm has drawn twice it asks for the time at each of them,
which costs half as much again.
"""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import tqdm

from benchmarks.figures import Figure
from benchmarks.scenes import pipeline
from benchmarks.timing import Loop, Place
from otel_llmon import progress, telemetry

ITEMS = 100_000
UPDATES = 200_000
WARM = 0.3
"""Seconds that a bar has run when its updates are measured; tqdm draws each 0.1 s."""
LIST = 3 if sys.version_info < (3, 12) else 8
"""Nanoseconds where tqdm takes 94. Since 3.12 a bare `for` over a list has a bytecode of its own."""


def at(level: int) -> Place:
    """Return the place of loops at this level."""

    @contextmanager
    def place() -> Iterator[dict[str, Any]]:
        with pipeline(level) as made:
            before, telemetry.state.progress_bar = telemetry.state.progress_bar, "off"
            try:
                yield made | {
                    "progress": progress,
                    "tqdm": lambda *args, **given: tqdm.tqdm(*args, file=io.StringIO(), **given),
                    "items": [None] * ITEMS,
                    "whole": range(ITEMS),
                    "iter": iter,
                    "three": [1, 2, 3],
                    "ours": progress(name="updates"),
                }
            finally:
                telemetry.state.progress_bar = before

    return place


def _running(amount: int, bar: Callable[[], Any]) -> Loop:
    """Return updates by `amount`, of a bar that runs already."""

    @contextmanager
    def place() -> Iterator[dict[str, Any]]:
        with _DETAILED():
            shown, until = bar(), time.monotonic() + WARM
            while time.monotonic() < until:
                for _ in range(1_000):
                    shown.update(amount)
            yield {"bar": shown}

    return Loop("bar.update()" if amount == 1 else f"bar.update({amount})", place, UPDATES)


def _ours() -> Any:
    return progress(name="updates")


def _its() -> Any:
    return tqdm.tqdm(file=io.StringIO())


@dataclass(frozen=True)
class Added:
    """What a loop costs per item over the bare loop, both measured in one sample."""

    loop: Loop
    bare: Loop

    @property
    def most(self) -> int | None:
        """As many samples as rounds."""
        return None

    def __call__(self) -> float:
        """Return CPU nanoseconds per item."""
        return max(self.loop() - self.bare(), 0.0)


def _over(items: str, place: Place) -> Loop:
    return Loop(f"for _ in {items}: pass", place, 4, per=ITEMS)


_DETAILED = at(telemetry.DETAILED)


def _added(ours: str, bare: str, level: Place = _DETAILED) -> Added:
    return Added(_over(ours, level), _over(bare, level))


_TQDM = _added("tqdm(iter(items))", "iter(items)")

FIGURES = (
    Figure("progress(list)", _added('progress(items, "x")', "items"), _added("tqdm(items)", "items"), LIST / 94),
    Figure("progress(range)", _added('progress(whole, "x")', "whole"), _added("tqdm(whole)", "whole"), 0.45),
    Figure("progress(iterable)", _added('progress(iter(items), "x")', "iter(items)"), _TQDM, 0.45),
    Figure(
        "progress(iterable), disabled",
        _added('progress(iter(items), "x")', "iter(items)", at(telemetry.DISABLED)),
        _TQDM,
        0.45,
    ),
    Figure("update()", _running(1, _ours), _running(1, _its), 0.6),
    Figure("update(32)", _running(32, _ours), _running(32, _its), 0.7),
    Figure('update(1, "failed", tokens=512)', Loop('ours.update(1, "failed", 512)', _DETAILED, 50_000)),
    Figure(
        "a loop over three items",
        Loop('for _ in progress(three, "x"): pass', _DETAILED, 400),
        Loop("for _ in tqdm(three): pass", _DETAILED, 400),
        1.0,
    ),
)
