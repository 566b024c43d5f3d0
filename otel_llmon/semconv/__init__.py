"""The registry of names: one row per metric that this package emits, data only."""

from __future__ import annotations

from typing import Literal, NamedTuple

Kind = Literal["counter", "updowncounter", "gauge", "histogram"]
Since = Literal["start", "process", "boot"]

FAMILIES = (
    "phases",
    "probes",
    "progress",
    "breaker",
    "training",
    "efficiency",
    "models",
    "genai",
    "host",
    "process",
    "cgroup",
    "hardware",
    "gpu",
    "events",
    "health",
    "drift",
    "quality",
    "selfmetrics",
)

SECONDS = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0,
)  # fmt: skip
"""Bucket edges for durations, from a cached look-up to an hour of training."""

BYTES = tuple(float(1 << power) for power in range(20, 42))
"""Bucket edges for memory, from 1 MiB to 2 TiB."""


class Metric(NamedTuple):
    """One metric: its name, what it counts, and how many series it may have.

    `attributes` are the only keys that its points carry. `edges` belong to histograms.
    `cap` bounds the series; it stays under the SDK's own limit of 2,000 for one instrument.
    `since` says from when a counter counts: this telemetry's start, the process's, or the machine's.
    `shards` is how many instruments of this name share the series, each in a scope of its own and with `cap` of them.
    """

    name: str
    kind: Kind
    unit: str
    description: str
    attributes: tuple[str, ...] = ()
    edges: tuple[float, ...] = ()
    cap: int = 1000
    since: Since = "start"
    shards: int = 1


def rows() -> tuple[Metric, ...]:
    """Return every row of every family, in the order in which the docs show them."""
    from importlib import import_module

    modules = (import_module(f"{__name__}.{family}") for family in FAMILIES)
    return tuple(value for module in modules for value in vars(module).values() if isinstance(value, Metric))
