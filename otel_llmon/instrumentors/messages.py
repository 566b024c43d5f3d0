"""Messages in OpenAI's form, which many libraries share, as parts of the convention's messages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from otel_llmon.instrumentors import Content, Given, Received

_Message = dict[str, Any]


def prompt(given: Given) -> list[_Message]:
    """Return the messages of a request; an iterator is the library's to read, so it is left alone."""
    messages = given.get("messages")
    if not isinstance(messages, Sequence) or isinstance(messages, str):
        return []
    return [_asked(message if isinstance(message, Mapping) else vars(message)) for message in messages]


def answer(completion: Any) -> list[_Message]:
    """Return the messages of a completion, one for each of its choices."""
    return [_said(choice.message) for choice in completion.choices or ()]


def chunk(received: Received, item: Any) -> None:
    """Add what a chunk says to what was said before, choice by choice."""
    if received.said is None:
        received.said = {}
    for choice in item.choices or ():
        said = received.said.setdefault(choice.index, {"text": [], "calls": {}})
        if choice.delta.content:
            said["text"].append(choice.delta.content)
        for call in choice.delta.tool_calls or ():
            _add_call(said["calls"], call)


def gathered(received: Received) -> list[_Message]:
    """Return what was said in chunks as messages."""
    return [
        _message(
            "assistant",
            [
                *_texts("".join(said["text"])),
                *(_call(call["id"], call["name"], "".join(call["arguments"])) for call in said["calls"].values()),
            ],
        )
        for _, said in sorted((received.said or {}).items())
    ]


CONTENT = Content(prompt, answer, chunk, gathered)


def _asked(message: Mapping[str, Any]) -> _Message:
    role, content = message.get("role"), message.get("content")
    if role == "tool":
        part = {"type": "tool_call_response", "id": message.get("tool_call_id"), "response": content}
        return _message(role, [part])
    parts = _texts(content) if isinstance(content, str) else [_part(part) for part in content or ()]
    calls = (
        _call(call.get("id"), call.get("function", {}).get("name"), call.get("function", {}).get("arguments"))
        for call in message.get("tool_calls") or ()
    )
    return _message(role, [*parts, *calls])


def _part(part: Mapping[str, Any]) -> _Message:
    """Return one part of a message. Of an image or a sound only its place is told, and none that is the data itself."""
    kind = part.get("type")
    if kind == "text":
        return {"type": "text", "content": part.get("text")}
    place = part.get("image_url")
    url = str(place.get("url", "") if isinstance(place, Mapping) else place or "")
    if url and not url.startswith("data:"):
        return {"type": "uri", "modality": "image", "uri": url}
    return {"type": str(kind)}


def _said(message: Any) -> _Message:
    calls = [
        _call(call.id, call.function.name, call.function.arguments)
        for call in message.tool_calls or ()
        if getattr(call, "function", None) is not None
    ]
    return _message("assistant", [*_texts(message.content), *_texts(message.refusal), *calls])


def _add_call(calls: dict[int, _Message], piece: Any) -> None:
    call = calls.setdefault(piece.index, {"id": None, "name": None, "arguments": []})
    call["id"] = piece.id or call["id"]
    if piece.function is not None:
        call["name"] = piece.function.name or call["name"]
        call["arguments"].append(piece.function.arguments or "")


def _message(role: Any, parts: Iterable[_Message]) -> _Message:
    return {"role": role, "parts": list(parts)}


def _texts(text: Any) -> list[_Message]:
    return [{"type": "text", "content": text}] if text else []


def _call(identity: Any, name: Any, arguments: Any) -> _Message:
    return {"type": "tool_call", "id": identity, "name": name, "arguments": arguments}
