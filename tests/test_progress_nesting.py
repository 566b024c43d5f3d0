"""Loops beside and within each other: which is whose part, and that many of them cost no more than each by itself."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import sys
from typing import Self

import pytest

from otel_llmon import progress
from otel_llmon.progress import reporting

STATE = "llmon.progress.state"


class Calls:
    """How many functions this thread calls while it is entered; other tasks have their turns too."""

    count = 0

    def __enter__(self) -> Self:
        sys.setprofile(self._called)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)

    def _called(self, _frame, event, _argument) -> None:
        self.count += event == "call"


def names(recorder) -> set[str]:
    """The operations that are told of."""
    return {point.attributes["llmon.operation"] for point in recorder.points()[STATE]}


def side_by_side(many, kind=range) -> list:
    """Iterators of so many loops, each with an item at hand; their loops last as long as they do."""
    loops = [iter(progress(kind(10), f"shard-{number}")) for number in range(many)]
    for _ in zip(*loops, strict=True):
        break
    return loops


@pytest.mark.parametrize("kind", [range, lambda size: (number for number in range(size))])
def test_loops_in_a_zip_stand_beside_each_other(recorder, kind):
    """What was begun before the other one handed anything out is not within it, but where that is."""
    outer = progress(range(2), "epochs")
    for _ in outer:
        for _ in zip(progress(kind(3), "left"), progress(kind(3), "right"), strict=True):
            assert [each.name for each in outer._shot().below] == ["left", "right"]
            assert all(not each.below for each in outer._shot().below)


def test_a_loop_after_others_that_are_over_is_within_the_one_around(recorder):
    """However many came before it."""
    outer = progress(range(200), "epochs")
    for number in outer:
        for _ in progress(range(2), "batches"):
            if number == 199:
                assert [each.name for each in outer._shot().below] == ["batches"]


def test_a_loop_of_another_task_is_not_within_ours(recorder):
    """Tasks take turns in one thread."""

    async def pages(name) -> tuple:
        outer = progress(range(2), name)
        for _ in outer:
            await asyncio.sleep(0)
            for _ in progress(range(2), f"{name} within"):
                await asyncio.sleep(0)
                found = outer._shot().below
        return tuple(each.name for each in found)

    async def run() -> list:
        return await asyncio.gather(pages("a"), pages("b"))

    assert asyncio.run(run()) == [("a within",), ("b within",)]


def merged(many) -> list:
    """The same, where each has an item at hand before the next one is begun."""
    loops = heapq.merge(*(progress(range(10), f"shard-{number}") for number in range(many)))
    next(loops)
    return [loops]


@pytest.mark.parametrize("begin", [side_by_side, merged])
def test_loops_side_by_side_cost_a_collection_what_each_costs(recorder, caplog, begin):
    """Twice as many are twice the work, and none of it recurses."""

    def collected(many) -> int:
        loops = begin(many)
        recorder.points()
        with Calls() as calls:
            recorder.points()
        assert len(reporting._live) == many
        loops.clear()
        recorder.points()
        return calls.count

    assert collected(200) < 3 * collected(100)
    assert "not told" not in caplog.text


def test_a_tree_has_a_bottom(recorder):
    """What recurses with a bar on each level ends in one series, and not in one for each level."""
    with contextlib.ExitStack() as stack:
        for _ in range(100):
            stack.enter_context(progress(total=2, name="walk"))
        found = names(recorder)
    assert max(found, key=len) == "/".join(["walk"] * reporting.DEEPEST)
    assert len(found) == reporting.DEEPEST


def test_beginning_a_loop_costs_the_same_beside_any_number_of_others(recorder):
    """As in a server whose tasks have one each."""

    async def one(begun) -> None:
        for _ in progress(range(2), "pages"):
            await begun.wait()

    async def begin(many) -> int:
        begun = asyncio.Event()
        tasks = [asyncio.ensure_future(one(begun)) for _ in range(many)]
        with Calls() as calls:
            await asyncio.sleep(0)
        assert len(reporting._live) == many
        begun.set()
        await asyncio.gather(*tasks)
        recorder.points()
        return calls.count

    assert asyncio.run(begin(1_000)) < 3 * asyncio.run(begin(500))


@pytest.mark.parametrize("how", ["cancelled", "stopped", "failed", "waiting"])
def test_a_job_of_which_a_part_was_not_done_is_not_finished(recorder, how):
    """Its parts are all there is of it."""
    with progress(name="job") as job:
        part = progress(total=10, name="first", within=job)
        if how == "failed":
            with contextlib.suppress(ValueError), part:
                raise ValueError
        elif how != "waiting":
            part.update(5)
            part.cancel() if how == "cancelled" else part.close()
        progress(total=10, name="second", within=job).update(10)
    assert part.state == how
    assert (job.state, job.finished) == ("stopped", False)
    assert recorder.value(STATE, {"llmon.operation": "job", "llmon.state": "stopped"}) == 1


def test_parts_that_weigh_nothing_weigh_alike(recorder):
    """A job is not at its end while its only part is at half of it."""
    with progress(name="job") as job:
        pages = progress(total=10, name="pages", within=job, weight=0)
        empty = progress([], "empty", within=job)
        pages.update(5)
        assert list(empty) == []
        assert (job.n, job.total, job.state) == (1.5, 2, "running")
        pages.update(5)
        assert job.finished
    assert job.state == "finished"


def test_any_number_of_parts_may_be_under_way_at_once(recorder):
    """Each counts to its end, and those that are over are kept as a sum."""
    with progress(name="job") as job:
        for _ in range(3):
            parts = [progress(total=10, name="part", within=job) for _ in range(100)]
            for part in parts:
                part.update(10)
                part.close()
        assert (job.n, job.total) == (3_000, 3_000)
    assert job.state == "finished"
