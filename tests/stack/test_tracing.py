"""Traces as Jaeger has them: without set-up code, from other APIs too, sampled, and counted by the Collector."""

from __future__ import annotations

import json
import pstats
import time

import pytest
from servers import until

SPANS = """
    import cProfile, os
    import numpy
    import otel_llmon as llmon
    from opentelemetry import trace
    from otel_llmon import facts

    tracer = trace.get_tracer("app")

    class Scorer:
        def count_params(self):
            print("counted")
            return 1234

    @tracer.start_as_current_span("tokenize")
    def tokenize(texts):
        return numpy.zeros((len(texts), 16), numpy.int64)

    @llmon.phase("preprocess")
    def preprocess(texts):
        return tokenize(texts)

    known = facts.of_model(Scorer())
    for _ in range(2):
        with llmon.phase("inference", known):
            ids = preprocess(["a", "b", "c"])
            with llmon.phase("forward", facts.of_input(ids)) as forward:
                scores = ids.mean(axis=1, dtype=numpy.float32)
                forward.set(facts.of_output(scores))
            with llmon.phase("postprocess"):
                scores.tolist()

    with llmon.phase("profiled") as work:
        profile = cProfile.Profile()
        profile.runcall(tokenize, ["a"])
        profile.dump_stats("work.prof")
        work.set({"llmon.profile.file": os.path.abspath("work.prof")})

    def look(items):
        trace.get_current_span().add_event("looked", {"items": len(items)})

    with llmon.batch([1, 2, 3], "score", before=look, after=look):
        pass

    attempt = None
    for number in range(3):
        try:
            with llmon.phase("fetch", after=attempt) as attempt:
                if number < 2:
                    raise TimeoutError
        except TimeoutError:
            pass
"""
MANY = """
    import contextlib, time
    import otel_llmon as llmon
    from opentelemetry import trace

    llmon.configure("many-traces", observers=())
    for number in range(300):
        with contextlib.suppress(OSError), llmon.pipeline("serve"), llmon.phase("answer") as answer:
            if number % 10 == 0:
                raise OSError("no answer")
            if number % 50 == 1:
                answer.set({"llmon.keep": True})
    tracer, now = trace.get_tracer("app"), time.time_ns()
    for _ in range(5):
        tracer.start_span("slow", start_time=now - 40_000_000_000).end(now)
"""


def traces(stack, service, least=1, limit=1000):
    """All traces of a service, once there are at least so many."""
    now = time.time()

    def found():
        return stack.jaeger.find(service, start=now - 3600, end=now + 60, limit=limit)

    return until(lambda: len(them := found()) >= least and them)


@pytest.fixture(scope="module")
def spans(stack, tmp_path_factory):
    """The traces of a program that sets nothing up, by the names of their roots; and what it printed."""
    from processes import Program

    folder = tmp_path_factory.mktemp("spans")
    done = Program(folder, "")(SPANS, instrumented=True, OTEL_SERVICE_NAME="spans", **stack.environ)
    assert done.returncode == 0, done.stderr
    found = {}
    for trace in traces(stack, "spans", least=7):
        found.setdefault(trace.root.name, []).insert(0, trace)
    return found, done.stdout


@pytest.mark.row("X1")
@pytest.mark.row("X3")
@pytest.mark.row("X4")
def test_a_program_without_set_up_is_a_trace_two_deep(spans):
    """Under opentelemetry-instrument; by our decorator and by OpenTelemetry's own, in one tree."""
    found, _ = spans
    assert len(found["inference"]) == 2
    for trace in found["inference"]:
        names = {span.span_id: span.name for span in trace.spans}
        assert {span.name: names.get(span.parent_id) for span in trace.spans} == {
            "inference": None,
            "preprocess": "inference",
            "tokenize": "preprocess",
            "forward": "inference",
            "postprocess": "inference",
        }
        assert [span.name for span in trace.spans if span.parent_id == trace.root.span_id] == [
            "preprocess",
            "forward",
            "postprocess",
        ]


@pytest.mark.row("X5")
def test_shapes_types_and_parameters_are_on_the_spans(spans):
    """The model's parameters were counted once for both."""
    found, printed = spans
    assert printed.split() == ["counted"]
    for trace in found["inference"]:
        [forward] = trace.named("forward")
        assert (trace.root.attributes["llmon.model.type"], trace.root.attributes["llmon.model.parameters"]) == (
            "Scorer",
            1234,
        )
        shapes = {name: json.loads(forward.attributes[f"llmon.{name}.shape"]) for name in ("input", "output")}
        assert shapes == {"input": [3, 16], "output": [3]}
        assert (forward.attributes["llmon.input.type"], forward.attributes["llmon.output.type"]) == ("int64", "float32")


