"""Instrumentors: other libraries' calls to models as spans and metrics, each library a table of patches.

A patch names a method and the pure functions that understand its arguments and answers; what a call emits, and how
streams end, is the same for all and stands in `calls` and `streams`. Nothing is imported for a library that the
program does not import itself.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from typing import Any, ClassVar, NamedTuple

import wrapt
from opentelemetry.instrumentation.environment_variables import OTEL_PYTHON_DISABLED_INSTRUMENTATIONS
from opentelemetry.instrumentation.instrumentor import BaseInstrumentor  # type: ignore[attr-defined]  # opts out

from otel_llmon import telemetry
from otel_llmon.errors import SettingsError

INSTRUMENTORS = {"openai": "otel_llmon.instrumentors.openai:OpenAIInstrumentor"}
"""By the name under which a program imports the library; as an entry point it is that name with `llmon_` before it."""

Given = Mapping[str, Any]
"""The arguments of a call, by name."""


class Target(NamedTuple):
    """Who is asked for what: all that a metric says of a call before it is answered."""

    provider: str
    model: Any = None
    address: str | None = None
    port: int | None = None


@dataclass(slots=True)
class Received:
    """What has come back so far; a stream adds to it chunk by chunk."""

    id: Any = None
    model: Any = None
    finish: dict[int, Any] = field(default_factory=dict)
    """Reason why each answer ended, by its index."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read: int | None = None
    cache_write: int | None = None
    reasoning: int | None = None
    modalities: dict[str, Mapping[str, int]] = field(default_factory=dict)
    """Where the provider says so: how many of a field's tokens are text, image, ..."""

    attributes: dict[str, Any] = field(default_factory=dict)
    """What else goes on the span."""

    said: Any = None
    """The answers' content, where it is captured; its shape is the library's own affair."""


class Content(NamedTuple):
    """How to read prompts and answers; asked only where content is captured."""

    prompt: Callable[[Given], Any]
    answer: Callable[[Any], Any]
    chunks: Callable[[Received, Sequence[Any]], None]
    """Adds the content of some chunks to `received.said`."""

    gathered: Callable[[Received], Any]
    """Returns the messages in `received.said`."""

    instructions: Callable[[Given], Any] | None = None


def _wants_stream(given: Given) -> bool:
    return bool(given.get("stream"))


def _nothing(_: Given) -> Mapping[str, Any]:
    return {}


@dataclass(frozen=True, slots=True)
class Patch:
    """One method of a library, and what its arguments and answers mean."""

    module: str
    method: str
    """Its path in the module, such as `Completions.create`."""

    operation: str
    target: Callable[[Any, Given], Target]
    """Told the object that the method belongs to, and the arguments."""

    response: Callable[[Received, Any], None]
    chunks: Callable[[Received, Sequence[Any]], None] | None = None
    """Told some of a stream's chunks at once, soon after they came."""

    request: Callable[[Given], Mapping[str, Any]] = _nothing
    """What else the request says, for the spans that are sampled."""

    content: Content | None = None
    streams: Callable[[Given], bool] = _wants_stream
    answered: Callable[[Any, Any], Any] | None = None
    """Told the call and its result where that is no plain answer or iterator; returns what the caller gets."""

    @property
    def library(self) -> str:
        """Return the library's name."""
        return self.module.partition(".")[0]


class Instrumentor(BaseInstrumentor):  # type: ignore[misc]
    """Switches the patches of a library on and off; for `opentelemetry-instrument` and for `instrument()`.

    A library that is imported later is patched then. A patch whose method this version of the library does not have
    is passed over. What is switched on or off already stays as it is.
    """

    requires: ClassVar[tuple[str, ...]] = ()
    patches: ClassVar[tuple[Patch, ...]] = ()

    def instrumentation_dependencies(self) -> Collection[str]:
        """Return what must be installed."""
        return self.requires

    def instrument(self, **given: Any) -> None:
        """Switch on, until the caller switches off."""
        _attached.difference_update(_names(type(self)))
        if not self.is_instrumented_by_opentelemetry:
            super().instrument(**given)

    def uninstrument(self, **given: Any) -> None:
        """Switch off, whoever has switched on."""
        _attached.difference_update(_names(type(self)))
        if self.is_instrumented_by_opentelemetry:
            super().uninstrument(**given)

    def _instrument(self, **_: Any) -> None:
        from otel_llmon.instrumentors.patching import Switch

        self._switch = Switch()
        for patch in self.patches:
            wrapt.register_post_import_hook(partial(self._switch.apply, patch), patch.module)

    def _uninstrument(self, **_: Any) -> None:
        self._switch.undo()


_attached: set[str] = set()
"""What attach() has switched on, or will when it is imported, and nobody else has asked for."""


def attach(*libraries: str) -> None:
    """Switch on the instrumentors of these libraries, names out of INSTRUMENTORS, when the program imports them.

    What OTEL_PYTHON_DISABLED_INSTRUMENTATIONS names is left out. Raises SettingsError for a name that is not known.
    """
    check(*libraries)
    for name in libraries:
        known = _loaded(name)
        if not _is_declined(name) and (known is None or not known.is_instrumented_by_opentelemetry):
            _attached.add(name)
            wrapt.register_post_import_hook(partial(_switch_on, name), name)


def check(*libraries: str) -> None:
    """Raise SettingsError where one of these is a name that is not known."""
    for name in libraries:
        if name not in INSTRUMENTORS:
            raise SettingsError(f"instrumentor {name!r}: expected one of {', '.join(INSTRUMENTORS)}")


def detach(*libraries: str) -> None:
    """Switch these off, whoever has switched them on."""
    for name in libraries:
        _attached.discard(name)
        if (known := _loaded(name)) is not None:
            known.uninstrument()


def detach_all() -> None:
    """Switch off what attach() switched on, unless somebody else has asked for it since."""
    detach(*tuple(_attached))


def _switch_on(name: str, _: Any) -> None:
    """Patch a library that is imported; what goes wrong here must not make the import fail."""
    if name not in _attached:
        return
    try:
        module, _, kind = INSTRUMENTORS[name].partition(":")
        instrumentor = getattr(import_module(module), kind)()
        if not instrumentor.is_instrumented_by_opentelemetry:
            BaseInstrumentor.instrument(instrumentor, raise_exception_on_conflict=True)
    except Exception as exc:
        telemetry.warn_once("%s: calls are not told: %s", name, exc)


def _loaded(name: str) -> Any:
    """Return the instrumentor of a library, or None where nobody has loaded it."""
    module, _, kind = INSTRUMENTORS[name].partition(":")
    return getattr(sys.modules[module], kind)() if module in sys.modules else None


def _names(kind: type) -> list[str]:
    """Return the names of an instrumentor's class in the table."""
    return [name for name, place in INSTRUMENTORS.items() if place == f"{kind.__module__}:{kind.__qualname__}"]


def _is_declined(name: str) -> bool:
    declined = {entry.strip() for entry in os.environ.get(OTEL_PYTHON_DISABLED_INSTRUMENTATIONS, "").split(",")}
    return bool(declined & {f"llmon_{name}", "*"})
