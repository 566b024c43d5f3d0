"""What leaves the process of a prediction: what was asked for, of bounded size, and as plain values."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from uuid import UUID

import numpy as np
import pytest

from otel_llmon import ModelMonitor, Reference, telemetry

ROW = {"age": 37, "plan": "gold", "note": "call me at 555-1234", "since": date(2026, 1, 2)}


def records(recorder):
    """The records of predictions."""
    return [record for record in recorder.logs() if record.event_name == "llmon.prediction"]


def sent(recorder, **options):
    """The features that left of one prediction."""
    ModelMonitor("churn", **options).log(ROW, "yes")
    body = records(recorder)[-1].body
    return body["features"] if isinstance(body, dict) else None


def everything(recorder):
    """All that was exported, as text."""
    return repr([(record.body, dict(record.attributes or {})) for record in recorder.logs()]) + repr(recorder.points())


@pytest.mark.row("P12")
def test_no_feature_leaves_unless_asked_for(recorder):
    """Not in the record, not in a metric, not by its hash."""
    row = {"age": 987654321, "plan": "golden", "note": "call me at 555-1234", "since": date(2026, 1, 2)}
    monitor = ModelMonitor("churn")
    monitor.log(row, "yes")
    monitor.log_batch([row], ["yes"])
    said = everything(recorder)
    assert "churn" in said
    assert not [value for value in ("987654321", "golden", "555-1234", "2026-01-02") if value in said]


@pytest.mark.row("P12")
@pytest.mark.parametrize(
    "features",
    ["SECRET", ["SECRET"], [["SECRET"]], {"age": "SECRET"}, {"age": {"SECRET": 1}}, [{"age": 1}, "SECRET"], {"SECRET"}],
    ids=str,
)
def test_what_is_no_table_is_refused_without_what_it_says(recorder, caplog, features):
    """Its type says enough."""
    reference = Reference.fit({"age": np.arange(100.0), "pay": np.arange(100.0)})
    monitor = ModelMonitor("churn", reference=reference)
    monitor.log_batch(features, ["yes", "no"])
    monitor.log(features, "yes")
    assert "churn" in everything(recorder)
    assert "found " in caplog.text
    assert "SECRET" not in everything(recorder) + caplog.text


def test_texts_leave_by_their_own_names_only(recorder):
    """All others by True: numbers and moments, and what the reference knows as categories."""
    assert sent(recorder, send_features=True) == {"age": 37, "since": "2026-01-02"}
    assert sent(recorder, send_features=["age", "note"]) == {"age": 37, "note": "call me at 555-1234"}
    table = {"age": range(100), "plan": ["gold", "blue"] * 50, "note": [f"text {n}" for n in range(100)]}
    known = Reference.fit(table | {"since": range(100)})
    assert sent(recorder, send_features=True, reference=known) == {"age": 37, "plan": "gold", "since": "2026-01-02"}


@pytest.mark.row("P12")
def test_a_hashed_feature_is_alike_where_the_key_is(recorder):
    """And is not what anybody could compute without it."""
    one, same = (sent(recorder, hash_features=["note"], hash_key="a secret") for _ in range(2))
    other = sent(recorder, hash_features=["note"], hash_key="another one")
    random = sent(recorder, hash_features=["note"])
    assert one == same
    assert len({found["note"] for found in (one, other, random)}) == 3
    assert {len(found["note"]) for found in (one, other, random)} == {16}
    assert "555-1234" not in everything(recorder)


@pytest.mark.parametrize("label", ["Dear Mr Smith,\nyour account", "x" * 65])
def test_a_text_that_is_predicted_stays_here(recorder, label):
    """It is no class: it would be a label of metrics, and its content is somebody's."""
    monitor = ModelMonitor("chat")
    monitor.log(None, label, truth="y" * 70, id="a")
    monitor.log(None, label, id="b")
    monitor.outcome("b", "z\n" * 70)
    assert label not in everything(recorder)
    assert monitor.report().predictions == 2
    assert monitor.report().violations == {}
    assert monitor.report().outcomes == {"joined": 1}


@pytest.mark.parametrize("batch", [False, True])
def test_a_record_says_by_which_share_it_was_chosen(recorder, batch):
    """The metrics see all of them."""
    monitor = ModelMonitor("churn", sample_rate=0.1)
    if batch:
        monitor.log_batch(None, ["yes"] * 5000)
    else:
        for _ in range(5000):
            monitor.log(None, "yes")
    assert 400 < len(records(recorder)) < 600
    assert {record.attributes["sample_rate"] for record in records(recorder)} == {0.1}
    assert monitor.report().predictions == 5000


