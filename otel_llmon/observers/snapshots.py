"""snapshot(): what the observers read last, as frozen dataclasses; the numbers are those that are exported."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from otel_llmon.errors import SettingsError
from otel_llmon.observers import OBSERVERS, sampler
from otel_llmon.observers.sources import bare, sources, usual

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
    parts = dict.fromkeys(("host", "process", *usual(), *(source.partition(".")[0] for source in sampler.sources)))
    return Snapshot(**{part: _part(part) for part in parts if part in Snapshot.__dataclass_fields__})


def _part(name: Any) -> Any:
    if not isinstance(name, str) or name not in OBSERVERS:  # a list, say, has no hash
        raise SettingsError(f"snapshot({name!r}): expected one of {', '.join(OBSERVERS)}")
    shape = getattr(import_module(OBSERVERS[name]), "SNAPSHOT", None)
    names = [source for source in sampler.sources if source.partition(".")[0] == name] or list(sources([name]))
    found = {source.partition(".")[2]: _state(source) for source in names}
    if shape is None:
        return found.get("")
    return shape(**{field: state for field, state in found.items() if state is not None})


def _state(name: str) -> Any:
    """Return what one source says; None where it has nothing to say, or cannot be read."""
    source = sampler.sources.get(name)
    if source is not None and source.read_at and sampler.clock() - source.read_at <= 2.5 * sampler.beat:
        last = getattr(bare(source.observe), "last", None)
        if last is not None:
            return last
    with _lock:
        try:
            if name not in _own:
                _own[name] = bare(sources([name])[name]()[0])
            observe = _own[name]
            readings = tuple(observe())
        except Exception:  # NoDataError, what /proc raises where it is closed, psutil's own
            return None
    return getattr(observe, "last", readings)


_lock = threading.Lock()
_own: dict[str, Any] = {}
