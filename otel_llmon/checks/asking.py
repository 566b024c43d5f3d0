"""How a check asks: each step timed, a deadline that nothing outlasts, and what an answer holds."""

from __future__ import annotations

import contextlib
import errno
import json
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

LARGEST = 1 << 20
"""Bytes of an answer that are looked at."""
OURS_TO_BLAME = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS))
"""What the system says where this process or machine has no more of something: it says nothing of a target."""


class NotWellError(Exception):
    """A target answers, but not as it should; the message says how."""


class NoVerdictError(Exception):
    """Nothing can be said of a target, since the cause lies here; the message says which."""


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
        self.seconds = seconds
        self.deadline = time.monotonic() + seconds
        self.steps: dict[str, float] = {}
        self.facts: dict[str, float] = {}
        self.excuse: Callable[[], str | None] = lambda: None
        """Tells why it is no fault of the target's that the time is over, if it is none."""
        self.lingering: Callable[[], object] | None = None
        """Waits for what goes on though the time is over, such as a coroutine that takes no notice of its end."""
        self._socket: socket.socket | None = None
        self._over = False

    def left(self) -> float:
        """Return the seconds that are left; raises TimeoutError where there are none."""
        seconds = self.deadline - time.monotonic()
        if seconds <= 0 or self._over:
            raise TimeoutError
        return seconds

    def is_over(self) -> bool:
        """Tell whether there is no time left."""
        return self._over or time.monotonic() >= self.deadline

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


def line(text: str) -> str:
    """Return the beginning of what somebody said, in one line that a terminal can show."""
    return " ".join("".join(char if char.isprintable() else " " for char in text[:400]).split())[:120]