@pytest.mark.row("K8")
def test_a_profile_is_found_from_its_span(spans):
    """The file that the span names holds the function that ran."""
    found, _ = spans
    [trace] = found["profiled"]
    stats = pstats.Stats(trace.root.attributes["llmon.profile.file"])
    assert "tokenize" in {name for _, _, name in stats.stats}


@pytest.mark.row("B13")
def test_a_retry_leads_to_the_attempt_before(spans):
    """Each attempt is a trace of its own here, and Jaeger knows the way back."""
    found, _ = spans
    first, second, third = [trace.root for trace in found["fetch"]]
    assert [span.attributes.get("llmon.attempt") for span in (first, second, third)] == [None, 2, 3]
    assert [(link.trace_id, link.span_id) for link in (*first.links, *second.links, *third.links)] == [
        (first.trace_id, first.span_id),
        (second.trace_id, second.span_id),
    ]


def test_a_batch_is_a_span_with_its_items_and_what_its_hooks_said(spans):
    """Before the work and after it."""
    found, _ = spans
    [trace] = found["score"]
    assert trace.root.attributes["llmon.items.score"] == 3
    assert [(event.name, event.attributes) for event in trace.root.events] == [("looked", {"items": 3})] * 2


@pytest.mark.row("X2")
@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_both_ports_of_otlp_lead_to_jaeger(stack, program, protocol):
    """What took the place of Jaeger's agent on 6831: see docs/pipeline.md."""
    endpoint = stack.urls["otlp_grpc" if protocol == "grpc" else "otlp"]
    service = f"by-{protocol[:4]}"
    environ = {"OTEL_EXPORTER_OTLP_PROTOCOL": protocol, "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}
    source = "import otel_llmon\nwith otel_llmon.phase('moved'):\n    pass"
    done = program(source, instrumented=True, OTEL_SERVICE_NAME=service, **environ)
    assert done.returncode == 0, done.stderr
    [trace] = traces(stack, service)
    assert trace.root.name == "moved"


@pytest.mark.row("X6")
@pytest.mark.timeout(180)
def test_tail_sampling_keeps_every_error_and_metrics_know_of_all(servers, program):
    """Errors, slow ones and those that ask for it are all kept; of the rest a share, and of each trace the whole."""
    stack = servers(extras=("tail-sampling",), LLMON_TAIL_WAIT="3s")
    done = program(MANY, **stack.environ)
    assert done.returncode == 0, done.stderr
    spans = 'sum by (span_name) (traces_span_metrics_calls_total{service_name="many-traces"})'

    def counted():
        return {series.labels["span_name"]: series.value for series in stack.prometheus.query(spans)}

    assert until(lambda: counted() == {"serve": 300, "answer": 300, "slow": 5})
    ended = 'sum(llmon_pipeline_duration_seconds_count{service_name="many-traces"})'
    assert stack.prometheus.query(ended).value == 300

    def kept():
        """Errors, those that asked for it, slow ones, the rest, spans of each: what is decided on comes bit by bit."""
        found = traces(stack, "many-traces", least=30 + 6 + 5)
        served = [trace for trace in found if trace.root.name == "serve"]
        failed = sum(trace.root.status == "error" for trace in served)
        asked = sum(any("llmon.keep" in span.attributes for span in trace.named("answer")) for trace in served)
        rest = len(served) - failed - asked
        return failed, asked, len(found) - len(served), 0 < rest < 80, {len(trace.spans) for trace in served}

    assert until(lambda: kept() == (30, 6, 5, True, {2})), "of the other 264 a tenth"


@pytest.mark.row("X6")
def test_a_ratio_takes_whole_traces_and_leaves_metrics_alone(stack, program):
    """OpenTelemetry's own sampler, by its variables: a child goes with its parent."""
    sampler = {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.2"}
    done = program(MANY.replace("many-traces", "some-traces"), **stack.environ, **sampler)
    assert done.returncode == 0, done.stderr
    ended = 'sum(llmon_phase_duration_seconds_count{service_name="some-traces"})'
    assert until(lambda: stack.prometheus.query(ended).value == 300)
    served = [trace for trace in traces(stack, "some-traces", least=20) if trace.root.name == "serve"]
    assert 20 <= len(served) <= 120, "a fifth of 300"
    assert {len(trace.spans) for trace in served} == {2}
