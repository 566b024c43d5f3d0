"""NVIDIA GPUs that this process may use: memory peak and mean utilisation while a phase runs, sampled through NVML."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from types import ModuleType
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
        used = [_asked(nvml, lambda gpu=gpu: nvml.nvmlDeviceGetMemoryInfo(gpu).used) for gpu in gpus]
        busy = [_asked(nvml, lambda gpu=gpu: nvml.nvmlDeviceGetUtilizationRates(gpu).gpu) for gpu in gpus]
        some = [each for each in busy if each is not None]
        return Sample(
            sum(each for each in used if each is not None) if any(each is not None for each in used) else None,
            sum(some) / len(some) / 100 if some else None,
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


def _asked(nvml: Any, ask: Callable[[], float]) -> Any:
    """Return the answer, or None where this GPU has none: utilisation of one that is divided, for instance."""
    try:
        return ask()
    except nvml.NVMLError as exc:
        if getattr(exc, "value", None) in (nvml.NVML_ERROR_NOT_SUPPORTED, nvml.NVML_ERROR_NO_PERMISSION):
            return None
        raise


def watch(proc: str = "/proc", pynvml: ModuleType | None = None) -> GPU:
    """Return the probe. NVML's module is loaded here: a child forked amid an import elsewhere never sees its end."""
    if pynvml is None:
        try:
            import pynvml
        except ImportError as exc:
            raise NoDataError(f"'pynvml' cannot be loaded: {exc}; run: pip install nvidia-ml-py") from exc
    nvml = pynvml
    return GPU(Beat("gpu", lambda: connect(nvml)))
