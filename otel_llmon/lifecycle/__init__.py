"""configure() and shutdown(): the one way in, for code and for `opentelemetry-instrument`, and the way out."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

from opentelemetry.instrumentation.distro import BaseDistro  # type: ignore[attr-defined]  # opts out of typing
from opentelemetry.sdk import environment_variables
from opentelemetry.sdk._configuration import _BaseConfigurator, _OTelSDKConfigurator

from otel_llmon import bridging, carrying, exporting, instrumentors, metering, observers, telemetry
from otel_llmon.errors import LlmonError, SettingsError
from otel_llmon.lifecycle import exits, forks, providers, routes, workers
from otel_llmon.observers import check
from otel_llmon.semconv.attributes import SERVICE_NAME
from otel_llmon.settings import Settings, effective

SLOWER = (
    "%s: using it as it is; histograms go through its `record` (some 25 times slower than ours),"
    " and its exit is not bounded by us"
)

DEFAULT_ENDPOINTS = ("http://localhost:4318", "http://127.0.0.1:4318")
"""Where the exporters send when nobody says anything."""

LONGEST_FLUSH = 3600.0
"""Seconds that a flush may take at the very most; locks take no infinite ones."""

_CONFIG_FILE = getattr(environment_variables, "OTEL_CONFIG_FILE", "")
"""The variable that names a configuration file, where the SDK knows of any."""


class Handle:
    """What `configure()` returns: flush it, or shut it down; as a context manager it shuts down at the end."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._pipes = providers.Pipes()
        self._variables: dict[str, str] = {}
        self._checks: list[Any] = []
        self._doors = exits.Doors(self.flush, self.shutdown, lambda: exits.give_up(self._pipes))
        self._open = True
        self._lock = threading.RLock()

    def flush(self, timeout: float | None = None) -> bool:
        """Send what there is within `timeout` seconds (OTEL_LLMON_EXIT_TIMEOUT); return whether it was done in time."""
        with self._one_at_a_time(timeout) as (first, seconds):
            return first and (not self._open or exits.flush(self._pipes, seconds))

    def lost(self) -> dict[str, str]:
        """Return why what there was to send was not, by signal; empty when all was handed over."""
        return exits.lost(self._pipes)

    def shutdown(self, timeout: float | None = None) -> None:
        """Send what there is, and end the providers that we made. OpenTelemetry takes no others in this process."""
        with self._one_at_a_time(timeout) as (_, seconds):
            if not self._open:
                return
            self._open = False
            bridging.bridge_logging(hand_over=False)
            exits.stop(self._pipes, seconds)
            instrumentors.detach_all()
            for check in self._checks:
                check.stop()
            bridging.unbridge_logging()
            self._doors.leave()
            self.unset_variables()

    @contextmanager
    def _one_at_a_time(self, timeout: float | None) -> Iterator[tuple[bool, float]]:
        """Wait for a flush or shutdown that is going on; give whether it ended in time, and the seconds that are left.

        A process may be on its way out by two doors at once, and leaves when the first is done.
        """
        seconds = min(max(self.settings.exit_timeout if timeout is None else timeout, 0.0), LONGEST_FLUSH)
        deadline = time.monotonic() + seconds
        lock = self._lock
        first = lock.acquire(timeout=seconds)
        try:
            yield first, round(max(deadline - time.monotonic(), 0.0), 1)
        finally:
            if first:
                lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace_back: TracebackType | None
    ) -> None:
        self.shutdown()

    def start(self, version: str | None = None, missing: Sequence[str] = ()) -> None:
        """Build what is missing, and attach what feeds it."""
        telemetry.state.apply(self.settings)
        if not telemetry.state.level:
            return
        routes.watch()
        self._pipes = providers.build(missing, version)
        carrying.follow()
        metering.use_exponential(on=self.settings.histograms == "exponential" or _exponential_asked())
        metering.bind()
        observers.attach(*self.settings.observers, every=self.settings.observer_interval)
        instrumentors.attach(*self.settings.instrumentors)
        self._start_checks()
        if self._pipes.providers:
            forks.prepare()
            exporting.keep_words()
            self._doors.watch()
            if hasattr(os, "register_at_fork"):
                os.register_at_fork(after_in_child=self.after_fork)
        bridging.bridge_logging(hand_over=self.settings.log_bridge and not _logging_is_bridged())

    def _start_checks(self) -> None:
        if self.settings.checks:  # only then is there something to load
            from otel_llmon import checks

            self._checks = checks.start(self.settings.checks)

    def join(self, settings: Settings) -> None:
        """Take the service's name from the first that names it, where nobody has; for all else it is too late.

        Which worker this is, is found out again: one that was spawned under `opentelemetry-instrument` may have set its
        rank only now.
        """
        forks.describe(self._pipes.providers.values(), workers.told())
        service = settings.service
        if service and self.settings.service is None and not _named_by_user(self._variables):
            self._variables["OTEL_SERVICE_NAME"] = os.environ["OTEL_SERVICE_NAME"] = service
            forks.describe(self._pipes.providers.values(), {SERVICE_NAME: service})
            self.settings = replace(self.settings, service=service)
        if service is None or _named_by_user(self._variables):
            settings = replace(settings, service=self.settings.service)
        if os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT") or settings.endpoint in (None, *DEFAULT_ENDPOINTS):
            settings = replace(settings, endpoint=self.settings.endpoint)
        if settings != self.settings:
            telemetry.log.warning("configure(): was called before; the first call's settings stay")

    def set_variables(self) -> None:
        """Set the `OTEL_*` defaults that nobody has set; children and instrumentors read them too."""
        self._variables |= providers.environment(self.settings)
        telemetry.state.variables = self._variables
        os.environ.update(self._variables)

    def unset_variables(self) -> None:
        """Take out what was set, unless somebody changed it."""
        for name, value in self._variables.items():
            if os.environ.get(name) == value:
                del os.environ[name]

    def after_fork(self) -> None:
        """Name the child, and give it a lock of its own."""
        self._lock = threading.RLock()
        if self._pipes.identity is not None:
            self._pipes.identity.renew(self._pipes.providers.values())
        self._doors.enter()


