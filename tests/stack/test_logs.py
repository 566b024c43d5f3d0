"""What programs log and report is found in Loki by its fields and by its trace, and what was too much in Prometheus."""

from __future__ import annotations

import json
import subprocess
from collections import Counter

import pytest
from processes import BIN
from servers import until

CONFIGURED = """
    import logging
    import otel_llmon as llmon

    llmon.configure({service!r})
    logging.getLogger().setLevel("DEBUG")
    log = logging.getLogger("app.part")
"""


def run(program, stack, service, source, **environ):
    """Run a program with telemetry to its end."""
    done = program(CONFIGURED.format(service=service) + source, **stack.environ, **environ)
    assert done.returncode == 0, done.stderr
    return done


def number(stack, query):
    """What a LogQL query with a number says, or each of its series, by the labels' values."""
    found = stack.loki.get("/loki/api/v1/query", {"query": query})["data"]["result"]
    return {tuple(series["metric"].values()): float(series["value"][1]) for series in found}


@pytest.mark.row("L1")
def test_a_structured_line_is_found_by_its_field_and_by_its_trace(stack, program):
    """And the trace by the id that stands on the line."""
    run(
        program,
        stack,
        "structured",
        """
    for shard in range(3):
        with llmon.pipeline("ingest"):
            log.info("stored", extra={"shard": shard, "took": 0.5})
    """,
    )
    [line] = until(lambda: stack.loki.lines('{service_name="structured"} | shard="1"'))
    assert (line.body, line.level, line.attributes["took"]) == ("stored", "INFO", "0.5")
    [same] = stack.loki.lines(f'{{service_name="structured"}} | trace_id="{line.trace_id}"')
    assert same == line
    trace = until(lambda: stack.jaeger.trace(line.trace_id))
    assert (trace.root.name, trace.root.span_id) == ("ingest", line.span_id)


@pytest.mark.row("L3", "L12")
def test_errors_are_found_by_type_with_their_stacks(stack, program):
    """Logged by the program, or told beside an event."""
    run(
        program,
        stack,
        "failing",
        """
    for wrong in ("x", "y", None):
        try:
            int(wrong)
        except (ValueError, TypeError) as exc:
            log.exception("cannot read %s", wrong)
            if wrong is None:
                llmon.event("error", {"operation": "read"}, error=exc)
    """,
    )
    count = 'sum by (exception_type) (count_over_time({service_name="failing"} | exception_type!="" [5m]))'
    assert until(lambda: (found := number(stack, count)) and sum(found.values()) == 4 and found) == {
        ("ValueError",): 2,
        ("TypeError",): 2,
    }
    [line] = stack.loki.lines('{service_name="failing"} | exception_message=~".*\'y\'"')
    assert "int(wrong)\n" in line.attributes["exception_stacktrace"]
    assert line.attributes["exception_stacktrace"].endswith("invalid literal for int() with base 10: 'y'\n")
    [told] = stack.loki.lines('{service_name="failing"} | operation="read"')
    assert told.attributes["exception_type"] == "TypeError"


@pytest.mark.row("L4")
def test_a_file_of_json_says_what_loki_says(stack, program):
    """The same messages, fields and ids, line by line."""
    run(
        program,
        stack,
        "filed",
        """
    from logging.config import dictConfig

    dictConfig({
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"json": {"()": "otel_llmon.adapters.console.JsonFormatter"}},
        "handlers": {"file": {"class": "logging.FileHandler", "filename": "app.log", "formatter": "json"}},
        "root": {"handlers": ["file"], "level": "INFO"},
    })
    with llmon.phase("store"), llmon.bind({"request": "a"}):
        for shard in range(3):
            log.info("stored %s", shard, extra={"shard": shard})
    """,
    )
    filed = [json.loads(line) for line in (program.folder / "app.log").read_text().splitlines()]
    found = until(lambda: len(lines := stack.loki.lines('{service_name="filed"}', newest=False)) == 3 and lines)
    assert [
        (line.body, line.service, line.trace_id, line.span_id, line.attributes["shard"], line.attributes["request"])
        for line in found
    ] == [
        (
            line["message"],
            line["service"],
            line["trace_id"],
            line["span_id"],
            str(line["fields"]["shard"]),
            line["fields"]["request"],
        )
        for line in filed
    ]


