"""One request to one server: timeout, credentials, and an error that says which server, where, and why."""

from __future__ import annotations

import json
import re
import ssl
import time
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, ClassVar, NamedTuple, TypeVar
from urllib.parse import quote, unquote, urlencode, urlsplit

import urllib3
from urllib3 import exceptions as wrong

from otel_llmon.errors import LlmonError

TIMEOUT = 5.0
LARGEST = 64 << 20
"""Bytes of an answer that are read at most."""

OTHER_SHAPE = "answers JSON of another shape; is that {}, and not too old?"

Made = TypeVar("Made")
Params = Mapping[str, str | int | float | Sequence[str] | None]


class BackendError(LlmonError):
    """A server did not answer, or not with what was asked for; the message says which one, where, and why."""

    def __init__(self, server: str, address: str, reason: str, status: int | None = None) -> None:
        super().__init__(f"{server} at {address}: {reason}")
        self.server = server
        self.address = address
        self.reason = reason
        self.status = status
        """The HTTP status, where there was one."""


class Answer(NamedTuple):
    """What a server said."""

    status: int
    content_type: str
    text: str
    date: str | None
    """When it was said, by the server's clock: its Date header."""
    took: float


class Backend:
    """A server that is asked over HTTP. `timeout` is how long it may keep silent, in seconds.

    `trusted` is a file of CAs to trust, in place of those that OpenSSL knows.
    """

    name: ClassVar[str] = "server"
    ready_path: ClassVar[str] = "/"
    authority: ClassVar[str] = "name its CA in SSL_CERT_FILE"
    """What to do about a certificate that is not trusted."""

    def __init__(
        self,
        url: str,
        *,
        timeout: float = TIMEOUT,
        headers: Mapping[str, str] | None = None,
        trusted: str | None = None,
    ) -> None:
        self.url, self._headers = _address(url)
        self._headers |= headers or {}
        self._pool = urllib3.PoolManager(timeout=timeout, maxsize=4, ca_certs=trusted)
        self.timeout = timeout

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url!r})"

    def ready(self) -> bool:
        """Tell whether it says that it is ready."""
        try:
            return self.ask(self.ready_path).status == 200
        except BackendError:
            return False

    def error(self, reason: str, status: int | None = None) -> BackendError:
        """Return an error about this server."""
        return BackendError(self.name, self.url, reason, status)

    def ask(
        self,
        path: str,
        params: Params | None = None,
        *,
        post: bool = False,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Return what the server says, whatever its status; raises BackendError where it says nothing."""
        query = urlencode({name: value for name, value in (params or {}).items() if value is not None}, doseq=True)
        url, sent = self.url + path, {**self._headers, **(headers or {})}
        if post and body is None:
            body = query.encode()
            sent["Content-Type"] = "application/x-www-form-urlencoded"
        elif query:
            url += f"?{query}"
        started = time.monotonic()
        try:
            response = self._request("POST" if post else "GET", url, body, sent)
            text = self._read(response)
        except (wrong.HTTPError, OSError, ValueError) as exc:
            raise self.error(told(exc, self)) from exc
        took = time.monotonic() - started
        content_type = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        return Answer(response.status, content_type, text, response.headers.get("Date"), took)

    def get(self, path: str, params: Params | None = None, **options: Any) -> Any:
        """Return the JSON that the server says; raises BackendError where it says something else, or refuses."""
        return self.parsed(self.ask(path, params, **options))

    def parsed(self, answer: Answer) -> Any:
        """Return the JSON in an answer; raises BackendError where there is none, or a refusal."""
        if answer.status >= HTTPStatus.MULTIPLE_CHOICES:
            raise self.error(_refusal(answer), answer.status)
        if "html" in answer.content_type:
            raise self.error(f"answers with a page where {self.name} has its API; check the address", answer.status)
        try:
            return json.loads(answer.text)
        except ValueError:
            raise self.error(
                f"answers {_line(answer.text)!r}, which is not JSON; is that {self.name}?", answer.status
            ) from None

    def shaped(self, found: object, *kinds: type) -> Any:
        """Return a part of an answer that must be of one of these types; raises BackendError."""
        if not isinstance(found, kinds):
            raise self.error(OTHER_SHAPE.format(self.name))
        return found

    def made(self, make: Callable[[], Made]) -> Made:
        """Return what `make` reads from an answer; raises BackendError where it does not find what it needs."""
        try:
            return make()
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as exc:
            raise self.error(OTHER_SHAPE.format(self.name)) from exc

    def _request(self, method: str, url: str, body: bytes | None, headers: Mapping[str, str]) -> Any:
        options: Any = {"body": body, "headers": headers, "retries": False, "redirect": False, "preload_content": False}
        try:
            return self._pool.request(method, url, **options)
        except wrong.ProtocolError as exc:
            if not isinstance(exc.args[-1], ConnectionError):
                raise
            # a kept connection that the server has closed meanwhile; nothing that we ask for changes anything
            return self._pool.request(method, url, **options)

    def _read(self, response: Any) -> str:
        content: bytes = response.read(LARGEST + 1, decode_content=True)
        if len(content) > LARGEST:
            response.close()
            raise ValueError(f"answers more than {LARGEST >> 20} MiB; ask for less")
        response.release_conn()
        return content.decode("utf-8", "replace")


def told(exc: Exception, asked: Backend) -> str:
    """Return in one line, with a way out where there is one, why a server could not be asked."""
    say = next((say for kind, say in _REASONS if isinstance(exc, kind)), _told_as_it_is)
    return say(exc, asked)


def _told_as_it_is(exc: Exception, _: Backend) -> str:
    return str(exc) or type(exc).__name__


def _told_of_connection(exc: Exception, _: Backend) -> str:
    reason = re.search(r"\[Errno -?\d+\] (.+)$", str(exc))
    why = (reason[1] if reason else str(exc)).lower()
    return f"{why}; is it running there?" if "refused" in why else why


def _told_of_tls(exc: Exception, asked: Backend) -> str:
    text = str(exc)
    if "CERTIFICATE_VERIFY_FAILED" in text:
        reason = re.search(r"certificate verify failed: ([^(]+)", text)
        why = reason[1].strip() if reason else "not trusted"
        return f"its certificate is not trusted ({why}); {asked.authority}"
    if re.search(r"WRONG_VERSION_NUMBER|RECORD_LAYER|UNEXPECTED_EOF|HTTP_REQUEST", text):
        return "it speaks no TLS; use http:// instead of https://"
    return f"no TLS with it: {text}"


def _told_of_protocol(exc: Exception, _: Backend) -> str:
    if re.search(r"RemoteDisconnected|Connection reset|IncompleteRead|Connection broken", str(exc)):
        return "it hangs up without an answer; is that another server, or one that wants https://?"
    return "it speaks no HTTP; is that another server's port?"


_REASONS: tuple[tuple[type[Exception] | tuple[type[Exception], ...], Callable[[Exception, Backend], str]], ...] = (
    (wrong.NameResolutionError, lambda *_: "no such host; check the name"),
    (wrong.NewConnectionError, _told_of_connection),  # before what it is derived from
    (wrong.TimeoutError, lambda _, asked: f"no answer within {asked.timeout:g} s"),
    ((wrong.SSLError, ssl.SSLError), _told_of_tls),
    (wrong.LocationValueError, lambda *_: "this is no address; expected a URL such as http://localhost:9090"),
    (wrong.ProtocolError, _told_of_protocol),
)


def _refusal(answer: Answer) -> str:
    """Return what an HTTP status means here."""
    said = _line(_message(answer))
    status = answer.status
    phrase = f"{status} {_phrase(status)}".strip()
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return f"{phrase}; give it credentials in OTEL_LLMON_BACKEND_HEADERS"
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        return f"{phrase}: it sends us elsewhere; use the address behind it, or give credentials"
    if "HTTP request to an HTTPS server" in answer.text or "plain HTTP request was sent to HTTPS" in answer.text:
        return "it speaks TLS; use https:// instead of http://"
    if status in (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.NOT_IMPLEMENTED):
        return f"{phrase}; is that another server's port?" if not said or _is_plain(answer) else f"{phrase}: {said}"
    return f"{phrase}: {said}" if said else phrase


def _is_plain(answer: Answer) -> bool:
    """Tell whether an error is the web server's own, not that of an API."""
    return not answer.text.lstrip().startswith("{")


def _message(answer: Answer) -> str:
    """Return the sentence in an error's body, which servers wrap in JSON in ways of their own."""
    if "html" in answer.content_type:
        return ""
    try:
        found = json.loads(answer.text)
    except ValueError:
        return answer.text
    for key in ("error", "message"):
        if isinstance(found, dict) and key in found:
            found = found[key]
    return found if isinstance(found, str) else json.dumps(found)


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase.lower()
    except ValueError:
        return ""


def _line(text: str) -> str:
    """Return the beginning of a text, in one line that a terminal can show."""
    line = "".join(char if char.isprintable() else " " for char in text[:400])
    return " ".join(line.split())[:200]


def _address(url: str) -> tuple[str, dict[str, str]]:
    """Return a URL without its password and final slash, and what goes into the headers instead."""
    parts = urlsplit(url)
    place = parts.netloc.rpartition("@")[2]
    plain = parts._replace(netloc=place).geturl().rstrip("/")
    if parts.username is None:
        return plain, {}
    login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return plain, {"Authorization": f"Basic {b64encode(login.encode()).decode()}"}


def segment(text: str) -> str:
    """Return text as one segment of a path."""
    return quote(text, safe="")
