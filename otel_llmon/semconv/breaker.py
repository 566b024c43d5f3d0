"""Metrics of circuit breakers."""

from __future__ import annotations

from otel_llmon.semconv import Metric
from otel_llmon.semconv.attributes import CIRCUIT, STATE

CIRCUIT_STATE = Metric(
    "llmon.circuit.state",
    "gauge",
    "{state}",  # with "1" Prometheus would call it a ratio
    "1 for the state of the circuit, 0 for the others; of several breakers of one name, the state furthest from closed.",
    (CIRCUIT, STATE),
    cap=1800,
)
CIRCUIT_TRANSITIONS = Metric(
    "llmon.circuit.transitions",
    "counter",
    "{transition}",
    "Changes of a circuit's state, by the state that it came to.",
    (CIRCUIT, STATE),
)
CIRCUIT_REFUSED = Metric(
    "llmon.circuit.refused",
    "counter",
    "{call}",
    "Calls that a circuit did not let through.",
    (CIRCUIT,),
)
