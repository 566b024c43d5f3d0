"""What a forked child needs: locks of its own, counts that start at nothing, and an identity.

The SDK starts its threads again in a child, but takes over locks that another thread of the parent may hold, and the
parent's sums, which it would report once more. Its private parts are touched here and nowhere else; a part that is
not there is passed over.
"""

from __future__ import annotations

import os
import threading
import uuid
from typing import Any

from opentelemetry import metrics
from opentelemetry.sdk.resources import Resource

from otel_llmon.lifecycle.providers import INSTANCE


def renew(made: dict[str, Any]) -> None:
    """Put the current meter provider right, and the identity of the providers that we made."""
    renew_meters(metrics.get_meter_provider())
    for provider in made.values():
        resource = getattr(provider, "resource", None) or getattr(
            getattr(provider, "_sdk_config", None), "resource", None
        )
        if isinstance(resource, Resource):
            renew_identity(resource)


def renew_meters(provider: Any) -> None:
    """Give a meter provider new locks, and have its instruments start at nothing."""
    consumer: Any = getattr(provider, "_measurement_consumer", None)
    if hasattr(consumer, "_lock"):
        consumer._lock = threading.Lock()
    for reader, storage in getattr(consumer, "_reader_storages", {}).items():
        if hasattr(storage, "_instrument_view_instrument_matches"):
            storage._lock = threading.RLock()
            storage._instrument_view_instrument_matches = {}
        if hasattr(reader, "_export_lock"):
            reader._export_lock = threading.Lock()
    for meter in list(getattr(provider, "_meters", {}).values()):
        if hasattr(meter, "_instrument_registration_lock"):
            meter._instrument_registration_lock = threading.Lock()


def renew_identity(resource: Resource) -> None:
    """Change the instance id in place: spans, meters and loggers of older SDKs all hold on to this one object."""
    fresh = dict(resource.attributes)
    given = str(fresh.get(INSTANCE, ""))
    prefix, _, pid = given.rpartition("-")
    ours = bool(prefix) and pid == str(os.getppid())
    fresh[INSTANCE] = f"{prefix}-{os.getpid()}" if ours else str(uuid.uuid4())
    if "process.pid" in fresh:
        fresh["process.pid"] = os.getpid()
    resource._attributes = Resource(fresh)._attributes
