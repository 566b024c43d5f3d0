"""Which jobs run in a program, written down where whoever started it finds them after a kill -9.

`llmon run` names a file in the environment; each job appends a line when it begins and one when it ends. Where nobody
named a file, nothing is written.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from otel_llmon import telemetry

VARIABLE = "LLMON_JOBS"
"""Names the file. It is no setting: `llmon run` makes it and takes it away."""


class Job(NamedTuple):
    """A job as its first line tells it."""

    id: str
    process: int
    name: str
    model: str | None
    headers: Mapping[str, str]
    """The trace that it is in."""


def begin(name: str, model: str | None, headers: Mapping[str, str]) -> str | None:
    """Write that a job begins; return its id, or None where nobody wants to know."""
    path = os.environ.get(VARIABLE)
    if not path:
        return None
    job = Job(uuid.uuid4().hex, os.getpid(), name, model, headers)
    _append(path, {"began": job._asdict()})
    return job.id


def end(job: str | None) -> None:
    """Write that a job has told itself how it ended."""
    path = os.environ.get(VARIABLE)
    if job is not None and path:
        _append(path, {"ended": job})


def read(path: Path) -> tuple[list[Job], list[Job]]:
    """Return the jobs that began, and those of them that never said how they ended."""
    lines = list(map(_parsed, path.read_text(encoding="utf-8", errors="replace").splitlines()))
    ended = {line["ended"] for line in lines if "ended" in line}
    began = [Job(**line["began"]) for line in lines if "began" in line]
    return began, [job for job in began if job.id not in ended]


def _parsed(line: str) -> dict[str, Any]:
    try:
        return dict(json.loads(line))
    except ValueError:  # cut short, by a full disk for example
        return {}


def _append(path: str, line: Mapping[str, Any]) -> None:
    """Write one line at once, so that lines of several processes do not mix."""
    try:
        file = os.open(path, os.O_WRONLY | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0))  # it is never made here
        try:
            os.write(file, json.dumps(line).encode() + b"\n")
        finally:
            os.close(file)
    except OSError as exc:
        telemetry.warn_once("jobs are not written down, a killed one will not be counted: %s", exc)
