"""What a forked child needs: locks of its own, counts that start at nothing, and an identity.

The SDK starts its threads again in a child, but takes over locks that another thread of the parent may hold, and the
parent's sums, which it would report once more. Its private parts are touched here and nowhere else; a part that is
not there is passed over.
"""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import Any

from opentelemetry import _logs, metrics, trace
from opentelemetry.sdk import resources
from opentelemetry.sdk.resources import Resource

from otel_llmon import semconv, telemetry

INSTANCE = "service.instance.id"

_LOCKS: dict[type, Any] = {type(make()): make for make in (threading.Lock, threading.RLock)}
_IMPORTED_BY_EXPORTERS = ("encodings.idna", "netrc", "psutil")


def prepare() -> None:
    """Import what is else imported at a first use: a child forked amid an import waits for its end, for ever."""
    for name in _IMPORTED_BY_EXPORTERS:
        import_module(name)
    semconv.rows()
    telemetry.tracer()


def renew() -> None:
    """Put the current providers right. It must come before the SDK starts its threads again."""
    meters = metrics.get_meter_provider()
    for provider in (trace.get_tracer_provider(), meters, _logs.get_logger_provider()):
        _renew_locks(provider)
    consumer: Any = getattr(meters, "_measurement_consumer", None)
    _renew_locks(consumer)
    for reader, storage in getattr(consumer, "_reader_storages", {}).items():
        _renew_locks(reader)
        _renew_locks(storage)
        if hasattr(storage, "_instrument_view_instrument_matches"):
            storage._instrument_view_instrument_matches = {}
        thread = getattr(reader, "_daemon_thread", None)
        if thread is not None and not thread.is_alive() and hasattr(reader, "_shutdown_event"):
            reader._shutdown_event = threading.Event()
    known = getattr(meters, "_meters", ())  # a list where there is no SDK behind
    for meter in list(known.values() if isinstance(known, Mapping) else known):
        _renew_locks(meter)


def _renew_locks(owner: object) -> None:
    for name, value in list(getattr(owner, "__dict__", {}).items()):
        if type(value) in _LOCKS:
            setattr(owner, name, _LOCKS[type(value)]())


class Identity:
    """The instance id of this process: OpenTelemetry's, or the one that the user gave with the process id behind it."""

    def __init__(self, resource: Resource) -> None:
        known = resource.attributes.get(INSTANCE)
        detector = getattr(resources, "ServiceInstanceIdResourceDetector", None)  # SDK 1.45
        made_up = detector().detect().attributes.get(INSTANCE) if detector is not None else None
        self.given = None if known in {None, made_up} else str(known)
        self.instance = self._fresh() if made_up is None or self.given else str(known)

    def _fresh(self) -> str:
        return str(uuid.uuid4()) if self.given is None else f"{self.given}-{os.getpid()}"

    def renew(self, providers: Iterable[Any]) -> None:
        """Give these providers an id of the child's own, after the SDK has given them one, if it does."""
        mine = _resources(providers)
        renewed = {str(resource.attributes.get(INSTANCE)) for resource in mine} - {self.instance}
        self.instance = renewed.pop() if renewed and self.given is None else self._fresh()
        for resource in mine:
            pid = {"process.pid": os.getpid()} if "process.pid" in resource.attributes else {}
            _change(resource, {INSTANCE: self.instance, **pid})


def describe(providers: Iterable[Any], attributes: Mapping[str, Any]) -> None:
    """Say something else, or more, of the service or worker that these providers report for."""
    for resource in _resources(providers):
        _change(resource, attributes)


def _change(resource: Resource, attributes: Mapping[str, Any]) -> None:
    """Change a resource in place: spans, meters and loggers of older SDKs all hold on to one object."""
    resource._attributes = Resource({**resource.attributes, **attributes})._attributes


def _resources(providers: Iterable[Any]) -> list[Resource]:
    found = [getattr(getattr(provider, "_sdk_config", provider), "resource", None) for provider in providers]
    return [resource for resource in found if isinstance(resource, Resource)]
