"""References and profiles: laws that hold for all tables, and what a damaged file or an odd table is told."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from otel_llmon.scores import columns, storing
from otel_llmon.scores.binning import binning
from otel_llmon.scores.columns import ColumnsError
from otel_llmon.scores.profile import BLOCK, PART, Profile, ProfileError, Reference
from otel_llmon.scores.storing import ReferenceFileError

ANY = st.floats(allow_nan=True, allow_infinity=True)
FINITE = st.floats(-1e149, 1e149)
COLOURS = ["red", "green", "blue"]


def mixed(rng, rows):
    """Return a table with a column of every kind."""
    words = ["the", "cat", "sat", "on", "a", "mat", "42", "Übermut"]
    return {
        "size": rng.standard_normal(rows),
        "price": rng.lognormal(size=rows),
        "count": rng.poisson(3, rows),
        "colour": [COLOURS[place] for place in rng.integers(0, 3, rows)],
        "prompt": [" ".join(rng.choice(words, 3 + int(rng.integers(0, 6)))) for _ in range(rows)],
        "vector": rng.standard_normal((rows, 6)),
    }


KINDS = {"prompt": "text"}
REFERENCE = Reference.fit(mixed(np.random.default_rng(0), 400), kinds=KINDS, model="m", version="1")


def part(table, rows):
    """Return some rows of a table."""
    return {name: [column[row] for row in rows] for name, column in table.items()}


rows = st.fixed_dictionaries(
    {
        "size": ANY | st.none() | st.text(max_size=2),
        "price": ANY,
        "count": st.integers(-5, 10**400),
        "colour": st.sampled_from([*COLOURS, "mauve", "ochre"]) | st.none() | st.integers(0, 3),
        "prompt": st.text(max_size=20) | st.none(),
        "vector": st.lists(FINITE, min_size=6, max_size=6) | st.none() | st.lists(FINITE, max_size=2),
        "stranger": ANY,
    }
)


def as_columns(found):
    """Return rows as columns."""
    return {name: [row[name] for row in found] for name in found[0]} if found else {}


@settings(max_examples=60)
@given(st.lists(rows, min_size=1, max_size=12), st.lists(rows, min_size=1, max_size=12))
def test_the_profile_of_two_windows_is_the_sum_of_both(one, other):
    """Whatever is in the rows: every count, sum and extreme is the same, to the last bit."""
    both = Profile.of(as_columns(one + other), REFERENCE)
    assert both == Profile.of(as_columns(one), REFERENCE) + Profile.of(as_columns(other), REFERENCE)
    assert both == Profile.of(as_columns(other), REFERENCE) + Profile.of(as_columns(one), REFERENCE)
    assert both.rows == len(one) + len(other)


@settings(max_examples=30)
@given(st.lists(rows, min_size=2, max_size=12), st.sets(st.sampled_from(["size", "price", "colour", "vector"])))
def test_columns_that_are_not_there_or_not_known_are_added_too(found, gone):
    """What looks like one of those that are missing is counted as if it were, in every part."""
    table = {name: column for name, column in as_columns(found).items() if name not in gone}
    table["stranger"] = ["red" if len(str(value)) % 2 else "mauve" for value in table["stranger"]]
    table["other"] = list(range(len(found)))
    both = Profile.of(table, REFERENCE)
    middle = len(found) // 2
    parts = [part(table, range(middle)), part(table, range(middle, len(found)))]
    assert both == Profile.of(parts[0], REFERENCE) + Profile.of(parts[1], REFERENCE)
    assert {name for name, _ in both.strays} >= gone & {"size", "price", "colour"}


@settings(max_examples=40)
@given(st.lists(rows, min_size=1, max_size=12).flatmap(lambda found: st.tuples(st.just(found), st.permutations(found))))
def test_the_order_of_rows_does_not_matter(orders):
    """Whole numbers add up alike in every order."""
    one, other = orders
    assert Profile.of(as_columns(one), REFERENCE) == Profile.of(as_columns(other), REFERENCE)


@given(st.lists(ANY, max_size=40))
def test_every_row_is_counted_once(values):
    """As a value, as none or as an infinity; and every value in one bin."""
    profile = Profile.of({"size": values}, REFERENCE)
    [tally] = profile.tallies[:1].tolist()
    assert sum(tally) == len(values)
    assert profile.counts[0].sum() == tally[0] == sum(abs(value) <= columns.HUGE for value in values)
    assert tally[1] == sum(map(math.isnan, values))


@given(
    st.lists(FINITE, min_size=1, max_size=60), st.lists(FINITE, max_size=30), st.sampled_from([1.0, 2.0**40, 2.0**-40])
)
@example([0.0, 5e-324], [1e-300], 1.0)
@example([1e149, -1e149, 0.0], [1.0], 1.0)
@example([0.0, 4194304000.0, -1.0], [-0.0], 1.0)
@example([1.7e9 + step / 7 for step in range(50)], [1.7e9 + 2.5], 1.0)
def test_a_table_of_cells_finds_the_bin_that_a_search_finds(reference, values, scale):
    """For every grid, at every edge and next to it."""
    reference = [value * scale for value in reference if abs(value * scale) < 1e149]
    assume(reference)
    with np.errstate(over="ignore"):
        found = binning(np.sort(np.array(reference)))
    edges = np.array(found.edges)
    near = [reference, values, edges, np.nextafter(edges, np.inf), np.nextafter(edges, -np.inf)]
    asked = np.concatenate([np.asarray(some, dtype=np.float64) for some in near])
    with np.errstate(over="ignore"):
        bins, _ = found.bins(asked)
        own, _ = found.bins(np.array(reference))
    assert bins.tolist() == np.searchsorted(edges, asked, side="left").tolist()
    assert (np.diff(edges) > 0).all()
    assert own.min() > 0
    assert own.max() < found.size - 1, "the outermost bins are for what lies beyond the reference"


@pytest.mark.parametrize("shape", ["normal", "lognormal", "pareto", "cauchy", "uniform", "poisson"])
def test_bins_hold_what_they_are_to_hold(shape):
    """Quantiles are met to a quarter of their tail, although edges stand on a grid; few values have their own bins."""
    rng = np.random.default_rng(1)
    draw = {"pareto": lambda: rng.pareto(1.2, 20_000), "cauchy": lambda: rng.standard_cauchy(20_000)}
    values = draw.get(shape, lambda: getattr(rng, shape)(size=20_000))().astype(float)
    found = binning(np.sort(values))
    bins, _ = found.bins(values)
    shares = np.bincount(bins, minlength=found.size) / len(values)
    if shape == "poisson":
        assert found.size == len(set(values)) + 2
    else:
        assert found.grid != "search"
        assert found.size == 28
        assert np.abs(shares[5:23] - 0.05).max() < 0.025
        assert np.abs(shares[[1, 26]] - 0.001).max() < 0.0005


@settings(max_examples=15)
@given(st.integers(0, 2**32), st.integers(1, 700))
def test_a_matrix_is_counted_like_its_columns(seed, count):
    """Few rows of all features at once give what columns give, with values missing and infinite among them."""
    rng = np.random.default_rng(seed)
    values = rng.standard_normal((count, 3)) * 3
    values[rng.random((count, 3)) < 0.1] = np.nan
    values[rng.random((count, 3)) < 0.02] = np.inf
    profile = Profile(REFERENCE)
    profile.add_matrix(values)
    named = dict(zip(("size", "price", "count"), values.T, strict=True))
    assert profile == Profile.of(named, REFERENCE)


def test_a_long_table_is_counted_in_parts_of_bounded_size():
    """More rows than are looked at at once give the sum of the parts, and the profile stays as large as it was."""
    rng = np.random.default_rng(2)
    values = rng.standard_normal(2 * PART + 5)
    profile = Profile.of({"size": values}, REFERENCE)
    assert profile.rows == len(values)
    assert profile == Profile.of({"size": values[:PART]}, REFERENCE) + Profile.of({"size": values[PART:]}, REFERENCE)
    matrix = np.full((BLOCK + 3, 3), 0.5)
    again = Profile(REFERENCE)
    again.add_matrix(matrix)
    assert again.rows == len(matrix)
    before = profile.counts.nbytes + profile.products.nbytes
    profile.add({"size": values, "colour": [f"level {row}" for row in range(len(values))]})
    assert profile.counts.nbytes + profile.products.nbytes == before
    assert len(profile.named["colour"]) == 16


def test_the_largest_and_the_smallest_numbers_are_values_like_others():
    """A reference whose values hardly differ, one whose values differ by all that there is, and windows beyond both."""
    tiny, huge = np.linspace(0, 1e-200, 100), np.linspace(-1e149, 1e149, 100)
    reference = Reference.fit({"tiny": tiny, "huge": huge, "one": np.full(100, 3.0)})
    window = {"tiny": [1e149, -1e149, 5e-201], "huge": [1e-300, 1e150, 2e150], "one": [3.0, 1e149, -1e-300]}
    profile = Profile.of(window, reference)
    assert profile.tallies[:, 0].tolist() == [3, 2, 3]
    matrix = Profile(reference)
    matrix.add_matrix(np.array(list(window.values())).T)
    assert matrix == profile


def test_profiles_of_two_references_are_not_added():
    """The bins of one mean nothing in the other."""
    other = Reference.fit(mixed(np.random.default_rng(1), 400), kinds=KINDS)
    with pytest.raises(ProfileError, match=f"found {REFERENCE.hash} and {other.hash}, expected one"):
        Profile(REFERENCE) + Profile(other)


@settings(max_examples=25)
@given(st.lists(st.lists(ANY, min_size=30, max_size=30), min_size=1, max_size=3), st.booleans())
def test_a_reference_comes_back_from_its_text_as_it_was(table, ordered):
    """Whatever was in the columns: the same content, the same hash, the same profiles."""
    reference = Reference.fit({str(place): column for place, column in enumerate(table)}, ordered=ordered)
    again = storing.loads(storing.dumps(reference))
    assert again == reference
    assert again.hash == reference.hash
    window = {"0": table[0][:7]}
    assert Profile.of(window, again) == Profile.of(window, reference)


def test_a_reference_of_every_kind_survives_a_file(tmp_path):
    """Numbers, levels, texts and vectors, with the model and the version that they belong to."""
    path = tmp_path / "reference.json"
    REFERENCE.save(path)
    again = Reference.load(path)
    assert again == REFERENCE
    assert (again.model, again.version, len(again.hash)) == ("m", "1", 12)
    assert [feature.kind for feature in again.features] == ["numeric"] * 3 + ["categorical", "text", "embedding"]
    assert [file.name for file in tmp_path.iterdir()] == ["reference.json"]


def test_another_process_computes_the_same_profile_from_the_file(tmp_path):
    """After a restart, and with another seed for Python's hashes, scores are what they were."""
    path, window = tmp_path / "reference.json", mixed(np.random.default_rng(5), 200)
    REFERENCE.save(path)
    program = (
        "import sys, json, numpy as np; sys.path.insert(0, 'tests');"
        "from test_profile import mixed; from otel_llmon.scores.profile import Profile, Reference;"
        "from otel_llmon.scores.drift import compare;"
        f"reference = Reference.load({str(path)!r});"
        "drift = compare(Profile.of(mixed(np.random.default_rng(5), 200), reference));"
        "print(json.dumps({name: [found.p_value, found.scores] for name, found in drift.features.items()}))"
    )
    from otel_llmon.scores.drift import compare

    found = compare(Profile.of(window, REFERENCE)).features
    ours = {name: [one.p_value, dict(one.scores)] for name, one in found.items()}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == json.loads(json.dumps(ours))


