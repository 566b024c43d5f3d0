"""Network of the machine: bytes, packets, errors and drops. Totals count hardware, so nothing counts twice."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from otel_llmon.errors import NoDataError
from otel_llmon.metering import Reading
from otel_llmon.observers.reading import LINUX, File, Group, psutil, told
from otel_llmon.semconv import host as rows
from otel_llmon.semconv.attributes import NETWORK_DIRECTION, NETWORK_INTERFACE

_ROWS = (rows.NETWORK_IO, rows.NETWORK_PACKETS, rows.NETWORK_ERRORS, rows.NETWORK_DROPPED)


@dataclass(frozen=True, slots=True)
class Traffic:
    """What came or went since the machine started."""

    bytes: int
    packets: int
    errors: int
    dropped: int


@dataclass(frozen=True, slots=True)
class Network:
    """What came and went through an interface, or through all that count."""

    receive: Traffic
    transmit: Traffic
    interface: str | None = None
    """Name of a single one; None of all together."""


def watch(proc: str = "/proc", sys: str = "/sys", *, linux: bool = LINUX) -> Group[Network]:
    """Return the group of all interfaces together: of hardware; where there is none, as in a container, all but lo."""
    every, files = _reader(proc, linux=linux)
    real: dict[str, bool] = {}

    def is_real(name: str) -> bool:
        if name not in real:
            real[name] = Path(sys, "class/net", name, "device").exists()
        return real[name]

    def read() -> Network:
        counted = [*every(is_real).values()] or [*every(lambda name: name not in ("lo", "lo0")).values()]
        if not counted:
            raise NoDataError("no network interface but loopback")
        if len(counted) == 1:
            return Network(counted[0].receive, counted[0].transmit)
        return Network(_sum([one.receive for one in counted]), _sum([one.transmit for one in counted]))

    def tell(network: Network) -> list[Reading]:
        return [reading for reading in _tell(network) if reading.metric is not rows.NETWORK_PACKETS]

    return Group((rows.NETWORK_IO, rows.NETWORK_ERRORS, rows.NETWORK_DROPPED), read, tell, files)


def watch_each(proc: str = "/proc", *, linux: bool = LINUX) -> Group[tuple[Network, ...]]:
    """Return the group of each interface by itself, loopback included, which stands in the place of all together."""
    every, files = _reader(proc, linux=linux)

    def tell(interfaces: tuple[Network, ...]) -> list[Reading]:
        return [reading for one in interfaces for reading in _tell(one)]

    return Group(_ROWS, lambda: tuple(every(lambda _: True).values()), tell, files)


_Every = Callable[[Callable[[str], bool]], Mapping[str, Network]]


def _reader(proc: str, *, linux: bool) -> tuple[_Every, list[File]]:
    if not linux:
        return _foreign, []
    file = File(f"{proc}/net/dev")
    return lambda counts: _parsed(file.read(), counts), [file]


def _parsed(text: bytes, counts: Callable[[str], bool]) -> dict[str, Network]:
    found = {}
    for line in text.decode().splitlines()[2:]:
        start, _, numbers = line.partition(":")
        if counts(name := start.strip()):
            inn, packets, bad, lost, _, _, _, _, out, sent, wrong, dropped = map(int, numbers.split(None, 12)[:12])
            found[name] = Network(Traffic(inn, packets, bad, lost), Traffic(out, sent, wrong, dropped), name)
    return found


def _foreign(counts: Callable[[str], bool]) -> dict[str, Network]:
    return {
        name: Network(
            Traffic(one.bytes_recv, one.packets_recv, one.errin, one.dropin),
            Traffic(one.bytes_sent, one.packets_sent, one.errout, one.dropout),
            name,
        )
        for name, one in psutil().net_io_counters(pernic=True).items()
        if counts(name)
    }


def _sum(parts: list[Traffic]) -> Traffic:
    return Traffic(
        sum(part.bytes for part in parts),
        sum(part.packets for part in parts),
        sum(part.errors for part in parts),
        sum(part.dropped for part in parts),
    )


@functools.lru_cache(maxsize=1024)
def _keys(interface: str | None) -> tuple[dict[str, str], ...]:
    which = {} if interface is None else {NETWORK_INTERFACE: interface}
    return {NETWORK_DIRECTION: "receive", **which}, {NETWORK_DIRECTION: "transmit", **which}


def _tell(network: Network) -> list[Reading]:
    receive, transmit = _keys(network.interface)
    return _traffic(network.receive, receive) + _traffic(network.transmit, transmit)


def _traffic(traffic: Traffic, key: dict[str, str]) -> list[Reading]:
    return [
        told((rows.NETWORK_IO, traffic.bytes, key)),
        told((rows.NETWORK_PACKETS, traffic.packets, key)),
        told((rows.NETWORK_ERRORS, traffic.errors, key)),
        told((rows.NETWORK_DROPPED, traffic.dropped, key)),
    ]
