"""Where a request's head and body end, for a server that takes no second reading of it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from email.message import Message
from typing import Any

PIECE = 1 << 16
"""Bytes of a body that are read at a time."""

_FIELD = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[^\r\n\0]*\r?\n|\r?\n")
"""A line of a head. Others (folded, a space before the colon, a bare CR) have more than one reading."""


class RefusedError(Exception):
    """A request that is not answered as it wished."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers or {}


class Noted:
    """A stream that remembers its lines: what parses them hides how they were written."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.lines: list[bytes] = []

    def readline(self, limit: int = -1) -> bytes:
        """Return the next line."""
        line: bytes = self._stream.readline(limit)
        self.lines.append(line)
        return line


def doubtful(headers: Message, lines: list[bytes]) -> str:
    """Return why it is not sure where this request ends and the next begins, or nothing."""
    for line in lines:
        if not _FIELD.fullmatch(line):
            return f"header {line[:60]!r}: expected name: value on one line"
    for name in ("Host", "Content-Length", "Transfer-Encoding"):
        if len(found := headers.get_all(name, [])) > 1:
            return f"{name} {', '.join(found)[:60]!r}: expected it once"
    coding, length = headers.get("Transfer-Encoding"), headers.get("Content-Length")
    if coding is not None and (coding.strip().lower() != "chunked" or length is not None):
        return f"Transfer-Encoding {coding[:40]!r}: expected chunked, without Content-Length"
    if length is not None and not (length.isascii() and length.isdigit()):
        return f"Content-Length {length[:40]!r}: expected one number"
    return ""


def exactly(stream: Any, length: int) -> Iterator[bytes]:
    """Yield so many bytes; raises EOFError where they end before."""
    while length:
        piece = stream.read(min(length, PIECE))
        if not piece:
            raise EOFError("body ended early")
        length -= len(piece)
        yield piece


def chunks(stream: Any, limit: int) -> Iterator[bytes]:
    """Yield the body of a chunked request; the trailer is dropped."""
    while size := _size(stream.readline(1024)):
        limit -= size
        if limit < 0:
            raise RefusedError(413, "body too large, send smaller batches")
        yield from exactly(stream, size)
        if stream.readline(3) != b"\r\n":
            raise RefusedError(400, "chunked body: a chunk without its end")
    for _ in range(32):
        if stream.readline(1024) in (b"\r\n", b"\n", b""):
            return
    raise RefusedError(400, "chunked body: trailer too long")


def _size(line: bytes) -> int:
    match = re.fullmatch(rb"([0-9a-fA-F]{1,8})(?:[ \t]*;[^\r\n]*)?\r\n", line)
    if match is None:
        raise RefusedError(400, "chunked body: expected a size in hex")
    return int(match[1], 16)
