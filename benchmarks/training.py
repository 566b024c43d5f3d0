"""One step of a training run at level basic, beside the SDK's own instruments told the same."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from opentelemetry import metrics

from benchmarks.figures import MICROSECOND, Figure
from benchmarks.scenes import pipeline
from benchmarks.timing import Loop
from otel_llmon import telemetry, training

WHERE = {"model": "m-7b", "split": "train"}


@contextmanager
def place() -> Iterator[dict[str, Any]]:
    """A run that goes on, and the SDK's instruments."""
    with pipeline(telemetry.BASIC) as made, training("finetune", model="m-7b") as run:
        meter = metrics.get_meter("benchmarks")
        counters = [meter.create_counter(name) for name in ("steps", "samples", "tokens")]
        gauges = [meter.create_gauge(name) for name in ("loss", "lr", "norm", "accuracy")]

        yield made | {"step": run.step, "tell": _told(counters, gauges)}


def _told(counters: list[Any], gauges: list[Any]) -> Any:
    (steps, samples, tokens), (loss, rate, norm, accuracy) = counters, gauges

    def tell() -> None:
        steps.add(1, WHERE)
        samples.add(8, WHERE)
        tokens.add(4096, WHERE)
        loss.set(0.5, WHERE)
        rate.set(1e-3, WHERE)
        norm.set(0.25, WHERE)
        accuracy.set(0.75, WHERE)

    return tell


_SDK = Loop("tell()", place, 400)
_ALL = "step(0.5, lr=1e-3, samples=8, tokens=4096, grad_norm=0.25, accuracy=0.75)"

FIGURES = (
    Figure("training step, loss only", Loop("step(0.5)", place, 4_000), _SDK, plus=3 * MICROSECOND),
    Figure("training step, every field", Loop(_ALL, place, 4_000), _SDK, plus=5 * MICROSECOND),
)
