"""Resource probes, read at both ends of a phase: what the work between them took, as attributes of its span.

They speak of the process: what other threads and tasks did in the meantime is in it. One that this machine has no
answer for leaves its attributes out; one that fails is counted, told once, and made anew for the next phase, if it
ever worked.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from importlib import import_module
from typing import Any, Protocol

from opentelemetry.trace import Span

from otel_llmon import metering, telemetry
from otel_llmon.errors import NoDataError
from otel_llmon.events import errors
from otel_llmon.semconv import attributes as key
from otel_llmon.semconv import probes as rows

PROBES = {
    "allocations": "otel_llmon.probes.allocations",
    "samples": "otel_llmon.probes.samples",
    "gpu": "otel_llmon.probes.gpu",
    "memory": "otel_llmon.probes.memory",
    "disk": "otel_llmon.probes.disk",
    "cpu": "otel_llmon.probes.cpu",
}
"""They begin in this order and end in the other, so that `cpu` measures least of the others."""

BY_USAGE = frozenset(("disk", "cpu"))
"""Those that live on what getrusage() says; for it the kernel adds up all threads, so it is asked once for both."""

USUAL = ("gpu", "memory", "disk", "cpu")
"""What the level `profiling` reads; the rest costs too much to be had unasked."""


class Probe(Protocol):
    """Something that can be read at both ends of a phase; what its module's `watch()` returns."""

    def begin(self, usage: Any) -> Any:
        """Return what `end()` needs to know of the beginning, None where there is nothing to read at present.

        `usage` is what getrusage() says, for BY_USAGE.
        """

    def end(self, begun: Any, usage: Any, span: Span | None) -> Mapping[str, Any]:
        """Return what came since then, as attributes; an event it may add to the span itself, where there is one."""


_usage: Callable[[], Any]
try:
    from resource import RUSAGE_SELF, getrusage
except ImportError:  # Windows
    _usage = type(None)
else:
    _usage = partial(getrusage, RUSAGE_SELF)

Reading = list[tuple[str, Probe, Any]]
"""The probes of one phase that runs, each with what it said at the beginning."""

_peaks = {
    key.MEMORY_PEAK: metering.Histogram(rows.PHASE_MEMORY_PEAK),
    key.GPU_MEMORY_PEAK: metering.Histogram(rows.PHASE_GPU_MEMORY_PEAK),
}


class Kit:
    """The probes of this process, each made when a phase first asks for it."""

    def __init__(self, proc: str = "/proc") -> None:
        self._proc = proc
        self._made: dict[str, Probe | None] = {}
        self._lock = threading.RLock()

    def begin(self, names: Iterable[str]) -> Reading:
        """Read the probes of these names where a phase begins."""
        reading: Reading = []
        usage = None
        for name in names:
            try:
                probe = self._made[name] if name in self._made else self._make(name)
                if probe is None:
                    continue
                if usage is None and name in BY_USAGE:
                    usage = _usage()
                begun = probe.begin(usage)
                if begun is not None:
                    reading.append((name, probe, begun))
            except Exception as exc:  # what measures must not break what is measured
                self._fail(name, exc)
        return reading

    def end(self, reading: Reading, span: Span | None) -> dict[str, Any]:
        """Read them again where it ends, and return what that tells."""
        found: dict[str, Any] = {}
        usage = None
        for name, probe, begun in reversed(reading):
            if self._made.get(name) is not probe:  # it failed meanwhile, and what it knew went with it
                continue
            try:
                if usage is None and name in BY_USAGE:
                    usage = _usage()
                found |= probe.end(begun, usage, span)
            except Exception as exc:
                self._fail(name, exc)
        return found

    def forget(self) -> None:
        """Make every probe anew, as a forked child must: its files, threads and peaks are its parent's."""
        self._lock = threading.RLock()
        for name in list(self._made):
            self._drop(name)

    def _make(self, name: str) -> Probe | None:
        with self._lock:  # two of a kind would take each other's marks away
            if name not in self._made:
                self._made[name] = self._watch(name)
            return self._made[name]

    def _watch(self, name: str) -> Probe | None:
        try:
            probe: Probe = import_module(PROBES[name]).watch(proc=self._proc)
        except (NoDataError, FileNotFoundError) as exc:
            telemetry.log.info("probe %s: %s", name, exc)
        except Exception as exc:
            _tell(name, exc)
        else:
            return probe
        return None

    def _fail(self, name: str, exc: Exception) -> None:
        self._drop(name)
        _tell(name, exc)

    def _drop(self, name: str) -> None:
        """Forget a probe, which may have something to close."""
        close = getattr(self._made.pop(name, None), "close", None)
        if close is not None:
            try:
                close()
            except Exception as exc:
                _tell(name, exc)


def _tell(name: str, exc: Exception) -> None:
    errors.at(f"probe.{name}").add()
    telemetry.warn_once("probe %s: %s: %s; its attributes are left out", name, type(exc).__name__, exc)


kit = Kit()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=kit.forget)


def known(names: Any, phase: str) -> tuple[str, ...]:
    """Return these probes in the order in which they are to begin; what is none is left out, and told once."""
    wanted = (names,) if isinstance(names, str) else names
    if not isinstance(wanted, list | tuple | set | frozenset):
        telemetry.warn_once("phase %r: probes are a %s, expected names", phase, type(names).__name__)
        return ()
    for name in wanted:
        if name not in PROBES:
            telemetry.warn_once("phase %r: probe %r: expected one of %s; left out", phase, name, ", ".join(PROBES))
    return tuple(name for name in PROBES if name in wanted)


def record(found: Mapping[str, Any], phase: str | None, pipeline: str | None, span: Span | None) -> None:
    """Record the peaks among what probes found."""
    for name, histogram in _peaks.items():
        if name in found:
            histogram.at(phase, pipeline).record(found[name], span)
