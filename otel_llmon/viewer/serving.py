"""A small HTTP server that stays up: bounded connections, deadlines, known hosts only, a status for every mistake."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import logging
import select
import socket
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from io import BufferedIOBase
from socketserver import TCPServer, ThreadingMixIn
from typing import Any, NamedTuple, cast
from urllib.parse import urlsplit

from otel_llmon.viewer.errors import ViewerError
from otel_llmon.viewer.framing import Noted, RefusedError, chunks, doubtful, exactly

_log = logging.getLogger("otel_llmon")

HEAD = 10.0
"""Seconds that a new connection has for its first request's head."""

IDLE = 75.0
"""Seconds that a connection may stay open between two requests."""

BODY = 30.0
"""Seconds that a body has to arrive."""

STALL = 10.0
"""Seconds without a byte, in either direction, after which a connection is given up."""

LINGER = 2.0
"""Seconds for which a refused body is read and thrown away: some clients listen only when they have sent all."""

OVERDUE = 0.2
"""Seconds without a piece of a body, after which a connection makes room where there are too many."""

_BUSY = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Answer(NamedTuple):
    """What a request gets."""

    status: int
    type: str
    body: bytes = b""
    headers: Mapping[str, str] = {}


def as_json(value: Any, status: int = 200) -> Answer:
    """Return an answer in JSON."""
    body = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return Answer(status, "application/json; charset=utf-8", body.encode("utf-8", "replace"))


