"""A loop's progress: what is done, of how many, and whether it still runs."""

from __future__ import annotations

import gc

import pytest

from otel_llmon import phase, pipeline, progress, telemetry

ITEMS, TOTAL, STATE = "llmon.progress.items", "llmon.progress.total", "llmon.progress.state"
DOCUMENTS = {"llmon.operation": "documents"}


def states(recorder) -> dict[str, float]:
    """The state series of the loop named documents."""
    return {point.attributes["llmon.state"]: point.value for point in recorder.points()[STATE]}


def done(recorder, **more) -> float | None:
    """How many items are reported as done."""
    return recorder.value(ITEMS, {**DOCUMENTS, "llmon.outcome": "completed", **more})


def test_a_loop_counts_what_it_has_dealt_with(recorder):
    """An item counts when the loop asks for the next one; the total is there from the start."""
    seen = []
    for item in progress(["a", "b", "c"], "documents"):
        assert done(recorder) == len(seen)
        assert recorder.value(TOTAL, DOCUMENTS) == 3
        assert states(recorder) == {"running": 1, "finished": 0, "stopped": 0}
        seen.append(item)
    assert seen == ["a", "b", "c"]
    assert done(recorder) == 3
    assert states(recorder) == {"running": 0, "finished": 1, "stopped": 0}


@pytest.mark.parametrize("how", ["break", "error", "garbage"])
def test_a_loop_that_is_left_early_reads_stopped(recorder, how):
    """It must not look as if it still ran."""

    def leave() -> None:
        for number in progress(range(10), "documents"):
            if number == 4:
                if how == "error":
                    raise RuntimeError
                break

    if how == "garbage":
        iterator = iter(progress(range(10), "documents"))
        for _ in range(5):
            next(iterator)
        del iterator
        gc.collect()
    elif how == "error":
        with pytest.raises(RuntimeError):
            leave()
    else:
        leave()
    assert states(recorder) == {"running": 0, "finished": 0, "stopped": 1}
    assert done(recorder) == 4


def test_items_that_raise_stop_the_loop_with_their_own_error(recorder):
    """The source's exception passes unchanged."""

    def items():
        yield 1
        raise KeyError("source")

    with pytest.raises(KeyError, match="source"):
        list(progress(items(), "documents"))
    assert states(recorder)["stopped"] == 1
    assert done(recorder) == 1


def test_a_total_that_nobody_knows_is_absent(recorder):
    """No length, no total, never a zero; one that is given is taken."""
    list(progress((n for n in range(3)), "documents"))
    assert TOTAL not in recorder.points()
    list(progress((n for n in range(3)), "documents", total=3))
    assert recorder.value(TOTAL, DOCUMENTS) == 3


def test_a_loop_within_a_phase_carries_its_names(recorder):
    """The metric says where the loop runs, and the loop makes no span of its own."""
    with pipeline("ingest"), phase("embed"):
        list(progress(range(3), "documents"))
    assert done(recorder, **{"llmon.phase": "embed", "llmon.pipeline": "ingest"}) == 3
    assert set(recorder.spans()) == {"ingest", "embed"}


def test_loops_of_one_name_add_up(recorder):
    """The counter goes on; total and state are those of the newest loop."""
    list(progress(range(3), "documents"))
    list(progress(range(4), "documents"))
    assert done(recorder) == 7
    assert recorder.value(TOTAL, DOCUMENTS) == 4


def test_a_progress_has_a_length_where_its_items_have_one():
    """len() works as on the items; without one the error says what to give."""
    assert len(progress([1, 2], "documents")) == 2
    with pytest.raises(TypeError, match="give total="):
        len(progress(iter([1]), "documents"))


def test_level_disabled_hands_out_the_items_own_iterator(recorder):
    """Nothing is counted and nothing is in between."""
    telemetry.state.level = telemetry.DISABLED
    assert list(progress([1, 2], "documents")) == [1, 2]
    assert type(iter(progress([1, 2], "documents"))) is type(iter([]))
    telemetry.state.level = telemetry.DETAILED
    assert ITEMS not in recorder.points()
