"""A small language model server that speaks OpenAI's chat API, without a model: it answers with what it was asked.

    python examples/local_llm.py --port 8000 --delay 0.05

Any OpenAI client can talk to it; tests and the other examples do. What it answers depends on the request alone, tokens
are words, and four models misbehave: `broken` answers 500, `busy` 429, `cut` resets the connection in mid-stream, and
`faulty` sends an error event there.
"""

from __future__ import annotations

import argparse
import json
import re
import socket
import struct
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MODELS = ("parrot", "parrot-mini")
FAILURES = {"broken": (500, "the model fell over"), "busy": (429, "too many requests, try later")}
THOUGHTS = {"minimal": 4, "low": 8, "medium": 16, "high": 32}
"""Reasoning tokens, by `reasoning_effort`."""

_Json = dict[str, Any]


@contextmanager
def serve(port: int = 0, host: str = "127.0.0.1", delay: float = 0.0) -> Iterator[str]:
    """Serve until the block ends, and give the base URL: `OpenAI(base_url=url, api_key="none")`.

    Port 0 is a free one. A stream waits `delay` seconds before each word.
    """
    server = _Server((host, port), _Handler)
    server.delay = delay
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://{host}:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def answer(request: _Json) -> _Json:
    """Return the whole answer to a chat request."""
    choices = [_choice(request, index) for index in range(request.get("n") or 1)]
    return _head(request, "chat.completion") | {"choices": choices, "usage": _usage(request, choices)}


def chunks(request: _Json) -> Iterator[_Json]:
    """Yield the same answer word by word, as a stream's chunks."""
    whole = answer(request)
    head = _head(request, "chat.completion.chunk")
    for choice in whole["choices"]:
        for delta in _deltas(choice["message"]):
            yield head | {"choices": [_delta(choice["index"], delta)]}
        yield head | {"choices": [_delta(choice["index"], {}, choice["finish_reason"])]}
    if (request.get("stream_options") or {}).get("include_usage"):
        yield head | {"choices": [], "usage": whole["usage"]}


def _head(request: _Json, kind: str) -> _Json:
    name = zlib.crc32(json.dumps([request["model"], request["messages"]], sort_keys=True).encode())
    model = f"{request['model']}-2026-01-01"
    return {"id": f"chatcmpl-{name:08x}", "object": kind, "created": 1_767_225_600, "model": model}


def _choice(request: _Json, index: int) -> _Json:
    message: _Json = {"role": "assistant", "content": None, "refusal": None}
    if request.get("tools") and request["messages"][-1]["role"] == "user":
        message["tool_calls"] = [_tool_call(request["tools"][0]["function"], _question(request))]
        return _finished(index, message, "tool_calls")
    words = _words(request)
    most = request.get("max_completion_tokens") or request.get("max_tokens") or len(words)
    message["content"] = "".join(words[:most])
    return _finished(index, message, "length" if most < len(words) else "stop")


def _finished(index: int, message: _Json, reason: str) -> _Json:
    return {"index": index, "message": message, "finish_reason": reason, "logprobs": None}


def _words(request: _Json) -> list[str]:
    """Return the words of the answer, each with the space before it."""
    wanted = (request.get("response_format") or {}).get("json_schema")
    said = json.dumps(_filled(wanted["schema"], _question(request))) if wanted else f"You said: {_question(request)}"
    return _split(" ".join(said.split()))


def _split(text: str) -> list[str]:
    return re.findall(r" ?[^ ]+", text)


def _question(request: _Json) -> str:
    asked = [message for message in request["messages"] if message["role"] != "system"]
    return _text(asked[-1]) if asked else ""


def _text(message: _Json) -> str:
    content = message.get("content") or ""
    return content if isinstance(content, str) else " ".join(part.get("text", "") for part in content)


