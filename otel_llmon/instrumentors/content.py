"""Prompts and answers on their way out: only where `capture_content` is on, and all of them through `bounded()`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from otel_llmon.metering import values
from otel_llmon.semconv import attributes as key
from otel_llmon.telemetry import state

if TYPE_CHECKING:
    from otel_llmon.instrumentors import Content, Given

SHORTEST = 16
"""Characters of a text below which whole messages are left out instead."""


def asked(content: Content, given: Given) -> dict[str, str]:
    """Return the attributes of a request's content."""
    found = {key.GEN_AI_INPUT_MESSAGES: content.prompt(given)}
    if content.instructions is not None:
        found[key.GEN_AI_SYSTEM_INSTRUCTIONS] = content.instructions(given)
    return {name: bounded(messages) for name, messages in found.items() if messages}


def said(messages: Any) -> dict[str, str]:
    """Return the attributes of an answer's content."""
    return {key.GEN_AI_OUTPUT_MESSAGES: bounded(messages)} if messages else {}


def bounded(value: Any) -> str:
    """Return content as text of at most `max_value_length` characters; all that leaves passes here.

    Messages become JSON, and stay JSON: their texts are cut until all fits, then the oldest messages are left out.
    """
    if not isinstance(value, list):
        return values.text(value, state.longest)
    longest = state.longest
    text = _json(value, longest)
    while len(text) > state.longest and value:
        if longest > SHORTEST:
            longest //= 2
        else:
            value = value[1:]
        text = _json(value, longest)
    return text


def _json(value: Any, longest: int) -> str:
    return json.dumps(_cut(value, longest), ensure_ascii=False, separators=(",", ":"), default=str)


def _cut(value: Any, longest: int) -> Any:
    if isinstance(value, dict):
        return {str(name): _cut(part, longest) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_cut(part, longest) for part in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    return values.text(value, longest)