def changed(text, **fields):
    """Return a saved reference with some of its fields replaced."""
    return json.dumps({**json.loads(text), **fields})


def test_a_file_that_is_no_whole_reference_is_refused_with_one_sentence(tmp_path):
    """Damaged, cut, newer, something else, not there: each is told apart."""
    text = storing.dumps(REFERENCE)
    cases = {
        text.replace('"count": 3', '"count": 4', 1)[:-1]: "no JSON",
        text[: len(text) // 2]: "no JSON",
        text.replace('"rows": 400', '"rows": 401', 1): "damaged, its content and its hash differ",
        changed(text, version=2): "found version 2, expected 1 at most; update otel-llmon",
        changed(text, version="x"): "found version 'x'",
        "[]": "no format 'otel-llmon reference'",
        "{}": "no format",
        changed(text, reference=None): "damaged",
    }
    for content, message in cases.items():
        path = tmp_path / "file"
        path.write_text(content)
        with pytest.raises(ReferenceFileError, match=message) as caught:
            Reference.load(path)
        assert str(path) in str(caught.value)
    content = {key: value for key, value in json.loads(text)["reference"].items() if key != "features"}
    incomplete = changed(text, reference=content, hash=storing._digest(content))
    with pytest.raises(ReferenceFileError, match="incomplete"):
        storing.loads(incomplete)
    with pytest.raises(ReferenceFileError, match="not read, no such file or directory"):
        Reference.load(tmp_path / "nowhere")
    with pytest.raises(ReferenceFileError, match="not written"):
        REFERENCE.save(tmp_path / "nowhere" / "file")


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (5, "found int, expected columns by name"),
        ("text", "found str, expected columns by name"),
        ([1, 2], "row 0: found int, expected values by name"),
        (np.zeros(40), "an array of shape .40,.: expected rows by columns"),
        ({}, "no columns"),
        ({"a": [1.0] * 5}, "found 5 rows, expected at least 30"),
        ({"a": [1.0] * 40, "b": [1.0] * 39}, "ragged columns: found 40 rows in 'a' and 39 in 'b'"),
        ({"a": [*[1.0] * 39, "abc"]}, "column 'a': found 'abc', expected numbers"),
        ({"a": [*[1.0] * 38, "b", "c"]}, "column 'a': found 'b' and 1 like it, expected numbers"),
        ({"a": 1.5}, "column 'a': found float, expected a sequence of values"),
        ({"a": {"b": 1}}, "column 'a': found dict"),
        ({"a": np.zeros((40, 2, 2))}, r"column 'a': found float64 of shape \(40, 2, 2\)"),
        ({"a": np.zeros(40, dtype=complex)}, "column 'a': found complex128"),
        ({"a": [[1.0, 2.0]] * 39 + [[1.0]]}, "column 'a': .*expected as many numbers in every row"),
    ],
)
def test_what_is_no_table_is_one_error_that_says_what_was_found(table, message):
    """At `fit`, which can raise, before anything was kept."""
    with pytest.raises(ColumnsError, match=message):
        Reference.fit(table)


