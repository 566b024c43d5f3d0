"""GPUs that a script makes up: NVIDIA's library as tests/fake_nvml.c has it, for programs that load the real pynvml."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

SOURCE = Path(__file__).parent / "fake_nvml.c"
LIBRARY = "libnvidia-ml.so.1"
GIB = 1 << 30
NAME = "NVIDIA H100 80GB HBM3"


class DriverCall(NamedTuple):
    """A call into the library: of a GPU, or -1, by a thread of the system."""

    function: str
    gpu: int
    thread: int


class GPUs:
    """A library, its script, and the calls that were made."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._script = folder / "script"
        self._calls = folder / "calls"
        self._place = folder / "lib"
        self._place.mkdir(parents=True)
        self.facts: dict[str, object] = {}

    @property
    def environ(self) -> dict[str, str]:
        """What a program needs to meet these GPUs."""
        return {
            "LD_LIBRARY_PATH": str(self._place),
            "FAKE_NVML": str(self._script),
            "FAKE_NVML_CALLS": str(self._calls),
        }

    def install(self, *flags: str) -> None:
        """Put the library where programs find it, built with these flags of the compiler."""
        compiler = shutil.which("cc") or shutil.which("gcc")
        if compiler is None:
            pytest.skip("no C compiler; install gcc")
        built = self._folder / f"built{''.join(flags)}.so"
        command = [compiler, "-O1", "-shared", "-fPIC", *flags, "-o", str(built), str(SOURCE), "-lpthread"]
        subprocess.run(command, check=True)
        built.replace(self._place / LIBRARY)

    def uninstall(self) -> None:
        """Have programs find a file that is no library, whatever the machine has besides."""
        (self._place / LIBRARY).write_text("none")

    def say(self, facts: Mapping[str, object] | None = None, /, *without: str) -> None:
        """Add to the script, and take out what begins with one of these."""
        self.facts |= facts or {}
        self.facts = {key: value for key, value in self.facts.items() if not key.startswith(without or ("\0",))}
        fresh = self._script.with_suffix(".new")
        fresh.write_text("".join(f"{key} {value}\n" for key, value in self.facts.items()))
        fresh.replace(self._script)

    def calls(self) -> list[DriverCall]:
        """Return the calls made so far."""
        if not self._calls.exists():
            return []
        parts = (line.split() for line in self._calls.read_text().splitlines())
        return [DriverCall(function, int(gpu), int(thread)) for function, gpu, thread in parts]

    def counted(self) -> Counter[str]:
        """Return how often each function was called."""
        return Counter(call.function for call in self.calls())

    def forget_calls(self) -> None:
        """Count from now on."""
        os.truncate(self._calls, 0)


def gpu(number: int = 0, **other: object) -> dict[str, object]:
    """Return the script of a GPU that has an answer to everything; dots in names are underscores here."""
    facts = {
        "uuid": f"GPU-{'abcdefgh'[number] * 4}",
        "name": NAME,
        "busy": 40 + number,
        "memory.busy": 15,
        "memory.used": (10 + number) * GIB,
        "memory.total": 80 * GIB,
        "temperature": 61 + number,
        "clock.sm": 1755,
        "clock.memory": 2619,
        "throttle": 0x01 | 0x04 | 0x40,
        "power": 350_000,
        "processes": f"4711:{7 * GIB},self:{3 * GIB}",
        "activity": "self:37,4711:80",
        "field.83": 123_456_789,
        "field.186": 412_500,
        "field.82": 71,
        "field.3": 5,
        "field.4": 1,
        "field.94": 2,
        "field.38": 3,
        "field.138": 1000,
        "field.139": 2000,
        "field.197": 5_000_000,
        "field.198": 6_000_000,
        "field.74": 2_500_000_000,
        "field.269": 1_500_000_000,
    }
    facts |= {key.replace("_", "."): value for key, value in other.items()}
    return {f"gpu{number}.{key}": value for key, value in facts.items() if value is not None}
