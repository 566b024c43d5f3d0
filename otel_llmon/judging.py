"""What the end of a call says of its target: that it works, that it does not, or nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from otel_llmon import telemetry
from otel_llmon.errors import CircuitOpenError, SettingsError
from otel_llmon.outcomes import CANCELLATION, outcome

Errors = type[BaseException] | tuple[type[BaseException], ...] | Callable[[Any], bool]
Judge = Callable[[BaseException | None], bool | None]


def judge_by(name: str, errors: Errors) -> Judge:
    """Return what judges the ends of a breaker's calls. Raises SettingsError for what says nothing of an exception."""
    is_failure = _failures(name, errors)

    def worked(error: BaseException | None) -> bool | None:
        if error is None or isinstance(error, GeneratorExit):  # a stream that is left early gave what was wanted
            return True
        if isinstance(error, BaseExceptionGroup):
            found = {worked(each) for each in error.exceptions}
            return False if False in found else None if None in found else True
        if not isinstance(error, Exception) or isinstance(error, CircuitOpenError) or outcome(error) == CANCELLATION:
            return None
        try:
            return not is_failure(error)
        except Exception as exc:  # the caller's own exception must not be replaced
            telemetry.warn_once("breaker %r: errors: %s: %s; counted as a failure", name, type(exc).__name__, exc)
            return False

    return worked


def _failures(name: str, errors: Errors) -> Callable[[BaseException], bool]:
    """Return what tells whether an exception is a failure."""
    classes = errors if isinstance(errors, tuple) else (errors,)
    if classes and all(isinstance(each, type) and issubclass(each, BaseException) for each in classes):
        return lambda error: isinstance(error, classes)  # type: ignore[arg-type]
    if isinstance(errors, type) or not callable(errors):
        raise SettingsError(f"breaker {name!r}: errors={errors!r}: expected exception classes, or a function of one")
    return errors