def test_what_a_column_is_can_be_said_and_a_mistake_in_that_is_told():
    """Numbers may be categories; a kind or a column that there is not is refused."""
    table = {"code": [1, 2, 3] * 20, "b": ["x"] * 60}
    assert Reference.fit(table)["code"].kind == "numeric"
    reference = Reference.fit(table, kinds={"code": "categorical"})
    assert reference["code"].levels.names == ("1", "2", "3")
    profile = Profile.of({"code": np.array([1.0, 2.0]), "b": ["x", "y"]}, reference)
    assert profile.levels["code"].tolist() == [1, 1, 0, 0]
    assert profile.named["b"] == {"y": 1}
    with pytest.raises(ColumnsError, match="found 'number' for 'code', expected one of numeric, categorical, text"):
        Reference.fit(table, kinds={"code": "number"})
    with pytest.raises(ColumnsError, match="found 'c', expected one of the columns: code, b"):
        Reference.fit(table, kinds={"c": "text"})
    with pytest.raises(ColumnsError, match="bins=1: expected 2 to 100"):
        Reference.fit(table, bins=1)


def test_columns_are_read_from_whatever_holds_them():
    """Matrices, named arrays, rows, moments, masked and missing values, numbers of other types."""
    matrix = columns.read(np.arange(6.0).reshape(3, 2))
    assert matrix["1"].tolist() == [1.0, 3.0, 5.0]
    named = np.array([(1.0, "x")], dtype=[("a", float), ("b", "U3")])
    assert {name: list(column) for name, column in columns.read(named).items()} == {"a": [1.0], "b": ["x"]}
    rows = columns.read([{"a": 1}, {"b": "x"}])
    assert np.array_equal(rows["a"], [1, math.nan], equal_nan=True)
    assert rows["b"] == [None, "x"]
    assert columns.words(columns.read({"a": [True, None]})["a"]).values == ["true", None]
    assert columns.words(columns.read({"a": [True, False]})["a"]).values == ["true", "false"]
    times = columns.read({"t": np.array(["2026-11-21T00:00:01", "NaT"], dtype="datetime64[s]")})["t"]
    assert times[0] == 1795219201.0
    assert math.isnan(times[1])
    masked = columns.read({"m": np.ma.masked_greater(np.array([1.0, 9.0]), 5)})["m"]
    assert math.isnan(masked[1])
    numbers = columns.numeric([1, None, Decimal("2.5"), np.float32(3), True, float("nan"), "4"])
    assert numbers.values[[0, 2, 3, 4]].tolist() == [1.0, 2.5, 3.0, 1.0]
    assert (numbers.refused, numbers.example) == (1, "4")
    assert columns.words([1, 1.0, np.int64(1), True, None, "x", 2.5]).values == [
        "1",
        "1",
        "1",
        "true",
        None,
        "x",
        "2.5",
    ]


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])
def test_frames_are_read_as_what_they_hold(library):
    """The same table in a frame gives the same reference, missing values included."""
    frames = pytest.importorskip(library)
    table = {
        "a": [*np.linspace(0, 1, 59), None],
        "n": [*range(59), None],
        "c": [*COLOURS * 19, "red", None, "blue"],
        "v": [[0.0, float(row)] for row in range(60)],
    }
    make = {"pandas": "DataFrame", "polars": "DataFrame", "pyarrow": "table"}[library]
    frame = getattr(frames, make)(table)
    assert Reference.fit(frame).hash == Reference.fit(table).hash
    window = Profile.of(frame, Reference.fit(table))
    assert window.tallies[:, 1].tolist() == [1, 1, 1, 0]


def test_nothing_heavy_is_imported_for_a_profile():
    """No frame library at all, and scipy only with the first p-value."""
    program = (
        "import sys, numpy as np; from otel_llmon.scores.profile import Profile, Reference;"
        "from otel_llmon.scores.drift import compare; from otel_llmon.scores.sequential import Detector;"
        "reference = Reference.fit({'a': np.arange(100.0), 'b': ['x', 'y'] * 50});"
        "window = Profile.of({'a': np.arange(50.0), 'b': ['x'] * 50}, reference); Detector(reference).add(window);"
        "early = [name for name in ('scipy', 'pandas', 'polars', 'pyarrow', 'opentelemetry') if name in sys.modules];"
        "compare(window); late = [name for name in ('scipy.stats', 'pandas', 'opentelemetry') if name in sys.modules];"
        "print(early, late, 'scipy.special' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["[]", "[]", "True"]
