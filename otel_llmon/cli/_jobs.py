"""Counting the jobs of a program that died before they could say how they ended: by kill -9, for want of memory."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from otel_llmon import jobs
from otel_llmon.cli import _program
from otel_llmon.errors import LlmonError
from otel_llmon.outcomes import CANCELLATION, FAILURE, SUCCESS


def run(command: Sequence[str], environ: Mapping[str, str], name: str | None = None) -> _program.Ended:
    """Run a program to its end, and count its jobs that never said how they ended.

    With a name the program is a job itself, where it tells of none: its exit status says how it ended.
    """
    with tempfile.TemporaryDirectory(prefix="llmon-jobs-") as folder:
        file = Path(folder, "jobs")
        file.touch()
        ended = _program.run(command, {**environ, jobs.VARIABLE: str(file)})
        began, left = jobs.read(file)
    told = [(job.name, job.model, job.headers) for job in left if not _lives(job.process)]
    if told:
        _tell(told, FAILURE, str(ended), environ)
    elif name is not None and not began:
        _tell([(name, None, {})], _outcome(ended), str(ended), environ)
    return ended


def _outcome(ended: _program.Ended) -> str:
    if ended.by_request:
        return CANCELLATION
    return FAILURE if ended.code else SUCCESS


def _lives(process: int) -> bool:
    """Tell whether a process still runs; one that is dead stays in the system's table until somebody waited for it."""
    import psutil

    try:
        return psutil.Process(process).status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:  # somebody else's, who may not be asked
        return True


def _tell(
    told: Sequence[tuple[str, str | None, Mapping[str, str]]], how: str, why: str, environ: Mapping[str, str]
) -> None:
    """Report as the program's service would have."""
    from otel_llmon import trainings
    from otel_llmon.lifecycle import configure

    os.environ.update(environ)
    try:
        handle = configure(observers=())
    except LlmonError as exc:
        _program.say(f"a job that {why} is not counted: {exc}")
        return
    for name, model, headers in told:
        trainings.died(name, model, how, why, headers)
    handle.shutdown()
