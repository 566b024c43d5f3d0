"""Upstream's instrumentation of FastAPI, told two things that it has no variable for.

It is to leave out the spans for receiving and sending, which cost as much as the request's own and say little, and to
call a route by its template only: for some routes, and with some versions of FastAPI for all that a router brings, it
falls back on the path as the client wrote it, and every path a client makes up would be a series.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping, Sequence
from typing import Any

import wrapt

MODULE = "opentelemetry.instrumentation.fastapi"
LEFT_OUT = ("receive", "send")


def watch() -> None:
    """Tell it as soon as it is imported, by whomever."""
    wrapt.register_post_import_hook(_tell, MODULE)


def template(scope: MutableMapping[str, Any]) -> str | None:
    """Return the template of the route that a request takes; None where it takes none, or one without a template."""
    from starlette.routing import Match, Route

    partial = None
    for route in _flat(scope["app"].routes):
        path = getattr(route, "path", None)
        if not isinstance(path, str):
            continue
        match, _ = Route.matches(route, scope) if isinstance(route, Route) else route.matches(scope)
        if match is Match.FULL:
            return path
        if match is Match.PARTIAL:
            partial = path
    return partial


def _flat(routes: Sequence[Any]) -> Iterator[Any]:
    """Yield routes, those that `include_router()` brought among them: since 0.137 FastAPI keeps them in a tree."""
    from fastapi import routing

    if hasattr(routing, "iter_route_contexts"):
        yield from routing.iter_route_contexts(routes)
        return
    for route in routes:
        contexts = getattr(route, "effective_route_contexts", None)
        if contexts is None:
            yield route
        else:
            yield from contexts()


def _tell(module: Any) -> None:
    if hasattr(module, "_get_route_details"):
        module._get_route_details = template
    if not isinstance(module.FastAPIInstrumentor.instrument_app, wrapt.FunctionWrapper):
        wrapt.wrap_function_wrapper(module, "FastAPIInstrumentor.instrument_app", _without_parts)


def _without_parts(wrapped: Any, _: Any, args: Any, given: dict[str, Any]) -> Any:
    """Instrument an app; who wants all spans says `exclude_spans=[]`."""
    if given.get("exclude_spans") is None:
        given = given | {"exclude_spans": list(LEFT_OUT)}
    return wrapped(*args, **given)
