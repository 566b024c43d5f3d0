"""With redaction on, an e-mail address and a key reach no store, whatever carried them."""

from __future__ import annotations

import time

import pytest
from servers import until

MAIL, KEY = "grace.hopper@example.org", "sk-proj-abcdefghijklmnop1234"
TALK = f"""
    import logging
    import otel_llmon as llmon
    from opentelemetry import trace

    MAIL, KEY = "{MAIL}", "{KEY}"
    llmon.configure("talk")
    messages = [{{"role": "user", "content": f"write to {{MAIL}} with {{KEY}}"}}]
    try:
        asked = {{"prompt": f"write to {{MAIL}} with {{KEY}}", "user": MAIL, "app_api_key": "plain"}}
        with llmon.phase("answer", asked):
            span = trace.get_current_span()
            print(format(span.get_span_context().trace_id, "032x"))
            span.set_attribute("gen_ai.input.messages", str(messages))
            span.set_attribute("many", [MAIL, KEY, "plain"])
            span.add_event("asked", {{"prompt": f"{{MAIL}} and {{KEY}}"}})
            logging.warning("the prompt was %s %s", MAIL, KEY)
            llmon.event("prompt.kept", {{"prompt": f"{{MAIL}} and {{KEY}}"}})
            with trace.get_tracer("app").start_as_current_span(f"mail {{MAIL}} with {{KEY}}"):
                pass
            raise ValueError(f"no mail to {{MAIL}} with {{KEY}}")
    except ValueError:
        logging.exception("failed")
"""


@pytest.mark.timeout(180)
@pytest.mark.parametrize("extras", [("redaction",), ()], ids=["on", "off"])
def test_secrets_in_attributes_events_names_bodies_and_messages(servers, program, extras):
    """Asked of the servers, and looked for in their files; without redaction the same search finds them."""
    stack = servers(extras=extras)
    done = program(TALK, **stack.environ)
    assert done.returncode == 0, done.stderr
    trace_id = done.stdout.split()[0]
    trace = until(lambda: stack.jaeger.trace(trace_id))
    lines = until(lambda: len(found := stack.loki.lines('{service_name="talk"}')) == 3 and found)
    assert until(lambda: stack.prometheus.query("llmon_phase_errors_total"))
    stack.end("collector")
    series = stack.prometheus.series('{service_name="talk"}')
    assert series
    told = f"{trace} {lines} {series}"
    assert ("'app_api_key': 'plain'" in told) is not bool(extras), "a key's name is enough"
    assert "prompt was" in told, "what is no secret stays"
    stored = _stored(stack)
    for secret in (MAIL, KEY):
        assert (secret in told) is not bool(extras)
        assert (secret.encode() in stored) is not bool(extras)


def _stored(stack):
    """Everything that lies in the servers' folders, the Collector's queue with it."""
    time.sleep(1)
    parts = [path.read_bytes() for path in stack.data.rglob("*") if path.is_file() and "config" not in path.parts]
    return b"".join(parts)