_handle: Handle | None = None
_starting = threading.RLock()


def configure(  # noqa: PLR0913  # what programs set most, by name
    service: str | None = None,
    endpoint: str | None = None,
    *,
    level: str | None = None,
    observers: Sequence[str] | None = None,
    instrumentors: Sequence[str] | None = None,
    file: str | None = None,
) -> Handle:
    """Set up traces, metrics and logs over OTLP, host and process metrics, calls to models, logging and a safe exit.

    `OTEL_*` and `OTEL_LLMON_*` variables win over the arguments, and the arguments over the file. A provider that
    was set before is used and not replaced. A second call returns the first one's handle.
    Raises SettingsError for a setting that is unknown or not allowed.
    """
    given = {
        "service": service,
        "endpoint": endpoint,
        "level": level,
        "observers": observers,
        "instrumentors": instrumentors,
    }
    with _starting:
        return _configured(_settings({name: value for name, value in given.items() if value is not None}, file))


def _configured(settings: Settings) -> Handle:
    if _handle is None:
        return _start(settings)
    if not _handle._open:
        telemetry.log.warning("configure(): this process was shut down before, and OpenTelemetry takes no second set")
    else:
        _handle.join(settings)
    return _handle


def shutdown(timeout: float | None = None) -> None:
    """Send what there is and end what `configure()` began; without it, nothing happens."""
    if _handle is not None:
        _handle.shutdown(timeout)


def _settings(given: dict[str, Any], file: str | None) -> Settings:
    known = effective(os.environ, file)
    free = {name: value for name, value in given.items() if known[name][1] != "environment"}
    settings = replace(Settings(**{name: value for name, (value, _) in known.items()}), **free)
    check(*settings.observers)
    instrumentors.check(*settings.instrumentors)
    return settings


