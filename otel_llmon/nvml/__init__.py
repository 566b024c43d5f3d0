"""NVML, NVIDIA's library that tells of GPUs, through pynvml: found, connected to and asked; no telemetry in here.

A device's handle is kept for as long as the connection. What a device has no answer for is None; only what
says that the device or the driver is gone is raised.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from otel_llmon.errors import LlmonError, NoDataError
from otel_llmon.nvml.calls import CALLS, NOT_SUPPORTED, Caller
from otel_llmon.nvml.forks import in_driver, inside

LIBRARY = "libnvidia-ml.so.1"
VISIBLE = "CUDA_VISIBLE_DEVICES"
ALL_LINKS = 0xFFFFFFFF
"""Scope of a field that adds up over a GPU's links."""

_UNINITIALIZED, _NOT_FOUND, _TIMEOUT, _FUNCTION_NOT_FOUND = 1, 6, 10, 13
_NEVER = frozenset((NOT_SUPPORTED, _FUNCTION_NOT_FOUND))
"""Answers that stay what they are for as long as driver and device do."""
_NOTHING = frozenset((NOT_SUPPORTED, _NOT_FOUND, 21))  # 21: no data
"""Answers that are no failure."""
_GONE = frozenset((_UNINITIALIZED, 9, 15, 16, 28, 999))
"""Uninitialised, driver not loaded, GPU lost, reset required, GPU not found, unknown: handles are worth nothing now."""


class GoneError(LlmonError):
    """A device, or the driver, is gone: connect anew."""


@dataclass(eq=False)
class Device:
    """A GPU, or an instance of a divided one, which has a parent."""

    handle: Any
    uuid: str
    name: str
    index: str
    parent: str | None = None


@in_driver
def load() -> Any:
    """Return pynvml; raises NoDataError where NVML or pynvml is missing, or the process is no place for it.

    The library is looked for first: pynvml takes 20 ms to import, which no machine without a GPU need pay.
    """
    if inside.amid:
        raise NoDataError("this process was forked while its parent was in the driver; fork earlier, or spawn")
    if sys.platform != "win32":
        try:
            ctypes.CDLL(LIBRARY)
        except OSError as exc:
            raise NoDataError(f"no NVIDIA driver: {exc}") from exc
    try:
        import pynvml
    except ImportError as exc:
        raise NoDataError(f"'pynvml' cannot be loaded: {exc}; run: pip install nvidia-ml-py") from exc
    return pynvml


