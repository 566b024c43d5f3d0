"""NVIDIA GPUs that this process may use: memory peak and mean utilisation while a phase runs, sampled through NVML."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from otel_llmon.errors import NoDataError
from otel_llmon.nvml import VISIBLE, Connection, GoneError, load, visible
from otel_llmon.probes.sampling import Beat
from otel_llmon.semconv import attributes as key


class Sample(NamedTuple):
    """All visible GPUs at one moment; None where none of them says."""

    used: int | None
    busy: float | None


class Window:
    """What a phase keeps."""

    __slots__ = ("_busy", "_count", "_peak")

    def __init__(self) -> None:
        self._peak: int | None = None
        self._busy, self._count = 0.0, 0

    def take(self, sample: Sample) -> None:
        """Take one in."""
        if sample.used is not None:
            self._peak = max(sample.used, self._peak or 0)
        if sample.busy is not None:
            self._busy += sample.busy
            self._count += 1

    def facts(self) -> dict[str, Any]:
        """Return what was seen; of what was not seen, nothing."""
        found: dict[str, Any] = {}
        if self._peak is not None:
            found[key.GPU_MEMORY_PEAK] = self._peak
        if self._count:
            found[key.GPU_UTILIZATION_MEAN] = self._busy / self._count
        return found


class GPU:
    """Asks the beat for samples while a phase runs."""

    def __init__(self, beat: Beat[Sample]) -> None:
        self._beat = beat

    def begin(self, usage: Any) -> Window | None:
        """Return a window that takes samples, or None while there is nothing to sample."""
        if self._beat.resting():
            return None
        window = Window()
        self._beat.begin(window)
        return window

    def end(self, begun: Window, usage: Any, span: Any) -> Mapping[str, Any]:
        """Return what it took."""
        self._beat.end(begun)
        return begun.facts()


def connect(find: Callable[[], Any] = load, environ: Mapping[str, str] = os.environ) -> Callable[[], Sample]:
    """Return what samples the visible GPUs; raises NoDataError where there are none."""
    connection = Connection(find())
    gpus = visible(connection.devices, environ.get(VISIBLE))
    if not gpus:
        connection.close()
        raise NoDataError(f"no GPU is visible; {VISIBLE}={environ.get(VISIBLE)}")

    def answers(function: str) -> list[Any]:
        """Return what those GPUs say that have an answer: a divided one has none for its utilisation, for instance."""
        found = [connection.ask(gpu, function) for gpu in gpus if connection.can(gpu, function)]
        return [answer for answer in found if answer is not None]

    def sample() -> Sample:
        try:
            used, busy = answers("nvmlDeviceGetMemoryInfo"), answers("nvmlDeviceGetUtilizationRates")
        except GoneError:
            connection.close()
            raise
        return Sample(
            sum(each.used for each in used) if used else None,
            sum(each.gpu for each in busy) / len(busy) / 100 if busy else None,
        )

    return sample


def watch(proc: str = "/proc") -> GPU:
    """Return the probe. NVML's module is loaded here: a child forked amid an import elsewhere never sees its end."""
    load()
    return GPU(Beat("gpu", connect))
