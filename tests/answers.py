"""A small HTTP server in this process that answers as a test tells it, and remembers what it was asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass
class Asked:
    """One request."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: Message
    body: str


@dataclass
class Says:
    """One answer: JSON unless it is text already."""

    body: Any = ""
    status: int = 200
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)


HANGS_UP = Says(status=0)
"""No answer at all: the connection ends."""


class Answers:
    """What is said at each path: a Says, something that becomes one, or a function of the request."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.at: dict[str, Any] = {}
        self.elsewhere: Any = Says("404 page not found\n", 404, "text/plain")
        self.asked: list[Asked] = []
        self.silent = threading.Event()
        """Once set, it lets go of those who wait for an answer that never comes."""

    def to(self, asked: Asked) -> Says:
        """Return the answer to a request."""
        self.asked.append(asked)
        found = self.at.get(asked.path, self.elsewhere)
        said = found(asked) if isinstance(found, Callable) else found
        return said if isinstance(said, Says) else Says(said)

    def never(self, _: Asked) -> Says:
        """Answer too late for anybody."""
        self.silent.wait(60)
        return HANGS_UP


@contextmanager
def answers(context: Any = None) -> Iterator[Answers]:
    """Serve at a free port of 127.0.0.1, over TLS with an SSL context."""
    server = _Server(("127.0.0.1", 0), _Handler)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    server.answers = Answers(f"http{'s' if context else ''}://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server.answers
    finally:
        server.answers.silent.set()
        server.shutdown()
        server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    answers: Answers

    def handle_error(self, *_: object) -> None:
        """Say nothing: clients give up, as they should."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode("latin-1")
        query = parse_qs(parts.query, keep_blank_values=True)
        said = self.server.answers.to(  # type: ignore[attr-defined]
            Asked(self.command, parts.path, query, self.headers, body)
        )
        if said is HANGS_UP:
            self.close_connection = True
            return
        content = said.body if isinstance(said.body, bytes) else _text(said.body).encode()
        self.send_response(said.status)
        for name, value in {"Content-Type": said.content_type, **said.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_POST(self) -> None:
        self.do_GET()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def _text(body: Any) -> str:
    return body if isinstance(body, str) else json.dumps(body)
