"""A batch looked at, beside the least that numpy can do for it: counting missing, infinite and far values by hand."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np

from benchmarks.figures import MICROSECOND, MILLISECOND, Figure
from benchmarks.scenes import pipeline
from benchmarks.timing import Loop
from otel_llmon.quality import QualityWatch
from otel_llmon.scores import answers, patterns
from otel_llmon.scores.reference import Reference

FEATURES, ROWS, FEW = 200, 1000, 64
SPOILED = 0.05
"""Share of the values that are missing in half of the columns."""
HOSTILE = "a" * 1000 + "!"
ANSWER = "The sea is wide and deep, and not all that is in it can be seen by you or me. " * 20


@cache
def _reference(features: int = FEATURES) -> Reference:
    rng = np.random.default_rng(0)
    return Reference.fit({f"f{place}": rng.standard_normal(10_000) for place in range(features)}, correlation=False)


def _table(rows: int) -> dict[str, Any]:
    rng = np.random.default_rng(1)
    table = {f"f{place}": rng.standard_normal(rows) for place in range(FEATURES)}
    for name in list(table)[::2]:
        table[name][rng.random(rows) < SPOILED] = np.nan
    return table


def _by_hand(table: Mapping[str, Any]) -> list[tuple[int, ...]]:
    """Count what is missing, infinite, out of range and far out in each column, and find its extremes."""
    return [
        (
            int(np.isnan(column).sum()),
            int(np.isinf(column).sum()),
            int(((column < -4) | (column > 4)).sum()),
            int((np.abs(column) > 3).sum()),
            float(np.nanmin(column)),
            float(np.nanmax(column)),
        )
        for column in table.values()
    ]


def _place(rows: int) -> Callable[[], Any]:
    @contextmanager
    def place() -> Iterator[dict[str, Any]]:
        table = _table(rows)
        with pipeline() as made:
            watch = QualityWatch("bench", reference=_reference())
            yield made | {
                "watch": watch,
                "table": table,
                "by_hand": _by_hand,
                "matrix": np.stack(list(table.values()), axis=1)[:, : FEATURES // 2].copy(),
                "half": QualityWatch("half", reference=_reference(FEATURES // 2)),
                "fitting": patterns.matcher(r"[^@ ]+@([a-z]+\.)+[a-z]+"),
                "python": re.compile(r"[^@ ]+@[^@ ]+").fullmatch,
                "hostile": patterns.matcher("(a+)+"),
                "text": HOSTILE,
                "mail": "somebody.there@mail.example.org",
                "features": answers.features,
                "answer": ANSWER,
                "vector": np.arange(1536.0),
            }

    return place


_BATCH, _PART = _place(ROWS), _place(FEW)

FIGURES = (
    Figure(
        f"quality, a batch of {ROWS:,} rows, {FEATURES} features, span and metrics",
        Loop("watch.check(table)", _BATCH, 3),
        Loop("by_hand(table)", _BATCH, 3),
        plus=20 * MILLISECOND,
        row="Bar4",
    ),
    Figure(
        f"quality, a row of {FEATURES // 2} numbers, {FEW} at a time",
        Loop("half.add_matrix(matrix)", _PART, 200, per=FEW),
        plus=5 * MICROSECOND,
    ),
    Figure(
        "quality, a pattern of several choices",
        Loop("fitting(mail)", _PART, 2000),
        Loop("python(mail)", _PART, 2000),
    ),
    Figure("quality, a pattern that takes Python for ever, 1,000 characters", Loop("hostile(text)", _PART, 200)),
    Figure(
        "answers, features of 1,600 characters and an embedding of 1,536",
        Loop("features(answer, prompt=answer, output_tokens=9, seconds=1.0, embedding=vector)", _PART, 100),
        plus=1 * MILLISECOND,
    ),
)
