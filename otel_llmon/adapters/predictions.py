"""The prediction of a web request, with an id, timed from the request on: for FastAPI, and for any ASGI application."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, MutableMapping
from typing import Any
from uuid import uuid4

from otel_llmon.errors import MissingExtraError
from otel_llmon.models import ModelMonitor
from otel_llmon.telemetry import error_type, state

HEADER = "x-request-id"
"""Where a request says its id; a new one is made where it says none."""
ANSWER = "x-prediction-id"
"""Where the answer says by what id the truth may be told."""
LONGEST = 128


class Prediction:
    """The prediction of one request; `id` is what its truth may be told by."""

    __slots__ = ("_began", "_monitor", "id")

    def __init__(self, monitor: ModelMonitor, id: str | None = None) -> None:  # noqa: A002  # as in log()
        self._monitor = _checked(monitor)
        self._began = state.clock()
        self.id = id or uuid4().hex

    @classmethod
    def of(cls, monitor: ModelMonitor, scope: MutableMapping[str, Any], header: str = HEADER) -> Prediction:
        """Return the prediction of an ASGI request."""
        return cls(monitor, _id(scope.get("headers", ()), header))

    def log(
        self,
        features: Any,
        prediction: Any,
        proba: Any = None,
        truth: Any = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        """Take note of what was predicted; it took from the request up to here."""
        self._monitor.log(features, prediction, proba, truth, state.clock() - self._began, self.id, metadata)


def prediction(monitor: ModelMonitor, header: str = HEADER) -> Callable[..., AsyncIterator[Prediction]]:
    """Return a dependency for FastAPI; a handler that raises, other than for a mistake of the client's, is a failure.

    The answer's header `x-prediction-id` says by what id the truth may be told. Raises MissingExtraError where FastAPI
    is not installed, and TypeError for what is no monitor.
    """
    _checked(monitor)
    _check_name(header)
    try:
        from fastapi.exceptions import RequestValidationError
        from starlette.requests import Request
        from starlette.responses import Response
    except ImportError as exc:
        raise MissingExtraError("'fastapi' is not installed; run: pip install fastapi") from exc

    async def dependency(request: Any, response: Any) -> AsyncIterator[Prediction]:
        found = Prediction.of(monitor, request.scope, header)
        response.headers[ANSWER] = found.id
        try:
            yield found
        except RequestValidationError:  # the client's mistake, though it has no status
            raise
        except Exception as exc:
            if getattr(exc, "status_code", 500) >= 500 and state.level:
                monitor._count_failure(error_type(exc))
            raise

    dependency.__annotations__ = {"request": Request, "response": Response}  # FastAPI looks what they are
    return dependency


def _checked(monitor: Any) -> ModelMonitor:
    if not isinstance(monitor, ModelMonitor):
        raise TypeError(f"prediction: found {type(monitor).__name__}, expected a ModelMonitor")
    return monitor


def _check_name(header: Any) -> None:
    if not isinstance(header, str) or not header.isascii():
        raise TypeError(f"header={header!r}: expected the name of one, such as {HEADER!r}")


def _id(headers: Iterable[tuple[bytes, bytes]], wanted: str) -> str | None:
    """Return the id that a request brings, where it looks like one."""
    name = wanted.lower().encode("latin-1")
    found = next((value.decode("latin-1") for key, value in headers if key.lower() == name), "")
    return found if 0 < len(found) <= LONGEST and found.isascii() and found.isprintable() else None
