"""What torch's allocator holds on GPUs, and its peaks; torch is never imported, and CUDA never begun, by us."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Any

from otel_llmon.metering import Reading
from otel_llmon.semconv import gpu as rows
from otel_llmon.semconv.attributes import HW_ID, HW_NAME, STATE, TORCH_DEVICE

ROWS = (rows.TORCH_MEMORY, rows.TORCH_MEMORY_PEAK, rows.TORCH_OUT_OF_MEMORY, rows.TORCH_RETRIES)


def observe() -> Iterator[Reading]:
    """Yield what the allocator says of each GPU that it ever took memory on."""
    cuda = begun()
    for number in range(cuda.device_count() if cuda is not None else 0):
        said = cuda.memory_stats(number)
        if not said.get("reserved_bytes.all.peak"):
            continue
        device = _about(cuda, number)
        for state in ("allocated", "reserved"):
            where = {**device, STATE: state}
            yield Reading(rows.TORCH_MEMORY, said[f"{state}_bytes.all.current"], where)
            yield Reading(rows.TORCH_MEMORY_PEAK, said[f"{state}_bytes.all.peak"], where)
        if "num_ooms" in said:
            yield Reading(rows.TORCH_OUT_OF_MEMORY, said["num_ooms"], device)
        if "num_alloc_retries" in said:
            yield Reading(rows.TORCH_RETRIES, said["num_alloc_retries"], device)


def begun() -> Any:
    """Return `torch.cuda` where the program has begun to use it, else None; torch may be amid its import."""
    cuda = getattr(sys.modules.get("torch"), "cuda", None)
    initialized = getattr(cuda, "is_initialized", None)
    return cuda if initialized is not None and initialized() else None


def held() -> Mapping[int, str | None]:
    """Return the GPUs that torch holds memory on, by torch's number, with their UUID where torch says it."""
    cuda = begun()
    numbers = range(cuda.device_count() if cuda is not None else 0)
    return {number: _uuid(cuda, number) for number in numbers if cuda.memory_reserved(number)}


def _about(cuda: Any, number: int) -> Mapping[str, Any]:
    found = {HW_NAME: cuda.get_device_name(number), TORCH_DEVICE: f"cuda:{number}"}
    uuid = _uuid(cuda, number)
    return found if uuid is None else {HW_ID: uuid, **found}


def _uuid(cuda: Any, number: int) -> str | None:
    uuid = getattr(cuda.get_device_properties(number), "uuid", None)
    return None if uuid is None else f"GPU-{uuid}"
