"""Files beside the stores: what is written, how it is rotated; and log files that are read into Loki and counted."""

from __future__ import annotations

import json
import re
import subprocess

import pytest
import urllib3
import yaml
from servers import until

from otel_llmon.stack import files, native

RUN = """
    import logging
    import otel_llmon as llmon

    llmon.configure("filed", observers=())
    with llmon.pipeline("ingest") as run:
        for name in ("extract", "embed"):
            with llmon.phase(name):
                logging.getLogger("app").warning("in %s", name)
        run.count("documents", 12)
"""
BULKY = """
    import os
    import otel_llmon as llmon

    llmon.configure("bulky", observers=())
    for _ in range(1_000):
        with llmon.phase("bulk", {"text": os.urandom(4_000).hex()}):
            pass
"""
LEGACY = """
    import logging
    from logging.config import dictConfig

    dictConfig({
        "version": 1,
        "formatters": {"json": {"()": "otel_llmon.adapters.console.JsonFormatter"}},
        "handlers": {"file": {"class": "logging.FileHandler", "filename": FILE, "formatter": "json"}},
        "root": {"handlers": ["file"], "level": "DEBUG"},
    })
    log = logging.getLogger("old")
    for number in range(20):
        log.debug("looked at %s", number)
    for number in range(10):
        log.info("did %s", number, extra={"number": number})
    try:
        int("x")
    except ValueError:
        log.exception("could not")
"""
MODERN = """
    import logging
    import otel_llmon as llmon

    llmon.configure("modern", observers=())
    logging.getLogger().setLevel("DEBUG")
    log = logging.getLogger("new")
    for level, times in (("debug", 8), ("info", 4), ("warning", 3), ("error", 2)):
        for _ in range(times):
            getattr(log, level)("said")
"""


