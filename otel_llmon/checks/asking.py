"""How a check asks: connections that are kept, each step timed, and a deadline that nothing outlasts.

`http.client` and not urllib3, since its `connect()` is there to be overridden: name, connection and TLS are timed one
by one, and whoever keeps watch over the deadline can reach the socket, however slowly the other side drips.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import ssl
import threading
import time
from base64 import b64encode
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import quote, unquote, urlsplit

from otel_llmon.errors import reason

LARGEST = 1 << 20
"""Bytes of an answer that are looked at."""
KEPT = 300.0
"""Seconds after which a connection is made anew, so that a moved name and a new certificate are noticed."""
KEPT_PER_PLACE = 8

SAFE = "!#$%&'()*+,/:;=?@[]~"
OURS: Mapping[str, str] = {"User-Agent": "otel-llmon", "Accept": "*/*", "Accept-Encoding": "identity"}


class NotWellError(Exception):
    """A target answers, but not as it should; the message says how."""


class Place(NamedTuple):
    """Where a connection leads to."""

    host: str
    port: int
    tls: bool = False
    ca: str | None = None


class Answer(NamedTuple):
    """What a target said."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    whole: bool
    """Whether that is all of the body."""
    expires: float | None
    """When its certificate does, in unix seconds."""
    secrets: tuple[str, ...] = ()
    """What the headers of the request held; some servers send it back."""

    def json(self) -> Any:
        """Return the JSON in the body; raises NotWellError where there is none."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            kind = self.shown(self.headers.get("content-type", "bytes"))
            raise NotWellError(f"answers {len(self.body)} bytes that are no JSON, but {kind}") from None

    def shown(self, text: str) -> str:
        """Return something that it said in one line, without what the request's headers held."""
        for secret in self.secrets:
            text = text.replace(secret, "***")
        return line(text)


