"""Messages in OpenAI's form, which many libraries share, as parts of the convention's messages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from otel_llmon.instrumentors import Content, Given, Received

_Message = dict[str, Any]


def prompt(given: Given) -> list[_Message]:
    """Return the messages of a request; an iterator is the library's to read, so it is left alone."""
    return [_asked(message) for message in _listed(given.get("messages"))]


def answer(completion: Any) -> list[_Message]:
    """Return the messages of a completion, one for each of its choices."""
    return [_said(choice.message) for choice in completion.choices or ()]


def chunks(received: Received, items: Sequence[Any]) -> None:
    """Add what chunks say to what was said before, choice by choice."""
    if received.said is None:
        received.said = {}
    for choice in (choice for item in items for choice in item.choices or ()):
        said, delta = received.said.setdefault(choice.index, _Said()), choice.delta
        if _get(delta, "content"):
            said.text.append(delta.content)
        if _get(delta, "refusal"):
            said.refusal.append(delta.refusal)
        for call in _get(delta, "tool_calls") or ():
            _add_call(said.calls, call.index, call)
        if _get(delta, "function_call"):
            _add_call(said.calls, None, delta)


def gathered(received: Received) -> list[_Message]:
    """Return what was said in chunks as messages."""
    return [
        _message(
            "assistant",
            [
                *_texts("".join(said.text)),
                *_texts("".join(said.refusal)),
                *(_call(call["id"], call["name"], "".join(call["arguments"])) for call in said.calls.values()),
            ],
        )
        for _, said in sorted((received.said or {}).items())
    ]


CONTENT = Content(prompt, answer, chunks, gathered)


class _Said:
    """The pieces of one answer, as they came."""

    def __init__(self) -> None:
        self.text: list[str] = []
        self.refusal: list[str] = []
        self.calls: dict[int | None, _Message] = {}


def _asked(message: Any) -> _Message:
    """Return a message of a request: a mapping, or an answer's own message that is sent back."""
    role, content = _get(message, "role"), _get(message, "content")
    if role == "tool":
        part = {"type": "tool_call_response", "id": _get(message, "tool_call_id"), "response": content}
        return _message(role, [part])
    parts = _texts(content) if isinstance(content, str) else [_part(part) for part in _listed(content)]
    return _message(role, [*parts, *_texts(_get(message, "refusal")), *_calls(message)])


def _part(part: Any) -> _Message:
    """Return one part of a message. Of an image or a sound only its place is told, and none that is the data itself."""
    kind = _get(part, "type")
    if kind == "text":
        return {"type": "text", "content": _get(part, "text")}
    place = _get(part, "image_url")
    url = str(place if isinstance(place, str) else _get(place, "url") or "")
    if url and not url.startswith("data:"):
        return {"type": "uri", "modality": "image", "uri": url}
    return {"type": str(kind)}


def _said(message: Any) -> _Message:
    return _message("assistant", [*_texts(message.content), *_texts(message.refusal), *_calls(message)])


def _calls(message: Any) -> list[_Message]:
    """Return the tool calls of a message, one in the older form among them."""
    calls = [*_listed(_get(message, "tool_calls"))]
    if _get(message, "function_call"):
        calls.append(message)
    return [_call(_get(call, "id"), *_called(call)) for call in calls]


def _called(call: Any) -> tuple[Any, Any]:
    """Return the name and the arguments of what is called: a function, or a custom tool, which takes a text."""
    if custom := _get(call, "custom"):
        return _get(custom, "name"), _get(custom, "input")
    function = _get(call, "function") or _get(call, "function_call")
    return _get(function, "name"), _get(function, "arguments")


def _add_call(calls: dict[int | None, _Message], index: int | None, piece: Any) -> None:
    call = calls.setdefault(index, {"id": None, "name": None, "arguments": []})
    name, arguments = _called(piece)
    call["id"] = _get(piece, "id") or call["id"]
    call["name"] = name or call["name"]
    call["arguments"].append(arguments or "")


def _get(thing: Any, name: str) -> Any:
    """Return what a mapping or an object has by this name; callers mix both."""
    return thing.get(name) if isinstance(thing, Mapping) else getattr(thing, name, None)


def _listed(things: Any) -> Sequence[Any]:
    """Return a list; an iterator is the library's to read."""
    return things if isinstance(things, Sequence) and not isinstance(things, str) else ()


def _message(role: Any, parts: Iterable[_Message]) -> _Message:
    return {"role": role, "parts": list(parts)}


def _texts(text: Any) -> list[_Message]:
    return [{"type": "text", "content": text}] if text else []


def _call(identity: Any, name: Any, arguments: Any) -> _Message:
    return {"type": "tool_call", "id": identity, "name": name, "arguments": arguments}
