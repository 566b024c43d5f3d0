"""What a run of a pipeline did, as data and in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Share(NamedTuple):
    """What the phases of one name did in a run."""

    name: str
    count: int  # type: ignore[assignment]  # a tuple's count() is nothing that a share needs
    seconds: float
    own: float
    """Seconds that no phase inside it took; of a generator those in which its code ran, of a pipeline all."""
    share: float
    """Its own seconds as a part of the whole; all shares and what was outside of phases add up to 1."""
    failures: int
    peak: int | None = None
    """Most bytes of memory that the process held during one of them, where a probe saw it."""


class Report(NamedTuple):
    """A run of a pipeline, told when it was asked for: after the run, or of what is over by then."""

    pipeline: str
    seconds: float
    phases: tuple[Share, ...]
    """The one that took the most time of its own comes first."""
    outside: float
    """Part of the time that was spent in no phase."""
    items: Mapping[str, float]
    missing: tuple[str, ...]
    misplaced: tuple[tuple[str, str], ...]
    """Phases that began after one that was declared to come later, with that one's name."""

    @property
    def slowest(self) -> str | None:
        """The phase that took the most time of its own."""
        return self.phases[0].name if self.phases else None

    def __str__(self) -> str:
        width = max((len(share.name) for share in self.phases), default=0)
        width = max(width, len("outside phases"))
        lines = [f"{self.pipeline}: {self.seconds:.3f} s"]
        for share in self.phases:
            failures = f", {share.failures} failed" if share.failures else ""
            peak = "" if share.peak is None else f", peak {share.peak / 2**20:,.0f} MiB"
            line = f"  {share.name:<{width}}  {share.share:6.1%}  {share.own:9.3f} s  x{share.count}{failures}{peak}"
            lines.append(line)
        lines.append(f"  {'outside phases':<{width}}  {self.outside:6.1%}  {self.outside * self.seconds:9.3f} s")
        lines += [f"  {count:g} {what}" for what, count in self.items.items()]
        lines += [f"  {name} never ran" for name in self.missing]
        lines += [f"  {name} began after {other}" for name, other in self.misplaced]
        return "\n".join(lines)
