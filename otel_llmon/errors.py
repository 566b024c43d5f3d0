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


def reason(exc: OSError) -> str:
    """Return why the system refused, as the middle of a message."""
    return (exc.strerror or str(exc)).lower()
