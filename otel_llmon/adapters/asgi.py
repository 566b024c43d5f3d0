"""`/health`, `/ready` and `/live` for ASGI: `app.add_middleware(Health)`, or `app.mount("/ops", Health())`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from otel_llmon import health

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class Health:
    """Answers these three paths out of memory; what else is asked goes to `app`, where one is given."""

    def __init__(self, app: App | None = None) -> None:
        self._app = health.checked_app(app, "ASGI")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        http = scope["type"] == "http"
        path = scope.get("path", "").removeprefix(scope.get("root_path", "").rstrip("/"))
        answer = health.answer(scope["method"], path) if http else None
        if answer is None and self._app is not None:
            await self._app(scope, receive, send)
        elif http:
            await _say(answer or health.refusal(path), scope["method"], send)
        elif scope["type"] == "lifespan":
            await _live(receive, send)
        else:
            await send({"type": "websocket.close", "code": 1000})


async def _say(answer: health.Answer, method: str, send: Send) -> None:
    headers = [(name.encode(), value.encode()) for name, value in answer.headers.items()]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if method == "HEAD" else answer.body})


async def _live(receive: Receive, send: Send) -> None:
    """Take part in a server's start and end."""
    while True:
        kind = (await receive())["type"]
        await send({"type": f"{kind}.complete"})
        if kind == "lifespan.shutdown":
            return
