"""NVIDIA GPUs through NVML: what the machine's do, and what this process holds there.

Of those that send to one place, one process reports the machine's GPUs; each reports what is its own. Where there is
no GPU, no driver, or one that fails, its series are absent, one line says why, and it is tried again on later beats.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from otel_llmon import telemetry
from otel_llmon.errors import NoDataError
from otel_llmon.events import errors
from otel_llmon.metering import Reading
from otel_llmon.nvml import VISIBLE, Connection, Device, GoneError, load, visible
from otel_llmon.observers import nvidia, torch
from otel_llmon.observers.lease import Lease
from otel_llmon.observers.nvidia import Call
from otel_llmon.observers.shares import Shares, Spending
from otel_llmon.semconv import gpu as rows
from otel_llmon.semconv.attributes import ERROR_TYPE
from otel_llmon.semconv.hardware import HW_TEMPERATURE

ROWS = (
    rows.GPU_UTILIZATION,
    rows.GPU_MEMORY_BUSY,
    rows.GPU_MEMORY_USAGE,
    rows.GPU_MEMORY_LIMIT,
    rows.GPU_MEMORY_UTILIZATION,
    rows.GPU_IO,
    HW_TEMPERATURE,
    rows.HW_POWER,
    rows.HW_ENERGY,
    rows.HW_ERRORS,
    rows.HW_STATUS,
    rows.GPU_CLOCK,
    rows.GPU_THROTTLE,
    rows.GPU_THROTTLE_TIME,
    rows.PROCESS_GPU_MEMORY,
    rows.PROCESS_GPU_UTILIZATION,
    rows.GPU_AVAILABLE,
)
BUDGET = 5
"""Calls into the driver for a GPU and a sample: each takes a lock that all programs on the machine share."""
LOOK_AGAIN = 60
"""Each so many samples one is spent on which GPUs there are, how they are divided, and what they can do."""
LONGEST_REST = 6
"""Samples between two tries to connect, at most; a try may make the system load a driver."""


class _Watched:
    """A device, what it is asked, and what it said last."""

    def __init__(self, device: Device, always: Iterable[Call], in_turn: Iterable[Call]) -> None:
        self.device = device
        self.about = nvidia.about(device)
        self._always, self._turns = tuple(always), deque(in_turn)
        self._said: dict[Call, list[Reading]] = {}
        self.joules: float | None = None
        self.processes: Mapping[int, Any] = {}
        self.resting = False
        self._watts = False
        """Whether the fields tell the power."""

    def read(self, connection: Connection) -> Iterator[Reading]:
        """Ask what is due, unless it rests, and yield what was said of late; raises GoneError."""
        for call in () if self.resting and self._said else self._due(connection):
            if call is not nvidia.WATTS or not self._watts:
                self._keep(call, connection.ask(self.device, call.function, *call.arguments))
        self.resting = False
        for readings in self._said.values():
            yield from readings

    def _due(self, connection: Connection) -> list[Call]:
        """Return all calls at first, and then as many as there is room for."""

        def able(call: Call) -> bool:
            wanted = call is not nvidia.WATTS or not self._watts
            return wanted and connection.can(self.device, call.function, *call.arguments)

        always = [call for call in self._always if able(call)]
        if not self._said:
            return [*always, *self._turns]
        if os.getpid() not in self.processes and nvidia.PROCESSES in self._turns:
            self._turns.remove(nvidia.PROCESSES)  # that this process begins to use it should be seen soon
            self._turns.appendleft(nvidia.PROCESSES)
        chosen = [call for call in self._turns if able(call)][: max(BUDGET - len(always), 1)]
        for call in chosen:
            self._turns.remove(call)
            self._turns.append(call)
        return [*always, *chosen]

    def _keep(self, call: Call, answer: Any) -> None:
        self._said[call] = [] if answer is None else list(call.read(answer, self.about))
        if call is nvidia.ALL_FIELDS:
            fields: Mapping[int, float] = answer or {}
            self._watts = nvidia.POWER in fields
            if self._watts:
                self._said.pop(nvidia.WATTS, None)
            millijoules = fields.get(nvidia.ENERGY)
            self.joules = None if millijoules is None else millijoules / 1000
        elif call is nvidia.PROCESSES:
            self.processes = answer or {}


class GPUs:
    """The observer: keeps NVML connected, and reads what is due."""

    def __init__(
        self,
        find: Callable[[], Any] = load,
        lease: Lease | None = None,
        spending: Spending | None = None,
        environ: Mapping[str, str] = os.environ,
        *,
        charges: bool = True,
    ) -> None:
        self._find, self._lease, self._spending, self._environ = find, lease, spending, environ
        self._charges = charges
        self._connection: Connection | None = None
        self._watched: list[_Watched] = []
        self._lost: dict[str, Device] = {}
        self._xids: dict[str, int] = {}
        self._leads = False
        self._samples = self._rest = self._not_before = 0
        self._problems: list[str] = []
        self._told: set[str] = set()
        self._why = ""
        self.last: tuple[Reading, ...] | None = None
        """What was read of the machine last; None where there is no driver, or another process asks it."""

    def __call__(self) -> Iterable[Reading]:
        """Read what is due, and return what is known of all devices."""
        self.last = None
        try:
            readings = tuple(self._observe())
        finally:
            self._tell_problems()
        self.last = readings if self._leads and self._connection is not None else None
        return readings

    def give_back(self) -> None:
        """Leave the machine's to another process."""
        if self._lease is not None:
            self._lease.give_back()

    def _observe(self) -> Iterator[Reading]:
        self._samples += 1
        connection = self._connected()
        gone: list[str] = []
        if connection is not None:
            self._follow_lease(connection)
            for watched in self._watched:
                yield from self._read(connection, watched, gone)
            yield from self._rest_of(connection, gone)
        readable = any(watched.device.uuid not in self._lost for watched in self._watched)
        yield Reading(rows.GPU_AVAILABLE, int(readable))

    def _rest_of(self, connection: Connection, gone: list[str]) -> Iterator[Reading]:
        """Yield what no single device says, and see to what phases are charged."""
        if gone:
            telemetry.log.warning("observer gpu: %s; left out until it is back", "; ".join(gone))
        if self._leads:
            yield from self._errors(connection)
            for device in self._lost.values():
                yield from nvidia.status(nvidia.about(device), ok=False)
        try:
            self._spend(connection)
        except Exception as exc:  # what torch says must not cost what the driver said
            self._note(f"{type(exc).__name__}: {exc}")

    def _connected(self) -> Connection | None:
        if self._connection is not None and self._connection.pid != os.getpid():
            self._connection, self._lost, self._not_before = None, {}, 0  # a forked child connects for itself
        connection = self._connection
        missing = connection is None or self._lost or not connection.whole
        if missing and self._samples >= self._not_before:
            self._connect()
        elif connection is not None and self._samples % LOOK_AGAIN == 0:
            self._look_again(connection)
        return self._connection

    def _connect(self) -> None:
        if self._connection is not None:
            self._connection.close()
        before = [watched.device for watched in self._watched]
        self._connection, self._watched = None, []
        self._rest = min(2 * self._rest + 1, LONGEST_REST)
        self._not_before = self._samples + self._rest
        try:
            connection = Connection(self._find(), self._note)
            self._miss(before, connection)
            if not connection.devices and not self._lost:
                connection.close()
                raise NoDataError("there is no GPU")  # noqa: TRY301  # as where the driver says it
        except NoDataError as exc:
            self._say(str(exc))
            return
        self._connection = connection
        if self._charges and self._spending is None:
            self._spending = Spending(Shares())
        self._watch(connection)
        self._say("")

    def _look_again(self, connection: Connection) -> None:
        before = connection.devices
        try:
            connection.renew()
        except NoDataError as exc:
            self._say(str(exc))
            connection.close()
            self._connection = None
            return
        self._miss(before, connection)
        if {device.uuid for device in before} != {device.uuid for device in connection.devices}:
            self._watch(connection)
        for watched in self._watched:
            watched.resting = True

    def _miss(self, before: Iterable[Device], connection: Connection) -> None:
        """Take GPUs for lost that were there before, and that the driver does not count any more."""
        known = {device.uuid for device in connection.devices} | self._lost.keys()
        gone = [device for device in before if device.parent is None and device.uuid not in known]
        if not gone or not connection.whole:  # one that could not be looked at has been told already
            return
        self._lost |= {device.uuid: device for device in gone}
        errors.at("gpu").add(len(gone))
        said = "; ".join(f"{device.name} {device.uuid} is not there any more" for device in gone)
        telemetry.log.warning("observer gpu: %s; left out until it is back", said)

    def _follow_lease(self, connection: Connection) -> None:
        leads = self._lease is None or self._lease.held()
        if leads != self._leads:
            self._leads = leads
            self._watch(connection)

    def _watch(self, connection: Connection) -> None:
        """Begin anew with the devices that there are."""
        self._watched = [self._ask(device, connection.devices) for device in connection.devices]
        present = {device.uuid for device in connection.devices}
        # a lost GPU is waited for; an instance that is not there was taken apart
        self._lost = {name: device for name, device in self._lost.items() if name in present or device.parent is None}
        if self._leads:
            connection.watch_events()

    def _ask(self, device: Device, devices: Iterable[Device]) -> _Watched:
        if device.parent is not None:
            return _Watched(device, nvidia.INSTANCE if self._leads else (nvidia.PROCESSES,), ())
        divided = any(other.parent == device.uuid for other in devices)
        if self._leads:
            return _Watched(device, nvidia.WHOLE, nvidia.OF_DIVIDED if divided else nvidia.IN_TURN)
        return _Watched(device, () if divided else nvidia.OWN, ())

    def _read(self, connection: Connection, watched: _Watched, gone: list[str]) -> Iterator[Reading]:
        device = watched.device
        try:
            readings = list(watched.read(connection))
        except GoneError as exc:
            errors.at("gpu").add()
            if device.uuid not in self._lost:
                gone.append(str(exc))
            self._lost[device.uuid] = device
            watched.joules, watched.processes = None, {}
            return
        if self._lost.pop(device.uuid, None):
            telemetry.log.info("observer gpu: %s %s is back", device.name, device.uuid)
        if not self._lost and connection.whole:
            self._rest = 0
        mine = {rows.PROCESS_GPU_MEMORY, rows.PROCESS_GPU_UTILIZATION}
        yield from (reading for reading in readings if self._leads or reading.metric in mine)
        if self._leads and device.parent is None:
            yield from nvidia.status(watched.about, ok=True)

    def _errors(self, connection: Connection) -> Iterator[Reading]:
        """Count what the driver reported (Xid)."""
        for device, number in connection.events():
            self._xids[device.uuid] = self._xids.get(device.uuid, 0) + 1
            telemetry.log.warning("observer gpu: %s %s reports Xid %s", device.name, device.uuid, number)
        for device in connection.devices if connection.hears else ():
            if device.parent is None:
                where = {**nvidia.about(device), **nvidia.GPU, ERROR_TYPE: "xid"}
                yield Reading(rows.HW_ERRORS, self._xids.get(device.uuid, 0), where)

    def _spend(self, connection: Connection) -> None:
        """Charge phases with what this process holds; instances share their GPU's energy in unknown parts."""
        if self._spending is None:
            return
        by_torch = torch.held()
        seen = visible(connection.devices, self._environ.get(VISIBLE)) if by_torch else []
        held_by_torch = {uuid or seen[number].uuid for number, uuid in by_torch.items() if uuid or number < len(seen)}
        held = {
            each.device.uuid: max(len(each.processes), 1)
            for each in self._watched
            if os.getpid() in each.processes or each.device.uuid in held_by_torch
        }
        self._spending.settle(held, {w.device.uuid: w.joules for w in self._watched if w.joules is not None})

    def _say(self, why: str) -> None:
        """Tell that there are no GPUs, and why, or that there are some again; once each, unless they are lost."""
        if self._lost:
            return
        if why and why != self._why:
            telemetry.log.info("observer gpu: %s", why)
        elif self._why and not why:
            telemetry.log.info("observer gpu: there are GPUs now")
        self._why = why

    def _note(self, problem: str) -> None:
        """Count a problem, and see that it is told; but not that a lost GPU is lost."""
        if self._lost and self._connection is None:
            return
        errors.at("gpu").add()
        if problem not in self._told:
            self._told.add(problem)
            self._problems.append(problem)

    def _tell_problems(self) -> None:
        if self._problems:
            telemetry.log.warning("observer gpu: %s; left out", "; ".join(self._problems))
            self._problems.clear()


def watch(lease: Lease | None = None) -> Callable[[], Iterable[Reading]]:
    """Return an observer of the GPUs. Its module is loaded here where there is NVML: see `host.imported`."""
    try:
        load()
    except NoDataError:
        spending = None
    else:
        spending = Spending(Shares())
    return GPUs(lease=lease or Lease.of(os.environ, "gpu"), spending=spending)


def look() -> Callable[[], Iterable[Reading]]:
    """Return an observer for who asks for himself: it waits for no lease, and what phases used is not its affair."""
    return GPUs(charges=False)
