"""Health checks as the real servers see them: who is up, for how long, how fast, and what was told when."""

from __future__ import annotations

import contextlib
import json
import re
import time

import pytest
import urllib3
from processes import killed
from servers import until
from serving import Page, answer
from serving import page as page  # noqa: PLC0414  # a fixture
from serving import wild as wild  # noqa: PLC0414
from sink import free_port

from otel_llmon.semconv.attributes import TARGET

SECRET = "Bearer s3cr3t-t0ken"
SOON = {"OTEL_METRIC_EXPORT_INTERVAL": "500", "OTEL_BSP_SCHEDULE_DELAY": "200", "OTEL_BLRP_SCHEDULE_DELAY": "200"}


def program_of(source):
    """A program that runs until it is ended."""
    return f"""
import sqlite3, time
import otel_llmon
from otel_llmon import checks

with otel_llmon.configure(SERVICE, observers=()):
    {source.strip()}
    print("checking", flush=True)
    while True:
        time.sleep(1)
"""


@pytest.fixture
def running(stack, program):
    """A function that starts such a program; it is ended after the test."""
    with contextlib.ExitStack() as begun:

        def start(service, source):
            code = program_of(source).replace("SERVICE", repr(service))
            process = begun.enter_context(program.start(program.command(code), **stack.environ, **SOON))
            begun.enter_context(killed(process))
            assert process.stdout.readline() == "checking\n"
            return process

        yield start


def value(stack, query):
    """What Prometheus answers; None where there is no such series."""
    found = stack.prometheus.query(query)
    return found.value if len(found) == 1 else None


@pytest.mark.row("H1", "H2", "H3", "H4", "H14")
def test_prometheus_knows_each_kind_and_sees_a_target_stop(stack, running, wild):
    """1 where it is up, 0 soon after it is gone, and nothing for a target of which nobody knows."""
    page, port = Page(), wild(lambda _: None).port
    page.answers |= {"/": answer(), "/api/tags": answer({"models": [{"name": "a"}, {"name": "b"}]})}
    page.answers["/v1/models"] = answer({"data": [{"id": "a"}]})
    running(
        "kinds",
        f"""
    checks.http("page", "{page.url}", every=0.3)
    checks.tcp("port", "127.0.0.1", {port}, every=0.3)
    checks.ollama("ollama", "127.0.0.1", {page.port}, every=0.3)
    checks.openai("vllm", "{page.url}/v1", every=0.3)
    checks.database("db", lambda: sqlite3.connect(":memory:"), every=0.3)
    checks.function("cache", lambda: False, every=0.3)
    checks.function("slow", lambda: time.sleep(60), timeout=100)
    """,
    )

    def ups():
        found = stack.prometheus.query('llmon_health_up{service_name="kinds"}')
        return {(one.labels["llmon_target"], one.labels["llmon_target_type"]): one.value for one in found}

    both = {("ollama", "ollama"), ("vllm", "openai"), ("page", "http")}
    expected = dict.fromkeys({*both, ("port", "tcp"), ("db", "database")}, 1.0) | {("cache", "function"): 0.0}
    assert until(lambda: ups() == expected), ups()
    assert value(stack, 'llmon_health_models{service_name="kinds",llmon_target="ollama"}') == 2
    counted = (
        'llmon_health_check_duration_seconds_count{service_name="kinds",llmon_target="page",llmon_outcome="success"}'
    )
    assert value(stack, counted) >= 1
    page.close()
    assert until(lambda: ups() == expected | dict.fromkeys(both, 0.0), 60), ups()


