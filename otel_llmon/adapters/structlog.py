"""structlog: what it logs goes to OpenTelemetry with its fields, and is rendered as before."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

from opentelemetry import _logs

from otel_llmon import events, telemetry
from otel_llmon.bridging import SENT
from otel_llmon.errors import MissingExtraError
from otel_llmon.metering import values
from otel_llmon.semconv import attributes as key

Processor = Callable[[Any, str, MutableMapping[str, Any]], Any]

_LEVELS = {"exception": "error", "msg": "info", "log": "info", "failure": "error", "err": "error", "warn": "warning"}
_OWN = frozenset(
    ("event", "level", "level_number", "logger", "timestamp", "exc_info", "exception", "stack", "stack_info")
)


def exported(renderer: Processor | None = None) -> Processor:
    """Return structlog's last processor: it sends what was logged, then renders it as `renderer` does.

    Where structlog hands on to stdlib logging, what is sent here is not sent again from there. Without a renderer it is
    structlog's own for the console; raises MissingExtraError where structlog is not installed.
    """
    render = renderer or _console()

    def process(logger: Any, method: str, said: MutableMapping[str, Any]) -> Any:
        sent = _send(logger, method, said)
        rendered = render(logger, method, said)
        return _marked(rendered) if sent and isinstance(logger, logging.Logger) else rendered

    return process


def _console() -> Processor:
    try:
        from structlog.dev import ConsoleRenderer
    except ModuleNotFoundError as exc:
        raise MissingExtraError("'structlog' is not installed; run: pip install structlog") from exc
    return ConsoleRenderer()


def _send(logger: Any, method: str, said: Mapping[str, Any]) -> bool:
    """Send it, and tell whether it was; what stdlib logging would leave out is left out."""
    try:
        word = str(said.get("level") or _LEVELS.get(method, method)).lower()
        number = getattr(logging, word.upper(), logging.INFO)
        name = values.text(said.get("logger") or getattr(logger, "name", None) or "structlog")
        if events.mute(name) or (isinstance(logger, logging.Logger) and not logger.isEnabledFor(number)):
            return False
        body = telemetry.carried(said.get("event", ""))
        if events.allowed((name, body if isinstance(body, str) else ""), name):
            fields = telemetry.clean({field: value for field, value in said.items() if field not in _OWN})
            fields |= _failure(said)
            grade = events.severity_of(number), word.upper()
            events.send(_logs.get_logger(name), body, fields, *grade, time.time_ns())
    except Exception as exc:  # what is logged is rendered all the same
        events.failed("structlog", method, exc)
    return True


def _failure(said: Mapping[str, Any]) -> dict[str, str]:
    error = said.get("exc_info")
    if error is True:
        error = sys.exc_info()
    if isinstance(error, tuple) and len(error) == 3:
        error = error[1]
    found = telemetry.told_by(error) if isinstance(error, BaseException) else {}
    if not found and said.get("exception"):  # rendered by a processor before
        found = {key.EXCEPTION_STACKTRACE: _end(said["exception"])}
    if said.get("stack"):
        found[key.CODE_STACKTRACE] = _end(said["stack"])
    return found


def _end(stack: Any) -> str:
    return values.text(str(stack)[-telemetry.state.longest :], telemetry.state.longest)


def _marked(rendered: Any) -> Any:
    """Return what the renderer gave, so that the record made of it says that it was sent."""
    arguments, options = rendered if isinstance(rendered, tuple) else ((rendered,), {})
    if isinstance(rendered, dict):
        arguments, options = (), rendered
    return arguments, {**options, "extra": {**(options.get("extra") or {}), SENT: True}}
