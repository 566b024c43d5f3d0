"""What every emitter stands on: the level in force, the clock, and the tracer and logger of our scope."""

from __future__ import annotations

import logging
import os
import time
import traceback
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from opentelemetry import _logs, trace
from opentelemetry._logs import _internal

from otel_llmon.errors import LlmonError
from otel_llmon.metering import SCOPE, values
from otel_llmon.semconv import attributes as key

if TYPE_CHECKING:  # loaded where something is set
    from otel_llmon.prices import Prices
    from otel_llmon.settings import GenAISemconv, ProgressBar, Settings

DISABLED, BASIC, DETAILED, PROFILING = range(4)
LEVELS = {"disabled": DISABLED, "basic": BASIC, "detailed": DETAILED, "profiling": PROFILING}

LONGEST_SEQUENCE = 128
"""Items of a sequence that an attribute keeps."""

MOST_TOLD = 20
"""Names of which one warning is said."""

DEFAULTS = "%s; going on with the defaults"

log = logging.getLogger("otel_llmon")
_told: dict[str, set[str | None]] = {}
"""By message, whom it was said of."""
_api: Any = trace if hasattr(trace, "_TRACER_PROVIDER") else SimpleNamespace(_TRACER_PROVIDER=None)
_logs_api: Any = _internal if hasattr(_internal, "_LOGGER_PROVIDER") else SimpleNamespace(_LOGGER_PROVIDER=None)


def warn_once(message: str, *args: Any) -> None:
    """Log a warning the first time; a mistake in a loop is said once.

    A message that begins with whom it is about ("phase %r: ...") is said once of each, up to MOST_TOLD of them.
    """
    name = args[0] if args and "%" in message.partition(":")[0] and isinstance(args[0], str) else None
    told = _told.setdefault(message, set())
    if name not in told and len(told) < MOST_TOLD:
        told.add(name)
        log.warning(message, *args)


class _State:
    """What `configure()` and tests may change while emitters run."""

    __slots__ = (
        "baggage_keys",
        "capture_content",
        "carbon_intensity",
        "clock",
        "conveyance_alpha",
        "ended_by",
        "event_rate",
        "genai_semconv",
        "level",
        "logger",
        "logger_provider",
        "longest",
        "prices",
        "progress_bar",
        "tracer",
        "tracer_provider",
        "variables",
    )

    def __init__(self) -> None:
        self.clock: Callable[[], float] = time.perf_counter
        self.level = DETAILED
        self.longest = 8192
        self.event_rate = 1000.0
        self.baggage_keys: tuple[str, ...] = ()
        self.variables: dict[str, str] = {}
        self.genai_semconv: GenAISemconv = "legacy"
        self.capture_content = False
        self.prices: Prices | None = None
        self.carbon_intensity: float | None = None
        self.conveyance_alpha = 1.5
        self.progress_bar: ProgressBar = "auto"
        self.tracer: trace.Tracer | None = None
        self.tracer_provider: Any = None
        self.logger: _logs.Logger | None = None
        self.logger_provider: Any = None
        self.ended_by: str | None = None
        """The signal that ends this process, once one does."""

    def apply(self, settings: Settings) -> None:
        """Take over what emitters need to know."""
        self.level = LEVELS[settings.level]
        self.longest = settings.max_value_length
        self.event_rate = settings.event_rate
        self.baggage_keys = settings.baggage_keys
        self.genai_semconv = settings.genai_semconv
        self.capture_content = settings.capture_content
        self.prices = settings.prices
        self.carbon_intensity = settings.carbon_intensity
        self.conveyance_alpha = settings.conveyance_alpha
        self.progress_bar = settings.progress_bar


state = _State()


settlers: list[Callable[..., None]] = []
"""Called before each flush, with `last=True` before the last one: what is still open then may be brought to an end."""


