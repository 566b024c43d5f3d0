"""OpenTelemetry-native instrumentation for LLM and ML pipelines. The public names, loaded when they are first used.

PYTEST_DONT_REWRITE: pytest would warn that it comes too late for our asserts under `opentelemetry-instrument`.
"""

from __future__ import annotations

TYPE_CHECKING = False  # as in typing, which takes longer to load than everything here
if TYPE_CHECKING:
    from typing import Any

    from otel_llmon import checks as checks
    from otel_llmon.batches import batch as batch
    from otel_llmon.breaker import Breaker as Breaker
    from otel_llmon.carrying import carry as carry
    from otel_llmon.carrying import child_environ as child_environ
    from otel_llmon.carrying import continued as continued
    from otel_llmon.carrying import inject as inject
    from otel_llmon.context import bind as bind
    from otel_llmon.events import event as event
    from otel_llmon.lifecycle import configure as configure
    from otel_llmon.lifecycle import shutdown as shutdown
    from otel_llmon.models import ModelMonitor as ModelMonitor
    from otel_llmon.observers import gauge as gauge
    from otel_llmon.observers.snapshots import snapshot as snapshot
    from otel_llmon.phases import phase as phase
    from otel_llmon.pipelines import pipeline as pipeline
    from otel_llmon.progress import progress as progress
    from otel_llmon.scores.reference import Reference as Reference
    from otel_llmon.trainings import training as training

_HOMES = {
    "Breaker": "breaker",
    "ModelMonitor": "models",
    "Reference": "scores.reference",
    "batch": "batches",
    "bind": "context",
    "carry": "carrying",
    "checks": "checks",
    "child_environ": "carrying",
    "configure": "lifecycle",
    "continued": "carrying",
    "event": "events",
    "gauge": "observers",
    "inject": "carrying",
    "phase": "phases",
    "pipeline": "pipelines",
    "progress": "progress",
    "shutdown": "lifecycle",
    "snapshot": "observers.snapshots",
    "training": "trainings",
}
_MODULES = frozenset(("checks",))
"""Names that are modules themselves: `checks.http(...)`."""

__all__ = [
    "Breaker",
    "ModelMonitor",
    "Reference",
    "batch",
    "bind",
    "carry",
    "checks",
    "child_environ",
    "configure",
    "continued",
    "event",
    "gauge",
    "inject",
    "phase",
    "pipeline",
    "progress",
    "shutdown",
    "snapshot",
    "training",
]


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = import_module(f"{__name__}.{_HOMES[name]}")
    value = home if name in _MODULES else getattr(home, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
