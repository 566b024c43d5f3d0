"""What the callbacks of all frameworks have in common: a mistake of theirs does not end the training."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from otel_llmon import telemetry
from otel_llmon.events import errors


def made(ours: type, base: Any, *arguments: Any) -> Any:
    """Return an object of our class that is one of the framework's too, with each `on_...` of ours guarded."""
    hooks = {name: guarded(hook) for name, hook in vars(ours).items() if name.startswith("on_")}
    return type("Callback", (ours, base), hooks)(*arguments)


def guarded(hook: Callable[..., None]) -> Callable[..., None]:
    """Return `hook` with its own failures counted and told once; it returns nothing."""

    @functools.wraps(hook)
    def call(*args: Any, **kwargs: Any) -> None:
        try:
            hook(*args, **kwargs)
        except Exception as exc:  # another release of the framework, most likely
            errors.at("callback").add()
            telemetry.warn_once("%s: %s: %s; the training goes on", hook.__qualname__, type(exc).__name__, exc)

    return call
