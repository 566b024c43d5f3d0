"""What this package raises: LlmonError, and one child per kind of mistake."""

from __future__ import annotations


class LlmonError(Exception):
    """Something that the caller can put right; the message says how."""


class SettingsError(LlmonError, ValueError):
    """A setting is unknown or has a value that is not allowed."""


class MissingExtraError(LlmonError, ImportError):
    """An optional package is not installed."""


class NoDataError(LlmonError):
    """A source has nothing to report here, which is not a failure."""


class CircuitOpenError(LlmonError):
    """A breaker did not let a call through: its target failed too often."""

    def __init__(self, name: str, retry_after: float) -> None:
        super().__init__(name, retry_after)  # as it is pickled
        self.name = name
        self.retry_after = retry_after
        """Seconds after which a call is let through at the latest."""

    def __str__(self) -> str:
        return (
            f"circuit {self.name!r}: open for another {self.retry_after:.1f} s;"
            " call again then, or call another target (first_up)"
        )


class NoneUpError(LlmonError):
    """Every target is down."""


def reason(exc: OSError) -> str:
    """Return why the system refused, as the middle of a message."""
    return (exc.strerror or str(exc)).lower()
