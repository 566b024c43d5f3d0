"""torch: the learning rate and the gradient's norm of a training run, read where an optimizer makes its step."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from otel_llmon.adapters._callbacks import guarded
from otel_llmon.errors import MissingExtraError
from otel_llmon.trainings import Training


def watch(run: Training, optimizer: Any, *, gradient_norm: bool = True) -> Any:
    """Let each step of a torch optimizer tell the run its learning rate and its gradient's norm.

    The loop itself says `run.step(loss)`. What comes back has `remove()`. Raises MissingExtraError where torch is not
    installed.
    """
    if gradient_norm:
        _torch()

    @guarded
    def told(optimizer: Any, *_: Any) -> None:
        groups = optimizer.param_groups
        norm = norm_of(parameter for group in groups for parameter in group["params"]) if gradient_norm else None
        run.measure(lr=groups[0]["lr"], grad_norm=norm)

    return optimizer.register_step_post_hook(told)


def norm_of(parameters: Iterable[Any]) -> Any:
    """Return the norm of all gradients together as a tensor, where they are; None where there are none."""
    torch = _torch()
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if not gradients:
        return None
    if hasattr(torch.nn.utils, "get_total_norm"):  # since 2.6; one kernel for many gradients
        return torch.nn.utils.get_total_norm(gradients)
    norms = [torch.linalg.vector_norm(gradient).to(gradients[0].device) for gradient in gradients]
    return torch.linalg.vector_norm(torch.stack(norms))


def _torch() -> Any:
    try:
        import torch
    except ModuleNotFoundError as exc:
        raise MissingExtraError("'torch' is not installed; run: pip install torch") from exc
    return torch
