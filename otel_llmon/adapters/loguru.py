"""loguru: what it logs goes to OpenTelemetry with its fields, beside the sinks that are there."""

from __future__ import annotations

import logging
import sys
from types import FrameType
from typing import Any

from opentelemetry import _logs

from otel_llmon import bridging, events, telemetry
from otel_llmon.errors import MissingExtraError
from otel_llmon.metering import values
from otel_llmon.semconv import attributes as key


def attach(level: str | int = 0) -> int:
    """Add our sink to loguru's logger and return its number, for `logger.remove()`.

    What stdlib logging handed over to loguru, or loguru to stdlib logging, is sent once. Raises MissingExtraError where
    loguru is not installed.
    """
    try:
        from loguru import logger
    except ModuleNotFoundError as exc:
        raise MissingExtraError("'loguru' is not installed; run: pip install loguru") from exc
    # a function as format: nothing is formatted, and no local variables are put beside the stack
    return logger.add(_Sink(), level=level, format=_nothing, catch=True, backtrace=False, diagnose=False)


class _Sink:
    def __init__(self) -> None:
        bridging.loguru_sinks.append(self)

    def write(self, message: Any) -> None:
        """Send one record, in the thread that logs."""
        record = message.record
        try:
            _send(record)
        except Exception as exc:  # the other sinks go on
            events.failed("loguru", values.text(record["name"]), exc)

    def stop(self) -> None:
        """Be no sink any more; loguru calls it."""
        bridging.loguru_sinks.remove(self)


def _send(record: dict[str, Any]) -> None:
    name = values.text(record["name"] or "loguru")
    if events.mute(name) or _came_by_stdlib(record["message"]):
        return
    path, line = record["file"].path, record["line"]
    if not events.allowed((name, path, line), name):
        return
    fields = dict(record["extra"])
    fields |= {key.CODE_FILE: path, key.CODE_FUNCTION: record["function"], key.CODE_LINE: line}
    if record["exception"] is not None and record["exception"].value is not None:
        fields |= telemetry.told_by(record["exception"].value)
    level = record["level"]
    events.send(
        _logs.get_logger(name),
        telemetry.carried(record["message"]),
        telemetry.clean(fields),
        events.severity_of(level.no),
        level.name,
        int(record["time"].timestamp() * 1e9),
    )


def _came_by_stdlib(message: str) -> bool:
    """Tell whether a handler of stdlib logging passes on to loguru what the bridge sends itself."""
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        if frame.f_code is logging.Logger.callHandlers.__code__:
            there = frame.f_locals
            return bool(there["record"].getMessage() == message and bridging.reaches(there["self"]))
        frame = frame.f_back
    return False


def _nothing(record: Any) -> str:  # noqa: ARG001  # loguru calls it
    return ""