def settle(*, last: bool) -> None:
    """Let every settler do its work before a flush."""
    for settler in settlers:
        try:
            settler(last=last)
        except Exception as exc:  # one that fails must not cost the flush
            warn_once("what was open at the end is lost: %s: %s", type(exc).__name__, exc)


def tracer() -> trace.Tracer:
    """Return the tracer of the provider that is global now."""
    if state.tracer is None or _api._TRACER_PROVIDER is not state.tracer_provider:
        provider = _api._TRACER_PROVIDER  # read directly, as metering.bind() does and for its reason
        state.tracer = trace.get_tracer(SCOPE, _version())
        state.tracer_provider = provider  # last: another thread that sees it takes the tracer as it is
    return state.tracer


def logger() -> _logs.Logger:
    """Return the OpenTelemetry logger of the provider that is global now."""
    if state.logger is None or _logs_api._LOGGER_PROVIDER is not state.logger_provider:
        provider = _logs_api._LOGGER_PROVIDER  # likewise
        state.logger = _logs.get_logger(SCOPE, _version())
        state.logger_provider = provider
    return state.logger


def _version() -> str:
    try:
        from importlib.metadata import version  # as costly to import as all of OpenTelemetry's API

        return version("otel-llmon")
    except Exception:  # a copy that was not installed, or no file left to read it from: no reason to lose a span
        return "unknown"


def clean(attributes: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return attributes that OTLP can carry: what it has no type for becomes text, and text has a bounded length."""
    if attributes is None:
        return {}
    longest = state.longest
    found = {}
    try:
        for name, value in attributes.items():
            kind = value.__class__
            if (  # what most values are is known without a call, and this runs for each attribute of each span
                kind in _PLAIN
                or (kind is str and len(value) <= longest and value.isascii())
                or (kind is int and -_SMALL < value < _SMALL)
            ):
                found[_name(name)] = value
            elif value is not None:
                found[_name(name)] = carried(value)
        return found
    except Exception as exc:  # a foreign mapping's own code must not reach the caller's work
        warn_once("attributes are a %s, expected a mapping: left out: %s", type(attributes).__name__, exc)
        return {}


def _name(name: Any) -> str:
    return name if name.__class__ is str and name.isascii() and len(name) <= values.LONGEST else values.text(name)


_PLAIN = frozenset((bool, float))
_SMALL = 2**62


def told_by(error: BaseException) -> dict[str, str]:
    """Return what an exception says, as upstream's attributes; of a long stack the end, where it was raised."""
    try:
        stack = "".join(traceback.format_exception(error))
    except Exception as exc:  # a foreign exception's own code must not replace the exception
        stack = f"<{type(exc).__name__} while formatting>"
    return {
        key.EXCEPTION_TYPE: error_type(error),
        key.EXCEPTION_MESSAGE: values.text(error, state.longest),
        key.EXCEPTION_STACKTRACE: values.text(stack[-state.longest :], state.longest),
    }


def error_type(error: BaseException) -> str:
    """Return the name of an exception's class, with its module unless it is Python's own."""
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def carried(value: Any) -> Any:
    """Return one attribute value as OTLP can carry it: a sequence has values of one type, and is of bounded length."""
    if not isinstance(value, (list, tuple)):  # a union would be made anew each time
        return values.plain(value, state.longest)
    items = [values.plain(item, state.longest) for item in value[:LONGEST_SEQUENCE]]
    return items if len({type(item) for item in items}) <= 1 else [str(item) for item in items]


def _first_settings() -> None:
    """Take over what the environment says, if anything; `configure()` tells more about a mistake there."""
    if not any(name.startswith(("OTEL_LLMON_", "OTEL_SDK_DISABLED")) for name in os.environ):
        return  # what a state begins with is what holds when nothing is said
    from otel_llmon.settings import Settings

    try:
        state.apply(Settings.load())
    except LlmonError as exc:
        warn_once(DEFAULTS, exc)


_first_settings()
