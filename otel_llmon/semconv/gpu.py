"""Metrics of GPUs: upstream's `hw.*` as far as there are names, and what torch's allocator holds there."""

from __future__ import annotations

from otel_llmon.semconv import Metric
from otel_llmon.semconv.attributes import (
    CLOCK,
    ERROR_TYPE,
    GPU_INDEX,
    HW_ID,
    HW_NAME,
    HW_PARENT,
    HW_STATE,
    HW_TYPE,
    LINK,
    NETWORK_DIRECTION,
    REASON,
    STATE,
    TORCH_DEVICE,
)

_DEVICE = (HW_ID, HW_NAME, GPU_INDEX)
_PART = (*_DEVICE, HW_PARENT)

GPU_UTILIZATION = Metric(
    "hw.gpu.utilization",
    "gauge",
    "1",
    "Share of the last 1/6 to 1 s in which anything ran on the GPU, however little; absent for one that is divided.",
    _DEVICE,
)
GPU_MEMORY_USAGE = Metric("hw.gpu.memory.usage", "updowncounter", "By", "Memory in use, by whomever.", _PART)
GPU_MEMORY_LIMIT = Metric(
    "hw.gpu.memory.limit", "updowncounter", "By", "Memory that the GPU, or the part of it, has.", _PART
)
GPU_MEMORY_UTILIZATION = Metric("hw.gpu.memory.utilization", "gauge", "1", "Share of the memory that is in use.", _PART)
GPU_MEMORY_BUSY = Metric(
    "llmon.gpu.memory.activity",
    "gauge",
    "1",
    "Share of the last 1/6 to 1 s in which the GPU's memory was read or written.",
    _DEVICE,
)
GPU_IO = Metric(
    "hw.gpu.io",
    "counter",
    "By",
    "Bytes that went over PCIe and NVLink, where the GPU counts them.",
    (*_DEVICE, LINK, NETWORK_DIRECTION),
    since="boot",
)
HW_POWER = Metric("hw.power", "gauge", "W", "Power that a GPU draws now.", (*_DEVICE, HW_TYPE))
HW_ENERGY = Metric(
    "hw.energy",
    "counter",
    "J",
    "Energy that a GPU used since its driver was loaded.",
    (*_DEVICE, HW_TYPE),
    since="boot",
)
HW_ERRORS = Metric(
    "hw.errors",
    "counter",
    "{error}",
    "Errors of a GPU: of its memory (ECC) and links since its driver was loaded, and those that the driver reported (Xid) since we look.",
    (*_DEVICE, HW_TYPE, ERROR_TYPE),
    since="boot",
)
HW_STATUS = Metric(
    "hw.status",
    "updowncounter",
    "1",
    "1 for the state that a GPU is in, 0 for the other.",
    (*_DEVICE, HW_TYPE, HW_STATE),
)
GPU_CLOCK = Metric("llmon.gpu.clock", "gauge", "Hz", "How fast a clock of the GPU runs.", (*_DEVICE, CLOCK))
GPU_THROTTLE = Metric(
    "llmon.gpu.throttle",
    "gauge",
    "{reason}",  # with "1" Prometheus would call it a ratio
    "1 while this holds the GPU's clocks down, else 0.",
    (*_DEVICE, REASON),
)
GPU_THROTTLE_TIME = Metric(
    "llmon.gpu.throttle.time",
    "counter",
    "s",
    "Seconds for which this held the GPU's clocks down, where the GPU counts them.",
    (*_DEVICE, REASON),
    since="boot",
)
PROCESS_GPU_MEMORY = Metric(
    "llmon.process.gpu.memory.usage", "updowncounter", "By", "GPU memory that this process holds.", _PART
)
PROCESS_GPU_UTILIZATION = Metric(
    "llmon.process.gpu.utilization",
    "gauge",
    "1",
    "Share of the time in which this process ran something on the GPU.",
    _PART,
)
GPU_AVAILABLE = Metric(
    "llmon.self.gpu.available",
    "gauge",
    "{state}",  # as above
    "1 where a GPU can be read, 0 where none can.",
)

_TORCH = (HW_ID, HW_NAME, TORCH_DEVICE)
TORCH_MEMORY = Metric(
    "llmon.torch.memory.usage",
    "updowncounter",
    "By",
    "GPU memory that torch's allocator holds for tensors (allocated), and with what it keeps for later (reserved).",
    (*_TORCH, STATE),
)
TORCH_MEMORY_PEAK = Metric(
    "llmon.torch.memory.peak",
    "gauge",
    "By",
    "Most that torch's allocator held since the process began, or the program reset torch's peaks.",
    (*_TORCH, STATE),
)
TORCH_OUT_OF_MEMORY = Metric(
    "llmon.torch.out_of_memory",
    "counter",
    "{error}",
    "Times that torch found no memory on the GPU.",
    _TORCH,
    since="process",
)
TORCH_RETRIES = Metric(
    "llmon.torch.allocation.retries",
    "counter",
    "{retry}",
    "Times that torch gave back what it kept for later in order to find memory.",
    _TORCH,
    since="process",
)
