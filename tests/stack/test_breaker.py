"""Breakers as Prometheus, Jaeger and Loki know them, with a server that is really killed."""

from __future__ import annotations

import time

import pytest
from servers import until

SERVER = """
    import subprocess, sys, urllib.error, urllib.request
    import otel_llmon as llmon
    from otel_llmon import Breaker, phase
    from otel_llmon.errors import CircuitOpenError
    from otel_llmon.failover import first_up

    llmon.configure("{service}", observers=())

    class Server:
        '''A server of its own process, at a port that it found free.'''

        def __init__(self):
            command = [sys.executable, "-u", "-m", "http.server", "--bind", "127.0.0.1", "0"]
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            self.port = int(self.process.stdout.readline().split("port ")[1].split()[0])

        def ask(self):
            with urllib.request.urlopen(f"http://127.0.0.1:{{self.port}}/", timeout=20) as answer:
                return answer.status

        def kill(self):
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()

    def asked(breaker, server):
        try:
            with breaker:
                server.ask()
            return "answered"
        except (urllib.error.URLError, CircuitOpenError) as exc:
            return type(exc).__name__
"""


@pytest.fixture
def ran(stack, program):
    """Run a program with servers to its end; return what it printed."""

    def run(service, source):
        head = program.write("head.py", SERVER.format(service=service)).read_text()
        body = program.write("body.py", source).read_text()
        done = program(head + body, **stack.environ)
        assert done.returncode == 0, done.stderr
        return done.stdout.split()

    return run


def value(stack, expr):
    """The one value of a query, or None."""
    found = stack.prometheus.query(expr)
    return found.value if len(found) == 1 else None


@pytest.mark.row("H15")
def test_a_killed_server_opens_its_circuit(stack, ran):
    """State and transitions in Prometheus, the change in Loki with the trace, refused calls counted."""
    said = ran(
        "asks",
        """
        server, breaker = Server(), Breaker("primary", failures=3)
        with phase("asks"):
            print(asked(breaker, server))
            server.kill()
            for _ in range(5):
                print(asked(breaker, server))
        """,
    )
    assert said == ["answered", *["URLError"] * 3, *["CircuitOpenError"] * 2]
    mine = 'service_name="asks",llmon_circuit="primary"'
    assert until(lambda: value(stack, f'llmon_circuit_state{{{mine},llmon_state="open"}}')) == 1
    assert value(stack, f'llmon_circuit_state{{{mine},llmon_state="closed"}}') == 0
    assert value(stack, f'llmon_circuit_transitions_total{{{mine},llmon_state="open"}}') == 1
    assert value(stack, f"llmon_circuit_refused_total{{{mine}}}") == 2
    line = until(lambda: stack.loki.lines('{service_name="asks"} | llmon_state="open"'))[0]
    assert line.body == "llmon.circuit.transition"
    trace = until(lambda: stack.jaeger.trace(line.trace_id))
    [event] = trace.root.events
    assert (event.name, event.attributes["llmon.state"]) == ("llmon.circuit.transition", "open")
    assert event.attributes["error.type"] == "urllib.error.URLError"


@pytest.mark.row("H13")
def test_where_the_primary_is_killed_another_one_is_asked(stack, ran):
    """Jaeger knows which request fell back, and to what."""
    began = time.time()
    said = ran(
        "falls-back",
        """
        servers = {Breaker("primary", failures=1): Server(), Breaker("secondary"): Server()}
        for number in range(3):
            with phase(f"request {number}"):
                chosen = first_up(servers)
                print(chosen.name, asked(chosen, servers[chosen]))
            if number == 0:
                servers[chosen].kill()
        servers[chosen].kill()
        """,
    )
    assert said == ["primary", "answered", "primary", "URLError", "secondary", "answered"]

    def found():
        traces = stack.jaeger.find("falls-back", start=began, end=time.time() + 1)
        return len(traces) == 3 and {trace.root.name: trace.root.events for trace in traces}

    events = until(found)
    assert not events["request 0"]
    assert [event.name for event in events["request 1"]] == ["llmon.circuit.transition"]
    [event] = events["request 2"]
    assert event.name == "llmon.failover"
    assert event.attributes == {"llmon.failover.from": "primary", "llmon.failover.to": "secondary"}


@pytest.mark.row("H16")
def test_what_a_check_finds_down_is_open_without_a_call(stack, ran):
    """The check asks, the breaker is told, and Prometheus says open; no call had to fail."""
    said = ran(
        "is-told",
        """
        server, breaker = Server(), Breaker("told")

        def check():
            try:
                return server.ask() == 200
            except urllib.error.URLError:
                return False

        breaker.record(check())
        print(breaker.state)
        server.kill()
        breaker.record(check())
        print(breaker.state, asked(breaker, server))
        """,
    )
    assert said == ["closed", "open", "CircuitOpenError"]
    mine = 'service_name="is-told",llmon_circuit="told"'
    assert until(lambda: value(stack, f'llmon_circuit_state{{{mine},llmon_state="open"}}')) == 1
