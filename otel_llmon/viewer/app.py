"""The page and its data, at an address of their own: static files, JSON, and a stream that says when to look again."""

from __future__ import annotations

import json
import mimetypes
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from otel_llmon.viewer import queries
from otel_llmon.viewer.errors import ViewerError
from otel_llmon.viewer.framing import RefusedError
from otel_llmon.viewer.queries import Page
from otel_llmon.viewer.serving import Answer, Handler, Server, as_json
from otel_llmon.viewer.store import Store

STATIC = Path(__file__).parent / "static"
VIEWS = re.compile(r"/(traces?|logs|metrics)?(/.*)?")
"""Paths that are views of the page: its script shows what they name."""

HEARTBEAT = 15.0
OFTEN = 0.25
"""Seconds between two notes of a change, at least."""

_TYPES = {
    ".js": "text/javascript",
    ".mjs": "text/javascript",
    ".woff2": "font/woff2",
    ".webmanifest": "application/json",
}
_TEXT = ("text/", "application/json", "image/svg")
_LAST = 2**63 - 1


class App(Server):
    """Serves the page of a store."""

    def __init__(self, address: tuple[str, int], store: Store, status: Callable[[], dict[str, Any]]) -> None:
        self.store = store
        self.status = status
        self.is_whole: Callable[[], bool] = lambda: True
        super().__init__(address, _Showing, "--page")


class _Showing(Handler):
    server: App
    headers_always: Mapping[str, str] = {
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "no-store",
        "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none';"
        " object-src 'none'",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Referrer-Policy": "no-referrer",
    }

    def route(self) -> Answer | None:
        """Return a file, or what a question finds."""
        parts = urlsplit(self.path)
        path = unquote(parts.path)
        if self.command not in ("GET", "HEAD"):
            raise RefusedError(405, f"{self.command}: expected GET", {"Allow": "GET, HEAD"})
        if path == "/healthz":
            whole = self.server.is_whole()
            return Answer(200 if whole else 503, "text/plain; charset=utf-8", b"ok\n" if whole else b"not serving\n")
        if path == "/api/live":
            self._live()
            return None
        if path.startswith("/api/"):
            return as_json(self._found(parts.path, Wishes(parts.query)))
        if path.startswith("/static/"):
            return self._file(path.removeprefix("/static/"))
        if VIEWS.fullmatch(path):
            return self._file("index.html")
        raise RefusedError(404, f"{path[:100]}: no such page")

    def _found(self, path: str, wishes: Wishes) -> Any:
        _, _, what, *rest = path.split("/", 3)
        if what not in _QUESTIONS or (rest and what not in _NAMED):
            raise RefusedError(404, f"{path[:100]}: no such data")
        try:
            self.server.store.database.verify()
        except ViewerError as exc:
            raise RefusedError(503, str(exc)) from exc
        if what == "status":
            return self.server.status()
        with self.server.store.database.reader() as connection:
            if not rest:
                return _QUESTIONS[what](connection, wishes)
            found = _NAMED[what](connection, unquote(rest[0]), wishes)
        if found is None:
            raise RefusedError(404, f"{unquote(rest[0])[:100]}: not found")
        return found

    def _file(self, name: str) -> Answer:
        file = next((file for file in STATIC.iterdir() if file.name == name), None)
        if file is None:
            raise RefusedError(404, f"{name[:100]}: no such file")
        facts = file.stat()
        tag = f'"{facts.st_mtime_ns:x}-{facts.st_size:x}"'
        kept = {"ETag": tag, "Cache-Control": "no-cache"}
        kind = _TYPES.get(file.suffix) or mimetypes.guess_type(file.name)[0] or "application/octet-stream"
        if self.headers.get("If-None-Match") == tag:
            return Answer(304, kind, headers=kept)
        return Answer(200, f"{kind}; charset=utf-8" if kind.startswith(_TEXT) else kind, file.read_bytes(), kept)

    def _live(self) -> None:
        """Say, as server-sent events, how much there is, whenever that changes."""
        self.close_connection = True
        self.send_response(200)
        for name, value in {**self.headers_always, "Content-Type": "text/event-stream", "Connection": "close"}.items():
            self.send_header(name, value)
        self.end_headers()
        self.answering = False  # there is no end to it: whoever needs the place may take it
        store, seen = self.server.store, -1
        while self.command == "GET":
            now = store.wait_for_change(seen, HEARTBEAT)
            if not store.is_open:
                return
            if now == seen:
                self.wfile.write(b": still here\n\n")
                continue
            seen = now
            totals = {name: store.totals()[name] for name in ("spans", "logs", "points")}
            self.wfile.write(f"event: change\ndata: {json.dumps(totals)}\n\n".encode())
            time.sleep(OFTEN)


