"""How this process is: its checks, its export path, and what it used last; all of it out of memory.

What the machine does is told and never judged: to take a busy host out of rotation makes the others busier.
"""

from __future__ import annotations

import functools
import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, NamedTuple, TypeVar

from opentelemetry import trace

from otel_llmon import checks, exporting
from otel_llmon.checks.running import runner
from otel_llmon.checks.verdicts import word
from otel_llmon.errors import SettingsError
from otel_llmon.metering import cells, values
from otel_llmon.observers import sampler
from otel_llmon.semconv.attributes import SERVICE_NAME, SERVICE_VERSION

UP, DEGRADED, DOWN = "up", "degraded", "down"

_started = time.monotonic()
_ABOUT = {"content-type": "application/json", "cache-control": "no-store"}

AppT = TypeVar("AppT")
Said = tuple[int, dict[str, Any]]
"""An HTTP status, and facts."""


class Answer(NamedTuple):
    """What is said to a request."""

    status: int
    body: bytes

    @property
    def headers(self) -> dict[str, str]:
        """Return what belongs to it."""
        return {**_ABOUT, "content-length": str(len(self.body))}


def answer(method: str, path: str) -> Answer | None:
    """Return what is said to a request; None where it is not one for us."""
    if path not in PATHS or method not in ("GET", "HEAD"):
        return None
    return _written(PATHS[path]())


def checked_app(app: AppT, kind: str) -> AppT:
    """Return what other requests go to. Raises SettingsError for what cannot be called."""
    if app is not None and not callable(app):
        raise SettingsError(f"Health({app!r}): expected the {kind} application that it stands around, or nothing")
    return app


def refusal(path: str) -> Answer:
    """Return what is said where there is nobody else to ask."""
    return _written((405 if path in PATHS else 404, {"paths": list(PATHS)}))


def _written(said: Said) -> Answer:
    return Answer(said[0], json.dumps(said[1]).encode())


def health() -> Said:
    """Say how everything is: 503 where something that is required is down, 200 else, degraded or not."""
    state, export = _state(), _export()
    said: dict[str, Any] = {"status": state, "timestamp": _iso(time.time()), "uptime": round(_uptime(), 3)}
    said |= {**_service(), "components": {check.name: component(check) for check in _checks()}}
    if export:
        said["export"] = export
    if resources := _resources():
        said["resources"] = resources
    return 503 if state == DOWN else 200, said


def ready() -> Said:
    """Say whether everything that is required is up; what nobody knows yet is not."""
    waits = [check for check in _checks() if check.plan.required and check.up is not True]
    said: dict[str, Any] = {"status": DOWN if waits else UP}
    if waits:
        said["waits_for"] = {check.name: word(check.up) for check in waits}
    return 503 if waits else 200, said


def live() -> Said:
    """Say that this process answers."""
    return 200, {"status": UP}


PATHS: Mapping[str, Callable[[], Said]] = {"/health": health, "/ready": ready, "/live": live}


def _state() -> str:
    if any(check.up is False for check in _checks() if check.plan.required):
        return DOWN
    failing = any(passage.failing for passage in exporting.passages())
    return DEGRADED if failing or not all(check.up for check in _checks()) else UP


def _checks() -> list[checks.Check]:
    runner.ensure()
    return list(runner.checks.values())


def component(check: checks.Check) -> dict[str, Any]:
    """Return what a check found last, as JSON has it; what is not known is left out."""
    result = check.result
    said: dict[str, Any] = {"status": word(result.up), "type": result.kind, "required": check.plan.required}
    if result.reason:
        said["reason"] = result.reason
    if result.seconds is not None:
        said["seconds"] = round(result.seconds, 6)
    said |= {name: _iso(at) for name, at in (("at", result.at), ("since", result.since)) if at is not None}
    return said | dict(result.facts)


def _export() -> dict[str, dict[str, Any]]:
    return {passage.signal: _passage(passage) for passage in exporting.passages()}


def _passage(passage: exporting.Passage) -> dict[str, Any]:
    state = DEGRADED if passage.failing else word(None) if passage.sent_at is None else UP
    said: dict[str, Any] = {"status": state, **asdict(passage)}
    del said["signal"], said["failing"]
    if passage.sent_at is not None:
        said["sent_at"] = _iso(passage.sent_at)
    return {name: value for name, value in said.items() if value not in (None, "")}


def _service() -> dict[str, str]:
    """Return the name and version that the program gave itself, where it said."""
    resource = getattr(trace.get_tracer_provider(), "resource", None)
    found = getattr(resource, "attributes", {})
    told = {"service": found.get(SERVICE_NAME), "version": found.get(SERVICE_VERSION)}
    return {name: str(value) for name, value in told.items() if value}


def _resources() -> dict[str, float]:
    """Return what the observers of machine and process read last, by metric, where that is one number."""
    now = sampler.clock()
    found: dict[str, float] = {}
    for source in list(sampler.sources.values()):
        for row in source.rows:
            match list(source.fresh(row, now, sampler.beat)):
                case [(_, value, attributes)] if not attributes:
                    told = values.number(value)  # a gauge of the program's may return what JSON cannot hold
                    if told is not None and -cells.LARGEST <= told <= cells.LARGEST:
                        found[row] = told
    return found


def _uptime() -> float:
    return time.time() - _born(os.getpid())


@functools.lru_cache(1)
def _born(process: int) -> float:
    """Return when a process began, where the system tells; else when we did."""
    try:
        import psutil

        return psutil.Process(process).create_time()
    except Exception:  # whatever a system without /proc says
        return time.time() - (time.monotonic() - _started)


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
