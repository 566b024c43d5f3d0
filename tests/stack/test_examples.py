"""The examples that people take as a pattern, as the real servers tell of them."""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path

import pytest
from servers import until

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def ran(program, stack):
    """A function that runs an example to its end, and returns what it printed."""

    def ran(name, *arguments, **environ):
        command = [sys.executable, str(EXAMPLES / name), *arguments]
        with program.start(command, **stack.environ, **environ) as process:
            out, err = process.communicate(timeout=90)
        assert process.returncode == 0, err
        return out

    return ran


@pytest.fixture
def ask(stack):
    """A function that asks Prometheus for one number."""
    return lambda query: stack.prometheus.query(query).value


def traced(stack, service, spans):
    """Return the one trace of a service, once all of it is there."""
    now = time.time()
    [found] = until(lambda: stack.jaeger.find(service, start=now - 600, end=now + 60))
    return until(lambda: (trace := stack.jaeger.trace(found.trace_id)) and len(trace.spans) == spans and trace)


@pytest.mark.row("M5", "M8", "M11")
def test_the_workers_are_one_trace_and_their_sums_the_work(stack, ran, ask):
    """Jaeger has one trace of five processes; Prometheus adds up, over three ranks, the words that were printed."""
    out = ran("distributed.py")
    printed = int(out.split()[0].replace(",", ""))
    trace = traced(stack, "words", 2 * 24 + 4)
    assert {span.resource["service.instance.id"] for span in trace.named("chapter")} == {
        trace.root.resource["service.instance.id"]
    }
    handed_out = {span.span_id for span in trace.named("chapter")}
    assert {span.parent_id for span in trace.named("count")} == handed_out
    assert {str(span.resource["llmon.rank"]) for span in trace.named("count")} == {"0", "1", "2"}
    assert len({span.resource["service.instance.id"] for span in trace.spans}) == 5
    assert trace.named("sort")[0].parent_id == trace.named("top")[0].span_id
    words = 'llmon_pipeline_items_total{service_name="words",llmon_items="words"}'
    assert until(lambda: ask(f"sum({words})") == printed)
    assert ask(f"count(sum by (llmon_rank) ({words}))") == 3
    books = 'llmon_progress_items_total{service_name="words",llmon_operation=~"library/.*"}'
    assert until(lambda: ask(f"sum({books})") == 24)


@pytest.mark.row("M7")
def test_of_a_worker_that_died_what_it_did_with_others_remains(stack, ran, ask):
    """Its chapter failed once and was done once; the loop of the one who handed out has all of them."""
    settings = {"OTEL_SERVICE_NAME": "dying"}
    ran("distributed.py", "--die", **settings)
    errors = 'llmon_phase_errors_total{service_name="dying",llmon_phase="chapter"}'
    assert until(lambda: ask(f'sum({errors.replace("}", ",error_type=")}"ChildProcessError"}})') == 1)
    assert ask('sum(llmon_progress_items_total{service_name="dying"})') == 24
    done = 'llmon_phase_duration_seconds_count{service_name="dying",llmon_phase="chapter",llmon_outcome="success"}'
    assert ask(f"sum({done})") == 24
    [line] = until(lambda: stack.loki.lines('{service_name="dying"} |= "ended with -9"'))
    trace = until(lambda: stack.jaeger.trace(line.trace_id))
    [failed] = [span for span in trace.named("chapter") if span.status == "error"]
    [again] = [span for span in trace.named("chapter") if span.links]
    assert again.links[0].span_id == failed.span_id


@pytest.mark.row("F8")
def test_the_batch_jobs_table_is_what_prometheus_has(stack, ran, ask):
    """Chunks, failures, tokens, retries and the cost of 1,000 chunks, as printed."""
    out = ran("batch_embedding.py", OTEL_LLMON_PRICES=json.dumps({"cpu_hour": 36_000}), COLUMNS="100")
    of = 'service_name="embedding"'
    chunks, tokens = re.search(r"([\d,]+) chunks of .* ([\d,]+) tokens", out).groups()
    done = f'sum(llmon_progress_items_total{{{of},llmon_outcome="completed"}})'
    assert until(lambda: ask(done) == float(chunks.replace(",", "")))
    assert ask(f'sum(llmon_progress_items_total{{{of},llmon_outcome="failed"}})') == 64
    assert ask(f"sum(llmon_progress_tokens_total{{{of}}})") == float(tokens.replace(",", ""))
    attempts, failed = re.search(r"│ embed +│ (\d+) +│ (\d+)", out).groups()
    assert ask(f'sum(llmon_phase_duration_seconds_count{{{of},llmon_phase="embed"}})') == float(attempts)
    assert ask(f'sum(llmon_phase_errors_total{{{of},llmon_phase="embed"}})') == float(failed)
    dollars = float(re.search(r"([\d.]+) dollars for 1,000 chunks", out)[1])
    assert ask(f"1000 * sum(llmon_cost_total{{{of}}}) / {done}") == pytest.approx(dollars, rel=1e-4)
    trace = traced(stack, "embedding", 122)
    assert len([span for span in trace.named("embed") if span.links]) == 11
    assert len(until(lambda: stack.loki.lines(f'{{{of}}} |= "checkpoint.saved"'))) == 35


def test_the_shift_of_the_loans_is_seen_in_prometheus(stack, ran, ask):
    """The incomes' score was low, leapt and is low again; the evidence has grown; what came of it is an event."""
    out = ran("drift.py")
    evidence = [float(found) for found in re.findall(r"evidence +(-?[\d.]+)", out)]
    of = 'llmon_model="loans",llmon_model_version="1"'
    income = f'llmon_drift_score{{{of},llmon_feature="income",llmon_method="wasserstein"}}'
    town = f'llmon_drift_score{{{of},llmon_feature="town",llmon_method="psi"}}'
    told = f'llmon_drift_evidence{{{of},llmon_feature=""}}'
    assert until(lambda: ask(f"max_over_time({told}[5m])")) == pytest.approx(max(evidence), abs=0.1)
    assert ask(told) == pytest.approx(evidence[-1], abs=0.1)
    assert ask(f"min_over_time({income}[5m])") < 0.1
    assert 0.7 < ask(f"max_over_time({income}[5m])") < 1.0
    assert ask(f"max_over_time({town}[5m])") < 0.02
    assert ask(f'sum(llmon_drift_bin_rows_total{{{of},llmon_feature="age",llmon_bin_next=""}})') == 12_000
    state = f'llmon_drift_state{{{of},llmon_feature="income",llmon_state="missing"}}'
    assert ask(f"max_over_time({state}[5m])") == 1
    [begun] = until(lambda: stack.loki.lines('{service_name="loans"} |= "drift.detected"'))
    assert "income: drifted" in str(begun)
