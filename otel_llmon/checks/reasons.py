"""Why a check failed, in one line; and whether that says anything of its target."""

from __future__ import annotations

import http.client
import os
import re
import socket
import ssl
from collections.abc import Callable
from typing import Any

from otel_llmon.checks.asking import OURS_TO_BLAME, NotWellError, NoVerdictError, line
from otel_llmon.errors import reason
from otel_llmon.targets import without_password

NOT_ASKED = "the target was not asked"


def of_here(exc: BaseException) -> str | None:
    """Return what is wrong here, so that nothing is known of the target; None where that is the target's."""
    if isinstance(exc, NoVerdictError):
        return str(exc)
    if isinstance(exc, MemoryError):
        return f"no memory here; {NOT_ASKED}"
    if isinstance(exc, _OF_TARGET):
        return None
    lacks = exc if isinstance(exc, OSError) and exc.errno in OURS_TO_BLAME else _lacking()
    return f"{reason(lacks)} here; {NOT_ASKED}" if lacks else None


def _lacking() -> OSError | None:
    """Return what keeps this process from opening a file: resolvers and drivers say anything then."""
    try:
        os.close(os.open(os.devnull, os.O_RDONLY))
    except OSError as exc:
        return exc if exc.errno in OURS_TO_BLAME else None
    return None


def told(exc: BaseException, seconds: float) -> str:
    """Return in one line why a target is not well, without the password of a URL that may be in what was raised."""
    for kind, say in _REASONS:
        if isinstance(exc, kind):
            return say if isinstance(say, str) else say(exc)
    said = line(without_password(_text(exc)))
    if isinstance(exc, TimeoutError) and (not said or "timed out" in said):
        return f"no answer within {seconds:g} s"
    if isinstance(exc, OSError) and exc.strerror:
        return f"{exc.filename}: {reason(exc)}" if exc.filename else reason(exc)
    return f"{type(exc).__name__}: {said}" if said else type(exc).__name__


def _text(exc: BaseException) -> str:
    try:
        return str(exc)
    except Exception:  # a foreign exception's own code
        return ""


def _told_of_certificate(exc: Any) -> str:
    why = str(exc.verify_message).rstrip(".").partition(", certificate is not valid for")
    return f"its certificate is not trusted ({line(why[0].lower())}{': it is for another name' if why[1] else ''})"


def _told_of_tls(exc: Any) -> str:
    if re.search(r"WRONG_VERSION_NUMBER|RECORD_LAYER|UNEXPECTED_EOF|HTTP_REQUEST|PACKET_LENGTH", str(exc)):
        return "it speaks no TLS; use http:// instead of https://"
    return f"no TLS with it: {line(str(exc.reason or exc))}"


def _told_of_http(exc: Any) -> str:
    if "header" in str(exc) and not isinstance(exc, http.client.BadStatusLine):
        return f"its answer has more headers than are read: {line(str(exc))}"
    return "it speaks no HTTP; is that another server's port?"


_Reason = str | Callable[[Any], str]
_REASONS: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], _Reason], ...] = (
    (NotWellError, str),
    (socket.gaierror, "no such host; check the name"),
    (ConnectionRefusedError, "connection refused; is it running there?"),
    (ConnectionError, "it hangs up without an answer"),
    (http.client.IncompleteRead, "its answer is incomplete"),
    (ssl.SSLCertVerificationError, _told_of_certificate),
    ((ssl.SSLEOFError, ssl.SSLZeroReturnError), "it hangs up without an answer"),
    (ssl.SSLError, _told_of_tls),
    (http.client.HTTPException, _told_of_http),
)
_OF_TARGET = (NotWellError, ConnectionError, TimeoutError, ssl.SSLError, http.client.HTTPException)
"""What only somebody at the other end brings about."""
