"""Lightning: a callback that tells a training run what its `Trainer` does."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from otel_llmon.adapters._callbacks import made
from otel_llmon.adapters.torch import norm_of
from otel_llmon.errors import MissingExtraError
from otel_llmon.trainings import Training

_NAMES = ("lightning.pytorch", "pytorch_lightning")


def callback(run: Training, *, gradient_norm: bool = True) -> Any:
    """Return a callback for `Trainer(callbacks=[callback(run)])`.

    `trainer.fit()` belongs inside `with training(...) as run`. It tells steps, samples, loss and learning rate;
    `val_loss` and `val_acc` or `val_accuracy` where the module logs them; checkpoints that a ModelCheckpoint saved.
    Raises MissingExtraError where Lightning is not installed.
    """
    return made(_Callback, _base(), run, gradient_norm)


class _Callback:
    """Hands on what the trainer says."""

    def __init__(self, run: Training, gradient_norm: bool) -> None:  # noqa: FBT001  # made() hands it over
        super().__init__()
        self._to = run
        self._measures_norm = gradient_norm
        self._epoch: Any = None
        self._norm: Any = None
        self._samples = self._step = 0
        self._saved: set[str] = set()

    def on_train_start(self, trainer: Any, module: Any) -> None:  # noqa: ARG002
        """Begin where the trainer is: it may go on from a checkpoint."""
        self._step = trainer.global_step
        self._saved = _paths(trainer)

    def on_train_epoch_start(self, trainer: Any, module: Any) -> None:  # noqa: ARG002
        """Begin an epoch. The one before ends here: checkpoints are saved after its end."""
        self._end_epoch(trainer)
        self._epoch = self._to.epoch(trainer.current_epoch + 1)
        self._epoch.__enter__()

    def on_before_optimizer_step(self, trainer: Any, module: Any, optimizer: Any) -> None:  # noqa: ARG002
        """Measure the gradient, before it is clipped."""
        if self._measures_norm:
            self._norm = norm_of(module.parameters())

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, index: int) -> None:  # noqa: ARG002
        """Count a step where the optimizer made one; batches before it add their samples."""
        self._samples += _size(batch)
        if trainer.global_step == self._step:
            return
        self._step = trainer.global_step
        loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
        if loss is not None and trainer.accumulate_grad_batches > 1:
            loss = loss * trainer.accumulate_grad_batches  # the trainer has divided it
        self._to.step(loss, lr=_rate(trainer), grad_norm=self._norm, samples=self._samples)
        self._samples = 0

    def on_validation_end(self, trainer: Any, module: Any) -> None:  # noqa: ARG002
        """Tell what a validation came to."""
        if not trainer.sanity_checking:
            found = trainer.callback_metrics
            accuracy = found.get("val_accuracy", found.get("val_acc"))
            self._to.measure(found.get("val_loss"), accuracy=accuracy, split="validation")

    def on_fit_end(self, trainer: Any, module: Any) -> None:  # noqa: ARG002
        """End the last epoch."""
        self._end_epoch(trainer)

    def _end_epoch(self, trainer: Any) -> None:
        for path in sorted(_paths(trainer) - self._saved):
            self._saved.add(path)
            self._to.checkpoint(path, trainer.global_step)
        if self._epoch is not None:
            self._epoch.__exit__(None, None, None)
            self._epoch = None


def _base() -> Any:
    """Return the class of callbacks of the Lightning that the program uses: there are two packages of it."""
    for name in sorted(_NAMES, key=lambda name: name not in sys.modules):
        try:
            return import_module(name).Callback
        except ModuleNotFoundError:
            continue
    raise MissingExtraError("'lightning' is not installed; run: pip install lightning")


def _paths(trainer: Any) -> set[str]:
    """Return the checkpoints that are there."""
    savers = trainer.checkpoint_callbacks
    names = ("best_model_path", "last_model_path")
    found = ({*getattr(saver, "best_k_models", ()), *(getattr(saver, name, "") for name in names)} for saver in savers)
    return set().union(*found) - {""}


def _rate(trainer: Any) -> Any:
    return trainer.optimizers[0].param_groups[0]["lr"] if trainer.optimizers else None


def _size(batch: Any) -> int:
    """Return how many samples a batch holds: the first length of the first tensor in it."""
    shape = getattr(batch, "shape", None)
    if shape is not None:
        return int(shape[0]) if len(shape) else 1
    parts = batch.values() if isinstance(batch, Mapping) else batch if isinstance(batch, (list, tuple)) else ()
    return next((size for size in map(_size, parts) if size), 0)