def _start(settings: Settings, version: str | None = None, why: str = "") -> Handle:
    global _handle  # noqa: PLW0603  # one process, one pipeline
    handle = Handle(settings)
    missing = providers.missing()
    _check_endpoint()
    try:
        handle.set_variables()
        handle.start(version, missing)
    except Exception as exc:
        handle.unset_variables()
        raise SettingsError(f"OpenTelemetry takes no such settings: {exc}") from exc
    _handle = handle
    if settings.level != "disabled" and (why or ("metrics" not in missing and metering.falls_back())):
        telemetry.log.warning(SLOWER, why or "a MeterProvider was set before")
    return handle


def _named_by_user(ours: Mapping[str, str]) -> bool:
    """Tell whether the environment names the service, and neither we nor the guess of `llmon run` put it there."""
    named = os.environ.get("OTEL_SERVICE_NAME") or None
    made_up = (None, os.environ.get("LLMON_GUESSED_SERVICE"), ours.get("OTEL_SERVICE_NAME"))
    return named not in made_up or "service.name=" in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")


def _check_endpoint() -> None:
    """Say in one line what the exporter would say with every batch."""
    name = "OTEL_EXPORTER_OTLP_ENDPOINT"
    found = os.environ.get(name, "")
    by_http = os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL", "http").startswith("http")
    if found and by_http and not found.lower().startswith(("http://", "https://")):
        telemetry.log.warning("%s=%r: expected a URL such as http://localhost:4318; nothing will arrive", name, found)


def _exponential_asked() -> bool:
    wanted = os.environ.get("OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION", "")
    return wanted.strip().lower() == "base2_exponential_bucket_histogram"


def _logging_is_bridged() -> bool:
    """Tell whether OpenTelemetry's own handler is there, or was declined."""
    if os.environ.get("OTEL_PYTHON_LOGGING_AUTO_INSTRUMENTATION_ENABLED", "").strip().lower() == "false":
        return True
    return any(type(handler).__module__.startswith("opentelemetry.") for handler in logging.getLogger().handlers)


class Distro(BaseDistro):  # type: ignore[misc]
    """What `opentelemetry-instrument` asks first: the `OTEL_*` defaults."""

    def _configure(self, **_: Any) -> None:
        """Set the defaults; the settings' own mistakes are told by the configurator."""
        os.environ.update(providers.environment(_settings_or_defaults()))


class Configurator(_BaseConfigurator):
    """What `opentelemetry-instrument` asks next: the providers. It runs what `configure()` runs."""

    def _configure(self, **kwargs: Any) -> None:
        if os.environ.get(_CONFIG_FILE):
            _OTelSDKConfigurator()._configure()  # type: ignore[no-untyped-call]
            _adopt(f"{_CONFIG_FILE} is set")
        elif _handle is None:
            try:
                _start(_settings_or_defaults(), kwargs.get("auto_instrumentation_version"))
            except LlmonError as exc:
                telemetry.log.warning("%s; going on without telemetry", exc)


def after_instrument() -> None:
    """Join what another configurator has set up, and undo what came after us and is not to be."""
    if _handle is None:
        _adopt("another configurator was chosen")
    elif _logging_is_bridged():
        bridging.bridge_logging(hand_over=False)
    if _handle is not None:
        instrumentors.detach(*set(instrumentors.INSTRUMENTORS).difference(_handle.settings.instrumentors))


def _adopt(why: str) -> None:
    _start(replace(_settings_or_defaults(), log_bridge=False), why=why)


def _settings_or_defaults() -> Settings:
    """Return the settings, or the defaults where they are wrong: an app must start, and is told why once."""
    try:
        return _settings({}, None)
    except LlmonError as exc:
        telemetry.warn_once(telemetry.DEFAULTS, exc)
        return Settings()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=forks.renew)
