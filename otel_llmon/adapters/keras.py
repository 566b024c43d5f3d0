"""Keras: a callback that tells a training run what `model.fit()` does."""

from __future__ import annotations

from typing import Any

from otel_llmon.adapters._callbacks import made
from otel_llmon.errors import MissingExtraError
from otel_llmon.trainings import Training


def callback(run: Training, batch_size: int | None = None, samples: int | None = None) -> Any:
    """Return a callback for `model.fit(callbacks=[callback(run)])`, which belongs inside `with training(...) as run`.

    Loss and accuracy of a step are Keras's own: means since the epoch began. It does not say how many samples a batch
    has; `batch_size` does, and `samples` how many an epoch has: without it the last batch counts as a full one. Raises
    MissingExtraError where Keras is not installed.
    """
    try:
        import keras
    except ModuleNotFoundError as exc:
        raise MissingExtraError("'keras' is not installed; run: pip install keras") from exc

    return made(_Callback, keras.callbacks.Callback, run, batch_size, samples)


class _Callback:
    """Hands on what Keras says."""

    model: Any

    def __init__(self, run: Training, batch_size: int | None, samples: int | None) -> None:
        super().__init__()
        self._to = run
        self._batch_size = batch_size
        self._samples = self._left = samples
        self._epoch: Any = None

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002
        """Begin an epoch."""
        self._left = self._samples
        self._epoch = self._to.epoch(epoch + 1)
        self._epoch.__enter__()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002
        """Count a step."""
        logs = logs or {}
        self._to.step(logs.get("loss"), accuracy=logs.get("accuracy"), samples=self._next_samples())

    def on_test_end(self, logs: Any = None) -> None:
        """Tell what a validation came to."""
        logs = logs or {}
        self._to.measure(logs.get("loss"), accuracy=logs.get("accuracy"), split="validation")

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002
        """End the epoch, with the learning rate that it had."""
        rate: Any = getattr(getattr(self.model, "optimizer", None), "learning_rate", None)
        self._to.measure(lr=rate.numpy() if hasattr(rate, "numpy") else rate)
        if self._epoch is not None:
            self._epoch.__exit__(None, None, None)

    def _next_samples(self) -> int | None:
        """Return how many samples a batch has: as many as are left, where that is known."""
        size = self._batch_size
        if size is None or self._left is None:
            return size
        size = min(size, self._left)
        self._left -= size
        return size
