"""Network of the machine: bytes, packets, errors and drops. Totals count hardware, so nothing counts twice."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from otel_llmon.errors import NoDataError
from otel_llmon.metering import Told
from otel_llmon.observers.reading import LINUX, File, Group, all_told, psutil
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

    def read() -> _Numbers:
        counted = [*every(is_real).values()] or [*every(lambda name: name not in ("lo", "lo0")).values()]
        if not counted:
            raise NoDataError("no network interface but loopback")
        return counted[0] if len(counted) == 1 else [*map(sum, zip(*counted, strict=True))]

    def tell(numbers: _Numbers) -> list[Told]:
        return [reading for reading in all_told(_EACH, numbers, _keys(None)) if reading[0] is not rows.NETWORK_PACKETS]

    return Group((rows.NETWORK_IO, rows.NETWORK_ERRORS, rows.NETWORK_DROPPED), read, tell, files, _network)


def watch_each(proc: str = "/proc", *, linux: bool = LINUX) -> Group[tuple[Network, ...]]:
    """Return the group of each interface by itself, loopback included, which stands in the place of all together."""
    every, files = _reader(proc, linux=linux)

    def tell(interfaces: Mapping[str, _Numbers]) -> list[Told]:
        return [told for name, numbers in interfaces.items() for told in all_told(_EACH, numbers, _keys(name))]

    def shape(interfaces: Mapping[str, _Numbers]) -> tuple[Network, ...]:
        return tuple(_network(numbers, name) for name, numbers in interfaces.items())

    return Group(_ROWS, lambda: every(lambda _: True), tell, files, shape)


_Numbers = Sequence[int]
"""What came, in the order of Traffic's fields, and what went."""

_Every = Callable[[Callable[[str], bool]], Mapping[str, _Numbers]]


def _network(numbers: _Numbers, interface: str | None = None) -> Network:
    return Network(Traffic(*numbers[:4]), Traffic(*numbers[4:]), interface)


def _reader(proc: str, *, linux: bool) -> tuple[_Every, list[File]]:
    if not linux:
        return _foreign, []
    file = File(f"{proc}/net/dev")
    return lambda counts: _parsed(file.read(), counts), [file]


def _parsed(text: bytes, counts: Callable[[str], bool]) -> dict[str, _Numbers]:
    found: dict[str, _Numbers] = {}
    for line in text.splitlines()[2:]:
        start, _, numbers = line.partition(b":")  # no name has one
        if counts(name := start.strip().decode("utf-8", "replace")):
            words = numbers.split(None, 12)
            found[name] = [*map(int, words[:4] + words[8:12])]
    return found


def _foreign(counts: Callable[[str], bool]) -> dict[str, _Numbers]:
    return {
        name: (
            one.bytes_recv, one.packets_recv, one.errin, one.dropin,
            one.bytes_sent, one.packets_sent, one.errout, one.dropout,
        )
        for name, one in psutil().net_io_counters(pernic=True).items()
        if counts(name)
    }  # fmt: skip


_EACH = _ROWS + _ROWS
"""The metrics of an interface's numbers."""


@functools.lru_cache(maxsize=1024)
def _keys(interface: str | None) -> tuple[dict[str, str], ...]:
    """Return the attributes of an interface's numbers."""
    which = {} if interface is None else {NETWORK_INTERFACE: interface}
    receive, transmit = ({NETWORK_DIRECTION: direction, **which} for direction in ("receive", "transmit"))
    return (receive,) * len(_ROWS) + (transmit,) * len(_ROWS)
