"""Facts of models and tensors as attributes of a span: what they say of themselves, whatever library they are of.

Nothing is imported for it and no data is read. What an object does not say is left out.
"""

from __future__ import annotations

from typing import Any

from otel_llmon import telemetry
from otel_llmon.semconv import attributes as key


def of_model(model: object) -> dict[str, Any]:
    """Return a model's class and number of parameters, for torch's and Keras's; to be kept, not asked for anew."""
    return {key.MODEL_TYPE: type(model).__name__, **_told(key.MODEL_PARAMETERS, _parameters, model)}


def of_input(value: object) -> dict[str, Any]:
    """Return the shape and the element type of what a model is given."""
    return {**_told(key.INPUT_SHAPE, _shape, value), **_told(key.INPUT_TYPE, _element, value)}


def of_output(value: object) -> dict[str, Any]:
    """Return the shape and the element type of what a model gave."""
    return {**_told(key.OUTPUT_SHAPE, _shape, value), **_told(key.OUTPUT_TYPE, _element, value)}


def _told(name: str, ask: Any, thing: object) -> dict[str, Any]:
    try:
        found = ask(thing)
    except Exception as exc:  # a foreign object's own code must not reach the caller's work
        telemetry.warn_once("%s of a %s: left out: %s: %s", name, type(thing).__name__, type(exc).__name__, exc)
        return {}
    return {} if found is None else {name: found}


def _parameters(model: Any) -> int | None:
    if hasattr(model, "count_params"):
        return int(model.count_params())
    if hasattr(model, "parameters"):
        return sum(int(each.numel()) for each in model.parameters())
    return None


def _shape(value: Any) -> list[int] | None:
    if isinstance(value, (list, tuple)):
        return [len(value)]
    if not hasattr(value, "shape"):
        return None
    return [-1 if size is None else int(size) for size in value.shape]


def _element(value: Any) -> str | None:
    kind = getattr(value, "dtype", None)
    return None if kind is None else str(getattr(kind, "name", kind)).removeprefix("torch.")
