"""Hands on to a Collector what was taken, as it came. A Collector that is slow or gone costs its own copies only."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Mapping
from typing import Any

_log = logging.getLogger("otel_llmon")
_AGAIN = frozenset((429, 502, 503, 504))
_LONGEST_PAUSE = 30.0


class Tee:
    """Sends bodies to `url`, one after the other; at most `limit` bytes wait, and what is past that is counted lost."""

    def __init__(self, url: str, limit: int = 32 << 20, timeout: float = 10.0) -> None:
        import urllib3

        self.url = url.rstrip("/")
        self.sent = self.lost = 0
        self._limit = limit
        self._bytes = 0
        self._waiting: deque[tuple[str, bytes, Mapping[str, str]]] = deque()
        self._something = threading.Condition()
        self._open = True
        self._failing = ""
        self._pool = urllib3.PoolManager(timeout=timeout, retries=False)
        self._thread = threading.Thread(target=self._run, name="llmon-viewer-tee", daemon=True)
        self._thread.start()

    def offer(self, path: str, body: bytes, headers: Mapping[str, str]) -> None:
        """Hand on a request, or count it lost; never waits."""
        with self._something:
            if not self._open or self._bytes + len(body) > self._limit:
                self.lost += 1
                return
            self._bytes += len(body)
            self._waiting.append((path, body, headers))
            self._something.notify()

    def facts(self) -> dict[str, Any]:
        """Return how it goes, in requests."""
        return {"url": self.url, "sent": self.sent, "lost": self.lost, "waiting": len(self._waiting)}

    def close(self, timeout: float = 2.0) -> None:
        """Send what waits, as far as that is done in time."""
        with self._something:
            self._open = False
            self._something.notify()
        self._thread.join(timeout)
        with self._something:
            self.lost += len(self._waiting)
            self._waiting.clear()
            self._something.notify()
        self._pool.clear()

    def _run(self) -> None:
        pause = 1.0
        while (first := self._first()) is not None:
            if self._sends(*first):
                pause = 1.0
                continue
            with self._something:
                self._something.wait_for(lambda: not self._open, pause)
                if not self._open:
                    return  # a Collector that does not answer now is not waited for
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _first(self) -> tuple[str, bytes, Mapping[str, str]] | None:
        with self._something:
            self._something.wait_for(lambda: self._waiting or not self._open)
            return self._waiting[0] if self._waiting else None

    def _sends(self, path: str, body: bytes, headers: Mapping[str, str]) -> bool:
        """Send one body; return whether it is dealt with, well or not."""
        import urllib3

        try:
            answer = self._pool.request("POST", self.url + path, body=body, headers=headers)
            status = answer.status
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as exc:
            self._say(type(exc).__name__)
            return False
        if status in _AGAIN:
            self._say(f"status {status}")
            return False
        if status < 300:
            self._failing = ""
        else:
            self._say(f"status {status}, left out there")
        self._done(sent=status < 300)
        return True

    def _done(self, *, sent: bool) -> None:
        with self._something:
            if not self._waiting:
                return  # closed meanwhile, and counted
            _, body, _ = self._waiting.popleft()
            self._bytes -= len(body)
            self.sent += sent
            self.lost += not sent

    def _say(self, why: str) -> None:
        if why != self._failing:
            self._failing = why
            _log.warning("tee %s: %s; what arrives is kept here all the same", self.url, why)
