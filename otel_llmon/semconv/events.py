"""Events: one row per name that programs of this kind report, with the fields that tell what happened.

Any other name may be used as well. A name in this table makes what different programs say comparable.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

from otel_llmon.semconv import Metric
from otel_llmon.semconv.attributes import SOURCE

Severity = Literal["info", "warning", "error"]

EVENTS_DROPPED = Metric(
    "llmon.event.dropped",
    "counter",
    "{record}",
    "Events and log lines that were not reported since there were more of their kind than `event_rate` allows.",
    (SOURCE,),
)


class Event(NamedTuple):
    """One event: its name, its fields with their meanings, what happened, and how grave it is unless one says so."""

    name: str
    fields: Mapping[str, str]
    meaning: str
    severity: Severity = "info"


_MODEL = {"model": "name of the model", "version": "its version"}
_TRAINING = {**_MODEL, "run": "name or id of the run"}
_STEP = {"epoch": "epochs done", "step": "steps done"}
_DEPLOYMENT = {
    **_MODEL,
    "deployment": "id of this deployment",
    "platform": "where it runs: kubernetes, sagemaker, a device, ...",
    "environment": "production, staging, ...",
}
_SECONDS = {"duration": "seconds that it took"}
_BENCHMARK = {"benchmark": "what was measured", "build": "commit or version that was measured"}

TRAINING_STARTED = Event(
    "training.started",
    {
        **_TRAINING,
        "epochs": "epochs planned",
        "samples": "samples of an epoch",
        "parameters": "weights of the model",
        "device": "what it trains on",
    },
    "A training run began.",
)
TRAINING_EPOCH = Event(
    "training.epoch",
    {
        **_TRAINING,
        **_STEP,
        **_SECONDS,
        "split": "train, validation or test",
        "loss": "loss at its end",
        "accuracy": "accuracy at its end, 0 to 1",
        "learning_rate": "learning rate at its end",
        "gradient_norm": "norm of the gradient at its end",
        "samples": "samples it went through",
        "tokens": "tokens it went through",
    },
    "An epoch ended.",
)
TRAINING_FINISHED = Event(
    "training.finished",
    {**_TRAINING, **_STEP, **_SECONDS, "loss": "loss at the end", "accuracy": "accuracy at the end, 0 to 1"},
    "A training run came to its end.",
)
TRAINING_FAILED = Event(
    "training.failed",
    {**_TRAINING, **_STEP, **_SECONDS, "reason": "why, in few words"},
    "A training run ended early.",
    "error",
)
TRAINING_DIVERGED = Event(
    "training.diverged",
    {**_TRAINING, **_STEP, "loss": "what the loss was: nan, inf, ...", "gradient_norm": "norm of the gradient"},
    "The loss or the gradient is no number any more.",
    "error",
)
CHECKPOINT_SAVED = Event(
    "checkpoint.saved",
    {**_TRAINING, **_STEP, **_SECONDS, "path": "where it is", "size": "bytes", "loss": "loss at that time"},
    "A state of the work was stored, to go on from later.",
)
CHECKPOINT_LOADED = Event(
    "checkpoint.loaded",
    {**_TRAINING, **_STEP, **_SECONDS, "path": "where it came from", "size": "bytes"},
    "Work goes on from a state that was stored.",
)
CHECKPOINT_FAILED = Event(
    "checkpoint.failed",
    {**_TRAINING, **_STEP, "path": "where it should have gone", "reason": "why, in few words"},
    "A state of the work could not be stored or loaded.",
    "error",
)
DEPLOYMENT_STARTED = Event("deployment.started", _DEPLOYMENT, "A model is being brought into service.")
DEPLOYMENT_FINISHED = Event("deployment.finished", {**_DEPLOYMENT, **_SECONDS}, "A model is in service.")
DEPLOYMENT_FAILED = Event(
    "deployment.failed",
    {**_DEPLOYMENT, **_SECONDS, "reason": "why, in few words"},
    "A model could not be brought into service.",
    "error",
)
DEPLOYMENT_ROLLED_BACK = Event(
    "deployment.rolled_back",
    {**_DEPLOYMENT, "to": "version that is in service again", "reason": "why, in few words"},
    "An earlier version of a model is in service again.",
    "warning",
)
ERROR = Event(
    "error",
    {"operation": "what was tried", "reason": "why it failed, in few words", "handled": "true where the work goes on"},
    "Something failed; `error=` adds the exception's class, message and stack.",
    "error",
)
BENCHMARK_STARTED = Event(
    "benchmark.started", {**_BENCHMARK, "command": "what is run", "runs": "runs planned"}, "A benchmark began."
)
BENCHMARK_FINISHED = Event(
    "benchmark.finished",
    {
        **_BENCHMARK,
        **_SECONDS,
        "command": "what was run",
        "runs": "runs that were measured",
        "failed": "runs that failed",
    },
    "A benchmark came to its end.",
)
REGRESSION_DETECTED = Event(
    "regression.detected",
    {
        **_BENCHMARK,
        **_SECONDS,
        "operation": "what became slower",
        "baseline": "seconds that it took before",
        "ratio": "duration by baseline",
        "low": "lower end of the ratio's interval",
        "high": "upper end of the ratio's interval",
    },
    "Something takes longer than it did before.",
    "warning",
)

_TARGET = {"target": "name of what was checked", "type": "http, tcp, ollama, ..."}
TARGET_DOWN = Event(
    "target.down",
    {**_TARGET, "reason": "why, in few words"},
    "A health check found a target down that was up.",
    "error",
)
TARGET_UP = Event("target.up", {**_TARGET, "duration": "seconds that it was down"}, "A target is up again.")

_DRIFT = {
    **_MODEL,
    "reference": "hash of the reference",
    "rows": "rows that were looked at",
    "share": "share of the features that have changed",
    "features": "the first of those that have changed, with the verdict on each",
    "correlation": "true where features do not go together as they did",
    "evidence": "decimal logarithm of the evidence since the start",
}
DRIFT_CHECKED = Event(
    "drift.checked", {**_DRIFT, "verdict": "drifted, stable or insufficient"}, "A program asked whether there is drift."
)
DRIFT_DETECTED = Event("drift.detected", _DRIFT, "A window does not look like the reference any more.", "warning")
DRIFT_ENDED = Event("drift.ended", _DRIFT, "A window looks like the reference again.")
DRIFT_ALARM = Event(
    "drift.alarm",
    {**_DRIFT, "windows": "windows since the start"},
    "The evidence for drift over all windows is beyond what chance brings.",
    "warning",
)


def rows() -> tuple[Event, ...]:
    """Return every event, in the order in which the docs show them."""
    return tuple(value for value in globals().values() if isinstance(value, Event))


EVENTS: Mapping[str, Event] = {row.name: row for row in rows()}
