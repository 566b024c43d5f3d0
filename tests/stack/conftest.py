"""Fixtures: the real servers, shared by tests that only ask, and ones of its own for a test that breaks something."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from processes import Program
from servers import Servers

from otel_llmon.stack import native


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here needs the servers; where they are not built, say how to get them."""
    missing = sorted(set(native.BINARIES) - set(native.binaries()))
    for item in items:
        item.add_marker(pytest.mark.stack)
        if missing:
            item.add_marker(pytest.mark.skip(reason=f"not built: {', '.join(missing)}; run: make stack"))


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """The real servers, for tests that leave them as they are."""
    servers = Servers(tmp_path_factory.mktemp("stack"))
    yield servers
    servers.close()


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Callable[..., Servers]]:
    """Start servers for this test alone: `servers(extras=("redaction",))`."""
    begun: list[Servers] = []

    def start(**wanted: object) -> Servers:
        begun.append(Servers(tmp_path / f"stack-{len(begun)}", **wanted))
        return begun[-1]

    yield start
    for each in begun:
        each.close()


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """A program to run as a process of its own; it is told by its environment where to send: `**stack.environ`."""
    return Program(tmp_path, "http://127.0.0.1:9")
