"""References of more rows than are kept: bins from a sample, counts from every row."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_llmon.scores import columns, storing
from otel_llmon.scores.census import MOST_WORDS, Census
from otel_llmon.scores.columns import ColumnsError
from otel_llmon.scores.dependence import design_effect
from otel_llmon.scores.drift import compare
from otel_llmon.scores.features import MOST_LEVELS, REST, How
from otel_llmon.scores.profile import Profile
from otel_llmon.scores.reference import Reference
from otel_llmon.scores.sampling import Sample, levels
from otel_llmon.scores.stretches import Stretches

ROWS = 24_000


def table(rng, rows=ROWS):
    """Return a column of every kind, some values missing, one column in an order."""
    following = np.zeros(rows)
    noise = rng.standard_normal(rows)
    for row in range(1, rows):
        following[row] = 0.9 * following[row - 1] + noise[row]
    size = rng.standard_normal(rows)
    size[::11] = np.nan
    size[5] = np.inf
    return {
        "following": following,
        "size": size,
        "price": rng.lognormal(size=rows),
        "count": rng.poisson(3, rows),
        "colour": rng.choice(["red", "green", "blue", "rare"], rows, p=[0.5, 0.3, 0.1995, 0.0005]).tolist(),
        "note": [f"{word} and so on" * (row % 3 + 1) for row, word in enumerate(rng.choice(["a", "bb", "ccc"], rows))],
        "vector": rng.standard_normal((rows, 3)),
    }


def part(found, rows):
    """Return some rows of a table."""
    return {
        name: column[rows] if isinstance(column, np.ndarray) else [column[row] for row in rows]
        for name, column in found.items()
    }


def counted(found, sample, how=How(), size=5000):  # noqa: B008  # it is frozen
    """Return the reference that a census of a table makes, fed in parts."""
    kinds = {"note": "text"} if "note" in found else {}
    census = Census(Reference.fit(sample, kinds=kinds, ordered=False), how)
    rows = len(next(iter(found.values())))
    for start in range(0, rows, size):
        census.add(part(found, range(start, min(start + size, rows))))
    return census.reference(columns.read(sample))


@pytest.fixture(scope="module")
def tables():
    """A table, the rows of it that a sample has, and both references."""
    found = table(np.random.default_rng(0))
    sample = part(found, np.flatnonzero(levels(np.arange(ROWS)) >= 2))
    return found, Reference.fit(found, kinds={"note": "text"}), counted(found, sample)


def test_every_row_is_counted_once(tables):
    """Rows, missing and infinite ones, extremes, means and levels are those of the whole table."""
    _, whole, census = tables
    assert (census.rows, census.ordered) == (ROWS, True)
    for one, other in zip(whole.features, census.features, strict=True):
        assert (one.name, one.kind, one.rows, one.missing, one.infinite) == (
            other.name, other.kind, other.rows, other.missing, other.infinite
        )  # fmt: skip
        for track, seen in zip(one.tracks, other.tracks, strict=True):
            assert seen.rows == track.rows
            if one.kind == "numeric":
                assert (seen.low, seen.high) == (track.low, track.high)
    assert census["colour"].levels.counts == whole["colour"].levels.counts
    assert census["count"].tracks[0].counts[1:9] == whole["count"].tracks[0].counts[1:9]


def test_what_rows_have_to_do_with_each_other_is_seen_in_all_of_them(tables):
    """A sample's rows stand too far from each other to tell; those that are independent count fully."""
    found, whole, census = tables
    expected = whole["following"].tracks[0].effects
    assert expected[0] > 10
    assert census["following"].tracks[0].effects == pytest.approx(expected, rel=0.25)
    assert census["price"].effect == census["size"].effect == census["colour"].effect == 1.0
    assert design_effect(np.asarray(found["following"])[levels(np.arange(ROWS)) >= 6]) < 2


def test_correlations_say_of_how_many_rows_they_are(tables):
    """They are the sample's, and so is their uncertainty."""
    _, whole, census = tables
    assert whole.correlation.rows > 20_000
    assert 4000 < census.correlation.rows < 7000
    assert census.correlation.values == pytest.approx(whole.correlation.values, abs=0.05)


