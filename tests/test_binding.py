"""What is bound goes on log records, events and phases' spans, never on metrics, and stays where it was bound."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import baggage
from opentelemetry.context import attach, detach
from opentelemetry.propagate import extract, inject
from sink import attributes

from otel_llmon import bind, bridging, event, phase, pipeline, telemetry
from otel_llmon.context import MOST, bound


@pytest.fixture(autouse=True)
def alone():
    """Whatever a test binds for the rest of its context ends with it."""
    with bind({}):
        yield


@pytest.fixture
def allowed(monkeypatch):
    """The keys `request` and `tenant` may travel."""
    monkeypatch.setattr(telemetry.state, "baggage_keys", ("request", "tenant"))


def fields(recorder):
    """The attributes of each log record."""
    return [dict(record.attributes) for record in recorder.logs()]


def test_bound_fields_go_on_events_until_the_block_ends(llmon_recorder):
    """An event's own field wins over one that is bound."""
    with bind({"request": "a", "step": 0}):
        event("x", {"step": 3})
        with bind({"tenant": "b"}):
            event("x")
        event("x")
    event("x")
    assert fields(llmon_recorder) == [
        {"request": "a", "step": 3},
        {"request": "a", "step": 0, "tenant": "b"},
        {"request": "a", "step": 0},
        {},
    ]


def test_a_plain_call_binds_for_the_rest_of_the_context(llmon_recorder):
    """Until it is bound anew, taken off with None, or the block around it ends."""
    with bind({"job": 1}):
        bind({"request": "a"})
        event("x")
        bind({"request": "b"})
        event("x")
        bind({"request": None})
        event("x")
    event("x")
    assert fields(llmon_recorder) == [{"job": 1, "request": "a"}, {"job": 1, "request": "b"}, {"job": 1}, {}]


def test_a_binding_may_be_kept_and_used_again():
    """It binds when it is made and at each entry after its end; ending it twice changes nothing."""
    with bind({}):
        again = bind({"request": "a"})
        assert bound() == {"request": "a"}
        with again:
            assert bound() == {"request": "a"}
        assert bound() == {}
        again.__exit__(None, None, None)
        with again:
            assert bound() == {"request": "a"}
        assert bound() == {}


def test_tasks_and_threads_keep_their_fields_to_themselves(llmon_recorder):
    """Two requests that are served at the same time are not mixed; a copied context takes its fields along."""

    async def serve(request):
        bind({"request": request})
        for _ in range(3):
            await asyncio.sleep(0)
            event("x", {"of": request})

    async def both():
        await asyncio.gather(serve("a"), serve("b"))

    asyncio.run(both())
    with bind({"request": "c"}):
        plain = threading.Thread(target=event, args=("x", {"of": None}))
        copied = threading.Thread(target=contextvars.copy_context().run, args=(event, "x", {"of": "c"}))
        for thread in (plain, copied):
            thread.start()
            thread.join()
    found = fields(llmon_recorder)
    assert len(found) == 8
    assert all(each.get("of") == each.get("request") for each in found)


def test_phases_spans_carry_them_and_metrics_do_not(llmon_recorder):
    """A phase's own facts and attributes win."""
    with bind({"request": "a", "shard": 0, "llmon.phase": "mine"}), pipeline("p"), phase("embed", {"shard": 3}):
        pass
    spans = llmon_recorder.spans()
    assert dict(spans["embed"].attributes) == {
        "request": "a",
        "shard": 3,
        "llmon.phase": "embed",
        "llmon.pipeline": "p",
    }
    assert spans["p"].attributes["request"] == "a"
    for points in llmon_recorder.points().values():
        assert all("request" not in point.attributes for point in points)


def test_what_is_bound_in_a_phase_outlives_it(llmon_recorder):
    """At every level alike: a phase is no border."""
    for level in (telemetry.BASIC, telemetry.DETAILED):
        telemetry.state.level = level
        with bind({}):
            with phase("x"):
                bind({"request": "a"})
            assert bound() == {"request": "a"}


