"""What an import costs in a fresh process, over the bare interpreter."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass

from benchmarks.figures import SECOND, Figure

HEAVY = ("numpy", "scipy", "psutil", "rich", "requests", "opentelemetry.sdk")
"""What an import of ours must not load."""

API = "from opentelemetry import _logs, metrics, trace"
PACKAGE = "import otel_llmon"
WORDS = "from otel_llmon import event, phase, pipeline, progress"


@dataclass(frozen=True)
class Import:
    """CPU time of a process that runs `code`, less that of one that runs nothing."""

    code: str
    most: int | None = None

    def __call__(self) -> float:
        """Return nanoseconds, of the user and of the system together."""
        return (_cpu(self.code) - _cpu("pass")) * SECOND


@dataclass(frozen=True)
class Loaded:
    """How many heavy modules a process has loaded after `code`."""

    code: str
    most: int | None = 1

    def __call__(self) -> float:
        """Return their number, which the process says with its exit status."""
        pid = _spawn(f"{self.code}\nimport sys\nsys.exit(sum(name in sys.modules for name in {HEAVY!r}))")
        return float(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


def _spawn(code: str) -> int:
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "PYTHON"))}
    return os.posix_spawn(sys.executable, [sys.executable, "-c", code], environ)


def _cpu(code: str) -> float:
    _, status, usage = os.wait4(_spawn(code), 0)
    if status:
        raise RuntimeError(f"{code!r}: ended with {os.waitstatus_to_exitcode(status)}")
    return usage.ru_utime + usage.ru_stime


_API = Import(API)

FIGURES = (
    Figure("import otel_llmon", Import(PACKAGE), _API, 1.3),
    Figure("import of event, phase, pipeline, progress", Import(WORDS), _API, 1.3),
    Figure("heavy modules after import otel_llmon", Loaded(PACKAGE), times=0.0, unit=""),
    Figure("heavy modules after import of the words", Loaded(WORDS), times=0.0, unit=""),
)
