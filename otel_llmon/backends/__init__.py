"""Clients of the servers that keep telemetry: typed, with a timeout on everything, and one error that names the server.

Prometheus("http://127.0.0.1:9090", timeout=5, headers={"Authorization": "Bearer x"}).query("up")
"""

from __future__ import annotations

from otel_llmon.backends._http import Answer, Backend, BackendError
from otel_llmon.backends.alertmanager import Alertmanager
from otel_llmon.backends.collector import Collector
from otel_llmon.backends.embedded import Embedded
from otel_llmon.backends.jaeger import Jaeger
from otel_llmon.backends.loki import Loki
from otel_llmon.backends.prometheus import Prometheus

__all__ = [
    "Alertmanager",
    "Answer",
    "Backend",
    "BackendError",
    "Collector",
    "Embedded",
    "Jaeger",
    "Loki",
    "Prometheus",
]
