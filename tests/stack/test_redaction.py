"""With redaction on, an e-mail address and a key reach no store, whatever carried them; nothing else is lost."""

from __future__ import annotations

import base64
import json
import time

import pytest
from otlp import JSON, post
from servers import until

MAIL, KEY = "grace.hopper@example.org", "sk-proj-abcdefghijklmnop1234"
BYTES = b"\xff is no text, " + MAIL.encode()
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


NAMES = """
    import otel_llmon as llmon

    llmon.configure("risk-assessment-api", observers=())
    llmon.gauge("open.files", lambda: 2, attributes={"user": "grace@corp.example"})
    llmon.gauge("open.files", lambda: 7, attributes={"user": "ada@corp.example"})
    for name, times in {"task_summarize_documents": 3, "task_translate_documents": 5}.items():
        for _ in range(times):
            with llmon.phase(name):
                pass
    for name, times in {"mail grace@corp.example": 3, "mail ada@corp.example": 5}.items():
        for _ in range(times):
            with llmon.phase(name):
                pass
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


@pytest.mark.timeout(180)
@pytest.mark.parametrize("histograms", ["explicit", "exponential"])
def test_names_stay_and_what_becomes_alike_is_added_up(servers, program, histograms):
    """Phases that look like keys keep their names; of two whose difference is masked no count is lost."""
    stack = servers(extras=("redaction",))
    done = program(NAMES, OTEL_LLMON_HISTOGRAMS=histograms, **stack.environ)
    assert done.returncode == 0, done.stderr
    count = (
        "llmon_phase_duration_seconds{0}" if histograms == "exponential" else "llmon_phase_duration_seconds_count{0}"
    )
    asked = count.format('{service_name="risk-assessment-api"}')
    asked = f"histogram_count({asked})" if histograms == "exponential" else asked
    found = until(lambda: stack.prometheus.query(asked).series)
    assert {series.labels["llmon_phase"]: series.points[-1].value for series in found} == {
        "task_summarize_documents": 3,
        "task_translate_documents": 5,
        "mail ****": 8,
    }
    assert until(lambda: stack.prometheus.query("open_files").series)[0].points[-1].value == 7


@pytest.mark.timeout(180)
def test_every_text_that_otlp_can_carry(servers):
    """Names, keys, versions, units and bytes of all three signals, as they come from programs that are not Python."""
    stack = servers(extras=("redaction", "files"))
    for path, request in _requests(int(time.time() * 1e9)).items():
        assert post(f"{stack.urls['otlp']}/v1/{path}", json.dumps(request).encode(), JSON).status == 200
    files = [stack.data / "files" / f"{signal}.jsonl" for signal in ("traces", "metrics", "logs")]
    assert until(lambda: all(file.exists() and file.stat().st_size for file in files))
    assert until(lambda: stack.prometheus.query('{service_name="carried"}').series)
    assert len(until(lambda: stack.loki.lines('{service_name="carried"}'))) == 2, "no store refuses what was masked"
    assert until(lambda: stack.jaeger.find("carried", start=time.time() - 600, end=time.time()))
    stack.end("collector")
    assert MAIL.encode() not in _stored(stack)
    assert base64.b64encode(BYTES).rstrip(b"=") not in _stored(stack)
    assert "Dropping data" not in stack.log("collector")


def _requests(now):
    """Return a request of each signal, with a secret in every place that holds text."""
    ids = {"traceId": "5b8efff798038103d269b633813fc60c", "spanId": "eee19b7ec3c1b174"}
    attributes = [
        {"key": MAIL, "value": {"intValue": 1}},
        {"key": "nested", "value": {"arrayValue": {"values": [{"stringValue": MAIL}]}}},
    ]
    service = {"key": "service.name", "value": {"stringValue": "carried"}}
    resource = {"attributes": [service, *attributes]}
    scope = {"name": MAIL, "version": MAIL, "attributes": attributes}
    event = {"timeUnixNano": now, "name": MAIL, "attributes": attributes}
    status = {"code": 2, "message": MAIL}
    span = {**ids, "kind": 3, "startTimeUnixNano": now, "endTimeUnixNano": now + 1, "attributes": attributes}
    spans = [span | {"name": MAIL, "status": status}, span | {"spanId": "e" * 16, "name": MAIL, "events": [event]}]
    record = {**ids, "timeUnixNano": now, "severityText": MAIL, "eventName": MAIL, "attributes": attributes}
    bodies = {"stringValue": MAIL}, {"bytesValue": base64.b64encode(BYTES).decode()}
    exemplar = {**ids, "timeUnixNano": now, "asDouble": 1, "filteredAttributes": attributes}
    point = {"startTimeUnixNano": now - 1, "timeUnixNano": now, "asDouble": 1, "attributes": attributes}
    total = {"aggregationTemporality": 2, "isMonotonic": True, "dataPoints": [point | {"exemplars": [exemplar]}]}
    metrics = [
        {"name": "carried", "description": MAIL, "unit": MAIL, "sum": total},
        {"name": MAIL, "gauge": {"dataPoints": [point]}},
        {"name": "summed", "summary": {"dataPoints": [point | {"count": 1, "sum": 1}]}},
    ]
    logs = [record | {"body": body} for body in bodies]
    return {
        "traces": {"resourceSpans": [{"resource": resource, "scopeSpans": [{"scope": scope, "spans": spans}]}]},
        "metrics": {
            "resourceMetrics": [{"resource": resource, "scopeMetrics": [{"scope": scope, "metrics": metrics}]}]
        },
        "logs": {"resourceLogs": [{"resource": resource, "scopeLogs": [{"scope": scope, "logRecords": logs}]}]},
    }


def _stored(stack):
    """Everything that lies in the servers' folders, the Collector's queue with it."""
    time.sleep(1)
    parts = [path.read_bytes() for path in stack.data.rglob("*") if path.is_file() and "config" not in path.parts]
    return b"".join(parts)