def _tool_call(function: _Json, question: str) -> _Json:
    arguments = json.dumps(_filled(function.get("parameters") or {}, question))
    identity = f"call_{zlib.crc32(arguments.encode()):08x}"
    return {"id": identity, "type": "function", "function": {"name": function["name"], "arguments": arguments}}


def _filled(schema: _Json, question: str) -> Any:
    """Return a value that fits a JSON schema, as far as examples need one."""
    match schema.get("type"):
        case "integer" | "number":
            return len(question.split())
        case "boolean":
            return question.endswith("?")
        case "array":
            return [_filled(schema["items"], word) for word in question.split()]
        case "string":
            return question
    return {name: _filled(part, question) for name, part in schema.get("properties", {}).items()}


def _usage(request: _Json, choices: list[_Json]) -> _Json:
    """Count words; a system message counts as cached, since every request of an application repeats it."""
    spent = THOUGHTS.get(request.get("reasoning_effort") or "", 0)
    prompt = sum(len(_text(message).split()) for message in request["messages"])
    cached = sum(len(_text(message).split()) for message in request["messages"] if message["role"] == "system")
    completion = spent + sum(sum(1 for _ in _deltas(choice["message"])) for choice in choices)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": cached},
        "completion_tokens_details": {"reasoning_tokens": spent},
    }


def _deltas(message: _Json) -> Iterator[_Json]:
    first: _Json = {"role": "assistant"}
    for call in message.get("tool_calls", ()):
        yield first | {"tool_calls": [{"index": 0, **call}]}
    for at, word in enumerate(_split(message["content"] or "")):
        yield ({} if at else first) | {"content": word}


def _delta(index: int, delta: _Json, reason: str | None = None) -> _Json:
    return {"index": index, "delta": delta, "finish_reason": reason, "logprobs": None}


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    delay = 0.0

    def handle_error(self, *_: object) -> None:
        """Say nothing: a client may hang up whenever it likes."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def do_GET(self) -> None:
        """List the models."""
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path == "/v1/models":
            models = [{"id": name, "object": "model", "created": 0, "owned_by": "examples"} for name in MODELS]
            self._send(200, {"object": "list", "data": models})
        else:
            self._fail(404, f"{self.path}: not found, try /v1/models")

    def do_POST(self) -> None:
        """Answer a chat request."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path != "/v1/chat/completions":
            self._fail(404, f"{self.path}: not found, try /v1/chat/completions")
            return
        try:
            request = json.loads(body)
            model, _ = request["model"], request["messages"][-1]["role"]
        except (ValueError, LookupError, TypeError):
            self._fail(400, "expected a JSON object with 'model' and 'messages'")
            return
        if model in FAILURES:
            self._fail(*FAILURES[model])
        elif request.get("stream"):
            self._stream(request)
        else:
            self._send(200, answer(request))

    def _fail(self, status: int, message: str) -> None:
        self._send(status, {"error": {"message": message, "type": "error", "code": None, "param": None}})

    def _send(self, status: int, content: _Json) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _stream(self, request: _Json) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for count, chunk in enumerate(chunks(request)):
            time.sleep(self.server.delay)
            if count == 2 and request["model"] == "cut":
                self._reset()
                return
            if count == 2 and request["model"] == "faulty":
                self._event({"error": {"message": "the model lost its thread", "type": "error", "code": "lost"}})
                break
            self._event(chunk)
        self._piece(b"data: [DONE]\n\n")
        self._piece(b"")

    def _event(self, content: _Json) -> None:
        self._piece(b"data: " + json.dumps(content).encode() + b"\n\n")

    def _piece(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def _reset(self) -> None:
        """Close with a reset: with nothing to linger for, the kernel sends no orderly end."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def main() -> None:
    """Serve until Ctrl-C."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--delay", type=float, default=0.05, help="seconds before each word of a stream")
    given = parser.parse_args()
    with serve(given.port, given.host, given.delay) as url:
        print(f"listening: {url}", flush=True)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            print()


if __name__ == "__main__":
    main()
