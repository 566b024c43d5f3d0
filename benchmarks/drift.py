"""Watching for drift: rows that come in, a window that is compared, a collection of all bins."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
from opentelemetry import metrics
from opentelemetry.metrics import Observation
from scipy import stats

from benchmarks.figures import MILLISECOND, Figure
from benchmarks.scenes import pipeline
from benchmarks.timing import Loop
from otel_llmon.drifts import DriftWatch
from otel_llmon.scores.dense import dense
from otel_llmon.scores.profile import Profile, Reference

WIDE, USUAL, WINDOW, BATCH = 200, 100, 1000, 64


@cache
def _reference(features: int) -> tuple[Reference, Any]:
    chance = np.random.default_rng(1)
    columns = {f"f{number}": chance.normal(size=10_000) for number in range(features)}
    return Reference.fit(columns), columns


def _rows(features: int, rows: int) -> Any:
    return np.random.default_rng(2).normal(size=(rows, features))


def _scipy(before: Any, now: Any) -> None:
    for name, column in now.items():
        stats.ks_2samp(before[name], column, method="asymp")
        stats.wasserstein_distance(before[name], column)


@contextmanager
def _check() -> Iterator[dict[str, Any]]:
    reference, before = _reference(WIDE)
    rows = _rows(WIDE, WINDOW)
    with pipeline() as made:
        watch = DriftWatch(reference, "bench", window=WINDOW)
        now = {name: rows[:, place] for place, name in enumerate(before)}
        yield made | {"watch": watch, "now": now, "before": before, "scipy": _scipy}


@contextmanager
def _batches() -> Iterator[dict[str, Any]]:
    reference, _ = _reference(USUAL)
    with pipeline() as made:
        watch = DriftWatch(reference, "bench", window=1 << 40)
        yield made | {"watch": watch, "rows": _rows(USUAL, BATCH), "profile": Profile(reference)}


@contextmanager
def _ours() -> Iterator[dict[str, Any]]:
    reference, _ = _reference(USUAL)
    with pipeline() as made:
        watch = DriftWatch(reference, "bench")
        watch._ledger._born -= 180  # constants are told in one collection of four; here they are not
        yield made | {"watch": watch}


@contextmanager
def _sdks() -> Iterator[dict[str, Any]]:
    """As many series, split so that the SDK takes them all."""
    reference, _ = _reference(USUAL)
    names = [{"feature": one.name, "bin": str(place)} for one in dense(reference) for place in range(len(one.ends))]
    with pipeline(plain=True) as made:
        for start in range(0, len(names), 1900):
            part = names[start : start + 1900]
            metrics.get_meter(f"benchmarks.{start}").create_observable_counter(
                "bench.bins",
                [lambda _, part=part: [Observation(1.0, each) for each in part]],  # type: ignore[misc]
            )
        yield made


FIGURES = (
    Figure(
        "drift, a window of 1,000 rows of 200 features, beside scipy's KS and Wasserstein",
        Loop("watch.add(now); watch.judge()", _check, 1),
        Loop("scipy(before, now)", _check, 1),
        plus=100 * MILLISECOND,
        row="Bar3",
    ),
    Figure(
        "drift, 64 rows of 100 features, per row, beside a profile that counts them at once",
        Loop("watch.add_matrix(rows)", _batches, 16, per=BATCH),
        Loop("profile.add_matrix(rows)", _batches, 16, per=BATCH),
        1.2,
        None,
    ),
    Figure(
        "drift, a collection of 100 features, per bin, beside the SDK's observables",
        Loop("reader.collect()", _ours, 1, per=2800),
        Loop("reader.collect()", _sdks, 1, per=2800),
        1.0,
        None,
    ),
)