class Asking:
    """One check under way: until when it may take, what its steps took, and the socket that it waits for."""

    def __init__(self, seconds: float) -> None:
        self.deadline = time.monotonic() + seconds
        self.steps: dict[str, float] = {}
        self.facts: dict[str, float] = {}
        self._socket: socket.socket | None = None
        self._over = False

    def left(self) -> float:
        """Return the seconds that are left; raises TimeoutError where there are none."""
        seconds = self.deadline - time.monotonic()
        if seconds <= 0 or self._over:
            raise TimeoutError
        return seconds

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time a step that comes to its end."""
        started = time.monotonic()
        yield
        self.steps[name] = self.steps.get(name, 0.0) + time.monotonic() - started

    def waits_for(self, sock: Any) -> None:
        """Say which socket to close where the time is over."""
        self._socket = sock
        sock.settimeout(self.left())

    def cancel(self) -> None:
        """End it from another thread."""
        self._over = True
        if self._socket is not None:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)  # not TLS's own, which is not for other threads

    def connect(self, host: str, port: int) -> socket.socket:
        """Return a connection, to the first address of the host that takes one; each gets a fair share of the time."""
        with self.step("resolve"):
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        with self.step("connect"):
            for place, (family, kind, protocol, _, address) in enumerate(found):
                sock = socket.socket(family, kind, protocol)
                try:
                    self.waits_for(sock)
                    sock.settimeout(self.left() / (len(found) - place))
                    sock.connect(address)
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    return sock
                except OSError:
                    sock.close()
                    if place == len(found) - 1:
                        raise
        raise OSError(f"no address for {host}")


class Connection(http.client.HTTPConnection):
    """One connection that may be kept."""

    def __init__(self, place: Place, context: ssl.SSLContext | None) -> None:
        super().__init__(place.host, place.port)
        self.default_port = 443 if place.tls else 80
        self.place = place
        self.born = time.monotonic()
        self.used = False
        self.expires: float | None = None
        self._context = context
        self._asking: Asking

    def connect(self) -> None:
        """Connect, and agree on TLS."""
        asking = self._asking
        self.sock = asking.connect(self.host, self.port)
        if self._context is None:
            return
        with asking.step("tls"):
            self.sock = sock = self._context.wrap_socket(
                self.sock, server_hostname=self.host, do_handshake_on_connect=False
            )
            asking.waits_for(sock)
            sock.do_handshake()
        certificate = sock.getpeercert() or {}
        if "notAfter" in certificate:
            self.expires = ssl.cert_time_to_seconds(str(certificate["notAfter"]))

    def ask(self, asking: Asking, method: str, path: str, headers: Mapping[str, str]) -> Answer:
        """Send a request and return the answer; afterwards `sock` is None where the connection cannot be kept."""
        self._asking = asking
        if self.sock is None:
            self.connect()
        sock = self.sock
        asking.waits_for(sock)
        started = time.monotonic()
        self.request(method, path, headers=dict(headers))
        response = self.getresponse()
        asking.steps["wait"] = asking.steps.get("wait", 0.0) + time.monotonic() - started
        with asking.step("receive"):
            body, whole = _read(response, sock, asking)
        if not whole:
            self.close()
        self.used = True
        found = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, found, body, whole, self.expires, _secrets(headers))


def _read(response: http.client.HTTPResponse, sock: socket.socket, asking: Asking) -> tuple[bytes, bool]:
    parts: list[bytes] = []
    size = 0
    while size <= LARGEST:
        sock.settimeout(asking.left())
        part = response.read1(1 << 16)
        if not part:
            response.close()
            if response.length:  # http.client takes what is missing for the end
                raise http.client.IncompleteRead(b"", response.length)
            return b"".join(parts), True
        parts.append(part)
        size += len(part)
    response.close()
    return b"".join(parts)[:LARGEST], False


def _secrets(headers: Mapping[str, str]) -> tuple[str, ...]:
    """Return what may be a password in headers, with and without its scheme."""
    held = [value for name, value in headers.items() if name not in OURS]
    return tuple(part for value in held for part in (value, *value.split()[1:]) if len(part) > 3)


class Pool:
    """The connections that are kept between checks."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: dict[Place, list[Connection]] = {}
        self._contexts: dict[str | None, ssl.SSLContext] = {}

    def ask(
        self,
        asking: Asking,
        url: str,
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        ca: str | None = None,
    ) -> Answer:
        """Ask over a connection that is there, or a new one; a kept one that the other side closed is no failure."""
        place, path, sent = _parts(url, ca)
        sent |= headers or {}
        while True:
            connection = self._take(place)
            try:
                answer = connection.ask(asking, method, path, sent)
            except BaseException as exc:
                connection.close()
                if not connection.used or not isinstance(exc, ConnectionError):
                    raise
                asking.left()
            else:
                self._keep(connection)
                return answer

    def close(self) -> None:
        """Keep none any more."""
        with self._lock:
            kept, self._idle = self._idle, {}
        for connection in (each for several in kept.values() for each in several):
            connection.close()

    def _take(self, place: Place) -> Connection:
        old = time.monotonic() - KEPT
        with self._lock:
            kept = self._idle.get(place, [])
            while kept:
                connection = kept.pop()
                if connection.born > old:
                    return connection
                connection.close()
        return Connection(place, self._context(place.ca) if place.tls else None)

    def _keep(self, connection: Connection) -> None:
        if connection.sock is None:
            return
        with self._lock:
            kept = self._idle.setdefault(connection.place, [])
            if len(kept) < KEPT_PER_PLACE:
                kept.append(connection)
                return
        connection.close()

    def _context(self, ca: str | None) -> ssl.SSLContext:
        """Return what certificates are checked with; to read them takes milliseconds."""
        with self._lock:
            if ca not in self._contexts:
                self._contexts[ca] = _trusting(ca)
            return self._contexts[ca]


def _trusting(ca: str | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca)
    except ssl.SSLError:
        raise NotWellError(f"{ca}: holds no certificates") from None
    except OSError as exc:
        raise NotWellError(f"{ca}: {reason(exc)}") from exc


def _parts(url: str, ca: str | None) -> tuple[Place, str, dict[str, str]]:
    """Return where a URL leads to, what is asked there, and the headers that every request has."""
    parts = urlsplit(url)
    tls = parts.scheme == "https"
    path = quote(f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}", safe=SAFE)
    headers = dict(OURS)
    if parts.username is not None:
        login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers["Authorization"] = f"Basic {b64encode(login.encode()).decode()}"
    return Place(str(parts.hostname), parts.port or (443 if tls else 80), tls, ca if tls else None), path, headers


def line(text: str) -> str:
    """Return the beginning of what somebody said, in one line that a terminal can show."""
    return " ".join("".join(char if char.isprintable() else " " for char in text[:400]).split())[:120]
