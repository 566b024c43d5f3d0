"""Where in the control groups this process is, and what a group's files say: version 1, version 2, or both at once."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from operator import methodcaller
from pathlib import Path
from typing import NamedTuple

from otel_llmon.errors import NoDataError
from otel_llmon.observers.reading import File

LOOK_AGAIN = 60.0
"""Seconds after which it is looked again where the limits stand: an orchestrator may change them in place."""

UNLIMITED = 1 << 62
"""What version 1 calls no limit on memory is a number beyond this."""


class Said(NamedTuple):
    """What the files of a group say of its CPU, in seconds; None where they say nothing."""

    total: float | None
    user: float | None
    system: float | None
    limit: float | None
    periods: int | None
    throttled_periods: int | None
    throttled_time: float | None


class Memory(NamedTuple):
    """What the files of a group say of its memory, in bytes; None where they say nothing."""

    usage: int
    inactive: int
    limit: int | None
    peak: int | None
    oom_kills: int | None


@dataclass(frozen=True, slots=True)
class Branch:
    """A process's group under one controller, and those around it, outwards."""

    version: int
    folders: tuple[Path, ...]


def branch(controller: str, root: str = "/") -> Branch:
    """Return the groups that this process is in; raises NoDataError where there are none."""
    try:
        mounts = list(_mounts(_lines(Path(root, "proc/self/mountinfo"))))
        paths = dict(_paths(_lines(Path(root, "proc/self/cgroup"))))
    except OSError as exc:
        raise NoDataError(f"no control groups: {exc}") from exc
    for version, names, top, mount in sorted(mounts):
        if controller in paths and version == 1 and controller in names:
            return Branch(1, _folders(Path(root, mount.lstrip("/")), top, paths[controller]))
        if version == 2 and "" in paths:
            return Branch(2, _folders(Path(root, mount.lstrip("/")), top, paths[""]))
    raise NoDataError(f"no control groups for {controller}")


def _lines(file: Path) -> list[str]:
    """Return a file's lines; a mount point may hold any bytes but a line feed, and is no less a path."""
    return os.fsdecode(file.read_bytes()).split("\n")


def _mounts(lines: Iterable[str]) -> Iterator[tuple[int, tuple[str, ...], str, str]]:
    """Yield version, controllers, the group that is seen at the top, and the folder, of every mounted hierarchy."""
    for line in lines:
        left, _, right = line.partition(" - ")
        kind, _, options = (*right.split(" "), "", "")[:3]
        words = left.split(" ")
        if kind in ("cgroup", "cgroup2") and len(words) > 4:
            yield 1 if kind == "cgroup" else 2, tuple(options.split(",")), words[3], words[4]


