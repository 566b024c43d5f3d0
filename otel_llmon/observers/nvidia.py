"""What NVML is asked, and what its answers say: a table of calls, and readings out of plain answers."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

from otel_llmon.metering import Reading
from otel_llmon.nvml import ALL_LINKS, Device
from otel_llmon.semconv import Metric
from otel_llmon.semconv import gpu as rows
from otel_llmon.semconv.attributes import (
    CLOCK,
    ERROR_TYPE,
    GPU_INDEX,
    HW_ID,
    HW_NAME,
    HW_PARENT,
    HW_SENSOR,
    HW_STATE,
    HW_TYPE,
    LINK,
    NETWORK_DIRECTION,
    REASON,
)
from otel_llmon.semconv.hardware import HW_TEMPERATURE

About = Mapping[str, Any]
"""The attributes that say which device it is."""

GPU: About = {HW_TYPE: "gpu"}
ENERGY, POWER = 83, 186
"""NVML's numbers of these fields."""

REASONS = {
    0x04: "sw_power_cap",
    0x08: "hw_slowdown",
    0x10: "sync_boost",
    0x20: "sw_thermal",
    0x40: "hw_thermal",
    0x80: "hw_power_brake",
}
"""Why clocks are held down. That nothing runs, or that somebody set them, holds nothing down."""


class Field(NamedTuple):
    """What a field of NVML's is in our terms; there are `unit` of ours in one of its."""

    row: Metric
    unit: float
    more: About
    scope: int = 0


FIELDS: Mapping[int, Field] = {
    ENERGY: Field(rows.HW_ENERGY, 1e-3, GPU),
    POWER: Field(rows.HW_POWER, 1e-3, GPU),
    82: Field(HW_TEMPERATURE, 1, {**GPU, HW_SENSOR: "memory"}),
    3: Field(rows.HW_ERRORS, 1, {**GPU, ERROR_TYPE: "corrected"}),
    4: Field(rows.HW_ERRORS, 1, {**GPU, ERROR_TYPE: "uncorrected"}),
    94: Field(rows.HW_ERRORS, 1, {**GPU, ERROR_TYPE: "pcie_replay"}),
    38: Field(rows.HW_ERRORS, 1, {**GPU, ERROR_TYPE: "nvlink_crc"}),
    138: Field(rows.GPU_IO, 1024, {LINK: "nvlink", NETWORK_DIRECTION: "transmit"}, ALL_LINKS),
    139: Field(rows.GPU_IO, 1024, {LINK: "nvlink", NETWORK_DIRECTION: "receive"}, ALL_LINKS),
    197: Field(rows.GPU_IO, 1, {LINK: "pcie", NETWORK_DIRECTION: "transmit"}),
    198: Field(rows.GPU_IO, 1, {LINK: "pcie", NETWORK_DIRECTION: "receive"}),
    74: Field(rows.GPU_THROTTLE_TIME, 1e-9, {REASON: "sw_power_cap"}),
    75: Field(rows.GPU_THROTTLE_TIME, 1e-9, {REASON: "thermal"}),
    76: Field(rows.GPU_THROTTLE_TIME, 1e-9, {REASON: "sync_boost"}),
    77: Field(rows.GPU_THROTTLE_TIME, 1e-9, {REASON: "board_limit"}),
    79: Field(rows.GPU_THROTTLE_TIME, 1e-9, {REASON: "reliability"}),
    269: Field(rows.GPU_THROTTLE_TIME, 1e-9, {REASON: "sw_thermal"}),
    270: Field(rows.GPU_THROTTLE_TIME, 1e-9, {REASON: "hw_thermal"}),
    271: Field(rows.GPU_THROTTLE_TIME, 1e-9, {REASON: "hw_power_brake"}),
}
"""PCIe's own throughput call is none of these: it takes 20 ms by definition."""


def about(device: Device) -> About:
    """Return the attributes of a device."""
    found = {HW_ID: device.uuid, HW_NAME: device.name, GPU_INDEX: device.index}
    return found if device.parent is None else {**found, HW_PARENT: device.parent}


def status(device: About, *, ok: bool) -> Iterator[Reading]:
    """Yield the state that a device is in."""
    yield Reading(rows.HW_STATUS, int(ok), {**device, **GPU, HW_STATE: "ok"})
    yield Reading(rows.HW_STATUS, int(not ok), {**device, **GPU, HW_STATE: "failed"})


