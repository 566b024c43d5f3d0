"""One span, one metric with an exemplar and one log, sent by a program of its own: the very pipeline of configure()."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

from otel_llmon.doctor.plan import LONGEST_EXPORT, Plan

STARTING = 3.0
"""Seconds that a Python may take to start and to end on a busy machine."""


@dataclass(frozen=True, slots=True)
class Sent:
    """What the program says: the ids of its span, and why a signal could not be handed over."""

    trace_id: str | None = None
    span_id: str | None = None
    lost: Mapping[str, str] = field(default_factory=dict)
    failed: str = ""
    """Why there was no sending at all."""


def send(mark: str, plan: Plan, seconds: float) -> Sent:
    """Run the program, for `seconds` at most, and return what it says."""
    command = [sys.executable, "-m", __name__, mark]
    environ = {**plan.environ, "PYTHONWARNINGS": "ignore"}
    try:
        ran = subprocess.run(  # noqa: S603  # our own module, in our own interpreter
            command, env=environ, stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds, check=False
        )
        return Sent(**json.loads(ran.stdout.splitlines()[-1]))
    except subprocess.TimeoutExpired:
        return Sent(failed=f"the program that sends was not done within {seconds:.0f} s")
    except OSError as exc:
        return Sent(failed=f"{sys.executable} does not start: {exc.strerror or exc}")
    except (IndexError, ValueError, TypeError):
        said = ran.stderr.decode("utf-8", "replace").strip().splitlines() or [f"exit status {ran.returncode}"]
        return Sent(failed=said[-1][:300])


def main(mark: str) -> None:
    """Send, and print what became of it as a line of JSON."""
    from opentelemetry import trace

    from otel_llmon import configure, event, phase
    from otel_llmon.errors import LlmonError
    from otel_llmon.semconv.attributes import KEEP

    try:
        handle = configure()
    except LlmonError as exc:
        print(json.dumps({"failed": str(exc)}))  # noqa: T201  # read by the other end
        return
    with phase(mark, {KEEP: True}):
        context = trace.get_current_span().get_span_context()
        event(mark)
    handle.flush(LONGEST_EXPORT)
    lost = handle.lost()
    handle.shutdown(0.0)
    ids = {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}"} if context.is_valid else {}
    print(json.dumps({**ids, "lost": lost}), flush=True)  # noqa: T201  # likewise


if __name__ == "__main__":
    main(sys.argv[1])
