"""Running commands again and again, and reporting how long each run took."""

from __future__ import annotations

import os
import shlex
import signal
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, NamedTuple

from otel_llmon import metering
from otel_llmon.errors import LlmonError, reason
from otel_llmon.events import event
from otel_llmon.outcomes import FAILURE, SUCCESS
from otel_llmon.phases import Phase, phase
from otel_llmon.semconv import attributes as key
from otel_llmon.semconv import efficiency as rows
from otel_llmon.semconv.events import REGRESSION_DETECTED

if TYPE_CHECKING:  # loaded where something is compared
    from otel_llmon.scores.regression import Comparison

_DESCRIBE = ("git", "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty")

_duration = metering.Histogram(rows.BENCHMARK_DURATION)
_cpu_time = metering.Histogram(rows.BENCHMARK_CPU_TIME)


class FailedError(LlmonError):
    """A run did not end well, so its time says nothing."""


class Taken(NamedTuple):
    """Seconds that a run took; those of CPUs are None where the system does not tell."""

    wall: float
    cpu: float | None
    complaint: str = ""
    """Why it says nothing, where the run did not end well."""


@dataclass
class Contender:
    """A command, and its runs."""

    command: Sequence[str]
    name: str
    build: str | None
    revision: str | None
    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def run(self, environ: Mapping[str, str], *, counts: bool = True) -> None:
        """Run it once; report that, unless it is to warm up. Raises FailedError where it does not end with 0."""
        taken = once(self.command, environ)
        outcome = FAILURE if taken.complaint else SUCCESS
        if counts or taken.complaint:
            _duration.at(self.name, self.build, self.revision, outcome).record(taken.wall)
            if taken.cpu is not None:
                _cpu_time.at(self.name, self.build, self.revision, outcome).record(taken.cpu)
        if taken.complaint:
            raise FailedError(f"{shlex.join(self.command)}: run {len(self.wall) + 1} {taken.complaint}")
        if counts:
            self.wall.append(taken.wall)
            self.cpu += [] if taken.cpu is None else [taken.cpu]


def once(command: Sequence[str], environ: Mapping[str, str]) -> Taken:
    """Run a command to its end. What it prints is not shown; where it fails, its last line of stderr is."""
    with tempfile.TemporaryFile() as said:
        began = time.perf_counter()
        try:
            process = subprocess.Popen(  # noqa: S603  # the person's own command
                command, env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=said
            )
        except OSError as exc:
            raise FailedError(f"{command[0]}: {reason(exc)}, no program") from exc
        code, cpu = _wait(process)
        return Taken(time.perf_counter() - began, cpu, _complaint(code, said) if code else "")


def _wait(process: subprocess.Popen[bytes]) -> tuple[int, float | None]:
    """Wait for the end; return the exit status and the CPU seconds, those of its own children among them."""
    try:
        if not hasattr(os, "wait4"):
            return process.wait(), None
        _, status, usage = os.wait4(process.pid, 0)
    except BaseException:
        process.kill()
        raise
    process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, usage.ru_utime + usage.ru_stime


def _complaint(code: int, said: IO[bytes]) -> str:
    said.seek(max(said.seek(0, os.SEEK_END) - 4096, 0))
    lines = said.read().decode(errors="replace").split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "no word on stderr")
    how = f"left with status {code}" if code > 0 else f"was ended by {signal.Signals(-code).name}"
    return f"{how}: {last}"


def revision() -> str | None:
    """Return the commit that is checked out, with `-dirty` where files differ; None outside a repository."""
    try:
        done = subprocess.run(_DESCRIBE, capture_output=True, text=True, timeout=10, check=False)  # noqa: S603  # ours
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None


def measure(
    contenders: Sequence[Contender], rounds: int, warmup: int, environ: Mapping[str, str], step: Callable[[], None]
) -> None:
    """Run every command once per round, in turn and from the other end every second time, so that drift hits all."""
    for number in range(-warmup, rounds):
        for contender in contenders[:: -1 if number % 2 else 1]:
            contender.run(environ, counts=number >= 0)
            step()


def bench(name: str) -> Phase:
    """Return the phase around all runs; the verdict belongs to its trace."""
    return phase("bench", {key.BENCHMARK: name})


def tell_regression(contender: Contender, times: Sequence[float], baseline: Sequence[float], found: Comparison) -> None:
    """Say in the log that it takes longer than the other."""
    facts = {
        "benchmark": contender.name,
        "build": contender.build,
        key.VCS_REVISION: contender.revision,
        "duration": statistics.median(times),
        "baseline": statistics.median(baseline),
        "ratio": found.ratio,
        "low": found.low,
        "high": found.high,
    }
    event(REGRESSION_DETECTED.name, facts)