def written(stack, signal):
    """What stands in a signal's file, line by line."""
    text = (stack.data / "files" / f"{signal}.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def inside(lines, resource, scope, items):
    """The spans, metrics or records of requests in OTLP's JSON."""
    return [each for line in lines for one in line.get(resource, ()) for part in one[scope] for each in part[items]]


@pytest.mark.row("B6", "L4")
@pytest.mark.timeout(180)
def test_a_run_stands_in_the_files_as_it_does_in_the_stores(servers, program):
    """Each line is OTLP's JSON; spans, counts and lines are those of the run."""
    stack = servers(extras=("files", "redaction"))
    done = program(RUN, **stack.environ)
    assert done.returncode == 0, done.stderr
    spans = until(lambda: inside(written(stack, "traces"), "resourceSpans", "scopeSpans", "spans"))
    trace = until(lambda: stack.jaeger.trace(spans[0]["traceId"]))
    assert {(span["spanId"], span["name"]) for span in spans} == {(span.span_id, span.name) for span in trace.spans}
    assert {span["name"] for span in spans} == {"ingest", "extract", "embed"}
    metrics = until(lambda: inside(written(stack, "metrics"), "resourceMetrics", "scopeMetrics", "metrics"))
    [items] = [metric for metric in metrics if metric["name"] == "llmon.pipeline.items"]
    assert [point.get("asInt", point.get("asDouble")) for point in items["sum"]["dataPoints"]] == ["12"]
    records = until(lambda: inside(written(stack, "logs"), "resourceLogs", "scopeLogs", "logRecords"))
    assert sorted(record["body"]["stringValue"] for record in records) == ["in embed", "in extract"]
    assert {record["traceId"] for record in records} == {trace.trace_id}


@pytest.mark.row("L5")
@pytest.mark.timeout(180)
def test_files_are_set_aside_and_deleted_and_loki_keeps_as_long(servers, program):
    """8 MB by files of one, of which two stay beside the newest; thirty days unless told otherwise, and so in Loki."""
    stack = servers(extras=("files",), LLMON_FILES_MEGABYTES="1", LLMON_FILES_MOST="2", LLMON_LOKI_RETENTION="720h")
    done = program(BULKY, timeout=60, OTEL_BSP_MAX_EXPORT_BATCH_SIZE="50", **stack.environ)
    assert (done.returncode, done.stderr) == (0, "")
    folder = stack.data / "files"
    assert until(lambda: len(stack.jaeger.find("bulky", start=0, end=4e9, limit=2000)) == 1000)
    aside = until(lambda: len(found := sorted(folder.glob("traces-*.jsonl"))) == 2 and found)
    assert all(0 < path.stat().st_size <= 2**20 for path in [*aside, folder / "traces.jsonl"])
    assert all(json.loads(line) for path in aside for line in path.read_text().splitlines())
    shipped = yaml.safe_load((files() / "collector-config/files.yaml").read_text())["exporters"]
    assert {each["rotation"]["max_days"] for each in shipped.values()} == {"${env:LLMON_FILES_DAYS:-30}"}
    limits = yaml.safe_load(stack.loki.ask("/config").text)
    assert (limits["limits_config"]["retention_period"], limits["compactor"]["retention_enabled"]) == ("30d", True)


@pytest.mark.timeout(180)
def test_files_that_cannot_be_written_refuse_nothing(servers, program):
    """A request that is larger than a file may be: the store has it, and the program hears nothing of it."""
    stack = servers(extras=("files",), LLMON_FILES_MEGABYTES="1")
    done = program(BULKY, timeout=60, OTEL_BSP_MAX_EXPORT_BATCH_SIZE="500", **stack.environ)
    assert (done.returncode, done.stderr) == (0, "")
    assert until(lambda: "exceeds maximum file size" in stack.log("collector"))
    found = until(lambda: len(them := stack.jaeger.find("bulky", start=0, end=4e9, limit=2000)) == 1000 and them)
    assert len({trace.trace_id for trace in found}) == 1000


@pytest.mark.row("Y4")
@pytest.mark.timeout(180)
def test_metrics_can_be_fetched_under_the_names_that_they_have_in_prometheus(servers, program):
    """One GET has every series of the program that Prometheus has, with its value, and files are written beside it."""
    stack = servers(extras=("scrape", "files", "redaction"))
    done = program(RUN, **stack.environ)
    assert done.returncode == 0, done.stderr
    stored = until(lambda: stack.prometheus.query('{job="filed", __name__=~"llmon_.+_(total|count)"}').series)
    page = urllib3.request("GET", f"http://{stack.state.stack.at('LLMON_SCRAPE_PORT')}/metrics").data.decode()
    for series in stored:
        own = {name: value for name, value in series.labels.items() if name.startswith(("job", "instance", "llmon_"))}
        [value] = [
            float(value)
            for name, labels, value in re.findall(r"^(\w+){(.*)} (\S+)$", page, re.MULTILINE)
            if name == series.labels["__name__"] and own.items() <= dict(re.findall(r'(\w+)="([^"]*)"', labels)).items()
        ]
        assert value == series.value
    assert {"llmon_phase_duration_seconds_count", "llmon_pipeline_items_total"} <= {
        series.labels["__name__"] for series in stored
    }
    assert until(lambda: inside(written(stack, "metrics"), "resourceMetrics", "scopeMetrics", "metrics"))


@pytest.mark.row("L6", "L9", "L10")
@pytest.mark.timeout(180)
def test_old_files_and_new_programs_are_in_one_place_and_counted_to_the_line(servers, program, tmp_path):
    """Debug lines are counted and not kept; each line is read once, though the Collector begins anew."""
    stack = servers(extras=("logs", "redaction"), LLMON_LOG_FILES=f"[{tmp_path}/*.log]", LLMON_LOG_SEVERITY="9")
    (tmp_path / "plain.log").write_text("".join(f"line {number}\n" for number in range(5)))
    legacy = program(LEGACY.replace("FILE", repr(str(tmp_path / "legacy.log"))), OTEL_SERVICE_NAME="legacy")
    modern = program(MODERN, **stack.environ)
    assert (legacy.returncode, modern.returncode) == (0, 0), legacy.stderr + modern.stderr
    kept = 'sum by (service_name, severity_text) (count_over_time({service_name=~".+"} [15m]))'

    def found():
        series = stack.loki.get("/loki/api/v1/query", {"query": kept})["data"]["result"]
        return {
            (one["metric"]["service_name"], one["metric"].get("severity_text", "")): int(one["value"][1])
            for one in series
        }

    expected = {
        ("plain.log", ""): 5,
        ("legacy", "INFO"): 10,
        ("legacy", "ERROR"): 1,
        ("modern", "INFO"): 4,
        ("modern", "WARNING"): 3,
        ("modern", "ERROR"): 2,
    }
    assert until(lambda: found() == expected)

    def counted(name):
        series = stack.prometheus.query(f"sum by (service_name) (log_record_{name}_total)")
        return {one.labels["service_name"]: one.value for one in series}

    assert until(lambda: counted("count") == {"plain.log": 5, "legacy": 31, "modern": 17})
    assert counted("error_count") == {"legacy": 1, "modern": 2}
    assert counted("warning_count") == {"modern": 3}
    [line] = stack.loki.lines('{service_name="legacy"} | severity_text="ERROR"')
    assert (line.body, line.attributes["exception_type"]) == ("could not", "ValueError")
    assert line.attributes["logger"] == "old"
    assert [line.attributes["number"] for line in stack.loki.lines('{service_name="legacy"} |= "did 7"')] == ["7"]
    stack.end("collector")
    stack.start()
    with (tmp_path / "plain.log").open("a") as file:
        file.write("line 5\n")
    assert until(lambda: found() == {**expected, ("plain.log", ""): 6})


@pytest.mark.parametrize(
    "extras", [("files",), ("logs",), ("redaction", "tail-sampling", "files", "logs")], ids="+".join
)
def test_the_collector_takes_its_files_together(tmp_path, extras):
    """Each by itself, and all that need no certificates."""
    folder = files() / "collector-config"
    configs = [f"--config={folder / name}.yaml" for name in ("collector", *extras)]
    done = subprocess.run(
        [native.binaries()["collector"], "validate", *configs],
        env={"LLMON_DATA": str(tmp_path), "PATH": "/usr/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
