"""Connections of checks: made with each step timed, kept for the next check, and shared by all.

`http.client` and not urllib3, since its `connect()` is there to be overridden: name, connection and TLS are timed one
by one, and whoever keeps watch over the deadline can reach the socket, however slowly the other side drips.
"""

from __future__ import annotations

import contextlib
import functools
import http.client
import os
import socket
import ssl
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import quote, unquote, urlsplit

from otel_llmon.checks.asking import LARGEST, OURS_TO_BLAME, Answer, Asking, NotWellError
from otel_llmon.errors import reason

KEPT = 300.0
"""Seconds after which a connection is made anew, so that a moved name and a new certificate are noticed."""
KEPT_PER_PLACE = 8
PATIENCE = 0.25
"""Seconds in which the rest of a body may come whose length nobody said, so that its connection can be kept."""
HAS_EXPIRED, NO_CHECK_TIME = 10, 0x200000
"""OpenSSL's X509_V_ERR_CERT_HAS_EXPIRED and X509_V_FLAG_NO_CHECK_TIME."""

SAFE = "!#$%&'()*+,/:;=?@[]~"
OURS: Mapping[str, str] = {"User-Agent": "otel-llmon", "Accept": "*/*", "Accept-Encoding": "identity"}


Enough = Callable[[bytearray], bool]

HUNG_UP = (ConnectionError, ssl.SSLError)
"""How a kept connection ends that the other side closed; over TLS a reset may come as a broken record."""


class Place(NamedTuple):
    """Where a connection leads to."""

    host: str
    port: int
    tls: bool = False
    ca: str | None = None


class _Response(http.client.HTTPResponse):
    """A response that is waited for through everything that only announces it."""

    def _read_status(self) -> tuple[str, int, str]:
        """Return the final status line: `http.client` itself passes over `100 Continue` alone, not over hints."""
        while True:
            found: tuple[str, int, str] = super()._read_status()  # type: ignore[misc]
            if not HTTPStatus.CONTINUE < found[1] < HTTPStatus.OK or found[1] == HTTPStatus.SWITCHING_PROTOCOLS:
                return found
            http.client.parse_headers(self.fp)


class Connection(http.client.HTTPConnection):
    """One connection that may be kept."""

    response_class = _Response

    def __init__(self, place: Place, trust: Callable[[bool], ssl.SSLContext] | None) -> None:
        super().__init__(place.host, place.port)
        self.default_port = 443 if place.tls else 80
        self.place = place
        self.born = time.monotonic()
        self.used = False
        self.expires: float | None = None
        self._trust = trust
        self._asking: Asking

    def connect(self) -> None:
        """Connect, and agree on TLS."""
        self.sock = self._asking.connect(self.host, self.port)
        if self._trust is None:
            return
        with self._asking.step("tls"):
            try:
                self._agree(self._trust(False))
            except ssl.SSLCertVerificationError as exc:
                if exc.verify_code == HAS_EXPIRED:
                    self._look_at_expired(self._trust(True))
                raise

    def _agree(self, context: ssl.SSLContext) -> None:
        self.sock = sock = context.wrap_socket(self.sock, server_hostname=self.host, do_handshake_on_connect=False)
        self._asking.waits_for(sock)
        sock.do_handshake()
        certificate = sock.getpeercert() or {}
        if "notAfter" in certificate:
            self.expires = ssl.cert_time_to_seconds(str(certificate["notAfter"]))

    def _look_at_expired(self, context: ssl.SSLContext) -> None:
        """Find out since when a certificate is over that is good but for that; nothing is asked meanwhile."""
        self.close()
        with contextlib.suppress(OSError):
            self.sock = self._asking.connect(self.host, self.port)
            self._agree(context)
        self.close()
        if self.expires is not None:
            self._asking.facts["certificate"] = self.expires - time.time()

    def ask(self, asking: Asking, method: str, path: str, headers: Mapping[str, str], enough: Enough) -> Answer:
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
            body, whole = _read(response, sock, asking, enough)
        if not whole:
            self.close()
        self.used = True
        return Answer(response.status, _joined(response.getheaders()), body, whole, self.expires, _secrets(headers))


def _joined(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return headers by name; what is said of one several times over is one list, as RFC 9110 has it."""
    found: dict[str, str] = {}
    for name, value in headers:
        key = name.lower()
        found[key] = f"{found[key]}, {value}" if key in found else value
    return found


def _read(
    response: http.client.HTTPResponse, sock: socket.socket, asking: Asking, enough: Enough
) -> tuple[bytes, bool]:
    """Return the body, and whether that is all; one of unknown length may have no end, and is left when it will do."""
    body, patience = bytearray(), time.monotonic() + PATIENCE
    endless = response.length is None
    while len(body) <= LARGEST:
        hurry = endless and enough(body)
        left = min(asking.left(), patience - time.monotonic()) if hurry else asking.left()
        if left <= 0:
            break
        sock.settimeout(left)
        try:
            part = response.read1(1 << 16)
        except TimeoutError:
            if hurry:
                break
            raise
        if not part:
            response.close()
            if response.length:  # http.client takes what is missing for the end
                raise http.client.IncompleteRead(b"", response.length)
            return bytes(body), True
        body += part
    response.close()
    return bytes(body[:LARGEST]), False


def _secrets(headers: Mapping[str, str]) -> tuple[str, ...]:
    """Return what may be a password in headers, with and without its scheme."""
    held = [value for name, value in headers.items() if name not in OURS]
    return tuple(part for value in held for part in (value, *value.split()[1:]) if len(part) > 3)


class Pool:
    """The connections that are kept between checks."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: dict[Place, list[Connection]] = {}
        self._contexts: dict[tuple[str | None, bool], ssl.SSLContext] = {}

    def ask(  # noqa: PLR0913  # by name
        self,
        asking: Asking,
        url: str,
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        ca: str | None = None,
        enough: Enough = lambda _: False,
    ) -> Answer:
        """Ask over a connection that is there, or a new one; a kept one that the other side closed is no failure.

        `enough` tells of the beginning of a body that has no end whether that will do.
        """
        place, path, sent = _parts(url, ca)
        sent |= headers or {}
        while True:
            connection = self._take(place)
            try:
                answer = connection.ask(asking, method, path, sent, enough)
            except BaseException as exc:
                connection.close()
                if not connection.used or not isinstance(exc, HUNG_UP):
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
        return Connection(place, functools.partial(self._context, place.ca) if place.tls else None)

    def _keep(self, connection: Connection) -> None:
        if connection.sock is None:
            return
        with self._lock:
            kept = self._idle.setdefault(connection.place, [])
            if len(kept) < KEPT_PER_PLACE:
                kept.append(connection)
                return
        connection.close()

    def _context(self, ca: str | None, any_time: bool) -> ssl.SSLContext:  # noqa: FBT001  # by place, of a partial
        """Return what certificates are checked with; to read them takes milliseconds."""
        with self._lock:
            if (ca, any_time) not in self._contexts:
                self._contexts[ca, any_time] = context = _trusting(ca)
                context.verify_flags |= NO_CHECK_TIME if any_time else 0
            return self._contexts[ca, any_time]


def _trusting(ca: str | None) -> ssl.SSLContext:
    try:
        os.close(os.open(os.devnull, os.O_RDONLY))  # without a descriptor OpenSSL trusts nobody, and does not say so
        return ssl.create_default_context(cafile=ca)
    except ssl.SSLError:
        raise NotWellError(f"{ca}: holds no certificates") from None
    except OSError as exc:
        if exc.errno in OURS_TO_BLAME:
            raise
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
