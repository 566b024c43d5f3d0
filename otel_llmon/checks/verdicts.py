"""One check: what it asks, what it found, and when that changes its verdict."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from otel_llmon.checks import loops, reporting
from otel_llmon.checks.asking import Asking
from otel_llmon.checks.connections import Pool
from otel_llmon.checks.probes import Probe
from otel_llmon.checks.reasons import of_here, told
from otel_llmon.errors import LlmonError
from otel_llmon.targets import Target

if TYPE_CHECKING:
    from otel_llmon.checks.running import Runner


HEARD = 0.05
"""Seconds that those who are told of a verdict have at least, before somebody who asked for it goes on."""


class Fed(Protocol):
    """What a check tells its verdicts to, such as a Breaker."""

    def record(self, ok: bool) -> None:  # noqa: FBT001  # as Breaker has it
        """Take a verdict."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a check found. `up` is the verdict after `rise` and `fall`; None where nobody knows.

    That is so before there is one, and where something here, such as a lack of file descriptors, kept it from asking.
    """

    name: str
    kind: str
    up: bool | None = None
    reason: str = ""
    """Why the target is not well, or not known to be; empty where it is."""
    seconds: float | None = None
    """How long the check took."""
    at: float | None = None
    """When it ended, in unix seconds."""
    since: float | None = None
    """Since when the verdict is what it is, in unix seconds."""
    facts: Mapping[str, float] = field(default_factory=dict)
    """`models`, `http_status`, `certificate` (seconds that are left): what was found beside."""


@dataclass(frozen=True, slots=True)
class Plan:
    """When a check runs, and when its verdict changes."""

    every: float = 15.0
    timeout: float = 5.0
    retries: int = 0
    rise: int = 1
    fall: int = 1
    required: bool = True


class Finding(NamedTuple):
    """What a run found."""

    reason: str
    """Why the target is not well, empty where it is; or, where it is not `known`, why nobody knows."""
    known: bool = True


class Run:
    """One check under way."""

    def __init__(self, check: Check) -> None:
        self.check = check
        self.asking = Asking(check.plan.timeout)
        self.started = time.monotonic()
        self.ended = threading.Event()
        """Set with the verdict, which may be that it takes too long."""
        self.told = threading.Event()
        """Set when everybody was told of it."""
        self.span: Any = reporting.NO_SPAN


class Check:
    """One target that is checked. `name` and `up` are there for `first_up()`."""

    def __init__(  # noqa: PLR0913, PLR0917  # made in one place
        self,
        target: Target,
        probe: Probe,
        runner: Runner,
        on_change: Callable[[Result], object] | None = None,
        breaker: Fed | None = None,
        loop: loops.Loop | None = None,
    ) -> None:
        self.target = target
        self.plan = Plan(**{name: target.options[name] for name in Plan.__slots__ if name in target.options})
        self.name = target.name
        self._probe = probe
        self._runner = runner
        self._on_change = on_change
        self._breaker = breaker
        self._loop = loop
        self.over = False
        """Whether it was stopped: nobody is told any more."""
        self.renew()

    def renew(self) -> None:
        """Begin anew, as in a forked child."""
        self.result = Result(self.name, self.target.kind)
        self.due = 0.0
        self.run: Run | None = None
        self.fresh_until = 0.0
        self._lock = threading.Lock()
        self._known = self.result
        """The last that was up or down."""
        self._well = False
        self._in_a_row = 0

    def __repr__(self) -> str:
        return f"<check {self.name!r} of {self.target.told() or self.target.kind}: {word(self.up)}>"

    @property
    def up(self) -> bool | None:
        """Whether the target is up; None where nobody knows."""
        return self.result.up

    def ask(self) -> Result:
        """Check now, or wait for the check under way; return what was found. It takes `timeout` at most."""
        if self._loop is not None and self._loop.is_here():
            raise LlmonError(f"check {self.name!r}: asked from its own event loop; await asyncio.to_thread(check.ask)")
        run = self._runner.begin(self)
        run.ended.wait(self.plan.timeout + 1)  # it is ended, or there is no thread to end it
        run.told.wait(max(run.asking.deadline - time.monotonic(), HEARD))
        return self.result

    def stop(self) -> None:
        """Check no more."""
        self._runner.remove(self)

    def work(self, run: Run, pool: Pool) -> None:
        """Check, and try again where that failed and is wanted; what the thread of a run does."""
        with reporting.checking(run):
            finding = self._found(run, pool)
            lingering = run.asking.lingering
            if lingering is None:
                self._runner.returned(run)
            self.settle(run, finding)
        if lingering is not None:  # it is not begun again meanwhile
            lingering()

    def _found(self, run: Run, pool: Pool) -> Finding:
        finding = Finding("no answer")
        for attempt in range(self.plan.retries + 1):
            try:
                if attempt:
                    reporting.retried(run, attempt + 1, finding.reason)
                    run.ended.wait(min(0.1 * 2**attempt, run.asking.left() / 2))
                with reporting.quietly():
                    self._probe(run.asking, pool)
            except BaseException as exc:  # a user's function may raise anything, SystemExit among it
                here = of_here(exc)
                finding = Finding(told(exc, self.plan.timeout)) if here is None else Finding(here, known=False)
                if not finding.known or run.asking.is_over():
                    return finding
            else:
                return Finding("")
        return finding

    def late(self, run: Run) -> None:
        """Settle what takes too long."""
        excuse = run.asking.excuse()
        self.settle(run, Finding(excuse or f"no answer within {self.plan.timeout:g} s", known=not excuse))

    def settle(self, run: Run, finding: Finding) -> None:
        """Take what a run found, unless it is known already."""
        with self._lock:
            if run.ended.is_set():
                return
            last, before = self.result, self._known
            self.result = after = self._judged(run, finding)
            if after.up is not None:
                self._known = after
            self.fresh_until = time.monotonic() + 2.5 * self.plan.every + self.plan.timeout
            run.ended.set()
        try:
            if not self.over:
                reporting.ended(run, last, before, after, known=finding.known)
                if finding.known:
                    self._tell(before, after)
        finally:
            run.told.set()

    def _judged(self, run: Run, finding: Finding) -> Result:
        now = time.time()
        self._in_a_row *= finding.known
        up = self._verdict(not finding.reason) if finding.known else None
        alike = self.result if up is None else self._known  # what nobody knew in between begins nothing anew
        since = alike.since or now if alike.up == up else now
        seconds = time.monotonic() - run.started
        return Result(self.name, self.target.kind, up, finding.reason, seconds, now, since, dict(run.asking.facts))

    def _verdict(self, well: bool) -> bool | None:  # noqa: FBT001  # as in Fed
        """Return the verdict after one more check."""
        self._in_a_row = self._in_a_row + 1 if well == self._well else 1
        self._well = well
        up = self._known.up
        if up is None or up != well:
            enough = self._in_a_row >= (self.plan.rise if well else self.plan.fall)
            return well if enough else up
        return up

    def _tell(self, before: Result, after: Result) -> None:
        """Tell the program; a first verdict is a change where it is a bad one."""
        if self._breaker is not None and after.up is not None:
            reporting.guarded(self.name, "breaker", self._breaker.record, after.up)
        if self._on_change is not None and after.up != before.up and not (before.up is None and after.up):
            reporting.guarded(self.name, "on_change", self._on_change, after)


def word(up: bool | None) -> str:  # noqa: FBT001  # as in Fed
    """Return a verdict as people say it."""
    return {True: "up", False: "down", None: "unknown"}[up]
