"""The shipped files on the real servers: they start clean, and what is sent is found."""

from __future__ import annotations

import re

import pytest
from servers import Servers

from otel_llmon.stack import READY, Stack, StackError, native, standings


@pytest.mark.parametrize("server", READY)
def test_no_server_says_that_its_file_is_outdated(stack, server):
    """A deprecated name works for a while, and `validate` does not show it; the start log does."""
    said = [line for line in stack.log(server).splitlines() if re.search(r"deprecat|alias", line, re.IGNORECASE)]
    assert not said


def test_a_folder_may_have_signs_in_its_name(tmp_path):
    """Spaces, colons, what a shell would expand."""
    stack = Servers(tmp_path / "co:lon and $HOME")
    stack.close()
    assert (stack.data / "jaeger").is_dir()


def test_servers_that_run_are_not_taken_for_others(stack):
    """With other options `up` would look as if redaction were on; with the same ones it has nothing to do."""
    same = stack.state.stack
    told = []
    native.up(same, told=lambda *what: told.append(what))
    assert told == []
    for other in (Stack(same.data, same.host, same.ports, ("redaction",)), Stack(same.data, "127.0.0.1", same.ports)):
        with pytest.raises(StackError, match="run there with other options, end them first"):
            native.up(other)
    with pytest.raises(StackError, match="other options"):
        native.up(same, webhook="http://127.0.0.1:1/alerts")


def test_a_server_that_died_is_shown_without_a_process_and_started_again(servers):
    """The others go on."""
    stack = servers()
    others = {server: stack.process(server).pid for server in READY if server != "loki"}
    stack.kill("loki")
    [loki] = [it for it in standings(stack.state.stack, native.running(stack.state)) if it.server == "loki"]
    assert (loki.ready, loki.process) == (False, None)
    stack.start()
    assert {server: stack.process(server).pid for server in others} == others
    assert all(it.ready and it.process for it in standings(stack.state.stack, native.running(stack.state)))