class Connection:
    """NVML, initialised, with the devices that were there then.

    `tell` hears why something that should have an answer has none.
    """

    @in_driver
    def __init__(self, nvml: Any, tell: Callable[[str], None] = lambda _: None) -> None:
        self._nvml = nvml
        self._tell = tell
        self.pid = os.getpid()
        self._never: set[tuple[Any, ...]] = set()
        self._caller = Caller(nvml)
        self._events: Any = None
        try:
            nvml.nvmlInit()  # counted by NVML, so that others in this process may do it too
        except nvml.NVMLError as exc:
            raise NoDataError(f"no NVIDIA driver: {str(exc).rstrip('.')}") from exc
        self.whole = True
        """Whether every GPU that is there could be looked at."""
        try:
            self.devices = self._found()
        except NoDataError:
            self.close()
            raise

    @in_driver
    def close(self) -> None:
        """Leave NVML, unless this is a child of the process that initialised it."""
        if self.pid == os.getpid():
            try:
                self._nvml.nvmlShutdown()
            except self._nvml.NVMLError:  # gone by itself
                return

    @in_driver
    def renew(self) -> None:
        """Look again which devices there are, and forget what they cannot do."""
        self._never.clear()
        self.devices = self._found()

    def can(self, device: Device, function: str, *arguments: Any) -> bool:
        """Tell whether a device may have an answer."""
        return (device.uuid, function, *arguments) not in self._never

    @in_driver
    def ask(self, device: Device, function: str, *arguments: Any) -> Any:
        """Return the answer of NVML's function for a device, or None; raises GoneError.

        Fields come as a mapping by number, processes as one of memory by process, and the time that processes took
        as tuples of process, moment in microseconds and percentage.
        """
        try:
            if (own := CALLS.get(function)) is not None:
                return own(self._caller, device.handle, *arguments)
            return getattr(self._nvml, function)(device.handle, *arguments)
        except AttributeError:
            code, why = _FUNCTION_NOT_FOUND, "Function Not Found"
        except self._nvml.NVMLError as exc:
            code, why = exc.value, str(exc)
        if code in _GONE:
            raise GoneError(f"{device.name} {device.uuid}: {why}")
        if code in _NEVER:
            self._never.add((device.uuid, function, *arguments))
        if code not in _NOTHING:
            self._tell(f"{function}: {why}")
        return None

    @in_driver
    def watch_events(self) -> None:
        """Have the driver keep note of critical errors (Xid) from now on."""
        nvml = self._nvml
        try:
            if self._events is not None:
                nvml.nvmlEventSetFree(self._events)
            self._events = None
            events = nvml.nvmlEventSetCreate()
        except nvml.NVMLError as exc:
            self._tell(f"nvmlEventSetCreate: {exc}")
            return
        for device in self.devices:
            if device.parent is None:
                try:
                    nvml.nvmlDeviceRegisterEvents(device.handle, nvml.nvmlEventTypeXidCriticalError, events)
                    self._events = events
                except nvml.NVMLError as exc:
                    if exc.value not in _NOTHING:
                        self._tell(f"nvmlDeviceRegisterEvents: {exc}")

    @property
    def hears(self) -> bool:
        """Whether events are watched for."""
        return self._events is not None

    @in_driver
    def events(self, most: int = 32) -> list[tuple[Device, int]]:
        """Return the errors that came since the last look, as device and number."""
        nvml, found = self._nvml, []
        for _ in range(most if self.hears else 0):
            try:
                event = nvml.nvmlEventSetWait_v2(self._events, 0)
            except nvml.NVMLError as exc:
                if exc.value != _TIMEOUT:
                    self._tell(f"nvmlEventSetWait: {exc}")
                break
            # it is the same pointer that the index gave
            here = [each for each in self.devices if _address(each.handle) == _address(event.device)]
            found += [(device, int(event.eventData)) for device in here]
        return found

    def _found(self) -> list[Device]:
        """Return all devices, each divided one before its instances; one that is lost is left out."""
        nvml, found = self._nvml, []
        try:
            count = nvml.nvmlDeviceGetCount()
        except nvml.NVMLError as exc:
            raise NoDataError(f"no NVIDIA driver: {exc}") from exc
        self.whole = True
        for index in range(count):
            try:
                device = self._device(nvml.nvmlDeviceGetHandleByIndex(index), str(index))
                found += [device, *self._instances(device)]
            except (nvml.NVMLError, GoneError) as exc:
                self.whole = False
                self._tell(f"GPU {index}: {exc}")
        return found

    def _device(self, handle: Any, index: str, parent: str | None = None) -> Device:
        nvml = self._nvml
        return Device(handle, nvml.nvmlDeviceGetUUID(handle), nvml.nvmlDeviceGetName(handle), index, parent)

    def _instances(self, device: Device) -> Iterator[Device]:
        """Yield what a GPU is divided into (MIG)."""
        nvml = self._nvml
        mode = self.ask(device, "nvmlDeviceGetMigMode")
        if not mode or not mode[0]:
            return
        for number in range(self.ask(device, "nvmlDeviceGetMaxMigDeviceCount") or 0):
            handle = self.ask(device, "nvmlDeviceGetMigDeviceHandleByIndex", number)
            if handle is not None:
                try:
                    yield self._device(handle, f"{device.index}:{number}", device.uuid)
                except nvml.NVMLError as exc:
                    self._tell(f"instance {number} of GPU {device.index}: {exc}")


def _address(handle: Any) -> int | None:
    return ctypes.cast(handle, ctypes.c_void_p).value


def visible(devices: Sequence[Device], wanted: str | None) -> list[Device]:
    """Return the devices that CUDA would see: all GPUs, or those listed, up to the first that is not there."""
    gpus = [device for device in devices if device.parent is None]
    if wanted is None:
        return gpus
    found: list[Device] = []
    for name in map(str.strip, wanted.split(",")):
        if name.isdecimal():
            match = gpus[int(name) : int(name) + 1]
        else:
            match = [device for device in devices if name and device.uuid.startswith(name)]
        if len(match) != 1:
            break
        found += match
    return found
