"""The shipped files on the real servers: they start clean, and what is sent is found."""

from __future__ import annotations

import re

import pytest

from otel_llmon.stack import READY


@pytest.mark.parametrize("server", READY)
def test_no_server_says_that_its_file_is_outdated(stack, server):
    """A deprecated name works for a while, and `validate` does not show it; the start log does."""
    said = [line for line in stack.log(server).splitlines() if re.search(r"deprecat|alias", line, re.IGNORECASE)]
    assert not said
