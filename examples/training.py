"""Teach a model of 20 weights which side of a line a point is on; with a validation and a checkpoint every epoch.

    llmon run --job lines -- python examples/training.py     # or plain: it does the same without telemetry

It needs nothing beside what otel-llmon brings. What to look at, on the page that `llmon run` opens:

- the trace `lines` has a span for each epoch, with its loss, accuracy and learning rate;
- the logs: `training.epoch` for each epoch and part of the data, `checkpoint.saved` with its path, and how it ended;
- the metrics: `llmon.training.loss` falls for both parts of the data, `llmon.training.steps` counts them, and
  `llmon.training.time` says what the time went into: its productive part is the goodput;
- `kill -9` it while it runs: `llmon.training.jobs` counts a failure all the same, since `llmon run --job` is there.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np

from otel_llmon import training

EPOCHS, BATCH, WEIGHTS, RATE = 6, 64, 20, 0.5

chance = np.random.default_rng(7)
line = chance.normal(size=WEIGHTS)
points = chance.normal(size=(2048, WEIGHTS))
sides = (points @ line > 0).astype(float)
learn, check = slice(0, 1536), slice(1536, None)


def judged(weights: np.ndarray, part: slice) -> tuple[float, float, np.ndarray]:
    """Return loss, accuracy and gradient on a part of the points."""
    belief = 1 / (1 + np.exp(-(points[part] @ weights)))
    off = belief - sides[part]
    loss = -np.log(np.where(sides[part] > 0, belief, 1 - belief) + 1e-12).mean()
    return float(loss), float((np.abs(off) < 0.5).mean()), points[part].T @ off / len(off)


with tempfile.TemporaryDirectory() as folder, training("lines", model="logistic-20") as run:
    weights = np.zeros(WEIGHTS)
    for number in range(1, EPOCHS + 1):
        rate = RATE / number
        with run.epoch(number):
            for start in range(learn.start, learn.stop, BATCH):
                loss, accuracy, gradient = judged(weights, slice(start, start + BATCH))
                weights -= rate * gradient
                time.sleep(0.005)  # as a larger model would
                run.step(loss, lr=rate, samples=BATCH, accuracy=accuracy, grad_norm=np.linalg.norm(gradient))
            loss, accuracy, _ = judged(weights, check)
            run.measure(loss, accuracy=accuracy, split="validation")
            np.save(Path(folder, f"{number}.npy"), weights)
            run.checkpoint(Path(folder, f"{number}.npy"))
        print(f"epoch {number}: loss {loss:.3f}, {accuracy:.1%} right")
