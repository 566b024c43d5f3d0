"""What the observers' names stand for: `host` for its usual groups, `host.cpu` for one, `auto` for what fits."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Any

from otel_llmon.errors import SettingsError
from otel_llmon.metering import Told
from otel_llmon.observers import OBSERVERS, Observe
from otel_llmon.observers.lease import Lease
from otel_llmon.semconv import Metric

AUTO = "auto"
"""Stands for what fits the place: the machine, or the container where there is one, and the process."""

DRIVERS = ("/dev/nvidiactl", "/dev/dxg")
"""Where a driver shows that there may be GPUs: of Linux, and of Linux under Windows."""

Made = tuple[Observe, Iterable[Metric]]


@dataclass(frozen=True, slots=True)
class Once:
    """An observer that is silent where another process of this machine reports what one process is to report."""

    observe: Any
    lease: Lease

    def __call__(self) -> Iterable[Told]:
        """Read, if the lease is ours."""
        return self.observe() if self.lease.held() else ()

    @property
    def last(self) -> Any:
        """Return what was read last; None where another process reads it."""
        return self.observe.last if self.lease.ours else None

    def give_back(self) -> None:
        """Read no more, so that another process may."""
        self.lease.give_back()


def sources(observers: Iterable[str | Any], *, reported: bool = True) -> dict[str, Callable[[], Made]]:
    """Return how each source that these names stand for is made, by its full name: `host.memory`, `efficiency`.

    What is not `reported`, but stays in this process, is read whoever reports it. Raises SettingsError for a name that
    is not known.
    """
    found: dict[str, Callable[[], Made]] = {}
    wanted: dict[str, list[str]] = {}
    for observer in observers:
        if not isinstance(observer, str):
            found[observer.__name__] = partial(_whole, observer, reported=reported)
            continue
        for name in usual() if observer == AUTO else (observer,):
            whole, _, group = name.partition(".")
            wanted.setdefault(whole, []).extend(_groups(whole, group))
    for name, groups in wanted.items():
        module = import_module(OBSERVERS[name])
        given = groups or [""]
        covered = {old for new, old in getattr(module, "INSTEAD", {}).items() if new in given}
        for group in dict.fromkeys(given):
            if group not in covered:
                make = partial(_part, module, group) if group else partial(_whole, module)
                found[f"{name}.{group}" if group else name] = partial(make, reported=reported)
    return found


def usual() -> tuple[str, ...]:
    """Return what `auto` stands for here. In a container the machine is somebody else's to report."""
    from otel_llmon.observers import cgroup

    here = {
        "host": not cgroup.contained(),
        "cgroup": cgroup.contained() or cgroup.limited(),
        "process": True,
        "gpu": any(map(os.path.exists, DRIVERS)),
    }
    return tuple(name for name, fits in here.items() if fits)


def everything() -> Iterator[str]:
    """Yield the names of all there is to read: an observer's groups, but for those that stand in for others."""
    for name, place in OBSERVERS.items():
        module = import_module(place)
        instead = getattr(module, "INSTEAD", {})
        groups = [f"{name}.{group}" for group in getattr(module, "GROUPS", ()) if group not in instead]
        yield from groups or [name]


def _groups(name: str, group: str) -> Sequence[str]:
    """Return the groups that are meant; none where the observer has none."""
    if name not in OBSERVERS:
        raise SettingsError(f"observer {name!r}: expected one of {', '.join((AUTO, *OBSERVERS))}")
    module = import_module(OBSERVERS[name])
    groups = getattr(module, "GROUPS", {})
    if group and group not in groups:
        known = ", ".join(f"{name}.{each}" for each in groups)
        raise SettingsError(f"observer {name}.{group}: expected {f'one of {known}' if known else name}")
    return (group,) if group else getattr(module, "USUAL", ())


def _whole(module: Any, *, reported: bool) -> Made:
    if not reported and hasattr(module, "look"):
        return module.look(), module.ROWS
    return module.watch() if hasattr(module, "watch") else module.observe, module.ROWS


def _part(module: Any, name: str, *, reported: bool) -> Made:
    group = module.GROUPS[name]()
    lease = _lease(module, name) if reported and getattr(module, "ONCE", False) else None
    return group if lease is None else Once(group, lease), group.rows


def _lease(module: Any, name: str) -> Lease | None:
    """Return the lease on a group, which is that of the group it stands in for: nothing is to add up to twice."""
    group = getattr(module, "INSTEAD", {}).get(name, name)
    return Lease.of(os.environ, f"{module.__name__.rpartition('.')[2]}.{group}")
