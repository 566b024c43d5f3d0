"""Pipelines and phases as Jaeger, Prometheus and Loki know them; what a program reads of itself is what they say."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest
from servers import until

PHASES = {"extract": 0.02, "embed": 0.25, "store": 0.06}
RUNS = f"""
    import contextlib, json, logging, time
    import otel_llmon as llmon

    PHASES = {PHASES}

    def ingest(skipped=None, broken=None):
        with llmon.pipeline("ingest", phases=list(PHASES)) as run:
            run.count("documents", 7)
            for name, seconds in PHASES.items():
                if name != skipped:
                    step(name, seconds, name == broken)
        return run.report()

    def step(name, seconds, fails):
        try:
            with llmon.phase(name) as part:
                part.count("pages", 40)
                time.sleep(seconds)
                if fails:
                    raise OSError("no room for pages")
        except OSError:
            logging.getLogger("app").exception("cannot go on")
            raise

    report = ingest()
    ingest(skipped="embed")
    with contextlib.suppress(OSError):
        ingest(broken="store")
    print(json.dumps({{"slowest": report.slowest, "seconds": report.seconds}}))
"""
MEASURED = """
    import asyncio, contextlib, json, random
    import numpy
    import otel_llmon as llmon
    from otel_llmon import summaries, telemetry
    from otel_llmon.testing import Clock

    telemetry.state.clock = clock = Clock()
    chance = numpy.random.default_rng(3)
    ways = {"chunk": (0.2, 0.4), "embed": (1.5, 0.3)}

    with llmon.pipeline("papers") as run:
        for name, (middle, spread) in ways.items():
            for number, seconds in enumerate(chance.lognormal(numpy.log(middle), spread, 500)):
                with contextlib.suppress(TimeoutError, ValueError), llmon.phase(name) as part:
                    part.count("documents", 3)
                    clock.now += float(seconds)
                    if number % 50 == 0:
                        raise TimeoutError if number % 100 else ValueError
        clock.now += 60
    shares = {share.name: share.share for share in run.report().phases}
    said = {
        name: {
            "mean": found.mean, "rate": found.rate("documents"), "errors": found.errors,
            "error_rate": found.error_rate, "count": found.count, "seconds": found.seconds,
        }
        for name in ways if (found := summaries.of(name, "papers"))
    }

    @llmon.phase("awaited")
    async def awaited():
        clock.now += 0.1
        await asyncio.sleep(0)
        clock.now += 0.1

    @llmon.phase("plain")
    def plain():
        clock.now += 0.2

    @llmon.phase("generated")
    def generated():
        clock.now += 0.1
        yield 1
        clock.now += 0.1

    asyncio.run(awaited())
    plain()
    list(generated())
    print(json.dumps({"summaries": said, "shares": shares, "outside": run.report().outside}))
"""
NAMES = """
    import random
    import otel_llmon as llmon

    chance = random.Random(1)
    names = [f"page-{chance.getrandbits(60):x}" for _ in range(3000)]
    for name in names:
        with llmon.phase(name):
            pass
"""


TOOK = 'llmon_phase_duration_seconds{service_name="measured",llmon_pipeline="papers"}'


def ran(stack, folder, service, source, **environ):
    """Run a program that sets nothing up, under opentelemetry-instrument; return what it printed."""
    from processes import Program

    program = Program(folder, "")
    done = program(source, instrumented=True, timeout=60, OTEL_SERVICE_NAME=service, **stack.environ, **environ)
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def runs(stack, tmp_path_factory):
    """Three runs of a pipeline, one of which left a phase out and one of which failed: what it said, and its traces."""
    done = ran(stack, tmp_path_factory.mktemp("runs"), "runs", RUNS)
    now = time.time()
    found = until(lambda: len(traces := stack.jaeger.find("runs", start=now - 600, end=now + 60)) == 3 and traces)
    until(lambda: stack.prometheus.query('llmon_pipeline_duration_seconds_count{service_name="runs"}'))
    return json.loads(done.stdout), found[::-1]


@pytest.fixture(scope="module")
def measured(stack, tmp_path_factory):
    """What a program that moves its clock by hand said of itself."""
    folder = tmp_path_factory.mktemp("measured")
    done = ran(stack, folder, "measured", MEASURED, OTEL_LLMON_HISTOGRAMS="exponential", OTEL_LLMON_LEVEL="basic")
    until(lambda: stack.prometheus.query('llmon_phase_duration_seconds{service_name="measured"}'))
    return json.loads(done.stdout)


def by(stack, label, query):
    """The values of a query's series, by one of their labels."""
    return {series.labels.get(label): series.value for series in stack.prometheus.query(query)}


