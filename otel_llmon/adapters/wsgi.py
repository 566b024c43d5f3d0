"""`/health`, `/ready` and `/live` for WSGI: `app.wsgi_app = Health(app.wsgi_app)`, or by itself: `Health()`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any

from otel_llmon import health

App = Callable[[dict[str, Any], Any], Iterable[bytes]]


class Health:
    """Answers these three paths out of memory; what else is asked goes to `app`, where one is given."""

    def __init__(self, app: App | None = None) -> None:
        self._app = health.checked_app(app, "WSGI")

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Answer one request."""
        path, method = environ.get("PATH_INFO", ""), environ.get("REQUEST_METHOD", "GET")
        answer = health.answer(method, path)
        if answer is None and self._app is not None:
            return self._app(environ, start_response)
        answer = answer or health.refusal(path)
        start_response(f"{answer.status} {HTTPStatus(answer.status).phrase}", list(answer.headers.items()))
        return [b"" if method == "HEAD" else answer.body]
