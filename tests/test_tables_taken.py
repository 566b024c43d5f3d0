"""What is taken as a table, and what is refused in one sentence that names the way out."""

import datetime as dt
import json
from decimal import Decimal

import numpy as np
import pytest

from otel_llmon.errors import LlmonError
from otel_llmon.scores import columns, storing
from otel_llmon.scores.columns import ColumnsError
from otel_llmon.scores.drift import Limits, Verdict, compare
from otel_llmon.scores.profile import Profile, ProfileError, Reference
from otel_llmon.scores.storing import ReferenceFileError
from otel_llmon.scores.verdicts import LimitsError

SECOND = 1_795_219_201.0
MOMENTS = [dt.datetime(2026, 11, 21, 0, 0, 1) + dt.timedelta(seconds=row) for row in range(40)]  # noqa: DTZ001
NUMBERS = [SECOND + row for row in range(40)]


class Nameless:
    """An object whose own code fails."""

    def __repr__(self):
        """Fail."""
        raise RuntimeError("no name")


@pytest.mark.parametrize(
    "moments",
    [
        MOMENTS,
        [moment.replace(tzinfo=dt.UTC) for moment in MOMENTS],
        [moment.replace(tzinfo=dt.UTC).astimezone(dt.timezone(dt.timedelta(hours=2))) for moment in MOMENTS],
        list(np.array(MOMENTS, dtype="datetime64[us]")),
        np.array(MOMENTS, dtype="datetime64[s]"),
        [dt.timedelta(seconds=number) for number in NUMBERS],
    ],
    ids=["naive", "UTC", "another zone", "numpy's", "an array", "durations"],
)
def test_moments_and_durations_are_seconds(moments):
    """In whatever they come; without a zone they are UTC."""
    assert columns.read({"t": moments})["t"].tolist() == NUMBERS
    assert Reference.fit({"t": moments})["t"].kind == "numeric"


def test_days_are_seconds_and_none_stays_none():
    """As in an array of days."""
    found = columns.read({"t": [dt.date(2026, 11, 21), None]})["t"]
    assert found[0] == SECOND - 1
    assert np.isnan(found[1])


def test_moments_of_pandas_are_seconds():
    """With a zone or without, in a frame or in a list."""
    pandas = pytest.importorskip("pandas")
    naive = pandas.Series(pandas.to_datetime(MOMENTS))
    aware = naive.dt.tz_localize("UTC").dt.tz_convert("Europe/Berlin")
    for column in (naive, aware, aware.tolist(), [*aware.tolist()[:-1], pandas.NaT]):
        found = columns.read({"t": column})["t"]
        assert found[:39].tolist() == NUMBERS[:39]
    assert np.isnan(found[39])


def test_a_list_of_lists_is_a_matrix():
    """Column for column."""
    matrix = np.random.default_rng(1).standard_normal((50, 3))
    assert Reference.fit(matrix.tolist()).hash == Reference.fit(matrix).hash == Reference.fit(list(matrix)).hash
    with pytest.raises(ColumnsError, match="row 1: found 1 values, expected 2 values as in the first row"):
        columns.read([[1, 2], [3]])


def test_bytes_are_words_and_a_signaling_nan_is_none():
    """As NumPy's own bytes are."""
    reference = Reference.fit({"a": [b"x", b"y"] * 20, "b": [Decimal("sNaN"), *[Decimal(1), Decimal(2)] * 19, None]})
    assert reference["a"].levels.names == ("x", "y")
    assert (reference["b"].rows, reference["b"].missing) == (38, 2)


def test_whole_numbers_that_numpy_does_not_have_are_taken():
    """Of 128 bits, in polars."""
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame({"a": polars.Series(list(range(40)), dtype=polars.Int128)})
    assert Reference.fit(frame)["a"].rows == 40


def test_a_lazy_frame_is_to_be_collected():
    """Its rows do not exist yet."""
    polars = pytest.importorskip("polars")
    with pytest.raises(ColumnsError, match=r"LazyFrame.*call its collect\(\)"):
        Reference.fit(polars.LazyFrame({"a": list(range(40))}))


