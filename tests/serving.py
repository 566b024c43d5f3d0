"""Small servers that tests check: HTTP and HTTPS with chosen answers, and sockets that misbehave in chosen ways."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from otel_llmon.checks.running import Runner

Answer = tuple[int, Mapping[str, str], bytes]


class Page:
    """A server of pages: `page.answers["/health"] = answer(...)`. It keeps what it was asked."""

    def __init__(self, certificate: Path | None = None, name: str = "localhost") -> None:
        self.answers: dict[str, Answer] = {}
        self.asked: list[tuple[str, str, dict[str, str]]] = []
        self.connections = 0
        self.before: Callable[[], object] = lambda: None
        self.hangs_up = False
        self._server = _Server(("127.0.0.1", 0), _Page)
        self._server.page = self
        self.port = self._server.server_port
        self.url = f"{'https' if certificate else 'http'}://{name if certificate else '127.0.0.1'}:{self.port}"
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def close(self) -> None:
        """Serve no more, and hang up."""
        self._server.shutdown()
        self._server.server_close()
        self._server.hang_up()


def answer(body: Any = b"", status: int = 200, **headers: str) -> Answer:
    """An answer; what is no bytes is sent as JSON."""
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    return status, {name.replace("_", "-"): value for name, value in headers.items()}, sent


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256
    page: Page

    def __init__(self, *given: Any) -> None:
        self.open: set[socket.socket] = set()
        super().__init__(*given)

    def process_request(self, request: Any, client_address: Any) -> None:
        self.page.connections += 1
        self.open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self.open.discard(request)
        super().shutdown_request(request)

    def hang_up(self) -> None:
        """End every connection."""
        for sock in list(self.open):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def handle_error(self, *_: object) -> None:
        """Say nothing: clients that hang up are what some tests are about."""


class _Page(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        page = self.server.page
        page.asked.append((self.command, self.path, {name.lower(): value for name, value in self.headers.items()}))
        page.before()
        status, headers, body = page.answers.get(self.path, (404, {}, b"not here"))
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        if page.hangs_up:
            self.close_connection = True

    do_HEAD = do_GET  # noqa: N815  # its name there

    def log_message(self, *_: object) -> None:
        pass


class Wild:
    """A listening socket; `behaves` is called with each connection, in a thread of its own."""

    def __init__(self, behaves: Callable[[socket.socket], object]) -> None:
        self._behaves = behaves
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self._listener.getsockname()[1]
        self.over = threading.Event()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                threading.Thread(target=self._behave, args=(sock,), daemon=True).start()

    def _behave(self, sock: socket.socket) -> None:
        with sock, contextlib.suppress(OSError):
            self._behaves(sock)

    def close(self) -> None:
        """Take no more connections, and let go of those that wait."""
        self.over.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@pytest.fixture
def manual(monkeypatch: pytest.MonkeyPatch) -> None:
    """Checks run when they are asked, and not by themselves."""

    def put_off(runner: Runner, now: float) -> None:
        for check in runner.checks.values():
            check.due = max(check.due, now + 3600)

    monkeypatch.setattr(Runner, "_start_due_ones", put_off)


@pytest.fixture
def page() -> Iterator[Page]:
    """A server of pages."""
    with contextlib.closing(Page()) as page:
        yield page


@pytest.fixture
def wild() -> Iterator[Callable[[Callable[[socket.socket], object]], Wild]]:
    """A function that starts a server that does with each connection what it is told."""
    begun: list[Wild] = []

    def start(behaves: Callable[[socket.socket], object]) -> Wild:
        begun.append(Wild(behaves))
        return begun[-1]

    yield start
    for each in begun:
        each.close()


_AUTHORITY = """
[ca]
default_ca = own
[own]
database = index
new_certs_dir = .
serial = serial
default_md = sha256
policy = any
x509_extensions = about
[any]
commonName = supplied
[about]
subjectAltName = {names}
basicConstraints = critical,CA:TRUE
"""


def certificate(folder: Path, days: float = 30, names: str = "DNS:localhost") -> Path:
    """Return a self-made certificate with its key in one file, valid for so many days from now."""
    now = datetime.now(UTC)
    folder = Path(tempfile.mkdtemp(dir=folder))
    folder.joinpath("index").touch()
    folder.joinpath("serial").write_text("01")
    folder.joinpath("config").write_text(_AUTHORITY.format(names=names))
    key = "req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout key -out request -subj /CN=test"
    sign = "ca -selfsign -batch -notext -config config -keyfile key -in request -out cert"
    first, last = now - timedelta(days=100), now + timedelta(days=days)
    dates = f"-startdate {first:%Y%m%d%H%M%SZ} -enddate {last:%Y%m%d%H%M%SZ}"
    for command in (key, f"{sign} {dates}"):
        subprocess.run(["openssl", *command.split()], cwd=folder, check=True, capture_output=True)
    file = folder / "both.pem"
    file.write_bytes((folder / "key").read_bytes() + (folder / "cert").read_bytes())
    return file
