"""A loop's progress: what is done, of how many, and whether it still runs."""

from __future__ import annotations

import asyncio
import gc
import itertools
from collections import deque

import pytest

from otel_llmon import phase, pipeline, progress, telemetry

ITEMS, TOTAL, STATE = "llmon.progress.items", "llmon.progress.total", "llmon.progress.state"
DONE = "llmon.progress.done"
DOCUMENTS = {"llmon.operation": "documents"}


def state(recorder, name="documents") -> str:
    """The one state of the loop of this name that is 1, of six series."""
    points = [point for point in recorder.points()[STATE] if point.attributes["llmon.operation"] == name]
    assert len(points) == 6
    [found] = [point.attributes["llmon.state"] for point in points if point.value]
    return found


def done(recorder, **more) -> float | None:
    """How many items are reported as done."""
    return recorder.value(ITEMS, {**DOCUMENTS, "llmon.outcome": "completed", **more})


def test_a_loop_counts_what_it_has_dealt_with(recorder):
    """An item counts when the loop asks for the next one; the total is there from the start."""
    seen = []
    for item in progress(["a", "b", "c"], "documents"):
        assert done(recorder) == len(seen)
        assert recorder.value(TOTAL, DOCUMENTS) == 3
        assert state(recorder) == "running"
        seen.append(item)
    assert seen == ["a", "b", "c"]
    assert done(recorder) == 3
    assert state(recorder) == "finished"


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
    assert state(recorder) == "stopped"
    assert done(recorder) == 4


def test_items_that_raise_stop_the_loop_with_their_own_error(recorder):
    """The source's exception passes unchanged."""

    def items():
        yield 1
        raise KeyError("source")

    with pytest.raises(KeyError, match="source"):
        list(progress(items(), "documents"))
    assert state(recorder) == "stopped"
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


KINDS = {
    "list": list,
    "tuple": tuple,
    "range": lambda items: range(len(items)),
    "generator": lambda items: (item for item in items),
    "deque": deque,
    "dict": dict.fromkeys,
    "iterator": iter,
    "every": list,
}


@pytest.fixture(params=KINDS)
def items(request):
    """Makes five items of each kind of collection; a list is looked at in slices too."""
    made = KINDS[request.param](list(range(5)))
    return (made, {"every": 2} if request.param == "every" else {})


def test_every_kind_of_items_counts_alike(recorder, items):
    """While an item is at hand it is not done; afterwards all are."""
    items, how = items
    seen = []
    for item in progress(items, "documents", **how):
        assert done(recorder) == len(seen)
        seen.append(item)
    assert seen == [0, 1, 2, 3, 4]
    assert done(recorder) == 5
    assert state(recorder) == "finished"


@pytest.mark.parametrize("last", [0, 2, 4])
def test_every_kind_of_items_may_be_left_at_any_of_them(recorder, items, last):
    """The item at which somebody leaves is not done, be it the last one; what is not taken stays there."""
    items, how = items
    for item in progress(items, "documents", **how):
        if item == last:
            break
    assert done(recorder) == last
    assert state(recorder) == "stopped"
    if iter(items) is items:
        assert list(items) == list(range(last + 1, 5))


def test_a_list_may_grow_and_shrink_in_the_loop(recorder):
    """What is put at its end is gone over too, as without us."""
    documents = [3]
    for number in progress(documents, "documents"):
        documents.extend([number - 1] * (number > 0))
    assert documents == [3, 2, 1, 0]
    assert done(recorder) == 4
    for _ in progress(documents, "documents"):
        documents.pop()
    assert done(recorder) == 6


def test_a_list_that_changes_afterwards_changes_nothing(recorder):
    """The count is taken when the loop ends, not when somebody collects."""
    documents = [1, 2, 3]
    list(progress(documents, "documents"))
    documents.clear()
    assert done(recorder) == 3


def test_a_loop_lets_go_of_its_items():
    """Left early, a generator is closed at once, as without us; what is over holds nothing."""
    closed = []

    def items():
        try:
            yield from range(5)
        finally:
            closed.append(True)

    for _ in progress(items(), "documents"):
        break
    assert closed == [True]


def test_a_loop_can_be_iterated_asynchronously(recorder):
    """Items count as in a plain loop, and leaving early stops it."""

    async def items():
        for number in range(3):
            yield number

    async def run():
        seen = [number async for number in progress(items(), "documents", total=3)]
        assert state(recorder) == "finished"
        async for number in progress(items(), "documents", total=3):
            if number == 1:
                break
        return seen

    assert asyncio.run(run()) == [0, 1, 2]
    assert done(recorder) == 4
    assert state(recorder) == "stopped"


def test_the_wrong_for_says_which_is_right():
    """A coroutine's items need `async for`, others a plain one."""

    async def items():
        yield 1

    with pytest.raises(TypeError, match="go over them with `async for`"):
        iter(progress(items(), "documents"))
    with pytest.raises(TypeError, match="go over them with `for`"):
        aiter(progress([1], "documents"))
    with pytest.raises(TypeError, match="has no items to go over; give some, or call update"):
        iter(progress(total=3, name="documents"))


def test_a_loop_without_a_name_has_that_of_its_function(recorder):
    """As people write it who come from tqdm; a module's is its file's."""

    def ingest() -> None:
        for _ in progress(range(2)):
            pass

    ingest()
    assert recorder.value(ITEMS, {"llmon.operation": "ingest", "llmon.outcome": "completed"}) == 2
    exec(compile("list(progress([1]))", "/somewhere/crawl.py", "exec"), {"progress": progress})
    assert recorder.value(ITEMS, {"llmon.operation": "crawl", "llmon.outcome": "completed"}) == 1


def test_level_disabled_exports_nothing_and_counts_on(recorder):
    """A program may rely on its counts whatever somebody sets."""
    telemetry.state.level = telemetry.DISABLED
    with progress([1, 2], "documents") as loop:
        assert list(loop) == [1, 2]
    assert loop.n == 2
    telemetry.state.level = telemetry.DETAILED
    assert ITEMS not in recorder.points()
    assert not recorder.spans()


def test_what_an_earlier_run_did_is_counted_on_but_not_again(recorder):
    """The counter has what this process did; done and the rest are of the whole job."""
    with progress(range(6, 10), "documents", total=10, initial=6) as loop:
        assert loop.n == 6
        list(loop)
    assert done(recorder) == 4
    assert recorder.value(DONE, DOCUMENTS) == 10
    assert loop.finished


def test_one_with_may_hold_many_rounds(recorder):
    """Iterated again in the same `with`, the loop goes on counting."""
    with progress(range(3), "documents", total=6) as loop:
        for _ in range(2):
            list(loop)
    assert done(recorder) == 6
    assert loop.finished


def test_an_object_that_is_used_again_counts_as_a_loop_of_its_own(recorder, caplog):
    """With a warning; so does one that is gone over while it is gone over."""
    loop = progress(range(3), "documents")
    assert list(itertools.chain(loop, loop)) == [0, 1, 2] * 2
    assert "is used again: it counts as a loop of its own" in caplog.text
    assert done(recorder) == 6
    for _ in loop:
        assert list(loop) == [0, 1, 2]
        break
    assert done(recorder) == 9


def test_items_that_cannot_be_gone_over_are_an_error_at_the_call():
    """With the way out, where it is plain."""
    with pytest.raises(TypeError, match="found 5, expected items to go over; for a number of steps give total=5"):
        progress(5, "documents")
    with pytest.raises(TypeError, match="name=5: expected text"):
        progress([1], 5)