def test_an_id_is_chosen_everywhere_or_nowhere(recorder):
    """So that a prediction that has a record has one of its truth, whichever process tells it."""
    here, there = (ModelMonitor("churn", sample_rate=0.1) for _ in range(2))
    for place in range(5000):
        here.log(None, "yes", id=f"p-{place}")
        there.outcome(f"p-{place}", "yes")
    kinds = {}
    for record in recorder.logs():
        kinds.setdefault(record.event_name, set()).add(record.attributes["id"])
    assert kinds["llmon.prediction"] == kinds["llmon.prediction.outcome"]
    assert 400 < len(kinds["llmon.prediction"]) < 600


def test_a_program_s_own_chance_is_left_alone(recorder):
    """Sampling takes nothing from the generator that the program seeded."""
    import random

    random.seed(5)
    wanted = random.random()
    random.seed(5)
    monitor = ModelMonitor("churn", sample_rate=0.5)
    for _ in range(10):
        monitor.log(None, "yes")
    assert random.random() == wanted


@pytest.mark.row("P6")
def test_metadata_is_plain_and_of_bounded_size(recorder, monkeypatch):
    """Of keys and of characters in all."""
    monkeypatch.setattr(telemetry.state, "longest", 1000)
    monitor = ModelMonitor("churn")
    monitor.log(None, "yes", metadata={"at": datetime(2026, 1, 2, tzinfo=UTC), "tags": ["a", "b"], "n": np.int64(3)})
    monitor.log(None, "yes", metadata={f"k{place}": "x" * 100 for place in range(100)})
    small, large = ({k: v for k, v in r.attributes.items() if k.startswith("metadata.")} for r in records(recorder))
    assert small == {"metadata.at": "2026-01-02T00:00:00+00:00", "metadata.tags": "['a', 'b']", "metadata.n": 3}
    assert len(large) == 10
    assert records(recorder)[-1].attributes["metadata_left_out"] == 90


def test_features_have_a_bounded_size(recorder, monkeypatch):
    """Those for which there is no room are counted."""
    monkeypatch.setattr(telemetry.state, "longest", 1000)
    ModelMonitor("churn", send_features=True).log({f"f{place:03}": 1.5 for place in range(1000)}, "yes")
    [record] = records(recorder)
    assert len(record.body["features"]) == 142
    assert record.attributes["features_left_out"] == 858


class Colour(Enum):
    """A class as programs have them."""

    RED = "red"


@pytest.mark.row("P11")
@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (np.int64(3), 3),
        (np.float32(0.5), 0.5),
        (np.bool_(True), True),
        (np.str_("a"), "a"),
        (np.datetime64("2026-01-02T03:04:05.123456789"), "2026-01-02T03:04:05.123456"),
        (np.datetime64("NaT"), None),
        (np.timedelta64(1500, "ms"), 1.5),
        (np.array(7), 7),
        (np.array([1, 2]), [1, 2]),
        (np.zeros((100, 100)), "<ndarray 100x100>"),
        (datetime(2026, 1, 2, tzinfo=UTC), "2026-01-02T00:00:00+00:00"),
        (Decimal("1.5"), "1.5"),
        (UUID(int=5), str(UUID(int=5))),
        (Colour.RED, "red"),
        (b"abc", "abc"),
        ({"a": {1}}, {"a": [1]}),
        (2**70, str(2**70)),
        (float("inf"), float("inf")),
    ],
)
def test_values_of_any_library_become_plain(recorder, value, plain):
    """One converter for all."""
    ModelMonitor("churn", send_features=["x"]).log({"x": value}, "yes")
    [record] = records(recorder)
    found = record.body["features"] if isinstance(record.body, dict) else {}
    assert found.get("x") == plain
    assert type(found.get("x")) is type(plain)


@pytest.mark.row("P11")
def test_values_of_torch_become_plain(recorder):
    """Scalars, vectors, probabilities and predictions."""
    torch = pytest.importorskip("torch", exc_type=ImportError)
    monitor = ModelMonitor("churn", send_features=True)
    row = {"x": torch.tensor(2.5, dtype=torch.bfloat16), "y": torch.tensor([1, 2])}
    monitor.log(row, torch.tensor(1), proba=torch.tensor([0.25, 0.75]), truth=torch.tensor(1))
    monitor.log_batch(None, torch.tensor([1, 0]), proba=torch.tensor([[0.25, 0.75], [0.5, 0.5]]))
    assert records(recorder)[0].body["features"]["x"] == 2.5
    assert [record.attributes["confidence"] for record in records(recorder)] == [0.75, 0.75, 0.5]
    assert monitor.report().classes == {"1": 2, "0": 1}
    assert monitor.report().accuracy == 1


def test_nothing_of_numpy_is_loaded_until_it_is_given():
    """A monitor without a reference is plain Python."""
    source = "import sys; from otel_llmon import ModelMonitor; ModelMonitor('a').log({'x': 1}, 'b', 0.5, 'c', 0.1, 'd')"
    asked = f"{source}; print(sorted({{'numpy', 'scipy', 'torch', 'pandas'}} & sys.modules.keys()))"
    assert json.loads(subprocess.check_output([sys.executable, "-c", asked], text=True)) == []
