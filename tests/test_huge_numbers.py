"""Numbers that no float can hold: whoever is handed one refuses it, says so once, and goes on."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys

import pytest

from otel_llmon import phase, progress, training
from otel_llmon.metering import values
from otel_llmon.progress import reporting
from otel_llmon.scores.eta import Estimator, EtaError

DONE, ITEMS, TOKENS = "llmon.progress.done", "llmon.progress.items", "llmon.progress.tokens"
ERRORS = "llmon.self.errors"
DOCS = {"llmon.phase": "read", "llmon.items": "docs"}
DOCUMENTS = {"llmon.operation": "documents"}
COMPLETED = DOCUMENTS | {"llmon.outcome": "completed"}
HUGE = [10**400, 10**5000, 2**63 + 1, 1e300]
"""More than a float holds, more than Python writes out, and more than anybody counts."""


def said(caplog) -> str:
    """The one warning, written out as a handler would do it."""
    [record] = caplog.records
    assert record.levelname == "WARNING"
    return record.getMessage()


@pytest.mark.parametrize("huge", HUGE, ids=values.shown)
@pytest.mark.parametrize("outcome", ["completed", "failed", "skipped"])
def test_a_huge_step_is_not_counted(recorder, caplog, huge, outcome):
    """Those before and after it are, and the loop ends as any other."""
    with progress(total=10, name="documents") as loop:
        loop.update(4)
        loop.update(huge, outcome)
        loop.update(huge, outcome)
        loop.update(6)
        assert (loop.n, loop.eta, loop.state) == (10, 0, "finished")
    assert recorder.value(ITEMS, COMPLETED) == 10
    assert "expected 2**63 at most; not counted" in said(caplog)


@pytest.mark.parametrize("huge", HUGE, ids=values.shown)
def test_huge_tokens_are_not_counted(recorder, caplog, huge):
    """Nor do they spoil those that come as a fraction later on."""
    with progress(total=3, name="documents") as loop:
        loop.update(tokens=huge)
        loop.update(tokens=1.5)
        loop.update()
        assert (loop.n, loop.tokens) == (3, 1.5)
    assert recorder.value(TOKENS, DOCUMENTS) == 1.5
    assert "tokens=" in said(caplog)


def test_the_largest_step_is_counted(recorder, caplog):
    """As often as somebody likes."""
    with progress(name="documents") as loop:
        loop.update(2**63)
        loop.update(2**63)
        loop.update(0.5)
        assert loop.n == 2.0**64
    assert recorder.value(ITEMS, COMPLETED) == 2.0**64
    assert not caplog.records


@pytest.mark.parametrize("huge", HUGE, ids=values.shown)
def test_a_huge_total_is_not_known(recorder, caplog, huge):
    """Whenever it is given."""
    with progress(total=huge, name="documents") as loop:
        loop.update()
        assert (loop.total, loop.eta, loop.n) == (None, None, 1)
        loop.total = huge
        loop.update()
        assert (loop.total, loop.remaining, str(loop)[:10]) == (None, None, "<progress ")
    assert recorder.value(DONE, DOCUMENTS) == 2
    assert "expected 2**63 at most; going on as if it were not known" in said(caplog)


@pytest.mark.parametrize("huge", HUGE, ids=values.shown)
def test_a_huge_initial_is_none(recorder, caplog, huge):
    """The loop begins at 0."""
    with progress(total=3, name="documents", initial=huge) as loop:
        loop.update(3)
        assert (loop.n, loop.state) == (3, "finished")
    assert "initial=" in said(caplog)


@pytest.mark.parametrize("huge", HUGE, ids=values.shown)
def test_a_huge_position_is_none(recorder, caplog, huge):
    """The loop stays where it is."""
    with progress(total=3, name="documents") as loop:
        loop.n = 2
        loop.n = huge
        assert (loop.n, recorder.value(DONE, DOCUMENTS)) == (2, 2)
    assert "n=" in caplog.records[0].getMessage()
    assert [record.getMessage() for record in caplog.records]


def test_a_huge_weight_and_rhythm_are_taken_for_others(recorder, caplog):
    """A rhythm that never comes is none."""
    with progress(name="documents"):
        with progress(total=2, name="pages", weight=10**5000, every=10**5000) as loop:
            loop.update(0.5)
            loop.update(1.5)
        assert loop.state == "finished"
    assert "weight=a number of 5001 digits" in said(caplog)


def test_a_message_tells_how_long_a_number_is(caplog):
    """It does not write it out."""
    progress(total=3, name="documents", initial=-(10**5000))
    assert "initial=a negative number of 5001 digits: expected 0 or more; going on from 0" in said(caplog)


@pytest.mark.parametrize(
    "call",
    [
        lambda: progress(10**5000),
        lambda: progress(name=10**5000),
        lambda: progress(name="documents").update(1, outcome=10**5000),
    ],
)
def test_a_huge_number_in_a_wrong_place_is_a_type_error(call):
    """As a small one is."""
    with pytest.raises(TypeError, match="a number of 5001 digits"):
        call()


RANGES = [range(2**63), range(2**62 + 9), range(0, -(2**64), -2), range(2**70), range(10**400)]


@pytest.mark.parametrize("items", RANGES, ids=["2**63", "2**62 + 9", "downwards", "2**70", "10**400"])
def test_a_huge_range_is_gone_over(recorder, caplog, items):
    """Its length is told as far as it can be counted."""
    loop = progress(items, "documents")
    with loop:
        assert list(itertools.islice(loop, 3)) == [items[0], items[1], items[2]]
    with pytest.raises(TypeError, match="documents"):
        len(progress(range(2**64), "documents"))
    size = (items[-1] - items[0]) // items.step + 1
    assert (loop.n, loop.state) == (2, "stopped"), "the third is at hand"
    assert loop.total == (size if size <= 2**63 else None)
    assert not caplog.records


def test_a_huge_range_can_be_cancelled(recorder):
    """It hands out hardly any more."""
    loop = progress(range(2**63), "documents")
    for seen in loop:
        if seen == 3:
            loop.cancel()
        assert seen < 5_000
    assert loop.state == "cancelled"


def test_a_list_is_made_of_what_has_a_huge_total(recorder):
    """`list` asks for a length first, and `len` goes no further than memory."""
    assert list(progress([1, 2], "documents", total=2**63)) == [1, 2]


def test_a_loop_that_cannot_be_told_of_hides_no_other(recorder, caplog):
    """Its failure is counted; it is forgotten when it is over."""

    class Odd:
        def __add__(self, _):
            raise ArithmeticError("of its own")

    bad = progress(total=10, name="bad")
    bad._loop.initial = Odd()  # no way leads there: it stands for what nobody thought of
    with progress(total=10, name="documents") as loop:
        loop.update(3)
        assert recorder.value(DONE, DOCUMENTS) == 3
        for _ in range(2 * reporting.CROWD):
            for _ in progress([1], "others"):
                pass
        assert recorder.value(ITEMS, {"llmon.operation": "documents/others", "llmon.outcome": "completed"}) == 128
        bad._loop.end("stopped")
    assert recorder.value(ERRORS, {"llmon.source": "progress"})
    assert not reporting._live
    assert "not told: ArithmeticError: of its own" in caplog.text


def test_things_are_counted_after_a_huge_number_of_them(recorder, caplog):
    """In a phase, on its span too."""
    with phase("read") as reading:
        reading.count("docs", 10**5000)
        reading.count("docs", 10**400)
        reading.count("docs", 1.5)
    assert recorder.value("llmon.pipeline.items", DOCS) == 1.5
    [span] = recorder.finished
    assert span.attributes["llmon.items.docs"] == 1.5
    assert "found a number of 5001 digits, expected a finite number" in said(caplog)


@pytest.mark.parametrize("large", [2**1000, 2.0**1000], ids=["int", "float"])
def test_the_sum_of_the_largest_numbers_can_be_read(recorder, large):
    """One that is refused leaves it as it is."""
    with phase("read") as reading:
        for number in (large, large, 1.5, 10**400):
            reading.count("docs", number)
    assert recorder.value("llmon.pipeline.items", DOCS) >= 2.0**1000


@pytest.mark.parametrize("huge", [10**5000, 10**400, float("nan"), float("inf")], ids=values.shown)
def test_an_epoch_of_no_number_is_the_next_one(recorder, caplog, huge):
    """As where a word is given."""
    with training("finetune") as run:
        with run.epoch(3):
            run.step(loss=1.0)
        with run.epoch(huge):
            run.step(loss=1.0)
            assert run.epoch_number == 4
        run.checkpoint(step=10**5000)
    assert "expected a number; it is the next one" in said(caplog)


def test_a_huge_loss_is_told_without_its_digits(recorder):
    """As the end of learning that it is."""
    with training("finetune") as run:
        run.step(loss=10**5000, samples=10**5000)
        run.step(loss=1.0, samples=1.5)
    assert recorder.value("llmon.training.samples", {"llmon.pipeline": "finetune", "llmon.split": "train"}) == 1.5


def test_an_estimate_of_huge_numbers_is_none():
    """A method of its own, or a profile, is refused where it is given."""
    estimator = Estimator(10**400)
    estimator.add(1.0, 10**400)
    estimator.add(2.0, 5)
    assert estimator.eta() is None
    for manner in ({"phases": [(10**5000, 1)]}, {"profile": {"items": 10**5000, "seconds": 1}}):
        with pytest.raises(EtaError, match="very many digits"):
            Estimator(3, **manner)


SHOWN = """
from otel_llmon import progress
with progress(total=10**5000, name="documents") as loop:
    for n in (10**5000, 1, 10**400, 1.5):
        loop.update(n)
print(loop.n)
"""


def test_a_program_that_is_handed_huge_numbers_goes_on():
    """With bars and handlers as they are in real life."""
    done = subprocess.run(
        [sys.executable, "-c", SHOWN],
        env=os.environ | {"LLMON_PROGRESS_BAR": "on"},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout == "2.5\n"
    assert "Traceback" not in done.stderr
    assert "Logging error" not in done.stderr
