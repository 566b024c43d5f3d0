"""Putting patches into a library's classes, and taking them out again."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import wrapt

from otel_llmon.instrumentors import Given, Patch, streams
from otel_llmon.instrumentors.calls import Call, begin, failed
from otel_llmon.telemetry import log

_ABSENT = object()


class Switch:
    """What was patched, and whether it is to do anything: a wrapper that others wrapped in turn can only be still."""

    def __init__(self) -> None:
        self.on = True
        self._applied: list[tuple[Any, str, Any, Any]] = []

    def apply(self, patch: Patch, module: Any) -> None:
        """Put the patch into its module; called when that is imported."""
        *path, name = patch.method.split(".")
        owner = functools.reduce(lambda found, part: getattr(found, part, None), path, module)
        if not self.on or not hasattr(owner, name):
            log.debug("%s.%s: not there, not instrumented", patch.module, patch.method)
            return
        before = vars(owner).get(name, _ABSENT)
        if any(before is wrapper for *_, wrapper in self._applied):  # known by another name already
            return
        function = getattr(owner, name)
        wrapper = wrapt.FunctionWrapper(function if before is _ABSENT else before, around(patch, self, function))
        self._applied.append((owner, name, before, wrapper))
        setattr(owner, name, wrapper)

    def undo(self) -> None:
        """Put back what was there, unless somebody else's wrapper stands there by now."""
        self.on = False
        for owner, name, before, wrapper in reversed(self._applied):
            if vars(owner).get(name) is not wrapper:
                continue
            if before is _ABSENT:
                delattr(owner, name)
            else:
                setattr(owner, name, before)
        self._applied.clear()


def around(patch: Patch, switch: Switch, function: Any) -> Callable[..., Any]:
    """Return the wrapper of a patch's method, for wrapt."""
    named = _naming(function)

    def over_function(wrapped: Any, owner: Any, args: Any, given: Any) -> Any:
        call = begin(patch, owner, named(owner, args, given) if args else given) if switch.on else None
        if call is None:
            return wrapped(*args, **given)
        try:
            result = wrapped(*args, **given)
        except BaseException as exc:
            call.step_aside()
            call.fail(exc)
            raise
        call.step_aside()
        return _answered(call, result)

    async def over_coroutine(wrapped: Any, owner: Any, args: Any, given: Any) -> Any:
        call = begin(patch, owner, named(owner, args, given) if args else given) if switch.on else None
        if call is None:
            return await wrapped(*args, **given)
        try:
            result = await wrapped(*args, **given)
        except BaseException as exc:
            call.step_aside()
            call.fail(exc)
            raise
        call.step_aside()
        return _answered(call, result)

    return over_coroutine if inspect.iscoroutinefunction(inspect.unwrap(function)) else over_function


def _answered(call: Call, result: Any) -> Any:
    """Return what the caller gets: the library's result, whose end is watched if it is a stream."""
    patch = call.patch
    try:
        if patch.answered is not None:
            return patch.answered(call, result)
        if patch.chunks is not None and patch.streams(call.given):
            return streams.follow(call, result)
        call.finish(result)
    except Exception as exc:
        failed(patch.library, exc)
        call.end()
    return result


def _naming(function: Any) -> Callable[[Any, tuple[Any, ...], dict[str, Any]], Given]:
    """Return what gives all arguments their names."""

    @functools.cache
    def names() -> tuple[str, ...]:
        return tuple(inspect.signature(function).parameters)

    def named(owner: Any, args: tuple[Any, ...], given: dict[str, Any]) -> Given:
        try:
            skipped = 0 if owner is None or inspect.ismethod(function) else 1
            return dict(zip(names()[skipped:], args, strict=False)) | given
        except ValueError:  # built-in functions say nothing of their parameters
            return given

    return named
