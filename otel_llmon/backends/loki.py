"""Loki: log lines by label, with their structured metadata."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from otel_llmon.backends._http import Backend, segment
from otel_llmon.backends.records import Log

_API = "/loki/api/v1"
_APART = {"X-Loki-Response-Encoding-Flags": "categorize-labels"}
"""Asks for structured metadata beside the labels, not among them."""


class Loki(Backend):
    """Loki's logs. A tenant goes into the headers, as X-Scope-OrgID."""

    name = "Loki"
    ready_path = "/ready"

    def version(self) -> str:
        """Return its version."""
        found = self.shaped(self.get(f"{_API}/status/buildinfo"), dict)
        return str(self.shaped(found.get("version"), str))

    def lines(
        self, query: str, *, start: float | None = None, end: float | None = None, limit: int = 100, newest: bool = True
    ) -> list[Log]:
        """Return the lines that a LogQL query finds between two unix times, in seconds; the last hour by default.

        `attributes` of a line are its structured metadata, `resource` are the labels of its stream.
        """
        end = time.time() if end is None else end
        params = {
            "query": query,
            "start": int((end - 3600 if start is None else start) * 1e9),
            "end": int(end * 1e9),
            "limit": limit,
            "direction": "backward" if newest else "forward",
        }
        data = self._data("/query_range", params, headers=_APART)
        if self.shaped(data, dict).get("resultType") != "streams":
            raise self.error(f"{query}: finds numbers, expected lines; leave the function around it out")
        found = self.made(
            lambda: [_log(stream["stream"], each) for stream in data["result"] for each in stream["values"]]
        )
        return sorted(found, key=lambda line: line.time, reverse=newest)

    def labels(self) -> list[str]:
        """Return the names of the index labels."""
        return [str(name) for name in self.shaped(self._data("/labels") or [], list)]

    def label_values(self, name: str) -> list[str]:
        """Return the values that a label has."""
        return [str(value) for value in self.shaped(self._data(f"/label/{segment(name)}/values") or [], list)]

    def _data(self, path: str, params: Mapping[str, Any] | None = None, **options: Any) -> Any:
        return self.shaped(self.get(_API + path, params, **options), dict).get("data")


def _log(labels: Mapping[str, str], value: list[Any]) -> Log:
    metadata = value[2].get("structuredMetadata", {}) if len(value) > 2 else {}
    every = {**labels, **metadata}  # an older Loki has them in one
    return Log(
        time=int(value[0]),
        body=value[1],
        level=every.get("severity_text") or every.get("detected_level", ""),
        service=every.get("service_name", ""),
        trace_id=every.get("trace_id"),
        span_id=every.get("span_id"),
        attributes=metadata,
        resource=labels,
    )
