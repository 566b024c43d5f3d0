"""Where the running code is: the pipeline and the phase around it."""

from __future__ import annotations

import contextvars
from typing import Any

from opentelemetry import context as otel_context

Place = tuple[str | None, str | None, Any]
"""Names of the pipeline and of the phase, and, inside a pipeline, the innermost phase itself."""

where: contextvars.ContextVar[Place] = contextvars.ContextVar("where", default=(None, None, None))


def leave(token: Any) -> None:
    """Undo a context variable. In another context than it was set in (an abandoned generator's) nothing is to undo."""
    try:
        token.var.reset(token)
    except ValueError:
        pass
    except AttributeError:  # OpenTelemetry with a context of another make
        otel_context.detach(token)