def test_it_judges_windows_as_the_other_one_does(tables):
    """The same rows are stable, others of the same kind too, and a shift is found."""
    found, _, census = tables
    assert compare(Profile.of(found, census)).changed is False
    fresh = table(np.random.default_rng(1), 4000)
    assert compare(Profile.of(fresh, census)).changed is False
    shifted = compare(Profile.of({**fresh, "price": fresh["price"] * 1.2}, census))
    assert [one.name for one in shifted.features.values() if one.changed] == ["price"]


def test_parts_do_not_matter(tables):
    """One row at a time or all at once: to the last bit but for the rounding of sums."""
    found = part(tables[0], range(1200))
    sample = part(found, range(0, 1200, 2))
    one, other = (counted(found, sample, size=size) for size in (7, 1200))
    for feature, same in zip(one.features, other.features, strict=True):
        assert [track.counts for track in feature.tracks] == [track.counts for track in same.tracks]
        assert [track.effects for track in feature.tracks] == [
            pytest.approx(track.effects, rel=1e-9) for track in same.tracks
        ]
        assert (feature.levels, feature.missing, feature.missing_effect) == (
            same.levels, same.missing, same.missing_effect
        )  # fmt: skip


def test_it_is_stored_and_loaded_like_any_other(tables, tmp_path):
    """What is counted in parts is a reference like any other."""
    tables[2].save(tmp_path / "r.json")
    again = Reference.load(tmp_path / "r.json")
    assert again == tables[2]
    assert storing.digest(again) == tables[2].hash


def test_words_that_the_sample_has_not_are_counted_by_name():
    """Until there are too many kinds of them: then all that are not the sample's count as one."""
    rng = np.random.default_rng(2)
    common = rng.choice(["a", "b"], 3000).tolist()
    few = counted({"x": [*common, "c", "d", "d"]}, {"x": common})["x"].levels
    assert few.names[2:] == ("d", "c")
    assert (few.counts[2:], few.rare) == ((2, 1), 1)
    many = counted({"x": [*common, *map(str, range(MOST_WORDS + 5))]}, {"x": common})["x"].levels
    assert (set(many.names), many.counts[2]) == ({"a", "b", REST}, MOST_WORDS + 5)
    some = counted({"x": [*common, *map(str, range(MOST_LEVELS + 5))]}, {"x": common})["x"].levels
    assert len(some.names) == MOST_LEVELS + 1
    assert some.counts[-1] == 7


def test_a_column_that_the_sample_has_no_value_of_is_fitted_to_what_there_is():
    """Its values are few, and kept."""
    values = np.full(5000, np.nan)
    values[4000:4100] = np.arange(100)
    words = [None] * 4900 + ["x", "y"] * 50
    table = {"rare": values, "word": words, "vector": [None] * 4950 + [[1.0, 2.0], [2.0, 1.0]] * 25}
    kinds = {"word": "categorical", "vector": "embedding"}
    census = Census(Reference.fit(part(table, range(1000)), kinds=kinds), How())
    for start in range(0, 5000, 500):
        census.add(part(table, range(start, start + 500)))
    found = census.reference(columns.read(part(table, range(1000))))
    assert (found["rare"].rows, found["rare"].missing, found["rare"].tracks[0].high) == (100, 4900, 99)
    assert (found["word"].rows, found["word"].levels.counts) == (100, (50, 50))
    assert (found["vector"].rows, found["vector"].cloud.width) == (50, 2)


def test_rows_without_a_column_have_no_value():
    """A part of a table may lack a column that others have."""
    census = Census(Reference.fit({"a": np.arange(100.0), "b": np.arange(100.0)}), How())
    census.add({"a": np.arange(50.0), "b": np.arange(50.0)})
    census.add({"a": np.arange(50.0)})
    found = census.reference({"a": np.arange(100.0), "b": np.arange(100.0)})
    assert (found["b"].rows, found["b"].missing) == (50, 50)