@pytest.mark.row("H2", "H7")
def test_no_header_reaches_a_store_and_a_check_is_a_span_of_its_own(stack, running, page):
    """Though the target sends it back; a retry is on the span."""
    page.answers["/"] = answer({"you said": SECRET}, status=503)
    source = f"""
    checks.http("echo", "{page.url}", headers={{"Authorization": "{SECRET}"}}, json={{"a": 1}}, retries=1, every=3600)
    """
    running("secretive", source)
    began = time.time()
    found = until(lambda: stack.jaeger.find("secretive", start=began - 60, end=began + 60, operation="check echo"))
    [trace] = found
    [span] = trace.spans
    assert span.kind == "client"
    assert span.attributes[TARGET] == "echo"
    assert [event.name for event in span.events] == ["llmon.check.retry"]
    assert until(lambda: stack.loki.lines('{service_name="secretive"}'))
    assert stack.loki.lines('{service_name="secretive"} |= "s3cr3t"') == []
    assert "s3cr3t" not in repr(trace)
    assert page.asked[0][2]["authorization"] == SECRET


@pytest.mark.row("H10")
def test_loki_has_two_events_for_down_and_up(stack, running, page):
    """And none for what did not change."""
    page.answers["/"] = answer()
    running("changing", f'checks.http("page", "{page.url}", every=0.1)')

    def checked(times):
        before = len(page.asked)
        assert until(lambda: len(page.asked) >= before + times)

    checked(5)
    page.answers["/"] = answer(status=500)
    checked(5)
    page.answers["/"] = answer()
    checked(5)

    def events():
        return sorted(line.body for line in stack.loki.lines('{service_name="changing"} |~ "^target"'))

    assert until(lambda: events() == ["target.down", "target.up"]), events()


@pytest.mark.row("H9")
def test_availability_and_response_times_are_questions_to_prometheus(stack, program):
    """Of 20 checks 2 failed: 0.9; and the gauge's mean says it too."""
    done = program(
        """
        import time, otel_llmon
        from otel_llmon import checks
        number = 0
        def target():
            return number not in (7, 8)
        with otel_llmon.configure("available", observers=()):
            one = checks.function("target", target, every=3600)
            while one.up is None:  # the first comes by itself
                time.sleep(0.01)
            for number in range(1, 20):
                one.ask()
                time.sleep(0.5)
        """,
        **stack.environ,
        **SOON | {"OTEL_METRIC_EXPORT_INTERVAL": "250"},
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    counted = 'llmon_health_check_duration_seconds_count{service_name="available"'
    ratio = f'sum({counted}, llmon_outcome="success"}}) / sum({counted}}})'
    assert until(lambda: value(stack, ratio) == pytest.approx(18 / 20))
    mean = 'avg_over_time(llmon_health_up{service_name="available"}[5m])'
    assert until(lambda: value(stack, mean)) == pytest.approx(0.9, abs=0.06)
    buckets = 'sum by (le) (llmon_health_check_duration_seconds_bucket{service_name="available"})'
    assert 0 < value(stack, f"histogram_quantile(0.95, {buckets})") < 1


@pytest.mark.row("Y5")
def test_a_collector_that_is_gone_degrades_health_and_breaks_nothing(servers, program, page):
    """`/health` says so and stays 200; with the Collector it comes back."""
    stack, port = servers(), free_port()
    page.answers["/"] = answer()
    command = ["llmon", "health", page.url, "--serve", f"127.0.0.1:{port}"]
    http = urllib3.PoolManager(retries=False)

    def said(path="/health"):
        found = http.request("GET", f"http://127.0.0.1:{port}{path}")
        return found.status, json.loads(found.data)

    with program.start(command, **stack.environ, **SOON) as process, killed(process):
        assert process.stdout.readline()
        assert until(lambda: said()[1]["export"]["metrics"]["status"] == "up")
        assert until(lambda: said("/ready")[0] == 200)
        stack.kill("collector")
        assert until(lambda: said()[1]["status"] == "degraded", 60)
        code, found = said()
        assert code == 200
        assert found["export"]["metrics"]["lost"] >= 1
        assert re.fullmatch(r"20\d\d-.+Z", found["export"]["metrics"]["sent_at"])
        assert said("/ready")[0] == 200
        stack.start()
        assert until(lambda: said()[1]["status"] == "up", 60)
