"""Hugging Face transformers: a callback that tells a training run what `Trainer` does."""

from __future__ import annotations

from collections.abc import Mapping, Sized
from pathlib import Path
from typing import Any

from otel_llmon.adapters._callbacks import made
from otel_llmon.errors import MissingExtraError
from otel_llmon.trainings import Training


def callback(run: Training) -> Any:
    """Return a callback for `Trainer(callbacks=[callback(run)])`.

    `trainer.train()` belongs inside `with training(...) as run`. It tells steps, samples and, where the trainer counts
    them, tokens; what it logs; evaluations; checkpoints. The last batch of data without a length counts as a full one.
    Raises MissingExtraError where transformers is not installed.
    """
    try:
        from transformers import TrainerCallback
    except ModuleNotFoundError as exc:
        raise MissingExtraError("'transformers' is not installed; run: pip install transformers") from exc

    return made(_Callback, TrainerCallback, run)


class _Callback:
    """Hands on what the trainer says."""

    def __init__(self, run: Training) -> None:
        super().__init__()
        self._to = run
        self._epoch: Any = None
        self._samples = self._tokens = 0

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
        """Begin where the trainer is: it may go on from a checkpoint."""
        self._samples, self._tokens = 0, state.num_input_tokens_seen

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
        """Begin an epoch. The one before ends here: the trainer logs, evaluates and saves after its end."""
        self._end_epoch()
        self._epoch = self._to.epoch(int(state.epoch or 0) + 1)
        self._epoch.__enter__()

    def on_substep_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
        """Add a batch after which the optimizer makes no step."""
        self._samples += _batch_size(args, state)

    def on_step_end(self, args: Any, state: Any, control: Any, train_dataloader: Any = None, **_: Any) -> None:  # noqa: ARG002
        """Count an optimizer step of this process, with the samples of all batches since the one before."""
        tokens = state.num_input_tokens_seen - self._tokens
        self._tokens += tokens
        ends = float(state.epoch or 0).is_integer()
        self._samples += _last_batch_size(args, state, train_dataloader) if ends else _batch_size(args, state)
        self._to.step(samples=self._samples, tokens=tokens or None)
        self._samples = 0

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:  # noqa: ARG002
        """Tell what is logged while it trains."""
        logs = logs or {}
        if "loss" in logs:
            self._to.measure(logs["loss"], lr=logs.get("learning_rate"), grad_norm=logs.get("grad_norm"))

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: Any = None, **_: Any) -> None:  # noqa: ARG002
        """Tell what an evaluation came to."""
        for split, found in _evaluations(metrics or {}).items():
            self._to.measure(found.get("loss"), accuracy=found.get("accuracy"), split=split)

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
        """Tell of a checkpoint."""
        self._to.checkpoint(Path(args.output_dir, f"checkpoint-{state.global_step}"), state.global_step)

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
        """End the last epoch."""
        self._end_epoch()

    def _end_epoch(self) -> None:
        if self._epoch is not None:
            self._epoch.__exit__(None, None, None)
            self._epoch = None


def _batch_size(args: Any, state: Any) -> int:
    return int(state.train_batch_size or args.train_batch_size)  # the first is what was found to fit into memory


def _last_batch_size(args: Any, state: Any, loader: Any) -> int:
    """Return how many samples an epoch's last batch holds; several processes fill up theirs."""
    full = _batch_size(args, state)
    sampler = getattr(getattr(loader, "batch_sampler", None), "sampler", None)
    if args.dataloader_drop_last or args.world_size > 1 or not isinstance(sampler, Sized):
        return full
    return len(sampler) % full or full


def _evaluations(metrics: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return loss and accuracy by part of the data: `eval_loss`, or `eval_NAME_loss` where there are several."""
    found: dict[str, dict[str, Any]] = {}
    for name, value in metrics.items():
        part, _, what = name.removeprefix("eval").rpartition("_")
        if what in ("loss", "accuracy"):
            found.setdefault(part.strip("_") or "validation", {})[what] = value
    return found
