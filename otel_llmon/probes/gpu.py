"""NVIDIA GPUs that this process may use: memory peak and mean utilisation while a phase runs, sampled through NVML."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from otel_llmon.errors import NoDataError
from otel_llmon.probes.sampling import Beat
from otel_llmon.semconv import attributes as key

VISIBLE = "CUDA_VISIBLE_DEVICES"


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


def connect(nvml: Any, environ: Mapping[str, str] = os.environ) -> Callable[[], Sample]:
    """Return what samples the visible GPUs; raises NoDataError where there are none."""
    try:
        nvml.nvmlInit()
        gpus = visible(nvml, environ.get(VISIBLE))
    except nvml.NVMLError as exc:
        raise NoDataError(f"no NVIDIA driver: {exc}") from exc
    if not gpus:
        raise NoDataError(f"no GPU is visible; {VISIBLE}={environ.get(VISIBLE)}")

    def sample() -> Sample:
        used = _answers(nvml, nvml.nvmlDeviceGetMemoryInfo, gpus)
        busy = _answers(nvml, nvml.nvmlDeviceGetUtilizationRates, gpus)
        return Sample(
            sum(each.used for each in used) if used else None,
            sum(each.gpu for each in busy) / len(busy) / 100 if busy else None,
        )

    return sample


def visible(nvml: Any, wanted: str | None) -> list[Any]:
    """Return the GPUs that CUDA would see: all of them, or those listed, up to the first that is not there."""
    every = [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(nvml.nvmlDeviceGetCount())]
    if wanted is None:
        return every
    found = []
    for name in map(str.strip, wanted.split(",")):
        if name.isdecimal():
            match = every[int(name) : int(name) + 1]
        elif name.startswith("MIG-"):
            match = [nvml.nvmlDeviceGetHandleByUUID(name)]
        else:
            match = [gpu for gpu in every if name and nvml.nvmlDeviceGetUUID(gpu).startswith(name)]
        if len(match) != 1:
            break
        found += match
    return found


def _answers(nvml: Any, ask: Callable[[Any], Any], gpus: list[Any]) -> list[Any]:
    """Return the answers of those GPUs that have one: a divided one has none for its utilisation, for instance."""
    found = []
    for gpu in gpus:
        try:
            found.append(ask(gpu))
        except nvml.NVMLError as exc:
            if getattr(exc, "value", None) not in (nvml.NVML_ERROR_NOT_SUPPORTED, nvml.NVML_ERROR_NO_PERMISSION):
                raise
    return found


def watch(proc: str = "/proc") -> GPU:
    """Return the probe. NVML's module is loaded here: a child forked amid an import elsewhere never sees its end."""
    try:
        import pynvml
    except ImportError as exc:
        raise NoDataError(f"'pynvml' cannot be loaded: {exc}; run: pip install nvidia-ml-py") from exc
    return GPU(Beat("gpu", lambda: connect(pynvml)))
