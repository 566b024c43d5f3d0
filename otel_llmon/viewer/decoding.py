"""From the body of a request to an OTLP message: decompression with a bound, protobuf, and OTLP's own JSON."""

from __future__ import annotations

import base64
import binascii
import json
import zlib
from collections.abc import Callable, Iterator
from typing import Any

from google.protobuf.json_format import Error as JsonError
from google.protobuf.json_format import ParseDict
from google.protobuf.message import DecodeError

from otel_llmon.viewer.intake import STEP

_EITHER = 47  # wbits: gzip or zlib, told by the header
_IDS = frozenset(("traceId", "spanId", "parentSpanId", "trace_id", "span_id", "parent_span_id"))


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
    try:
        found = json.loads(body)
        if not isinstance(found, dict):
            raise MalformedError(f"JSON body: found {type(found).__name__}, expected an object")
        _ids_as_base64(found)
        return ParseDict(found, kind(), ignore_unknown_fields=True)
    except (JsonError, ValueError, TypeError, AttributeError, RecursionError) as exc:
        raise MalformedError(f"JSON body: {' '.join(str(exc).split())[:300]}") from exc


def _ids_as_base64(found: dict[str, Any]) -> None:
    """Rewrite ids, which OTLP's JSON spells in hex where protobuf's own mapping expects base64.

    What is not hex becomes no id, and the record is refused with the others taken.
    """
    for holder in _objects(found):
        for name in _IDS & holder.keys():
            value = holder[name]
            try:
                holder[name] = base64.b64encode(bytes.fromhex(value)).decode()
            except (ValueError, TypeError, binascii.Error):
                holder[name] = ""


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
