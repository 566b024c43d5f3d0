"""Network of the machine: bytes, packets, errors and drops. Totals count hardware, so nothing counts twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from otel_llmon.errors import NoDataError
from otel_llmon.metering import Reading
from otel_llmon.observers.reading import LINUX, File, Group, psutil
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

    def read() -> Network:
        found = every()
        for name in found.keys() - real.keys():
            real[name] = Path(sys, "class/net", name, "device").exists()
        counted = [one for name, one in found.items() if real[name]]
        counted = counted or [one for name, one in found.items() if name not in ("lo", "lo0")]
        if not counted:
            raise NoDataError("no network interface but loopback")
        return Network(_sum([one.receive for one in counted]), _sum([one.transmit for one in counted]))

    return Group(_ROWS, read, _tell, files)


def watch_each(proc: str = "/proc", *, linux: bool = LINUX) -> Group[tuple[Network, ...]]:
    """Return the group of each interface by itself, loopback included, which stands in the place of all together."""
    every, files = _reader(proc, linux=linux)

    def tell(interfaces: tuple[Network, ...]) -> Iterator[Reading]:
        for one in interfaces:
            yield from _tell(one)

    return Group(_ROWS, lambda: tuple(every().values()), tell, files)


def _reader(proc: str, *, linux: bool) -> tuple[Callable[[], Mapping[str, Network]], list[File]]:
    if not linux:
        return _foreign, []
    file = File(f"{proc}/net/dev")
    return lambda: _parsed(file.read()), [file]


def _parsed(text: bytes) -> dict[str, Network]:
    found = {}
    for line in text.splitlines()[2:]:
        name, _, counts = line.decode().strip().partition(":")
        words = [int(word) for word in counts.split()]
        found[name] = Network(Traffic(*words[:4]), Traffic(*words[8:12]), name)
    return found


def _foreign() -> dict[str, Network]:
    return {
        name: Network(
            Traffic(one.bytes_recv, one.packets_recv, one.errin, one.dropin),
            Traffic(one.bytes_sent, one.packets_sent, one.errout, one.dropout),
            name,
        )
        for name, one in psutil().net_io_counters(pernic=True).items()
    }


def _sum(parts: list[Traffic]) -> Traffic:
    return Traffic(
        sum(part.bytes for part in parts),
        sum(part.packets for part in parts),
        sum(part.errors for part in parts),
        sum(part.dropped for part in parts),
    )


def _tell(network: Network) -> Iterator[Reading]:
    which = {} if network.interface is None else {NETWORK_INTERFACE: network.interface}
    for direction in ("receive", "transmit"):
        traffic, where = getattr(network, direction), {NETWORK_DIRECTION: direction, **which}
        yield Reading(rows.NETWORK_IO, traffic.bytes, where)
        yield Reading(rows.NETWORK_PACKETS, traffic.packets, where)
        yield Reading(rows.NETWORK_ERRORS, traffic.errors, where)
        yield Reading(rows.NETWORK_DROPPED, traffic.dropped, where)
