"""snapshot(): what the observers read last, as frozen dataclasses; the numbers are those that are exported."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from otel_llmon.errors import SettingsError
from otel_llmon.observers import OBSERVERS, Observe, sampler
from otel_llmon.observers.patience import Patient
from otel_llmon.observers.sources import sources, usual

if TYPE_CHECKING:
    from otel_llmon.metering import Reading
    from otel_llmon.observers.cgroup import Container
    from otel_llmon.observers.host import Host
    from otel_llmon.observers.process import Process


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What is known now: of the machine, of this process, of the container where there is one, and of GPUs."""

    host: Host | None = None
    process: Process | None = None
    cgroup: Container | None = None
    gpu: tuple[Reading, ...] | None = None
    """Every reading of every GPU, with `.metric.name`, `.value` and `.attributes`; None where there is no driver."""


def snapshot(name: str | None = None) -> Any:
    """Return what was read last, where it is read on the beat, else what there is to read now.

    Without a name that is a `Snapshot` of what is observed, and of host and process in any case. With the name of an
    observer it is its part alone, as `snapshot("host").memory`. Raises SettingsError for a name that is not known.
    """
    if name is not None:
        return _part(name)
    attached = (source.partition(".")[0] for source in list(sampler.sources))
    parts = dict.fromkeys(("host", "process", *usual(), *attached))
    return Snapshot(**{part: _part(part) for part in parts if part in Snapshot.__dataclass_fields__})


def _part(name: Any) -> Any:
    if not isinstance(name, str) or name not in OBSERVERS:  # a list, say, has no hash
        raise SettingsError(f"snapshot({name!r}): expected one of {', '.join(OBSERVERS)}")
    shape = getattr(import_module(OBSERVERS[name]), "SNAPSHOT", None)
    if shape is None:
        return _state(name)
    attached = [source for source in list(sampler.sources) if source.startswith(f"{name}.")]
    found = {source.partition(".")[2]: _state(source) for source in dict.fromkeys((*attached, *sources([name])))}
    return shape(**{field: state for field, state in found.items() if state is not None})


def _state(name: str) -> Any:
    """Return what one source says; None where it has nothing to say, or cannot be read."""
    source = sampler.sources.get(name)
    if source is not None and source.read_at and sampler.clock() - source.read_at <= 2.5 * sampler.beat:
        last = getattr(source.observe, "last", None)
        if last is not None:
            return last
    try:
        return _own.setdefault(name, _Own(name)).ask()
    except Exception:  # NoDataError, what /proc raises where it is closed, psutil's own
        return None


class _Own:
    """An observer of our own, for what no beat reads: one thread asks it at a time."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._observe: Observe | None = None
        self._lock = threading.Lock()
        module = import_module(OBSERVERS[name.partition(".")[0]])
        self.ask: Callable[[], Any] = Patient(self._ask) if hasattr(module, "look") else self._ask

    def _ask(self) -> Any:
        with self._lock:
            if self._observe is None:
                self._observe = sources([self._name], reported=False)[self._name]()[0]
            readings = tuple(self._observe())
            return getattr(self._observe, "last", readings)


_own: dict[str, _Own] = {}

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_own.clear)  # a thread of the parent's may have been asking