@pytest.mark.row("L6")
def test_lines_are_found_by_severity_from_the_level_that_the_environment_asks_for(stack, program):
    """OTEL_PYTHON_LOG_LEVEL for a program that sets none itself."""
    source = """
    import logging
    import otel_llmon as llmon

    llmon.configure({service!r})
    for level in ("debug", "info", "warning", "error"):
        getattr(logging.getLogger("app"), level)("said")
    """
    for level in ("debug", "warning"):
        done = program(source.format(service=f"at-{level}"), OTEL_PYTHON_LOG_LEVEL=level, **stack.environ)
        assert done.returncode == 0, done.stderr
    severe = 'sum by (severity_text) (count_over_time({service_name="%s"} |= "said" [5m]))'
    assert set(until(lambda: len(found := number(stack, severe % "at-debug")) == 4 and found)) == {
        ("DEBUG",),
        ("INFO",),
        ("WARNING",),
        ("ERROR",),
    }
    assert set(until(lambda: len(found := number(stack, severe % "at-warning")) == 2 and found)) == {
        ("WARNING",),
        ("ERROR",),
    }
    [line] = stack.loki.lines('{service_name="at-debug"} | severity_text="DEBUG" |= "said"')
    assert line.level == "DEBUG"


@pytest.mark.row("L7")
def test_structlog_and_loguru_are_found_once_with_their_fields(stack, program):
    """Though stdlib logging is bridged as well, and structlog hands on to it."""
    run(
        program,
        stack,
        "others",
        """
    import structlog
    from loguru import logger
    from otel_llmon.adapters import loguru
    from otel_llmon.adapters.structlog import exported

    structlog.configure(
        processors=[structlog.stdlib.add_log_level, exported(structlog.processors.JSONRenderer())],
        logger_factory=structlog.stdlib.LoggerFactory(),
    )
    loguru.attach()
    with llmon.phase("store"):
        structlog.get_logger("app").info("by structlog", shard=1)
        logger.bind(shard=2).warning("by loguru")
        log.info("by logging", extra={"shard": 3})
    """,
    )
    lines = until(lambda: len(found := stack.loki.lines('{service_name="others"}')) >= 3 and found)
    assert sorted((line.body, line.level, line.attributes["shard"]) for line in lines) == [
        ("by logging", "INFO", "3"),
        ("by loguru", "WARNING", "2"),
        ("by structlog", "INFO", "1"),
    ]
    assert len({line.span_id for line in lines}) == 1
    assert until(lambda: stack.jaeger.trace(lines[0].trace_id)).root.name == "store"


@pytest.mark.row("L8")
def test_requests_that_are_served_at_once_are_told_apart_by_what_they_bound(stack, program):
    """Lines, events and spans carry the request's field, metrics do not; what is allowed reaches the next service."""
    run(
        program,
        stack,
        "bound",
        """
    import asyncio
    import subprocess
    import sys

    async def serve(request):
        with llmon.bind({"request": request, "tenant": "t-" + request, "secret": "s"}), llmon.phase("serve"):
            for step in range(5):
                await asyncio.sleep(0)
                log.info("step %s of %s", step, request)
            llmon.event("served", {"of": request})
            from opentelemetry.propagate import inject
            headers = {}
            inject(headers)
            return headers

    async def both():
        return await asyncio.gather(serve("a"), serve("b"))

    from opentelemetry import context, propagate
    for headers in asyncio.run(both()):
        token = context.attach(propagate.extract(headers))  # the other side
        with llmon.phase("answer"):
            log.info("answered")
        context.detach(token)
    """,
        OTEL_LLMON_BAGGAGE_KEYS="request,tenant",
    )
    for request in "ab":
        query = f'{{service_name="bound"}} | request="{request}"'
        lines = until(lambda query=query: len(found := stack.loki.lines(query)) == 7 and found)
        assert sorted(line.body for line in lines) == sorted(
            [*(f"step {step} of {request}" for step in range(5)), "served", "answered"]
        )
        assert {line.attributes["tenant"] for line in lines} == {f"t-{request}"}
        assert [line.attributes.get("secret") for line in lines if line.body == "answered"] == [None]
        [trace_id] = {line.trace_id for line in lines}
        trace = until(lambda trace_id=trace_id: len((t := stack.jaeger.trace(trace_id)).spans) == 2 and t)
        assert {span.attributes["request"] for span in trace.spans} == {request}
    series = until(lambda: stack.prometheus.query('{service_name="bound"}').series)
    assert not any({"request", "tenant", "secret"} & set(each.labels) for each in series)


@pytest.mark.row("L9", "L10")
def test_the_lines_of_all_instances_are_in_one_place_and_are_counted_there(stack, program):
    """As many as were logged, by instance and by severity."""
    for errors in (1, 2):
        run(
            program,
            stack,
            "many",
            f"""
    for _ in range(10):
        log.info("fine")
    for _ in range({errors}):
        log.error("broken")
    """,
        )
    count = 'sum by (%s) (count_over_time({service_name="many"} [5m]))'
    by_severity = until(lambda: sum((found := number(stack, count % "severity_text")).values()) == 23 and found)
    assert by_severity == {("INFO",): 20, ("ERROR",): 3}
    assert sorted(number(stack, count % "service_instance_id").values()) == [11, 12]