class Wishes:
    """What a query string asks for; raises RefusedError for what cannot be."""

    def __init__(self, query: str) -> None:
        try:
            self._given = parse_qs(query, max_num_fields=50)
        except ValueError as exc:
            raise RefusedError(400, f"query: {exc}") from exc

    def text(self, name: str) -> str:
        """Return a text, empty where none is given."""
        return self._given.get(name, [""])[-1].strip()

    def number(self, name: str, default: int = 0, most: int = _LAST) -> int:
        """Return a whole number, at most `most`."""
        given = self.text(name)
        if not given:
            return default
        if not (given.isascii() and given.isdigit() and len(given) < 20):
            raise RefusedError(400, f"{name}={given[:40]!r}: expected a whole number")
        return min(int(given), most)

    def hex(self, name: str) -> bytes | None:
        """Return an id, None where none is given."""
        given = self.text(name)
        return as_id(given) if given else None

    def page(self, limit: int, *, of_hex: bool = False) -> Page:
        """Return which part of a list is wanted; a cursor is a time, and what comes at the same time before it."""
        since = self.number("since") if self.text("since") else None
        found: tuple[int, bytes | int] | None = None
        if cursor := self.text("before"):
            match = re.fullmatch(r"(\d{1,19})(?:-([0-9a-f]{1,32}))?", cursor)
            if match is None:
                raise RefusedError(400, f"before={cursor[:60]!r}: expected what `next` said, or a time in nanoseconds")
            at = min(int(match[1]), _LAST)
            found = at, _tie(match[2], of_hex=of_hex)
        return Page(max(self.number("limit", limit, 1000), 1), since, found)


def _tie(text: str | None, *, of_hex: bool) -> bytes | int:
    """Return what decides between rows of the same time; without it, none of them is before the cursor."""
    if of_hex:
        return as_id(text or "")
    if not (text or "0").isdigit():
        raise RefusedError(400, f"{text!r}: expected what `next` said")
    return int(text or 0)


def as_id(text: str) -> bytes:
    """Return the bytes of an id in hex; raises RefusedError."""
    try:
        return bytes.fromhex(text)
    except ValueError as exc:
        raise RefusedError(400, f"{text[:60]!r}: expected an id in hex") from exc


def _traces(connection: Any, wishes: Wishes) -> dict[str, Any]:
    return queries.traces(
        connection,
        wishes.page(50, of_hex=True),
        service=wishes.text("service"),
        search=wishes.text("search"),
        errors=wishes.text("status") == "error",
        longest=wishes.number("min_duration"),
    )


def _logs(connection: Any, wishes: Wishes) -> dict[str, Any]:
    return queries.logs(
        connection,
        wishes.page(100),
        trace_id=wishes.hex("trace_id"),
        service=wishes.text("service"),
        search=wishes.text("search"),
        severity=wishes.number("severity"),
    )


def _metric(connection: Any, name: str, wishes: Wishes) -> dict[str, Any] | None:
    return queries.metric(
        connection,
        name,
        since=wishes.number("since"),
        service=wishes.text("service"),
        limit=max(wishes.number("limit", 1000, 10_000), 1),
    )


_QUESTIONS: dict[str, Callable[[Any, Wishes], Any]] = {
    "status": lambda *_: None,  # answered without the database
    "services": lambda connection, _: {"services": queries.services(connection)},
    "traces": _traces,
    "logs": _logs,
    "metrics": lambda connection, _: {"metrics": queries.metrics(connection)},
}
_NAMED: dict[str, Callable[[Any, str, Wishes], Any]] = {
    "traces": lambda connection, name, _: queries.trace(connection, as_id(name)),
    "metrics": _metric,
}
