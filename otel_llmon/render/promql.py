"""PromQL from rows: what Prometheus calls a metric, and the few shapes of query that panels and rules are made of."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from otel_llmon.semconv import Metric

WINDOW = "$__rate_interval"
"""The range that Grafana fits to the panel; a rule names its own."""

_UNITS = {
    "s": "seconds",
    "By": "bytes",
    "By.s": "By_s",
    "g": "grams",
    "J": "joules",
    "W": "watts",
    "Hz": "hertz",
    "Cel": "celsius",
    "ms": "milliseconds",
}


def series(row: Metric) -> str:
    """Return a row's name as Prometheus' OTLP receiver spells it: with underscores, its unit, `_total` or `_ratio`."""
    words = [word for word in re.split(r"[^A-Za-z0-9]+", row.name) if word]
    unit = _UNITS.get(row.unit)
    if unit and unit not in words:
        words.append(unit)
    if row.kind == "counter":
        words.append("total")
    elif row.unit == "1" and row.kind == "gauge":
        words.append("ratio")
    return "_".join(words)


def label(attribute: str) -> str:
    """Return an attribute's key as a label."""
    return re.sub(r"[^A-Za-z0-9_]", "_", attribute)


def select(row: Metric, suffix: str = "", where: Mapping[str, str] | None = None) -> str:
    """Return the selector of a row's series; `where` holds operator and value by key: `{OUTCOME: '="failure"'}`."""
    inside = ",".join(f"{label(key)}{value}" for key, value in (where or {}).items())
    return f"{series(row)}{suffix}{{{inside}}}" if inside else f"{series(row)}{suffix}"


def total(selector: str, by: Sequence[str] = (), how: str = "sum") -> str:
    """Return a selector's values added up over everything but `by`; or their `max`, `avg`, `count`."""
    return f"{how}{_by(by)} ({selector})"


def rate(selector: str, by: Sequence[str] = (), window: str = WINDOW) -> str:
    """Return how fast a counter grows, added up over everything but `by`."""
    return total(f"rate({selector}[{window}])", by)


def quantile(q: float, buckets: str, by: Sequence[str] = (), window: str = WINDOW) -> str:
    """Return a quantile of a histogram with explicit buckets."""
    return f"histogram_quantile({q}, {rate(buckets, ('le', *by), window)})"


def ratio(part: str, whole: str) -> str:
    """Return a share that is 0 when nothing of the part was ever counted, and absent when there is no whole."""
    return f"({part} or 0 * {whole}) / ({whole} > 0)"


def _by(labels: Sequence[str]) -> str:
    return f" by ({', '.join(label(name) for name in labels)})" if labels else ""