@pytest.mark.row("L15", "T6", "E19")
def test_events_of_the_vocabulary_are_found_by_their_fields(stack, program):
    """As `llmon events` lists them."""
    run(
        program,
        stack,
        "vocabulary",
        """
    model = {"model": "ranker", "version": "7", "platform": "kubernetes", "deployment": "d-1"}
    llmon.event("deployment.started", model)
    llmon.event("deployment.failed", {**model, "reason": "no memory"})
    llmon.event("training.epoch", {"model": "ranker", "epoch": 1, "loss": 0.5, "accuracy": 0.9})
    with llmon.phase("search"):
        llmon.event("regression.detected", {"operation": "search", "duration": 0.3, "baseline": 0.2, "ratio": 1.5})
    """,
    )
    listed = subprocess.run([BIN / "llmon", "events", "--json"], capture_output=True, text=True, check=True).stdout
    fields = {row["name"]: row["fields"].keys() for row in json.loads(listed)}
    lines = until(lambda: len(found := stack.loki.lines('{service_name="vocabulary"}')) == 4 and found)
    assert Counter(line.body for line in lines).keys() <= fields.keys()
    assert all(set(fields[line.body]) & set(line.attributes) for line in lines)
    [failed] = stack.loki.lines('{service_name="vocabulary"} | deployment="d-1" | reason="no memory"')
    assert (failed.body, failed.level) == ("deployment.failed", "ERROR")
    assert {failed.attributes[field] for field in ("model", "version", "platform")} == {"ranker", "7", "kubernetes"}
    [slower] = stack.loki.lines('{service_name="vocabulary"} | ratio > 1.2')
    assert (slower.attributes["duration"], slower.attributes["baseline"]) == ("0.3", "0.2")
    assert until(lambda: stack.jaeger.trace(slower.trace_id)).root.name == "search"


@pytest.mark.row("L2")
def test_a_declared_event_is_a_line_and_a_metric(stack, program):
    """The same numbers, and by the same field; an event that is not declared is a line alone."""
    run(
        program,
        stack,
        "declared",
        """
    from otel_llmon import events
    from otel_llmon.semconv import Metric

    SECONDS = Metric("app.performance.duration", "histogram", "s", "How long it took.", ("stage",), (0.1, 1.0))
    PAGES = Metric("app.performance.pages", "counter", "{page}", "Pages.", ("stage",))
    events.declare("performance", {"seconds": SECONDS, "pages": PAGES})
    for number in range(1, 6):
        llmon.event("performance", {"seconds": number / 8, "pages": number, "stage": "embed"})
        llmon.event("other", {"seconds": number, "stage": "embed"})
    """,
    )
    lines = until(lambda: len(found := stack.loki.lines('{service_name="declared"} |= "performance"')) == 5 and found)
    assert {line.attributes["stage"] for line in lines} == {"embed"}
    logged = sum(float(line.attributes["seconds"]) for line in lines)
    mine = '{service_name="declared",stage="embed"}'
    assert until(lambda: stack.prometheus.query(f"app_performance_duration_seconds_sum{mine}").value) == logged == 1.875
    assert stack.prometheus.query(f"app_performance_duration_seconds_count{mine}").value == 5
    assert stack.prometheus.query(f"app_performance_pages_total{mine}").value == 15


@pytest.mark.row("L17")
def test_a_flood_of_a_million_is_counted_to_the_last(stack, program):
    """The program goes on, what it says beside arrives, and reported and dropped together are what was said."""
    run(
        program,
        stack,
        "flood",
        """
    import threading

    def flood():
        for number in range(225_000):
            llmon.event("noise.tick", {"number": number})
        for number in range(25_000):
            log.info("noise.line %s", number)

    threads = [threading.Thread(target=flood) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    llmon.event("still.alive")
    """,
        OTEL_LLMON_EVENT_RATE="50",
    )
    assert until(lambda: stack.loki.lines('{service_name="flood"} |= "still.alive"'))
    for line, source, said in (("noise.tick", "noise.tick", 900_000), ("noise.line", "app.part", 100_000)):
        dropped = f'llmon_event_dropped_total{{service_name="flood", llmon_source="{source}"}}'
        reported = f'sum(count_over_time({{service_name="flood"}} |~ "^{line}( [0-9]+)?$" [5m]))'

        def total(dropped=dropped, reported=reported):
            return stack.prometheus.query(dropped).value + number(stack, reported)[()]

        assert until(lambda total=total, said=said: total() == said and total(), 60) == said
        assert 500 <= number(stack, reported)[()] < 10_000