def _utilization(answer: Any, device: About) -> Iterator[Reading]:
    yield from _share(rows.GPU_UTILIZATION, answer.gpu, device)
    yield from _share(rows.GPU_MEMORY_BUSY, answer.memory, device)


def _share(row: Metric, percent: int, device: About) -> Iterator[Reading]:
    """Yield a share; what is more than all is the driver's word for none (255, or all bits)."""
    if percent <= 100:
        yield Reading(row, percent / 100, device)


def _memory(answer: Any, device: About) -> Iterator[Reading]:
    yield Reading(rows.GPU_MEMORY_USAGE, answer.used, device)
    yield Reading(rows.GPU_MEMORY_LIMIT, answer.total, device)
    if answer.total:
        yield Reading(rows.GPU_MEMORY_UTILIZATION, answer.used / answer.total, device)


def _fields(answer: Mapping[int, float], device: About) -> Iterator[Reading]:
    for number, value in answer.items():
        field = FIELDS[number]
        yield Reading(field.row, value * field.unit, {**device, **field.more})


def _temperature(answer: int, device: About) -> Iterator[Reading]:
    yield Reading(HW_TEMPERATURE, answer, {**device, **GPU, HW_SENSOR: "gpu"})


def _power(answer: int, device: About) -> Iterator[Reading]:
    yield Reading(rows.HW_POWER, answer / 1000, {**device, **GPU})


def _throttle(answer: int, device: About) -> Iterator[Reading]:
    for bit, reason in REASONS.items():
        yield Reading(rows.GPU_THROTTLE, int(bool(answer & bit)), {**device, REASON: reason})


def _clock(name: str, answer: int, device: About) -> Iterator[Reading]:
    yield Reading(rows.GPU_CLOCK, answer * 1_000_000, {**device, CLOCK: name})


def _held(answer: Mapping[int, int | None], device: About) -> Iterator[Reading]:
    held = answer.get(os.getpid())
    if held is not None:
        yield Reading(rows.PROCESS_GPU_MEMORY, held, device)


def _active(answer: Iterable[tuple[int, int, int]], device: About) -> Iterator[Reading]:
    own = [(time, percent) for pid, time, percent in answer if pid == os.getpid()]
    if own:
        yield from _share(rows.PROCESS_GPU_UTILIZATION, max(own)[1], device)


class Call(NamedTuple):
    """A function of NVML's, what it is given beside the device, and what its answer says."""

    function: str
    arguments: tuple[Any, ...]
    read: Callable[[Any, About], Iterator[Reading]]


ALL_FIELDS = Call(
    "nvmlDeviceGetFieldValues", (tuple((number, field.scope) for number, field in FIELDS.items()),), _fields
)
PROCESSES = Call("nvmlDeviceGetComputeRunningProcesses", (), _held)
WATTS = Call("nvmlDeviceGetPowerUsage", (), _power)
"""For drivers whose fields do not have it."""
_MEMORY = Call("nvmlDeviceGetMemoryInfo", (), _memory)
_ACTIVITY = Call("nvmlDeviceGetProcessUtilization", (0,), _active)

WHOLE = (Call("nvmlDeviceGetUtilizationRates", (), _utilization), _MEMORY, ALL_FIELDS)
"""What a GPU is asked for each sample."""
IN_TURN = (
    PROCESSES,
    Call("nvmlDeviceGetTemperature", (0,), _temperature),
    Call("nvmlDeviceGetCurrentClocksThrottleReasons", (), _throttle),
    Call("nvmlDeviceGetClockInfo", (1,), partial(_clock, "sm")),
    Call("nvmlDeviceGetClockInfo", (2,), partial(_clock, "memory")),
    _ACTIVITY,
    WATTS,
)
"""What it is asked in turn, as many for a sample as there is room for."""
OF_DIVIDED = tuple(call for call in IN_TURN if call not in (PROCESSES, _ACTIVITY))
"""Its instances tell of processes."""
INSTANCE = (_MEMORY, PROCESSES)
"""What an instance of a divided GPU can be asked."""
OWN = (ALL_FIELDS, PROCESSES, _ACTIVITY)
"""What every process asks for itself, whoever reports the machine; the fields for the energy."""
