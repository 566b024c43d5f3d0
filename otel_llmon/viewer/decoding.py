"""From the body of a request to an OTLP message: decompression with a bound, protobuf, and OTLP's own JSON."""

from __future__ import annotations

import base64
import json
import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from google.protobuf.json_format import Error as JsonError
from google.protobuf.json_format import ParseDict
from google.protobuf.message import DecodeError

from otel_llmon.viewer.intake import STEP

_EITHER = 47  # wbits: gzip or zlib, told by the header
_IDS = {"traceId": 32, "trace_id": 32} | dict.fromkeys(("spanId", "span_id", "parentSpanId", "parent_span_id"), 16)
_HEX = re.compile(r"([0-9a-fA-F]{2})*")


class MalformedError(ValueError):
    """A body is not what its headers say."""


class TooLargeError(ValueError):
    """A body is larger than allowed once it is decompressed."""


def decompressed(body: bytes, limit: int, grow: Callable[[int], None]) -> bytes:
    """Return a gzip or zlib body's content; `grow` hears of every step before it is kept, and may raise.

    Raises TooLargeError past `limit` bytes, whatever the body promised, and MalformedError.
    """
    found = bytearray()
    try:
        while body:
            inflate = zlib.decompressobj(_EITHER)
            while not inflate.eof:
                if not body and not inflate.unconsumed_tail:
                    raise MalformedError("compressed body: ends early")
                piece = inflate.decompress(inflate.unconsumed_tail or body, min(STEP, limit - len(found) + 1))
                body = b""
                grow(len(piece))
                found += piece
                if len(found) > limit:
                    raise TooLargeError(f"body: more than {limit} bytes once decompressed")
            body = inflate.unused_data
    except zlib.error as exc:
        raise MalformedError(f"compressed body: {exc}") from exc
    return bytes(found)


def from_protobuf(kind: type[Any], body: bytes) -> Any:
    """Return the message of this kind; raises MalformedError."""
    try:
        return kind.FromString(body)
    except DecodeError as exc:
        raise MalformedError(f"protobuf body: {exc}") from exc


def from_json(kind: type[Any], body: bytes) -> Any:
    """Return the message of this kind; raises MalformedError."""
    with _refusing():
        found = json.loads(body)
    if not isinstance(found, dict):
        raise MalformedError(f"JSON body: found {type(found).__name__}, expected an object")
    _ids_as_base64(found)
    with _refusing():
        return ParseDict(found, kind(), ignore_unknown_fields=True)


@contextmanager
def _refusing() -> Iterator[None]:
    try:
        yield
    except (JsonError, ValueError, TypeError, AttributeError, RecursionError) as exc:
        raise MalformedError(f"JSON body: {' '.join(str(exc).split())[:300]}") from exc


def _ids_as_base64(found: dict[str, Any]) -> None:
    """Rewrite ids, which OTLP's JSON spells in hex where protobuf's own mapping expects base64.

    Hex of a wrong length is left to who takes the record. Raises MalformedError where there is no hex.
    """
    for holder in _objects(found):
        for name in _IDS.keys() & holder.keys():
            value = holder[name]
            if value is None:
                continue
            if not isinstance(value, str) or not _HEX.fullmatch(value):
                raise MalformedError(f"JSON body: {name} {str(value)[:60]!r}, expected {_IDS[name]} hex digits")
            holder[name] = base64.b64encode(bytes.fromhex(value)).decode()


def _objects(found: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield every object that may hold an id; attributes and bodies, which are the user's, are left alone."""
    waiting: list[Any] = [found]
    while waiting:
        holder = waiting.pop()
        if isinstance(holder, list):
            waiting += holder
        elif isinstance(holder, dict):
            yield holder
            waiting += [value for name, value in holder.items() if name not in ("attributes", "body")]
