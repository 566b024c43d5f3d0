"""Many predictions at once: columns of what `log()` takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from itertools import repeat
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from otel_llmon.models import lanes, parts
from otel_llmon.models.classes import NOTHING, Found
from otel_llmon.models.records import PREDICTION
from otel_llmon.scores import columns
from otel_llmon.scores.columns import Column, ColumnsError, Floats

if TYPE_CHECKING:
    from opentelemetry import trace

    from otel_llmon.models import ModelMonitor
    from otel_llmon.scores.surprise import Surprise

MOST_TOLD = 8
"""Anomalous predictions of one batch that are events; all are counted."""


class Batch(NamedTuple):
    """What was told of many predictions; None where nothing was told."""

    predictions: list[Any]
    found: list[Found]
    confidences: list[float | None] | None
    durations: list[float | None] | None
    truths: list[Any] | None
    ids: list[Any] | None
    metadata: list[Any] | None


def take(monitor: ModelMonitor, features: Any, told: Mapping[str, Any], span: trace.Span | None) -> None:
    """Take note of many predictions."""
    batch = _batch(monitor, told)
    if batch is None:
        return
    lane = lanes.lane(monitor._key)
    for label, number in Counter([found.label for found in batch.found]).items():
        lanes.count(monitor._key, label, number)
    lane.confidence.record_all([each for each in batch.confidences or () if each is not None], span)
    lane.duration.record_all([each for each in batch.durations or () if each is not None], span)
    rights = _settle(monitor, batch)
    watched = parts.guarded("features", monitor._refuse, lambda told: _watched(monitor, batch, told), features)
    table, surprises = watched or (None, [])
    if monitor._records.any:
        _send(monitor, batch, rights, table)
    if surprises:
        lanes.anomaly(monitor._key, len(surprises))
    for place, surprise in surprises[:MOST_TOLD]:
        monitor._records.anomaly(surprise, batch.ids[place] if batch.ids else None, batch.found[place])


def _batch(monitor: ModelMonitor, told: Mapping[str, Any]) -> Batch | None:
    refuse = monitor._refuse
    predictions = parts.column("prediction", told["prediction"], None, refuse)
    if predictions is None:
        if told["prediction"] is None:
            refuse("prediction", "found None, expected a column of values")
        return None
    size = len(predictions)
    found = list(map(monitor._classes.of, predictions))
    for value, one in zip(predictions, found, strict=True):
        if one is NOTHING:
            parts.refuse_prediction(value, refuse)
    ids = parts.column("id", told["id"], size, refuse)
    return Batch(
        predictions,
        found,
        _confidences(monitor, parts.column("proba", told["proba"], size, refuse), found),
        _durations(monitor, told["latency"], size),
        parts.column("truth", told["truth"], size, refuse),
        ids and [None if value is None else parts.key(value, refuse) for value in ids],
        [told["metadata"]] * size
        if parts.every(told["metadata"])
        else parts.column("metadata", told["metadata"], size, refuse),
    )


def _confidences(monitor: ModelMonitor, told: list[Any] | None, found: list[Found]) -> list[float | None] | None:
    if told is None or _are_shares(told):
        return told
    classes, refuse = monitor._classes, monitor._refuse
    return [parts.confidence(value, one, classes, refuse) for value, one in zip(told, found, strict=True)]


def _durations(monitor: ModelMonitor, told: Any, size: int) -> list[float | None] | None:
    refuse = monitor._refuse
    if parts.every(told):
        return [parts.seconds(told, refuse)] * size
    found = parts.column("latency", told, size, refuse)
    return found if found is None or _are_shares(found) else [parts.seconds(value, refuse) for value in found]


def _are_shares(told: list[Any]) -> bool:
    """Return whether all are numbers from 0 to 1, as most confidences and seconds are."""
    if set(map(type, told)) != {float}:
        return False
    numbers = np.array(told)
    return bool(((numbers >= 0.0) & (numbers <= 1.0)).all())


def _settle(monitor: ModelMonitor, batch: Batch) -> list[Mapping[str, Any]] | None:
    """Count the predictions whose truth is known, and let the others wait for it."""
    if batch.truths is None and not batch.ids:
        return None
    truths, kept = monitor._truths, monitor._classes.kept
    rights: list[Mapping[str, Any]] = [{}] * len(batch.found)
    for place, (prediction, found) in enumerate(zip(batch.predictions, batch.found, strict=True)):
        truth = None if batch.truths is None else truths.known(batch.truths[place])
        if truth is not None:
            rights[place] = truths.settle(kept(prediction, found), truth)
        elif batch.ids and batch.ids[place] is not None:
            truths.wait(batch.ids[place], kept(prediction, found))
    return rights


def _watched(
    monitor: ModelMonitor, batch: Batch, features: Any
) -> tuple[Mapping[str, Column] | None, list[tuple[int, Surprise]]]:
    """Hand the features on; return them as columns, where records need these, and what is surprising."""
    rows, size = monitor._rows, len(batch.found)
    if features is None:
        return None, _alone(monitor, batch)
    if rows is None and monitor._records.privacy.silent:
        return None, []
    if rows is not None and rows.plain and not monitor._own and monitor._records.privacy.silent:
        matrix = _matrix(features, (size, len(monitor._names)))
        if matrix is not None:
            return None, rows.add_matrix(matrix)
    table = _table(monitor, features, size)
    if table is None:
        return None, _alone(monitor, batch)
    if rows is None:
        return table, []
    return table, rows.add_table({**table, **_own(monitor, batch)} if monitor._own else table)


def _alone(monitor: ModelMonitor, batch: Batch) -> list[tuple[int, Surprise]]:
    """Hand on what the model said of rows without features, where the reference knows nothing else."""
    rows = monitor._rows
    return [] if rows is None or monitor._nothing is None else rows.add_table(_own(monitor, batch))


def _own(monitor: ModelMonitor, batch: Batch) -> dict[str, Column]:
    """Return what the model said itself, and how sure it was, as far as the reference knows that."""
    pairs = zip(batch.found, batch.confidences or repeat(None), strict=False)
    own = [monitor._of_own(found, confidence) for found, confidence in pairs]
    return columns.read({name: [row[name] for row in own] for name in monitor._own})


def _matrix(features: Any, shape: tuple[int, int]) -> Floats | None:
    """Return a matrix of numbers as it is; None where features are something else."""
    plain = isinstance(features, np.ndarray) and features.dtype.kind in "fiub"
    return features if plain and features.shape == shape else None


def _table(monitor: ModelMonitor, features: Any, rows: int) -> dict[str, Column] | None:
    """Return features as columns, those without names under those of the reference."""
    try:
        found = columns.read(features, names=monitor._names)
    except ColumnsError as exc:
        monitor._refuse("features", str(exc))
        return None
    size = columns.rows_of(found)
    if size != rows:
        monitor._refuse("features", f"found {size} rows, expected {rows}, as of the predictions")
        return None
    return found


def _send(
    monitor: ModelMonitor, batch: Batch, rights: list[Mapping[str, Any]] | None, table: Mapping[str, Column] | None
) -> None:
    records = monitor._records
    shown = {} if table is None or records.privacy.silent else table
    for place, found in enumerate(batch.found):
        one = batch.ids and batch.ids[place]
        if not records.chosen(one):
            continue
        facts = {
            "id": one,
            "prediction": found.sent,
            "confidence": batch.confidences and batch.confidences[place],
            "duration": batch.durations and batch.durations[place],
        }
        if rights is not None:
            facts |= rights[place]
        features = {name: column[place] for name, column in shown.items()} or None
        records.send(PREDICTION, facts, features, batch.metadata and batch.metadata[place])