def test_an_abandoned_generator_does_no_harm():
    """Its block ends in another context than it began in."""

    def generator():
        with bind({"request": "a"}):
            yield

    left = generator()
    contextvars.copy_context().run(next, left)
    left.close()
    assert bound() == {}


@pytest.mark.parametrize("wrong", [None, "request", 3, ["a"], {"a"}])
def test_what_is_no_mapping_binds_nothing_and_is_told(wrong, caplog):
    """The caller's work goes on."""
    with bind(wrong):
        assert bound() == {}
    assert ("expected a mapping" in caplog.text) == (wrong is not None)


def test_fields_without_end_are_cut(caplog):
    """What is bound goes on every record."""
    with bind({"first": 0}):
        for number in range(2 * MOST):
            bind({f"k{number}": number})
        assert len(bound()) == MOST
        assert bound()["first"] == 0
    assert caplog.text.count("the newest are left out") == 1


@given(
    st.lists(
        st.dictionaries(st.sampled_from("abc"), st.none() | st.integers() | st.text() | st.lists(st.integers())),
        max_size=4,
    )
)
def test_whatever_is_bound_in_blocks_is_as_it_was_after_them(nested):
    """Every block gives back what there was, and inside it the innermost value holds."""
    entered = []
    for each in nested:
        before = dict(bound())
        binding = bind(each)
        entered.append((binding, before))
        for name, value in each.items():
            assert (name in bound()) == (value is not None)
    for binding, before in reversed(entered):
        binding.__exit__(None, None, None)
        assert bound() == before


def test_allowed_keys_are_handed_on_and_others_are_not(allowed):
    """As W3C baggage, which OpenTelemetry's instrumentations send along."""
    with bind({"request": "ä b", "secret": "s", "tenant": 3}):
        headers = {}
        inject(headers)
        assert "secret" not in headers["baggage"]
        assert baggage.get_all() == {"request": "ä b", "tenant": "3"}
        with bind({"request": None}):
            assert baggage.get_all() == {"tenant": "3"}
        assert baggage.get_all()["request"] == "ä b"
    assert baggage.get_all() == {}
    assert dict(baggage.get_all(extract(headers))) == {"request": "ä b", "tenant": "3"}


def test_without_the_setting_nothing_is_handed_on():
    """Whoever is called may be anybody."""
    with bind({"request": "a"}):
        headers = {}
        inject(headers)
        assert "baggage" not in headers


def test_allowed_baggage_that_came_goes_on_records_and_spans(allowed, llmon_recorder):
    """What is bound here wins; keys that nobody allowed stay out."""
    token = attach(extract({"baggage": "request=a,tenant=theirs,evil=x"}))
    with bind({"tenant": "ours"}):
        event("x")
        with phase("serve"):
            pass
    detach(token)
    assert fields(llmon_recorder) == [{"request": "a", "tenant": "ours"}]
    assert llmon_recorder.spans()["serve"].attributes["request"] == "a"
    assert "evil" not in llmon_recorder.spans()["serve"].attributes


def test_lines_of_the_program_carry_them_too(llmon_recorder):
    """Fields by `extra=` win."""
    bridging.bridge_logging()
    try:
        with bind({"request": "a", "step": 1}):
            logging.getLogger("app").warning("x", extra={"step": 2})
    finally:
        bridging.unbridge_logging()
    [found] = fields(llmon_recorder)
    assert (found["request"], found["step"]) == ("a", 2)


@pytest.mark.parametrize("ours", [False, True])
def test_under_opentelemetry_instrument_lines_carry_what_is_bound(program, sink, ours):
    """Whether OpenTelemetry's own handler sends them or our bridge, and each once."""
    done = program(
        """
        import logging
        from otel_llmon import bind

        with bind({"request": "a"}):
            logging.getLogger("app").warning("x")
        """,
        instrumented=True,
        OTEL_PYTHON_DISABLED_INSTRUMENTATIONS="logging" if ours else "",
    )
    assert (done.returncode, done.stderr) == (0, "x\n")
    [record] = sink.logs()
    assert attributes(record)["request"] == "a"
