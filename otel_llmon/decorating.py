"""Functions of every kind with each call in a phase: plain ones, coroutines, generators, asynchronous generators.

A generator's phase is current while the generator's own code runs, and never while its consumer's does.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncGenerator, Callable, Generator
from typing import Any


def decorated(function: Any, fresh: Callable[[], Any]) -> Any:
    """Return `function` with each call in the phase that `fresh()` makes."""
    if isinstance(function, staticmethod | classmethod):
        return type(function)(decorated(function.__func__, fresh))
    code = code_of(function)
    if inspect.isasyncgenfunction(code):

        @functools.wraps(function)
        def over_async_generator(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
            return drive_async(function(*args, **kwargs), fresh())

        return over_async_generator

    if inspect.isgeneratorfunction(code):

        @functools.wraps(function)
        def over_generator(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
            return drive(function(*args, **kwargs), fresh())

        return over_generator

    if inspect.iscoroutinefunction(code):

        @functools.wraps(function)
        async def over_coroutine(*args: Any, **kwargs: Any) -> Any:
            with fresh():
                return await function(*args, **kwargs)

        return over_coroutine

    @functools.wraps(function)
    def over_function(*args: Any, **kwargs: Any) -> Any:
        with fresh():
            return function(*args, **kwargs)

    return over_function


def code_of(function: Any) -> Any:
    """Return what runs when `function` is called: an object's class says that."""
    direct = inspect.isroutine(function) or isinstance(function, functools.partial | type)
    return function if direct else function.__call__


def drive(generator: Generator[Any, Any, Any], running: Any) -> Generator[Any, Any, Any]:
    """Yield what `generator` yields, passing on what is sent and thrown, within a phase that ends once."""
    running.__enter__()
    running._step_aside()
    step = running._step()
    error: BaseException | None = None
    try:
        resume: Callable[[], Any] = functools.partial(next, generator)
        while True:
            try:
                with step:
                    item = resume()
            except StopIteration as stop:
                return stop.value
            try:
                sent = yield item
                resume = functools.partial(generator.send, sent)
            except GeneratorExit:
                with step:
                    generator.close()
                raise
            except BaseException as thrown:  # the generator decides what becomes of it
                resume = functools.partial(generator.throw, thrown)
    except BaseException as exc:
        error = exc
        raise
    finally:
        running.__exit__(None, error, None)


async def drive_async(generator: AsyncGenerator[Any, Any], running: Any) -> AsyncGenerator[Any, Any]:
    """As drive(), for an asynchronous generator: Python has no way to write both as one."""
    running.__enter__()
    running._step_aside()
    step = running._step()
    error: BaseException | None = None
    try:
        resume: Callable[[], Any] = generator.__anext__
        while True:
            try:
                with step:
                    item = await resume()
            except StopAsyncIteration:
                return
            try:
                sent = yield item
                resume = functools.partial(generator.asend, sent)
            except GeneratorExit:
                with step:
                    await generator.aclose()
                raise
            except BaseException as thrown:  # the generator decides what becomes of it
                resume = functools.partial(generator.athrow, thrown)
    except BaseException as exc:
        error = exc
        raise
    finally:
        running.__exit__(None, error, None)
