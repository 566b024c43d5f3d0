"""Predictions of a model with 100 features, one by one and in batches, beside what a program would count itself."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from opentelemetry import metrics

from benchmarks.figures import MICROSECOND, Figure
from benchmarks.scenes import pipeline
from benchmarks.timing import Loop
from otel_llmon import ModelMonitor, Reference, event

FEATURES, BATCH = 100, 64
_random = np.random.default_rng(7)
_columns = _random.normal(size=(FEATURES, 10_000))
_reference = Reference.fit({f"f{place}": column for place, column in enumerate(_columns)})
_who = {"model": "bench", "version": "1"}


@contextmanager
def _place() -> Iterator[dict[str, Any]]:
    logging.getLogger("otel_llmon").setLevel("ERROR")
    with pipeline() as made:
        meter = metrics.get_meter("benchmarks")
        counter, duration = meter.create_counter("predictions"), meter.create_histogram("seconds", "s")

        def tell(row: dict[str, float], label: str, seconds: float) -> None:
            event("prediction.made", {**_who, "prediction": label, "confidence": 0.9, "duration": seconds})
            counter.add(1, {**_who, "predicted": label})
            duration.record(seconds, _who)
            for name, value in row.items():
                feature.record(abs(value), {**_who, "feature": name})

        feature = meter.create_histogram("features")
        matrix = _random.normal(size=(BATCH, FEATURES))
        row = {f"f{place}": float(value) for place, value in enumerate(matrix[0])}
        yield made | {
            "tell": tell,
            "row": row,
            "matrix": matrix,
            "labels": ["yes", "no"] * (BATCH // 2),
            "confidences": _random.uniform(size=BATCH),
            "monitor": ModelMonitor("bench", "1", _reference),
            "unseen": ModelMonitor("bench", "2"),
            "silent": ModelMonitor("bench", "3", _reference, sample_rate=0),
        }


_PEER = Loop('tell(row, "yes", 0.01)', _place, 100)
_ONE = 'log(row, "yes", 0.9, latency=0.01)'
_MANY = "log_batch(matrix, labels, confidences, latency=0.01)"

FIGURES = (
    Figure(
        "prediction, single, record and all",
        Loop(f"monitor.{_ONE}", _place, 2_000),
        _PEER,
        plus=60 * MICROSECOND,
        row="Bar1",
    ),
    Figure("prediction, single, no reference", Loop(f"unseen.{_ONE}", _place, 2_000), _PEER),
    Figure("prediction, single, not in the log", Loop(f"silent.{_ONE}", _place, 4_000), _PEER),
    Figure("prediction, batch of 64", Loop(f"silent.{_MANY}", _place, 125, per=BATCH), _PEER, plus=8 * MICROSECOND),
    Figure("prediction, batch of 64, each in the log", Loop(f"monitor.{_MANY}", _place, 32, per=BATCH), _PEER),
)