def _paths(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    for line in lines:
        _, _, said = line.partition(":")
        controllers, _, path = said.partition(":")
        for controller in controllers.split(",") if path else ():
            yield controller, path


def _folders(mount: Path, top: str, path: str) -> tuple[Path, ...]:
    """Return the group's folder and those around it; in a container its path may lead out of what is mounted there."""
    inside = path[len(top.rstrip("/")) :] if (path + "/").startswith(top.rstrip("/") + "/") else ""
    folder = mount / inside.strip("/")
    if ".." in folder.parts or not os.path.isdir(folder):  # noqa: PTH112  # a Path's raises where it may not look
        folder = mount
    found = [folder]
    while found[-1] != mount:
        found.append(found[-1].parent)
    return tuple(found)


class Place:
    """A group whose files are read again and again: the one with the tightest limit, else the process's own."""

    def __init__(self, folder: Path) -> None:
        self.path = str(folder)
        self._folder = folder
        self._files: dict[str, File] = {}

    def _read(self, name: str) -> bytes:
        if name not in self._files:
            self._files[name] = File(self._folder / name)
        return self._files[name].read()

    def _number(self, name: str) -> int | None:
        """Return the number in a file; None where it is missing, or says that there is none."""
        with suppress(OSError, ValueError):
            return int(self._read(name))
        return None

    def _table(self, name: str) -> dict[bytes, int]:
        words = self._read(name).split()
        return dict(zip(words[::2], map(int, words[1::2]), strict=True))

    def _maybe(self, name: str) -> dict[bytes, int]:
        with suppress(OSError, ValueError):
            return self._table(name)
        return {}

    def forget(self) -> None:
        """Open every file again at the next reading."""
        for file in self._files.values():
            file.forget()

    def cpu_limit(self) -> float | None:
        """Return how many CPUs the group may use."""
        raise NotImplementedError

    def memory_limit(self) -> int | None:
        """Return how many bytes the group may use."""
        raise NotImplementedError

    def cpu(self) -> Said:
        """Return what the group's files say of its CPU."""
        raise NotImplementedError

    def memory(self) -> Memory:
        """Return what the group's files say of its memory."""
        raise NotImplementedError

    def pressure(self) -> dict[tuple[str, str], float]:
        """Return the seconds that tasks waited, by resource and kind."""
        found = {}
        for resource in ("cpu", "memory", "io"):
            with suppress(OSError):  # version 1 has none, nor has a kernel that was told so
                for line in self._read(f"{resource}.pressure").splitlines():
                    kind, *_, total = line.split()
                    found[resource, kind.decode()] = int(total.removeprefix(b"total=")) / 1e6
        if not (self._folder / "cgroup.events").exists():  # the topmost, where the kernel writes 0 for want of sense
            found.pop(("cpu", "full"), None)
        return found


class Second(Place):
    """A group of version 2."""

    def cpu_limit(self) -> float | None:
        """Return the quota over the period of `cpu.max`."""
        with suppress(OSError, ValueError, ArithmeticError):  # the topmost has none, "max" is no number, nor is x / 0
            quota, period = map(int, self._read("cpu.max").split())
            return quota / period
        return None

    def memory_limit(self) -> int | None:
        """Return `memory.max`."""
        return self._number("memory.max")

    def cpu(self) -> Said:
        """Return what `cpu.stat` says."""
        said = self._table("cpu.stat")
        throttled = said.get(b"throttled_usec")
        return Said(
            said[b"usage_usec"] / 1e6,
            said[b"user_usec"] / 1e6,
            said[b"system_usec"] / 1e6,
            self.cpu_limit(),
            said.get(b"nr_periods"),
            said.get(b"nr_throttled"),
            None if throttled is None else throttled / 1e6,
        )

    def memory(self) -> Memory:
        """Return what `memory.current` and its kin say."""
        usage = int(self._read("memory.current"))
        inactive = self._maybe("memory.stat").get(b"inactive_file", 0)
        kills = self._maybe("memory.events").get(b"oom_kill")
        return Memory(usage, inactive, self.memory_limit(), self._number("memory.peak"), kills)


class First(Place):
    """A group of version 1. CPU time is counted by another controller, where the process may be in another group.

    `own` is that one, and `same` the one that holds whom this one holds: only its time counts against a limit here.
    """

    def __init__(self, folder: Path, same: Path | None = None, own: Path | None = None) -> None:
        super().__init__(folder)
        self._own = Place(own or folder)
        self._same = None if same is None else self._own if same == own else Place(same)

    def forget(self) -> None:
        """Open every file again at the next reading."""
        super().forget()
        self._own.forget()
        if self._same is not None:
            self._same.forget()

    def cpu_limit(self) -> float | None:
        """Return the quota over the period; -1 is no quota."""
        quota, period = self._number("cpu.cfs_quota_us"), self._number("cpu.cfs_period_us")
        return quota / period if quota and period and quota > 0 else None

    def memory_limit(self) -> int | None:
        """Return `memory.limit_in_bytes`."""
        limit = self._number("memory.limit_in_bytes")
        return None if limit is None or limit >= UNLIMITED else limit

    def cpu(self) -> Said:
        """Return what `cpuacct.usage`, `cpuacct.stat` and `cpu.stat` say."""
        limit, stat = self.cpu_limit(), self._maybe("cpu.stat")
        times = self._own if limit is None else self._same
        modes = times._maybe("cpuacct.stat") if times else {}
        user, system, throttled = (modes.get(b"user"), modes.get(b"system"), stat.get(b"throttled_time"))
        return Said(
            int(times._read("cpuacct.usage")) / 1e9 if times else None,
            None if user is None else user / TICKS,
            None if system is None else system / TICKS,
            limit,
            stat.get(b"nr_periods"),
            stat.get(b"nr_throttled"),
            None if throttled is None else throttled / 1e9,
        )

    def memory(self) -> Memory:
        """Return what `memory.usage_in_bytes` and its kin say."""
        usage = int(self._read("memory.usage_in_bytes"))
        inactive = self._maybe("memory.stat").get(b"total_inactive_file", 0)
        kills = self._maybe("memory.oom_control").get(b"oom_kill")
        return Memory(usage, inactive, self.memory_limit(), self._number("memory.max_usage_in_bytes"), kills)


TICKS = 100
"""USER_HZ, in which version 1 counts user and system time: 100 wherever Python runs."""


def places(controller: str, root: str = "/") -> Sequence[Place]:
    """Return this process's group under a controller, and those around it, outwards."""
    found = branch(controller, root)
    if found.version == 2:
        return [Second(folder) for folder in found.folders]
    if controller != "cpu":
        return [First(folder) for folder in found.folders]
    times = branch("cpuacct", root)
    here = {folder.relative_to(times.folders[-1]): folder for folder in times.folders}
    same = [here.get(folder.relative_to(found.folders[-1])) for folder in found.folders]
    return [First(folder, time, times.folders[0]) for folder, time in zip(found.folders, same, strict=True)]


def tightest(controller: str, root: str = "/") -> Place:
    """Return the group whose limit is met first, else the process's own; raises NoDataError where there are none."""
    found = places(controller, root)
    ask = methodcaller("cpu_limit" if controller == "cpu" else "memory_limit")
    limits = [(limit, index) for index, place in enumerate(found) if (limit := ask(place)) is not None]
    return found[min(limits)[1]] if limits else found[0]


class Finder:
    """Says which group counts, and looks again now and then."""

    def __init__(self, controller: str, root: str = "/", clock: Callable[[], float] = time.monotonic) -> None:
        self._controller, self._root, self._clock = controller, root, clock
        self._place: Place | None = None
        self._none = ""
        self._looked = float("-inf")

    def __call__(self) -> Place:
        """Return the group; raises NoDataError where there is none."""
        if self._clock() - self._looked > LOOK_AGAIN:
            self._looked = self._clock()
            self._look()
        if self._place is None:
            raise NoDataError(self._none)
        return self._place

    def _look(self) -> None:
        try:
            found = tightest(self._controller, self._root)
        except NoDataError as exc:
            self._place, self._none = None, str(exc)
            return
        if self._place is None or self._place.path != found.path:
            self._place = found

    def forget(self) -> None:
        """Look again, and open every file again, at the next reading."""
        if self._place is not None:
            self._place.forget()
        self._place, self._looked = None, float("-inf")