class Server(ThreadingMixIn, TCPServer):
    """Listens at an address, with a thread per connection and no more than `most` of them."""

    daemon_threads = True
    allow_reuse_address = sys.platform != "win32"  # there it would let two listen at one port
    request_queue_size = 128
    most = 128

    def __init__(self, address: tuple[str, int], handler: type[Handler], option: str) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.bound = address[0]
        self.connections: dict[Handler, None] = {}
        self._serving = 0
        self._lock = threading.Lock()
        try:
            super().__init__(address, handler)
        except (OSError, OverflowError, UnicodeError) as exc:
            why = (getattr(exc, "strerror", None) or str(exc)).lower()
            raise ViewerError(f"{address[0]}:{address[1]}: {why}, give another with {option} HOST:PORT") from exc
        self._thread = threading.Thread(
            target=self.serve_forever, args=(0.1,), name=f"llmon-viewer{option}", daemon=True
        )

    @property
    def url(self) -> str:
        """Return where it listens; a wildcard is spelt as this machine."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(self.bound, self.bound)  # noqa: S104
        return f"http://{f'[{host}]' if ':' in host else host}:{self.server_address[1]}"

    def start(self) -> None:
        """Serve in a thread."""
        self._thread.start()

    def stop(self, timeout: float = 2.0) -> None:
        """Take no more connections, and give those that are being answered a moment."""
        if self._thread.is_alive():
            self.shutdown()
        self.server_close()
        deadline = time.monotonic() + timeout
        while (busy := self._close(lambda one: not one.answering)) and time.monotonic() < deadline:
            time.sleep(0.02)
        if busy:
            self._close(lambda _: True)

    def knows(self, host: str | None) -> bool:
        """Tell whether a Host header names this machine; a foreign one is of a page elsewhere, led here."""
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        if name in ("localhost", self.bound.lower()):
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        # whoever listens everywhere is called by any of the machine's addresses, but never by a stranger's name
        return address.is_loopback or self.bound in ("0.0.0.0", "::", "")  # noqa: S104

    def process_request(self, request: Any, client_address: Any) -> None:
        """Give a connection its thread; where there are too many, one that only waits makes room."""
        if self._serving >= self.most and not self._make_room():
            with contextlib.suppress(OSError):
                request.send(_BUSY)
            self.shutdown_request(request)
            return
        with self._lock:
            self._serving += 1
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve one connection."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self._lock:
                self._serving -= 1

    def _make_room(self) -> bool:
        """Hang up on one that waits for its next request, or has not sent its body for longest."""
        overdue = time.monotonic() - OVERDUE
        with self._lock:
            idle = next((one for one in self.connections if not one.answering), None) or min(
                (one for one in self.connections if one.awaiting < overdue), key=lambda one: one.awaiting, default=None
            )
            if idle is not None:
                del self.connections[idle]
                idle.hang_up()
        return idle is not None

    def enter(self, handler: Handler) -> None:
        """Note a connection that has begun."""
        with self._lock:
            self.connections[handler] = None

    def leave(self, handler: Handler) -> None:
        """Note that it ended."""
        with self._lock:
            self.connections.pop(handler, None)

    def service_actions(self) -> None:
        """Hang up on who is late; called between connections."""
        now = time.monotonic()
        self._close(lambda one: one.deadline < now)

    def _close(self, which: Any) -> int:
        """Hang up where `which` says so; return how many are left."""
        with self._lock:
            for one in [one for one in self.connections if which(one)]:
                del self.connections[one]
                one.hang_up()
            return len(self.connections)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002  # socketserver's
        """Say nothing of a connection that broke, and one line of a bug of ours."""
        exc = sys.exc_info()[1]
        if not isinstance(exc, OSError | ValueError):
            _log.warning("viewer: a connection ended by %s: %s", type(exc).__name__, exc)


class Handler(BaseHTTPRequestHandler):
    """One connection. A child says what a request gets, in `route()`."""

    protocol_version = "HTTP/1.1"
    timeout = STALL
    disable_nagle_algorithm = True
    server: Server
    headers_always: Mapping[str, str] = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}

    def setup(self) -> None:
        """Begin."""
        self.deadline = time.monotonic() + HEAD
        self.answering = False
        self.awaiting = float("inf")
        self._unread = False
        super().setup()
        self.server.enter(self)

    def finish(self) -> None:
        """End."""
        self.server.leave(self)
        super().finish()

    def hang_up(self) -> None:
        """End the connection from another thread."""
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def handle_one_request(self) -> None:
        """Answer one request; whoever waits for the next is no longer in a hurry to send it."""
        self.connection.settimeout(None)  # until the head is there, the deadline alone counts
        super().handle_one_request()
        self.deadline = time.monotonic() + IDLE
        self.answering = False

    def parse_request(self) -> bool:
        """Read the head, and refuse what no client of ours sends."""
        stream, noted = self.rfile, Noted(self.rfile)
        self.rfile = cast("BufferedIOBase", noted)
        try:
            if not super().parse_request():
                return False
        finally:
            self.rfile = stream
        if wrong := doubtful(self.headers, noted.lines):
            self.send_error(HTTPStatus.BAD_REQUEST, wrong)
            return False
        self.answering, self.deadline = True, float("inf")
        self.connection.settimeout(STALL)
        self._unread = self._has_body()
        return True

    def handle_expect_100(self) -> bool:
        """Say nothing yet: whoever asks first whether a body is welcome hears that once its length was looked at."""
        return True

    def _has_body(self) -> bool:
        return "Transfer-Encoding" in self.headers or self.headers.get("Content-Length", "0") != "0"

    def route(self) -> Answer | None:
        """Return what a request gets, or None where it was answered already; raises RefusedError."""
        raise NotImplementedError

    def refusal(self, refused: RefusedError) -> Answer:
        """Return a refusal in words."""
        return as_json({"error": str(refused)}, refused.status)

    def answer(self) -> None:
        """Answer a request of any method."""
        try:
            self._check_host(self.headers.get("Host"))
            found = self.route()
        except RefusedError as refused:
            found = self.refusal(refused)
            found = found._replace(headers={**found.headers, **refused.headers})
        except (OSError, EOFError):
            self.close_connection = True
            return
        except Exception as exc:
            _log.warning("viewer: %s %s: %s: %s", self.command, self.path[:100], type(exc).__name__, exc)
            found = self.refusal(RefusedError(500, f"{type(exc).__name__}: {exc}"))
        if found is not None:
            self.say(found)

    def _check_host(self, host: str | None) -> None:
        if not self.server.knows(host):
            raise RefusedError(403, f"Host {str(host)[:100]!r}: not this machine, use 127.0.0.1 or localhost")

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_TRACE = answer  # noqa: N815

    def say(self, answer: Answer) -> None:
        """Send an answer. A body that was not read ends the connection, gently."""
        self.send_response(answer.status)
        for name, value in {**self.headers_always, **answer.headers}.items():
            self.send_header(name, value)
        if answer.status != HTTPStatus.NOT_MODIFIED:
            self.send_header("Content-Type", answer.type)
            self.send_header("Content-Length", str(len(answer.body)))
        if self._unread:
            self.close_connection = True
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD" and answer.body:
            self.wfile.write(answer.body)
        if self._unread:
            self._linger()

    def _linger(self) -> None:
        deadline = time.monotonic() + LINGER
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)
            while (left := deadline - time.monotonic()) > 0:
                ready, _, _ = select.select([self.connection], [], [], left)
                if not ready or not self.connection.recv(1 << 20):
                    return

    def body(self, limit: int) -> Iterator[bytes]:
        """Yield a request's body in pieces. Raises RefusedError where it is too large, before it is read."""
        length = self.headers.get("Content-Length")
        chunked = "Transfer-Encoding" in self.headers
        if length is None and not chunked:
            raise RefusedError(411, "no Content-Length: say how long the body is, or send it chunked")
        if length is not None and (len(length) > 18 or int(length) > limit):
            raise RefusedError(413, f"body of {length[:40]} bytes: more than {limit}, send smaller batches")
        if self.headers.get("Expect", "").lower() == "100-continue":
            self.send_response_only(HTTPStatus.CONTINUE)
            self.end_headers()
        self.deadline = time.monotonic() + BODY
        yield from self._timed(chunks(self.rfile, limit) if chunked else exactly(self.rfile, int(length or 0)))
        self.deadline = float("inf")
        self._unread = False

    def _timed(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        """Note since when a piece is waited for."""
        while True:
            self.awaiting = time.monotonic()
            piece = next(pieces, b"")
            self.awaiting = float("inf")
            if not piece:
                return
            yield piece

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:  # noqa: ARG002
        """Refuse what is no HTTP that we know; http.server calls this."""
        self._unread = True
        self.request_version = self.protocol_version  # what could not be read has none
        self.command = getattr(self, "command", None) or "GET"
        if code == HTTPStatus.NOT_IMPLEMENTED:
            code = HTTPStatus.METHOD_NOT_ALLOWED
        self.say(self.refusal(RefusedError(code, message or HTTPStatus(code).phrase)))

    def version_string(self) -> str:
        """Return what the Server header says: no versions."""
        return "llmon"

    def log_message(self, *_: object) -> None:
        """Say nothing of every request."""
