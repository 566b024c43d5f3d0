"""A headless Chromium for the page's tests. What must never happen is noted on every page that is opened."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import scene

from otel_llmon.viewer import Viewer

LOCAL = ("127.0.0.1", 0)
ACCESSIBILITY = (Path(__file__).parent / "accessibility.js").read_text(encoding="utf-8")
PATIENCE = 20_000
"""Milliseconds that a page has to show something, on a busy machine."""


class Visit:
    """One browser window with a page of the viewer."""

    def __init__(self, context: Any, url: str) -> None:
        self.url = url
        self.page = context.new_page()
        self.complaints: list[str] = []
        self.hosts: set[str | None] = set()
        self.page.on("console", self._said)
        self.page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        self.page.on("dialog", lambda dialog: self.complaints.append(f"dialog: {dialog.message}") or dialog.dismiss())
        context.on("request", lambda request: self.hosts.add(urlsplit(request.url).netloc))

    def _said(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(f"{message.type}: {message.text}")

    def open(self, path: str = "/") -> Any:
        """Go to a path; return the page."""
        self.page.goto(self.url + path)
        return self.page

    def wrong_for_people(self) -> list[str]:
        """Return what is not accessible on the page as it is now."""
        found: list[str] = self.page.evaluate(ACCESSIBILITY)
        return found


def installed() -> str | None:
    """Return the path of a Chromium, None where there is none."""
    return next(
        (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
    )


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """A headless Chromium; it ends with the module, since its event loop is in other tests' way."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = installed()
    if path is None:
        pytest.skip("no Chromium here; for the page's tests install one, for example: apt install chromium")
    sync_api.expect.set_options(timeout=PATIENCE)
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, chromium_sandbox=not root)
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium: Any) -> Iterator[Callable[..., Visit]]:
    """Open windows: `visit(url, color_scheme="dark")`. No page may complain, or ask anybody but its viewer."""
    contexts, visits = [], []

    def make(url: str, **options: Any) -> Visit:
        wanted = {
            "viewport": {"width": 1280, "height": 800},
            "timezone_id": "UTC",
            "reduced_motion": "reduce",
            **options,
        }
        context = chromium.new_context(**wanted)
        context.set_default_timeout(PATIENCE)
        contexts.append(context)
        visits.append(Visit(context, url))
        return visits[-1]

    yield make
    for one in visits:
        assert one.complaints == []
        assert one.hosts == {urlsplit(one.url).netloc}
    for context in contexts:
        context.close()


class Stage:
    """A viewer with the scene's world in it."""

    def __init__(self, viewer: Viewer, spans: dict[str, Any], end: int) -> None:
        self.url = viewer.page_url
        self.spans = spans
        self.end = end
        self.trace_id = f"{spans['root'].get_span_context().trace_id:032x}"

    def span_id(self, name: str) -> str:
        """Return the id of a span of the trace that failed."""
        return f"{self.spans[name].get_span_context().span_id:016x}"


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A viewer that tests only look at."""
    end = time.time_ns()
    with Viewer(tmp_path_factory.mktemp("stage"), LOCAL, LOCAL) as viewer:
        with scene.world(viewer.otlp_url) as to:
            spans = scene.populate(to, end)
        yield Stage(viewer, spans, end)