@pytest.fixture(scope="module")
def truth():
    """The seconds that the measured phases took, by their name."""
    chance = np.random.default_rng(3)
    return {"chunk": chance.lognormal(np.log(0.2), 0.4, 500), "embed": chance.lognormal(np.log(1.5), 0.3, 500)}


@pytest.mark.row("B1")
@pytest.mark.row("B2")
@pytest.mark.row("B3")
def test_each_run_is_a_trace_with_its_phases_in_order(runs, stack):
    """The root says which phases it expects; runs and phases are counted by their outcome, and none goes on."""
    _, (whole, skipping, failed) = runs
    for trace in (whole, skipping, failed):
        assert trace.root.name == "ingest"
        assert json.loads(trace.root.attributes["llmon.pipeline.phases"]) == list(PHASES)
        assert {span.parent_id for span in trace.spans} == {None, trace.root.span_id}
    assert [span.name for span in whole.spans] == ["ingest", *PHASES]
    assert [span.name for span in skipping.spans] == ["ingest", "extract", "store"]
    mine = '{service_name="runs"}'
    assert by(stack, "llmon_outcome", f"llmon_pipeline_duration_seconds_count{mine}") == {"success": 2, "failure": 1}
    ended = f"sum by (llmon_phase) (llmon_phase_duration_seconds_count{mine})"
    assert by(stack, "llmon_phase", ended) == {"extract": 3, "embed": 2, "store": 3}
    assert set(by(stack, "llmon_phase", f"llmon_phase_active{mine}").values()) == {0}


@pytest.mark.row("B4")
def test_what_was_counted_is_in_prometheus_and_on_the_span(runs, stack):
    """In the pipeline itself and in its phases."""
    _, (whole, *_) = runs
    assert whole.root.attributes["llmon.items.documents"] == 7
    assert whole.named("embed")[0].attributes["llmon.items.pages"] == 40
    counted = 'sum by (llmon_items) (llmon_pipeline_items_total{service_name="runs"})'
    assert by(stack, "llmon_items", counted) == {"documents": 21, "pages": 320}


@pytest.mark.row("B5")
def test_the_slowest_phase_of_a_report_is_the_longest_child_in_jaeger(runs):
    """And the run took as long as its root span."""
    said, (whole, *_) = runs
    children = [span for span in whole.spans if span.parent_id is not None]
    assert said["slowest"] == max(children, key=lambda span: span.seconds).name == "embed"
    assert said["seconds"] == pytest.approx(whole.root.seconds, abs=0.05)


@pytest.mark.row("B8")
def test_a_declared_phase_that_never_ran_is_counted_and_told_on_the_span(runs, stack):
    """Of the run that came to its end; the one that failed had no time for all of them."""
    _, (whole, skipping, failed) = runs
    assert by(stack, "llmon_phase", 'llmon_phase_missing_total{service_name="runs"}') == {"embed": 1}
    [told] = skipping.root.events
    assert (told.name, told.attributes) == ("llmon.phase.missing", {"llmon.phase": "embed"})
    assert whole.root.events == ()
    assert [event.name for event in failed.root.events] == ["exception"]


@pytest.mark.row("B12")
def test_an_exception_is_counted_by_its_class_and_found_with_its_stack(runs, stack):
    """On the span, and on the line that the program logged, which leads to the trace."""
    _, (_, _, failed) = runs
    assert by(stack, "error_type", 'llmon_phase_errors_total{service_name="runs"}') == {"OSError": 1}
    [store] = failed.named("store")
    assert (store.status, store.message) == ("error", "OSError: no room for pages")
    assert store.attributes["error.type"] == "OSError"
    [event] = store.events
    assert (event.name, event.attributes["exception.type"]) == ("exception", "OSError")
    [line] = until(lambda: stack.loki.lines(f'{{service_name="runs"}} | trace_id="{failed.trace_id}"'))
    assert (line.body, line.level) == ("cannot go on", "ERROR")
    for stacktrace in (line.attributes["exception_stacktrace"], event.attributes["exception.stacktrace"]):
        assert 'raise OSError("no room for pages")' in stacktrace
        assert stacktrace.rstrip().endswith("OSError: no room for pages")