def test_a_value_that_a_kind_does_not_have_is_refused():
    """As in a table that is fitted at once."""
    census = Census(Reference.fit({"a": np.arange(100.0)}), How())
    with pytest.raises(ColumnsError, match="column 'a': found 'x', expected numbers"):
        census.add({"a": [1.0, "x"]})


@settings(max_examples=40)
@given(st.lists(st.integers(1, 700), min_size=1, max_size=12), st.integers(2, 6))
def test_a_sample_holds_the_same_rows_whatever_the_parts(sizes, power):
    """Their numbers alone decide; of few rows it has all."""
    total = sum(sizes)
    samples = [Sample(rows=64 << power), Sample(rows=64 << power)]
    for sample, parts in zip(samples, (sizes, [total]), strict=True):
        start = 0
        for size in parts:
            chosen = sample.choose(start, size)
            sample.add(chosen + start, {"n": (chosen + start).tolist(), "f": (chosen + start) / 2})
            start += size
        numbers = sample.numbers()
        assert sample.column("n") == numbers.tolist()
        assert np.array_equal(sample.column("f"), numbers / 2)
        assert len(numbers) <= 64 << power
        assert sample.whole == (len(numbers) == total)
    assert np.array_equal(samples[0].numbers(), samples[1].numbers())


def test_a_sample_is_spread_evenly():
    """Of a million rows it has as many from each tenth."""
    sample = Sample(rows=10_000)
    for start in range(0, 1_000_000, 10_000):
        chosen = sample.choose(start, 10_000)
        sample.add(chosen + start, {"n": (chosen + start).tolist()})
    tenths = np.bincount(sample.numbers() // 100_000)
    assert len(tenths) == 10
    assert 5000 < tenths.sum() <= 10_000
    assert (np.abs(tenths - tenths.mean()) < 5 * tenths.mean() ** 0.5).all()


def test_a_sample_is_bounded_in_cells_and_in_bytes():
    """Wide tables keep fewer rows, and so do long texts; a column that comes late is none before."""
    wide, long = Sample(cells=50_000), Sample(size=100_000)
    for start in range(0, 4000, 100):
        numbers = wide.choose(start, 100)
        wide.add(numbers + start, {f"c{place}": [1] * len(numbers) for place in range(25)})
        numbers = long.choose(start, 100)
        late = {"late": ["x"] * len(numbers)} if start >= 2000 else {}
        long.add(numbers + start, {"text": ["x" * 1000] * len(numbers), **late})
    assert 1000 <= len(wide.numbers()) <= 2000
    assert 25 <= len(long.numbers()) <= 100
    assert long.column("late") == ["x" if number >= 2000 else None for number in long.numbers()]


@settings(max_examples=40)
@given(st.lists(st.integers(0, 300), min_size=1, max_size=8), st.sampled_from([1024, 4096]))
def test_stretches_of_few_rows_are_the_rows(sizes, most):
    """Then what they say is exactly what is said of the series."""
    rng = np.random.default_rng(sum(sizes))
    values = np.cumsum(rng.standard_normal((2, sum(sizes))), axis=1)
    found, start = Stretches(2, most), 0
    for size in sizes:
        found.add(values[:, start : start + size])
        start += size
    if start < most:
        assert found.effects() == tuple(design_effect(series) for series in values)


@pytest.mark.parametrize("most", [512, 2048])
def test_stretches_of_many_rows_say_nearly_the_same(most):
    """For rows that follow each other, whatever the parts; of independent ones each counts, exactly."""
    found = table(np.random.default_rng(3))["following"]
    noise = np.random.default_rng(4).standard_normal(len(found))
    effects = []
    for size in (977, 24_000):
        stretches = Stretches(3, most)
        for start in range(0, len(found), size):
            rows = slice(start, start + size)
            stretches.add(np.stack([found[rows], noise[rows], np.ones(len(found))[rows]]))
        effects.append(stretches.effects())
    assert effects[0] == pytest.approx(effects[1], rel=1e-9)
    assert effects[0][0] == pytest.approx(design_effect(found), rel=0.3)
    assert effects[0][1:] == (1.0, 1.0)
