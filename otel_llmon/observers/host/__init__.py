"""The machine, in groups: CPU, load, memory, disks, filesystems, network.

One process per machine and destination reports it. On Linux files are read that stay open, elsewhere psutil is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from otel_llmon.observers import sockets
from otel_llmon.observers.host import cpu, disks, filesystems, memory, network, sensors
from otel_llmon.observers.host.cpu import CPU, Load
from otel_llmon.observers.host.disks import Disk
from otel_llmon.observers.host.filesystems import Filesystem
from otel_llmon.observers.host.memory import Memory
from otel_llmon.observers.host.network import Network
from otel_llmon.observers.host.sensors import Sensors
from otel_llmon.observers.reading import Group
from otel_llmon.observers.sockets import Connections

GROUPS: Mapping[str, Callable[[], Group[Any]]] = {
    "cpu": cpu.watch,
    "load": cpu.watch_load,
    "memory": memory.watch,
    "disk": disks.watch,
    "filesystem": filesystems.watch,
    "network": network.watch,
    "cpus": cpu.watch_each,
    "disks": disks.watch_each,
    "interfaces": network.watch_each,
    "connections": sockets.watch_all,
    "sensors": sensors.watch,
}
USUAL = ("cpu", "load", "memory", "disk", "filesystem", "network")
"""What `host` alone means: totals, and nothing that costs time by the process or socket."""

INSTEAD = {"cpus": "cpu", "disks": "disk", "interfaces": "network"}
"""Groups that stand in the place of another: each by itself, under the same name as the total."""

ONCE = True
"""One process per host reports it."""


@dataclass(frozen=True, slots=True)
class Host:
    """The machine as it was read last; what was not read, or cannot be, is None or empty."""

    cpu: CPU | None = None
    load: Load | None = None
    memory: Memory | None = None
    disk: Disk | None = None
    filesystem: tuple[Filesystem, ...] = ()
    network: Network | None = None
    cpus: tuple[CPU, ...] = ()
    disks: tuple[Disk, ...] = ()
    interfaces: tuple[Network, ...] = ()
    connections: Connections | None = None
    sensors: Sensors | None = None


SNAPSHOT = Host