@pytest.mark.row("B9")
@pytest.mark.row("L11")
def test_latency_and_throughput_are_read_by_phase(measured, stack, truth):
    """The 95th percentile within 5 % of NumPy's; documents of a second of work, and those of the whole run."""
    late = by(stack, "llmon_phase", f"histogram_quantile(0.95, sum by (llmon_phase) ({TOOK}))")
    assert late == {name: pytest.approx(np.quantile(truth[name], 0.95), rel=0.05) for name in truth}
    items = 'sum by (llmon_phase) (llmon_pipeline_items_total{service_name="measured"})'
    pace = by(stack, "llmon_phase", f"{items} / sum by (llmon_phase) (histogram_sum({TOOK}))")
    assert pace == {name: pytest.approx(1500 / truth[name].sum()) for name in truth}
    slowest = stack.prometheus.query(f"bottomk(1, {items} / sum by (llmon_phase) (histogram_sum({TOOK})))")
    assert [series.labels["llmon_phase"] for series in slowest] == ["embed"]
    run = 'sum(histogram_sum(llmon_pipeline_duration_seconds{service_name="measured"}))'
    whole = truth["chunk"].sum() + truth["embed"].sum() + 60
    assert stack.prometheus.query(f"sum({items}) / {run}").value == pytest.approx(3000 / whole)


@pytest.mark.row("A12")
def test_the_shares_of_phases_add_up_to_the_run(measured, stack, truth):
    """With what was spent outside of them; the report of the run says the same."""
    spent = f"sum by (llmon_phase) (histogram_sum({TOOK}))"
    run = 'sum(histogram_sum(llmon_pipeline_duration_seconds{service_name="measured"}))'
    shares = by(stack, "llmon_phase", f"{spent} / scalar({run})")
    outside = 60 / stack.prometheus.query(run).value
    assert sum(shares.values()) + outside == pytest.approx(1)
    assert measured["outside"] == pytest.approx(outside)
    assert shares == {name: pytest.approx(share) for name, share in measured["shares"].items()}
    assert shares["embed"] == pytest.approx(truth["embed"].sum() / (60 + truth["chunk"].sum() + truth["embed"].sum()))


@pytest.mark.row("E15")
def test_what_a_program_reads_of_its_phases_is_what_prometheus_has(measured, stack):
    """Count, mean, documents a second, errors by class and their rate: by the queries of docs/phases.md."""
    for name, said in measured["summaries"].items():
        here = f'service_name="measured",llmon_phase="{name}",llmon_pipeline="papers"'
        ended = f"sum(histogram_count(llmon_phase_duration_seconds{{{here}}}))"
        took = f"sum(histogram_sum(llmon_phase_duration_seconds{{{here}}}))"
        errors = f"llmon_phase_errors_total{{{here}}}"
        found = {
            "count": stack.prometheus.query(ended).value,
            "seconds": stack.prometheus.query(took).value,
            "mean": stack.prometheus.query(f"{took} / {ended}").value,
            "rate": stack.prometheus.query(f"sum(llmon_pipeline_items_total{{{here}}}) / {took}").value,
            "error_rate": stack.prometheus.query(f"sum({errors}) / {ended}").value,
        }
        errors_said = said.pop("errors")
        assert found == pytest.approx(said, rel=1e-12)
        assert by(stack, "error_type", errors) == errors_said == {"TimeoutError": 5, "ValueError": 5}
        assert said["error_rate"] == 0.02
    assert set(measured["summaries"]) == {"chunk", "embed"}


@pytest.mark.row("B10")
@pytest.mark.parametrize("name", ["awaited", "plain", "generated"])
def test_a_decorated_function_is_timed_to_its_end(measured, stack, name):
    """A coroutine over its waits, a generator over its steps."""
    took = f'sum(histogram_sum(llmon_phase_duration_seconds{{service_name="measured",llmon_phase="{name}"}}))'
    assert stack.prometheus.query(took).value == pytest.approx(0.2)


@pytest.mark.row("B7")
def test_names_without_bound_are_bounded_in_prometheus(stack, tmp_path):
    """Three thousand names are a thousand series and one that holds the rest; one line says so."""
    done = ran(stack, tmp_path, "names", NAMES, OTEL_LLMON_LEVEL="basic")
    series = 'llmon_phase_duration_seconds_count{service_name="names"}'
    assert until(lambda: stack.prometheus.query(f"sum({series})").value == 3000)
    assert stack.prometheus.query(f"count({series})").value == 1001
    overflow = 'llmon_phase_duration_seconds_count{service_name="names",otel_metric_overflow="true"}'
    assert stack.prometheus.query(overflow).value == 2000
    assert done.stderr.count("llmon.phase.duration: more than 1000 attribute sets") == 1
    warned = '{service_name="names"} |= "llmon.phase.duration: more than 1000 attribute sets"'
    assert len(until(lambda: stack.loki.lines(warned))) == 1
