"""Upstream's instrumentation of FastAPI, told four things that it has no variable for.

It is to leave out the spans for receiving and sending, which cost as much as the request's own and say little; to call
a route by its template only: for some routes, and with some versions of FastAPI for all that a router brings, it falls
back on the path as the client wrote it, and every path a client makes up would be a series; to keep the client's words
off spans, where tokens and addresses stand in paths and queries; and to tell a request to a mounted app once.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping, Sequence
from typing import Any

import wrapt

MODULE = "opentelemetry.instrumentation.fastapi"
LEFT_OUT = ("receive", "send")
CLIENTS_WORDS = ("url.path", "url.query", "url.full", "http.target", "http.url")
TOLD = "otel_llmon.route"
"""Where a request's scope, and so that of an app mounted in the app, has the template by which it is told."""

Scope = MutableMapping[str, Any]


def watch() -> None:
    """Tell it as soon as it is imported, by whomever."""
    wrapt.register_post_import_hook(_tell, MODULE)


def template(scope: Scope) -> str | None:
    """Return the template of the route that a request takes; None where it takes none, or one without a template."""
    scope.setdefault("fastapi.telemetry", None)  # by which FastAPI keeps mounted apps from telling it in their own way
    scope[TOLD] = found = _template(scope["app"].routes, scope)
    return found


def _template(routes: Sequence[Any], scope: Scope) -> str | None:
    from starlette.routing import Match, Route

    partial = None
    for route in _flat(routes):
        path = getattr(route, "path", None)
        if not isinstance(path, str):
            continue
        match, inside = Route.matches(route, scope) if isinstance(route, Route) else route.matches(scope)
        if match is Match.FULL:
            mounted = getattr(route, "routes", ())
            return path + (_template(mounted, {**scope, **inside}) or "") if mounted else path
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
    if isinstance(module.FastAPIInstrumentor.instrument_app, wrapt.FunctionWrapper):
        return
    from opentelemetry.instrumentation import asgi

    if hasattr(module, "_get_route_details"):
        module._get_route_details = template
    wrapt.wrap_function_wrapper(module, "FastAPIInstrumentor.instrument_app", _without_parts)
    for name, wrapper in OF_ASGI.items():
        if hasattr(asgi, name.partition(".")[0]):
            wrapt.wrap_function_wrapper(asgi, name, wrapper)


def _once(wrapped: Any, middleware: Any, args: Any, given: dict[str, Any]) -> Any:
    """Tell a request, unless an app around this one does so already."""
    scope = args[0] if args else given["scope"]
    return (middleware.app if TOLD in scope else wrapped)(*args, **given)


def _without_words(wrapped: Any, _: Any, args: Any, given: dict[str, Any]) -> Any:
    """Return a request's attributes, for one to FastAPI without what only its client can have written."""
    facts = wrapped(*args, **given)
    if TOLD in args[0]:
        for name in CLIENTS_WORDS:
            facts.pop(name, None)
    return facts


def _told(wrapped: Any, _: Any, args: Any, given: dict[str, Any]) -> Any:
    """Return the target that the older names' metrics have: under a mount upstream's has its path as it was written."""
    return args[0][TOLD] if TOLD in args[0] else wrapped(*args, **given)


def _without_parts(wrapped: Any, _: Any, args: Any, given: dict[str, Any]) -> Any:
    """Instrument an app; who wants all spans says `exclude_spans=[]`."""
    if given.get("exclude_spans") is None:
        given = given | {"exclude_spans": list(LEFT_OUT)}
    return wrapped(*args, **given)


OF_ASGI = {
    "OpenTelemetryMiddleware.__call__": _once,
    "collect_request_attributes": _without_words,
    "_collect_target_attribute": _told,
}
"""What the instrumentation below FastAPI's does otherwise, for requests to FastAPI alone."""
