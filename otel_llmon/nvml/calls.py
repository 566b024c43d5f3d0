"""Calls that pynvml would make twice, or out of many objects: made once, into memory that is kept."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping, Sequence
from typing import Any

NOT_SUPPORTED, INSUFFICIENT_SIZE = 3, 7


class Caller:
    """The library as it is, and memory for its answers."""

    def __init__(self, nvml: Any) -> None:
        self._nvml = nvml
        self._arrays: dict[Any, Any] = {}

    def call(self, function: str, *arguments: Any) -> int:
        """Call a function of the library as it is, and return its code."""
        return int(getattr(self._nvml.nvmlLib, function)(*arguments))

    def check(self, code: int) -> None:
        """Raise for a code that says that something went wrong."""
        if code:
            raise self._nvml.NVMLError(code)

    def array(self, key: Any, kind: str, length: int) -> Any:
        """Return an array of NVML's structures that is kept under a key, at least this long."""
        kept = self._arrays.get(key)
        if kept is None or len(kept) < length:
            kept = self._arrays[key] = (getattr(self._nvml, kind) * length)()
        return kept


def _fields(caller: Caller, handle: Any, wanted: Sequence[tuple[int, int]]) -> Mapping[int, float]:
    """Return fields by their number, all in one call; `wanted` names each with its scope."""
    values = caller.array(wanted, "c_nvmlFieldValue_t", len(wanted))
    for value, (number, scope) in zip(values, wanted, strict=True):
        value.fieldId, value.scopeId, value.nvmlReturn = number, scope, NOT_SUPPORTED
    caller.check(caller.call("nvmlDeviceGetFieldValues", handle, len(wanted), values))
    return {
        value.fieldId: getattr(value.value, _UNION[value.valueType])
        for value in values
        if value.nvmlReturn == 0 and 0 <= value.valueType < len(_UNION)
    }


_UNION = ("dVal", "uiVal", "ulVal", "ullVal", "sllVal", "siVal", "usVal")
"""Members of NVML's value, in the order of its types."""


def _processes(caller: Caller, handle: Any) -> Mapping[int, int | None]:
    """Return memory in use by process, None where it is not told; pynvml would call twice, for the length first."""
    most = 32
    while True:
        kept = caller.array("processes", "c_nvmlProcessInfo_v3_t", most)
        count = ctypes.c_uint(len(kept))
        code = caller.call("nvmlDeviceGetComputeRunningProcesses_v3", handle, ctypes.byref(count), kept)
        if code != INSUFFICIENT_SIZE:
            break
        most = 2 * max(count.value, len(kept))
    caller.check(code)
    unknown = ctypes.c_ulonglong(-1).value
    return {each.pid: None if each.usedGpuMemory == unknown else each.usedGpuMemory for each in kept[: count.value]}


def _activity(caller: Caller, handle: Any, since: int) -> Sequence[tuple[int, int, int]]:
    """Return process, time in microseconds and percentage of the multiprocessors' time, of what came after `since`."""
    most = 64
    while True:
        kept = caller.array("activity", "c_nvmlProcessUtilizationSample_t", most)
        count = ctypes.c_uint(len(kept))
        last = ctypes.c_ulonglong(since)
        code = caller.call("nvmlDeviceGetProcessUtilization", handle, kept, ctypes.byref(count), last)
        if code != INSUFFICIENT_SIZE:
            break
        most = 2 * max(count.value, len(kept))
    caller.check(code)
    return [(each.pid, each.timeStamp, each.smUtil) for each in kept[: count.value]]


CALLS: Mapping[str, Callable[..., Any]] = {
    "nvmlDeviceGetFieldValues": _fields,
    "nvmlDeviceGetComputeRunningProcesses": _processes,
    "nvmlDeviceGetProcessUtilization": _activity,
}
"""What pynvml would make of two calls, or of many objects."""
