"""What a loop pays for being watched, per item, beside tqdm in the same round; tqdm writes into memory."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import tqdm

from benchmarks.figures import Figure
from benchmarks.scenes import pipeline
from benchmarks.timing import Loop, Place
from otel_llmon import progress, telemetry

ITEMS = 100_000
UPDATES = 50_000
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
                    "its": tqdm.tqdm(file=io.StringIO()),
                }
            finally:
                telemetry.state.progress_bar = before

    return place


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
    Figure(
        "update()",
        Loop("ours.update()", _DETAILED, UPDATES),
        Loop("its.update()", _DETAILED, UPDATES),
        0.6,
    ),
    Figure(
        "update(32)",
        Loop("ours.update(32)", _DETAILED, UPDATES),
        Loop("its.update(32)", _DETAILED, UPDATES),
        0.7,
    ),
    Figure('update(1, "failed", tokens=512)', Loop('ours.update(1, "failed", 512)', _DETAILED, UPDATES)),
    Figure(
        "a loop over three items",
        Loop('for _ in progress(three, "x"): pass', _DETAILED, 400),
        Loop("for _ in tqdm(three): pass", _DETAILED, 400),
        1.0,
    ),
)
