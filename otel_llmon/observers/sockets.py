"""Sockets by state, out of /proc/net: this process's, or everybody's. Either costs time by the host's sockets."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from otel_llmon.errors import NoDataError
from otel_llmon.metering import Told
from otel_llmon.observers.reading import LINUX, Group, psutil
from otel_llmon.semconv import Metric
from otel_llmon.semconv import host as host_rows
from otel_llmon.semconv import process as process_rows
from otel_llmon.semconv.attributes import NETWORK_STATE, NETWORK_TRANSPORT

STATES = (
    "established", "syn_sent", "syn_received", "fin_wait_1", "fin_wait_2", "time_wait", "closed", "close_wait",
    "last_ack", "listen", "closing", "syn_received",
)  # fmt: skip
"""Upstream's words for the kernel's numbers, from 1 on."""

_PSUTIL = {"syn_recv": "syn_received", "fin_wait1": "fin_wait_1", "fin_wait2": "fin_wait_2", "close": "closed"}
_TABLES = {"tcp": ("tcp", "tcp6"), "udp": ("udp", "udp6")}
_SOCKET = re.compile(r"socket:\[(\d+)\]")


@dataclass(frozen=True, slots=True)
class Connections:
    """How many sockets there are, by transport and state; a UDP socket has no state but `closed` and `established`."""

    count: Mapping[tuple[str, str], int]


def watch_own(proc: str = "/proc", *, linux: bool = LINUX) -> Group[Connections]:
    """Return the group of this process's sockets."""

    def read() -> Connections:
        if not linux:
            return _foreign(psutil().Process().net_connections)
        return _count(proc, _own(proc))

    return _group(process_rows.PROCESS_CONNECTIONS, read)


def watch_all(proc: str = "/proc", *, linux: bool = LINUX) -> Group[Connections]:
    """Return the group of everybody's sockets in this network namespace."""

    def read() -> Connections:
        return _count(proc, None) if linux else _foreign(psutil().net_connections)

    return _group(host_rows.CONNECTIONS, read)


def _group(row: Metric, read: Callable[[], Connections]) -> Group[Connections]:
    def tell(connections: Connections) -> Iterator[Told]:
        for (transport, state), count in connections.count.items():
            yield row, count, {NETWORK_STATE: state, NETWORK_TRANSPORT: transport}

    return Group((row,), read, tell)


def _own(proc: str) -> set[str]:
    found = set()
    folder = Path(proc, "self/fd")
    for number in os.listdir(folder):  # noqa: PTH208  # a Path for each costs more than the rest
        with suppress(OSError):  # closed meanwhile
            if match := _SOCKET.match(os.readlink(f"{folder}/{number}")):  # noqa: PTH115
                found.add(match[1])
    return found


def _count(proc: str, wanted: set[str] | None) -> Connections:
    found: Counter[tuple[str, str]] = Counter()
    told = False
    for transport, names in _TABLES.items():
        found[transport, "established"] += 0  # one that was there and is not any more has gone to 0, and not away
        for name in names:
            with suppress(OSError):  # a kernel without IPv6 has no such table
                lines = Path(proc, "self/net", name).read_text().splitlines()[1:]
                told = True
                rows = (line.split(None, 10) for line in lines)
                found.update(
                    (transport, STATES[int(row[3], 16) - 1]) for row in rows if wanted is None or row[9] in wanted
                )
    if not told:
        raise NoDataError(f"no table of sockets in {proc}/self/net")
    return Connections(dict(found))


def _foreign(ask: Callable[..., list[object]]) -> Connections:
    found: Counter[tuple[str, str]] = Counter()
    for one in ask(kind="inet"):
        word = str(getattr(one, "status", "")).lower()
        transport = "tcp" if getattr(one, "type", 1) == 1 else "udp"
        found[transport, "closed" if word == "none" else _PSUTIL.get(word, word)] += 1
    return Connections(dict(found))