def test_vectors_without_numbers_are_none_on_both_sides():
    """What a reference has none of is not missing in a window."""
    table = {"v": [[]] * 100, "a": np.arange(100.0)}
    found = compare(Profile.of(table, Reference.fit(table))).features["v"]
    assert Verdict.MISSING not in found.verdicts
    assert not found.changed


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({1: [1.0] * 40, "1": [2.0] * 40}, "column '1': found twice, expected once"),
        ({"a": [Nameless()] * 40}, r"column 'a': found <Nameless> and 39 like it, expected numbers; say excluded="),
        (
            {"a": ["x", "y"] * 495 + [1] * 10},
            r"found 'x' and 989 like it, expected numbers; say kinds=\{'a': 'categorical'\} or excluded=\['a'\]",
        ),
    ],
)
def test_what_a_column_cannot_be_is_refused_with_a_way_out(table, message):
    """One sentence."""
    with pytest.raises(ColumnsError, match=message):
        Reference.fit(table)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"excluded": "nosuch"}, "excluded: found 'nosuch', expected some of id, d"),
        ({"excluded": ["id", 5]}, "excluded: found 5"),
        ({"excluded": 5}, "excluded=5: expected names of columns"),
        ({"kinds": 5}, "kinds=5: expected kinds by the names of columns"),
        ({"bins": "x"}, "bins='x': expected 2 to 100"),
        ({"bins": 2.5}, "bins=2.5: expected 2 to 100"),
        ({"model": 5}, "model=5: expected a text"),
        ({"version": 1}, "version=1: expected a text"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(options, message):
    """Before anything is counted."""
    with pytest.raises(ColumnsError, match=message):
        Reference.fit({"id": np.arange(40.0), "d": np.arange(40.0)}, **options)


def test_one_name_excludes_one_column():
    """And not those that are a part of it."""
    table = {name: np.arange(40.0) for name in ("i", "d", "id", "x")}
    reference = Reference.fit(table, excluded="id")
    assert [feature.name for feature in reference.features] == ["i", "d", "x"]
    assert reference.excluded == ("id",)


def test_a_profile_of_no_reference_is_refused():
    """By what was given for one."""
    with pytest.raises(ProfileError, match="reference: found int, expected one that"):
        Profile.of({"a": [1.0]}, 5)


@pytest.mark.parametrize(
    "wrong",
    [{"rate": float("nan")}, {"rate": "x"}, {"rate": -1}, {"rate": 5}, {"table": 0}, {"ks": -0.1}, {"psi": None}],
)
def test_limits_that_are_none_are_refused(wrong):
    """With what is expected of them."""
    with pytest.raises(LimitsError, match=f"{next(iter(wrong))}=.*: expected"):
        Limits(**wrong)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"format":"otel-llmon reference","version":1,"hash":"x","reference":{"a":NaN}}', "no JSON .*found NaN"),
        ("[" * 100_000, "no JSON"),
        ('{"format":"otel-llmon reference","version":0}', "found version 0, expected 1"),
        ('{"format":"otel-llmon reference","version":-1}', "found version -1, expected 1"),
        ('{"format":"otel-llmon reference","version":true}', "found version True, expected 1"),
    ],
)
def test_a_file_that_holds_no_reference_is_one_line(tmp_path, content, message):
    """Whatever is in it."""
    path = tmp_path / "file"
    path.write_text(content)
    with pytest.raises(ReferenceFileError, match=message) as caught:
        Reference.load(path)
    assert "\n" not in str(caught.value)


def test_a_file_of_parts_that_are_something_else_is_incomplete():
    """Though its hash is right."""
    whole = json.loads(storing.dumps(Reference.fit({"a": np.arange(40.0)})))["reference"]
    for part in ({"features": 5}, {"features": [5]}, {"correlation": 5}):
        content = whole | part
        text = json.dumps(
            {"format": storing.FORMAT, "version": 1, "hash": storing._digest(content), "reference": content}
        )
        with pytest.raises(ReferenceFileError, match="incomplete"):
            storing.loads(text)


@pytest.mark.parametrize("name", ["", "a\0b"])
def test_a_name_that_no_file_can_have_is_refused(name):
    """Where it is written to and where it is read from."""
    with pytest.raises(LlmonError, match="no name of a file"):
        Reference.fit({"a": np.arange(40.0)}).save(name)
    with pytest.raises(ReferenceFileError, match="not read"):
        Reference.load(name)


def test_names_that_come_once_each_are_few_columns():
    """Rows with a name of their own each: those that are known or frequent are kept, and the first of the others."""
    rows = [{"age": 1.0, f"key{row}": 1, **({"rare": 2.0} if row == 7 else {})} for row in range(2_000)]
    assert len(columns.read(rows)) <= 20
    found = columns.read(rows, {"rare"})
    assert len(found) <= 20
    assert np.nansum(found["rare"]) == 2.0
    profile = Profile.of(rows, Reference.fit({"age": np.ones(40), "rare": np.arange(40.0)}))
    assert sorted(profile.unknown) == sorted(f"key{row}" for row in range(2_000))[:16]
    assert profile.rows == 2_000
