"""Data quality: what each check counts, what counts come to, and that nothing odd in a table is an exception."""

from __future__ import annotations

import datetime as dt
import math
from collections import Counter
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_llmon.errors import LlmonError
from otel_llmon.scores import quality
from otel_llmon.scores.columns import ColumnsError
from otel_llmon.scores.drift import compare
from otel_llmon.scores.grids import Grid
from otel_llmon.scores.profile import Profile
from otel_llmon.scores.quality import (
    CheckError,
    Checks,
    Counts,
    binary,
    finite,
    fresh,
    matches,
    missing,
    of_type,
    one_of,
    outliers,
    positive,
    probability,
    satisfies,
    unique,
    within,
)
from otel_llmon.scores.reference import Reference

NAN, INF = math.nan, math.inf
NOW = 1_795_219_200.0
COLOURS = ["red", "green", "blue"]


def usual(rows, seed=0):
    """Return a table in which all is well."""
    rng = np.random.default_rng(seed)
    return {
        "size": rng.standard_normal(rows),
        "price": rng.lognormal(size=rows),
        "colour": [COLOURS[place] for place in rng.integers(0, 3, rows)],
        "prompt": [f"please write {number} lines about the sea" for number in rng.integers(0, 10**9, rows)],
        "vector": rng.standard_normal((rows, 4)),
    }


REFERENCE = Reference.fit(usual(2000), kinds={"prompt": "text"})
CHECKS = Checks(REFERENCE)


def report(table, wanted=None, reference=None):
    """Return what a table comes to."""
    checks = Checks(reference, wanted)
    return checks.report(checks.count(table, now=NOW))


def outcome(check, column, name="x"):
    """Return how many of a column failed, of how many that were seen."""
    counts = Checks(None, {name: check}).count({name: column}, now=NOW)
    return counts.failed[name, check.name], counts.seen[name, check.name]


def kinds(found):
    """Return what is violated, by feature."""
    return Counter((finding.feature, finding.kind) for finding in found.violations)


@pytest.mark.parametrize(
    ("check", "column", "failed", "seen"),
    [
        (missing(), [1, None, NAN, 4], 2, 4),
        (missing(), ["a", None, ""], 1, 3),
        (missing(also=["", "n/a", -999]), ["a", None, "", "n/a", "b"], 3, 5),
        (missing(also=[-999]), [1.0, -999.0, NAN], 2, 3),
        (missing(), [[1.0, 2.0], None], 1, 2),
        (finite(), [1, INF, -INF, NAN], 2, 3),
        (finite(), [1, 10**400], 1, 2),
        (within(0, 1), [0, 1, 1.5, -1, NAN, INF], 2, 4),
        (within(None, 5), [10, -(10**9)], 1, 2),
        (positive(), [0, 5e-324, -1], 2, 3),
        (probability(), [0.0, 1.0, 1.0000001], 1, 3),
        (binary(), [0, 1, 0.5, True, None], 1, 4),
        (one_of(["a", 1]), ["a", "b", 1, 1.0, None], 1, 4),
        (one_of([1, 2]), [1.0, 2.0, 3.0, NAN], 1, 3),
        (one_of([True]), [True, False], 1, 2),
        (matches(r"\d+-\d+"), ["1-2", "x1-2", "1-2x", None], 2, 3),
        (matches("a+", longest=3), ["aaa", "aaaa"], 1, 2),
        (matches("a", ignore_case=True), ["A"], 0, 1),
        (of_type("number"), [1, 2.5, True, "x", None, Decimal(1)], 1, 5),
        (of_type("integer"), [1, 2.0, 2.5, "x", INF], 2, 5),
        (of_type("string"), ["x", 1, b"x", None], 2, 3),
        (of_type("boolean"), [True, 1, None], 1, 2),
        (of_type("vector"), [[1.0], 2.0], 1, 2),
        (of_type("datetime"), [dt.datetime(2026, 11, 21), dt.date(2026, 11, 21), "2026-11-21"], 1, 3),  # noqa: DTZ001
        (of_type("datetime"), np.array(["2026-11-21", "NaT"], dtype="datetime64[s]"), 0, 1),
        (of_type("duration"), [dt.timedelta(1), 1.0], 1, 2),
        (unique(), [1, 1, 2, NAN, NAN], 1, 3),
        (unique(), ["a", "a", "b", None, None], 1, 3),
        (unique(), [[1.0, 2.0], [1.0, 2.0]], 1, 2),
        (unique(), np.ones((3, 2)), 2, 3),
        (fresh(60), [NOW, NOW - 61, NOW + 61, NAN], 2, 3),
        (fresh(60), ["2026-11-21T00:00:00Z", "2026-11-20T23:00:00Z", "yesterday"], 1, 2),
        (fresh(60), [dt.datetime.fromtimestamp(NOW, dt.UTC), dt.date(2026, 11, 20), True], 2, 3),
        (fresh(60), np.array([int(NOW), 0], dtype="datetime64[s]"), 1, 2),
        (satisfies("even", lambda values: values % 2 == 0), [2, 3, NAN], 1, 2),
        (satisfies("all", lambda values: len(values) > 5), [2, 3], 2, 2),
    ],
)
@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
def test_a_check_counts_what_it_is_about(check, column, failed, seen):
    """What is missing is only missing, text is in no range, an infinity is not finite."""
    assert outcome(check, column) == (failed, seen)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: missing(2), "missing: at_most=2: expected a share, from 0 to 1"),
        (lambda: missing(True), "at_most=True"),
        (lambda: within(2, 1), "range: found 2 to 1, expected two numbers, the lower one first"),
        (lambda: within("a", 1), "found 'a' to 1"),
        (lambda: within(NAN, 1), "found nan to 1"),
        (lambda: one_of("abc"), "set: found 'abc', expected a collection"),
        (lambda: one_of(5), "set: found 5, expected a collection"),
        (lambda: one_of([]), "set: found no values, expected one at least"),
        (lambda: one_of([None]), "set: found no values, expected one at least"),
        (lambda: one_of([["a"]]), "set: found ['a'], expected words and numbers"),
        (lambda: missing(also="n/a"), "missing: also: found 'n/a', expected a collection"),
        (lambda: missing(also=-99), "missing: also: found -99, expected a collection"),
        (lambda: of_type("int"), "type: found 'int', expected one of number, integer"),
        (lambda: fresh(0), "fresh: found 0, expected more than 0 seconds, or a timedelta"),
        (lambda: fresh("1h"), "fresh: found '1h', expected more than 0 seconds, or a timedelta"),
        (lambda: fresh(dt.timedelta(0)), "fresh: found datetime.timedelta(0), expected more than 0 seconds"),
        (lambda: fresh(NAN), "fresh: found nan"),
        (lambda: fresh(1, ahead="x"), "fresh: ahead='x': expected 0 seconds or more, or a timedelta"),
        (lambda: outliers(0), "outliers: beyond=0"),
        (lambda: outliers("3"), "outliers: beyond='3'"),
        (lambda: Checks(None, 5), "checks: found int, expected checks by column"),
        (lambda: Checks(None, [missing()]), "checks: found list, expected checks by column"),
        (lambda: Checks(None, {5: missing()}), "checks of 5: expected the name of a column, or a tuple of names"),
        (lambda: Checks(None, {("a", 5): unique()}), "checks of ('a', 5): expected the name of a column"),
        (lambda: satisfies("mine", 7), "mine: found 7, expected a function"),
        (lambda: satisfies("", len), "a check named ''"),
        (lambda: Checks(None, {"x": 7}), "checks of 'x': found 7, expected checks"),
        (lambda: Checks(None, {"x": [within(0, 1), within(0, 2)]}), "checks of 'x': found 'range' twice"),
        (lambda: Checks(None, {"x": satisfies("schema", len)}), "found 'schema'"),
        (
            lambda: Checks(None, {("x", "y"): within(0, 1)}),
            "checks of 'x, y': found 'range', which looks at one column",
        ),
        (lambda: Checks(None, {"x": outliers()}), "outliers of 'x': no reference says what is usual"),
        (lambda: Checks(REFERENCE, {"colour": outliers()}), "outliers of 'colour': no reference says"),
    ],
)
def test_a_check_that_cannot_be_made_says_why(make, message):
    """At the call that makes it, not when data come."""
    with pytest.raises(CheckError) as caught:
        make()
    assert message in str(caught.value)
    assert isinstance(caught.value, LlmonError)


def test_a_table_like_the_reference_is_healthy():
    """Of any size: some values lie beyond the reference's extremes by chance, and the score does not suffer."""
    for rows in (30, 100, 1000, 20_000):
        found = report(usual(rows, seed=rows), reference=REFERENCE)
        assert found.healthy
        assert not found.warnings
        assert found.score > 1 - 2 / rows**0.5


def test_chance_alone_makes_no_violation():
    """Of 300 tables of 20 features none is unhealthy, whether the reference has 100 rows or 3,000."""
    rng = np.random.default_rng(5)
    for size in (100, 3000):
        before = rng.standard_t(3, (size, 20))
        before[rng.random(before.shape) < 0.05] = NAN
        checks = Checks(Reference.fit(before, correlation=False))
        for rows in (20, 200, 2000):
            for _ in range(50):
                now = rng.standard_t(3, (rows, 20))
                now[rng.random(now.shape) < 0.05] = NAN
                found = checks.report(checks.count(now))
                assert found.healthy, str(found)


def _spoiled(name, spoil):
    table = usual(1000, seed=1)
    table[name] = spoil(table[name])
    return table


def _some(rows, value):
    def spoil(column):
        column = column.astype(float).copy()
        column[:rows] = value
        return column

    return spoil


@pytest.mark.row("DR16")
@pytest.mark.parametrize(
    ("table", "expected"),
    [
        (_spoiled("size", _some(300, NAN)), {("size", "missing")}),
        (_spoiled("size", _some(1000, NAN)), {("size", "missing")}),
        (_spoiled("size", _some(1, INF)), {("size", "finite")}),
        (_spoiled("size", _some(1000, -INF)), {("size", "finite")}),
        (_spoiled("size", _some(1000, 0.5)), {("size", "constant")}),
        (_spoiled("colour", lambda column: [column[0]] * len(column)), {("colour", "constant")}),
        (_spoiled("colour", lambda column: ["mauve"] * len(column)), {("colour", "set")}),
        (_spoiled("size", lambda column: column + 5), {("size", "range"), ("size", "outliers")}),
        (_spoiled("size", lambda column: ["text"] * len(column)), {("size", "type")}),
        (_spoiled("size", lambda column: ["text", *column[1:].tolist()]), {("size", "type")}),
        (_spoiled("colour", lambda column: ["mauve"] * 100 + column[100:]), {("colour", "set")}),
        (_spoiled("colour", lambda column: [None] * 100 + column[100:]), {("colour", "missing")}),
        (_spoiled("colour", lambda column: [["red"]] * len(column)), {("colour", "type")}),
        (_spoiled("prompt", lambda column: [None] * len(column)), {("prompt", "missing")}),
        (_spoiled("vector", lambda column: column[:, :3]), {("vector", "type")}),
        (_spoiled("vector", lambda column: [None] * 500 + column[500:].tolist()), {("vector", "missing")}),
        (_spoiled("vector", _some(10, INF)), {("vector", "finite")}),
        ({name: column for name, column in usual(1000, 1).items() if name != "size"}, {("size", "missing_column")}),
        (usual(1000, 1) | {"age": np.arange(1000.0)}, {("age", "added_column")}),
        (
            {
                {"colour": "Col_our", "size": "amount"}.get(name, name): column
                for name, column in usual(1000, 1).items()
            },
            {("colour", "renamed_column"), ("size", "renamed_column")},
        ),
        ({name: column[:0] for name, column in usual(9).items()}, {("", "empty")}),
        ({}, {("", "empty")}),
        ([], {("", "empty")}),
    ],
)
def test_each_oddity_is_its_own_finding(table, expected):
    """And no exception: missing, infinite, constant, of another type, unseen, gone, added, renamed, empty."""
    found = report(table, reference=REFERENCE)
    assert set(kinds(found)) == expected
    assert not found.healthy


def test_a_long_tail_is_no_crowd_of_outliers():
    """How many were beyond a limit is known of whole bins only: of one that the limit divides all may have been."""
    rng = np.random.default_rng(8)
    names = [f"c{n}" for n in range(40)]
    checks = Checks(Reference.fit({name: rng.standard_cauchy(50_000) for name in names}, ordered=False))
    found = checks.report(checks.count({name: rng.standard_cauchy(1000) for name in names})).violations
    assert not [each for each in found if each.kind == "outliers"]
    many = {name: rng.standard_cauchy(1000) for name in names} | {"c0": np.where(np.arange(1000) < 500, 900.0, 0)}
    assert [each.feature for each in checks.report(checks.count(many)).violations if each.kind == "outliers"] == ["c0"]


def test_rows_that_follow_each_other_are_few_beside_a_small_reference_too():
    """A hundred of them have seen a small part of the range."""
    rng = np.random.default_rng(5)

    def walk(rows, columns=16):
        steps = rng.normal(size=(rows, columns)) * 0.19**0.5
        for row in range(1, rows):
            steps[row] += 0.9 * steps[row - 1]
        return {f"w{n}": steps[:, n] for n in range(columns)}

    checks = Checks(Reference.fit(walk(100)))
    assert not [each for _ in range(4) for each in checks.report(checks.count(walk(1000))).violations]


def test_one_level_is_constant_where_chance_does_not_explain_it():
    """In parts or as a whole; of a level that nearly all rows had, and in few rows, it is none."""
    rng = np.random.default_rng(0)
    table = {"a": rng.choice(["x", "y", "z"], 1000).tolist(), "b": ["x"] * 999 + ["y"], "c": ["x"] * 1000}
    checks = Checks(Reference.fit(table, ordered=False))
    one = {name: ["x"] * 200 for name in table}
    expected = {("a", "constant")}
    assert set(kinds(checks.report(checks.count(one)))) == expected
    assert set(kinds(checks.report(checks.count(one) + checks.count(one)))) == expected
    assert set(kinds(checks.report(checks.count(one) + checks.count({name: ["y"] * 9 for name in "abc"})))) != expected
    assert set(kinds(checks.report(checks.count({name: ["x"] * 9 for name in table})))) == set()


def test_how_fresh_may_be_said_as_a_timedelta():
    """Both ways."""
    moments = [100.0, 170.0, 230.0]
    for check in (fresh(60, ahead=20), fresh(dt.timedelta(minutes=1), ahead=dt.timedelta(seconds=20))):
        counts = Checks(None, {"at": check}).count({"at": moments}, now=200.0)
        assert (counts.seen["at", "fresh"], counts.failed["at", "fresh"]) == (3, 2)


def test_five_rows_are_told_to_be_few_and_judged_by_what_they_are():
    """One outlier of five is chance; one infinity, in a column that never had any, is none."""
    few = {name: column[:5] for name, column in usual(1000, 1).items()}
    found = report(few, reference=REFERENCE)
    assert found.healthy
    assert [warning.kind for warning in found.warnings] == ["few_rows"]
    few["size"] = few["size"].copy()
    few["size"][0] = INF
    assert set(kinds(report(few, reference=REFERENCE))) == {("size", "finite")}


@pytest.mark.row("DR16")
def test_one_missing_value_changes_nothing_else():
    """It is counted, and drift says of the rest what it says without that row."""
    table = {name: column for name, column in usual(1000, 2).items() if name in ("size", "price")}
    reference = Reference.fit({name: REFERENCE_TABLE[name] for name in table})
    without = {name: column[1:] for name, column in table.items()}
    table = {name: column.copy() for name, column in table.items()}
    table["size"][0] = NAN
    found = compare(Profile.of(table, reference)).features["size"]
    assert found.p_value == compare(Profile.of(without, reference)).features["size"].p_value
    counts = Checks(reference).count(table)
    rest = Checks(reference).count(without)
    assert counts.failed - rest.failed == Counter({("size", "missing"): 1})
    assert counts.seen["size", "range"] == rest.seen["size", "range"]


REFERENCE_TABLE = usual(2000)


def test_outliers_are_those_of_the_reference_however_many_they_are():
    """A window cannot hide them by having many; a long tail is no crowd of them."""
    table = usual(1000, 3)
    counts = CHECKS.count(table | {"size": table["size"] + 5})
    assert counts.failed["size", "outliers"] > 900
    strict = Checks(REFERENCE, {"size": outliers(1.0, at_most=1)}).count(table)
    assert 250 < strict.failed["size", "outliers"] < 390, "a third of a normal distribution is beyond one deviation"
    assert CHECKS.report(CHECKS.count({**table, "price": table["price"]})).healthy


def test_what_somebody_says_takes_the_place_of_the_references_check():
    """A check of the same name; and what is said for all columns."""
    table = usual(500, 4)
    table["size"][:100] = NAN
    assert set(kinds(report(table, reference=REFERENCE))) == {("size", "missing")}
    assert report(table, {"size": missing(0.2)}, REFERENCE).healthy
    assert report(table, {"*": missing(0.2)}, REFERENCE).healthy
    assert set(kinds(report(table, {"*": missing(0.2), "size": missing(0.1)}, REFERENCE))) == {("size", "missing")}
    assert set(kinds(report(table, {"size": [missing(1), within(-1, 1, at_most=0.1)]}, REFERENCE))) == {
        ("size", "range")
    }


def test_without_a_reference_columns_are_asked_for_values():
    """At most a tenth may be missing, unless told otherwise; a column that somebody named has to be there."""
    found = report({"a": [1, None, None, 4], "b": ["x"] * 4}, {"c": within(0, 1)})
    assert kinds(found) == {("a", "missing"): 1, ("c", "missing_column"): 1}
    assert report({"a": [None, *range(9)]}).healthy
    assert set(kinds(report({"a": [INF]}))) == {("a", "finite")}


def test_several_columns_are_asked_as_one():
    """Rows that come twice, and functions of several columns; where one of them is gone nothing is asked."""
    wanted = {
        ("user", "day"): unique(),
        ("start", "end"): satisfies("order", lambda start, end: start <= end),
        (): unique(),
    }
    table = {"user": ["a", "a", "b"], "day": [1, 1, 1], "start": [1, 2, 5], "end": [2, 1, NAN]}
    counts = Checks(None, wanted).count(table)
    assert (counts.failed["user, day", "unique"], counts.seen["user, day", "unique"]) == (1, 3)
    assert (counts.failed["start, end", "order"], counts.seen["start, end", "order"]) == (1, 2)
    assert counts.failed["row", "unique"] == 0
    del table["end"]
    found = report(table, wanted)
    assert set(kinds(found)) == {("user, day", "unique"), ("end", "missing_column")}


def test_a_check_that_fails_is_told_and_fails_no_value():
    """A function that raises, or answers with something else."""
    wanted = {"x": [satisfies("raises", lambda _: 1 / 0), satisfies("wrong", lambda _: [True])]}
    found = report({"x": [1, 2, 3]}, wanted)
    assert [str(finding) for finding in found.violations] == [
        "x: check_failed: 1 of 1 (100.0%): raises raised ZeroDivisionError",
        "x: check_failed: 1 of 1 (100.0%): wrong raised CheckError",
    ]
    assert found.score == 1.0


def test_a_score_is_a_product_that_can_reach_nothing_and_names_the_part_that_did_it():
    """All missing is 0; half of one column of two out of range is three quarters."""
    found = report({"a": [NAN] * 40, "b": [NAN] * 40})
    assert found.score == 0.0
    assert found.worst == "missing"
    found = report({"a": [0.5] * 40, "b": [0.5] * 20 + [7.0] * 20}, {"*": within(0, 1)})
    assert found.parts == {"missing": 1.0, "finite": 1.0, "range": 0.75}
    assert (found.score, found.worst) == (0.75, "range")
    assert report({"a": [0.5] * 40}).worst == ""
    assert report({}).score is None


def test_a_report_tells_types_and_ranges_and_keeps_values_out_of_its_words():
    """An example is there for who asks for it."""
    table = {"age": [31, 99, None], "name": ["x", "secret", None], "at": np.array([1, 2, 3], dtype="datetime64[s]")}
    found = report(table, {"name": one_of(["x"]), "age": within(0, 40)})
    assert found.types == {"age": "integer", "name": "string", "at": "datetime"}
    assert found.ranges == {"age": (31.0, 99.0), "at": (1.0, 3.0)}
    assert found.passed("name", "set") == 0.5
    assert found.passed("name", "range") is None
    [unknown] = [finding for finding in found.violations if finding.kind == "set"]
    assert unknown.example == "secret"
    assert "secret" not in str(found)
    assert str(found).startswith("not healthy, 3 rows, score 0.1")
    many = report({f"c{number}": [INF] for number in range(50)})
    assert str(many).endswith("and 31 more")


VALUES = st.one_of(
    st.floats(),
    st.none(),
    st.integers(-(10**400), 10**400),
    st.text(max_size=3),
    st.booleans(),
    st.lists(st.floats(), max_size=2),
)
TABLES = st.integers(0, 6).flatmap(
    lambda rows: st.fixed_dictionaries(
        {},
        optional={
            name: st.lists(VALUES, min_size=rows, max_size=rows)
            for name in ("size", "colour", "prompt", "vector", "more")
        },
    )
)
ALL = Checks(
    REFERENCE,
    {
        "*": [
            unique(at_most=1),
            matches("(a|b)+"),
            fresh(60),
            of_type("integer"),
            positive(),
            binary(),
            missing(also=["", 0]),
        ],
        ("size", "colour"): [unique(), satisfies("same", lambda one, _: [True] * len(one))],
        (): unique(),
    },
)


@given(TABLES, TABLES)
def test_counts_add_up_and_nothing_is_an_exception(one, other):
    """In either order; a report says something of all of them."""
    for checks in (CHECKS, ALL):
        first, second = checks.count(one, now=NOW), checks.count(other, now=NOW)
        both = first + second
        assert both == second + first
        assert both.rows == first.rows + second.rows
        assert checks.report(both).score is None or 0 <= checks.report(both).score <= 1
        assert Counts() + first == first
        for place, failed in both.failed.items():
            assert 0 < failed <= both.seen[place]


@given(TABLES)
def test_parts_of_a_table_count_as_the_whole(table):
    """But for what compares rows, and for how many tables there were."""
    rows = len(next(iter(table.values()), ()))
    head = {name: column[: rows // 2] for name, column in table.items()}
    tail = {name: column[rows // 2 :] for name, column in table.items()}
    whole, parts = CHECKS.count(table), CHECKS.count(head) + CHECKS.count(tail)
    assert (whole.seen, +whole.failed) == (parts.seen, +parts.failed)
    assert (whole.lows, whole.highs) == (parts.lows, parts.highs)
    assert {name: +kinds for name, kinds in whole.types.items()} == {
        name: +kinds for name, kinds in parts.types.items()
    }


NUMERIC = Checks(
    Reference.fit({name: REFERENCE_TABLE[name] for name in ("size", "price")}),
    {"size": [binary(), within(-1, 2, at_most=0.5)], "price": [probability(), missing(also=[0])]},
)
NUMBERS = st.floats(-4, 4) | st.sampled_from([NAN, INF, -INF, 1e300, 0.0])


@given(st.lists(st.tuples(NUMBERS, NUMBERS), max_size=12))
def test_rows_of_numbers_count_as_the_table_of_them(rows):
    """Also in parts, and with checks that have to see the column by itself."""
    checks = NUMERIC
    matrix = np.array(rows, dtype=np.float64).reshape(len(rows), 2)
    grid = Grid(checks)
    for start in range(0, len(rows), 5):
        grid.add(matrix[start : start + 5], NOW)
    counts = grid.take()
    table = checks.count({"size": matrix[:, 0], "price": matrix[:, 1]})
    assert (+counts.seen, +counts.failed) == (+table.seen, +table.failed)
    assert (counts.lows, counts.highs) == (table.lows, table.highs)
    assert {name: +kinds for name, kinds in counts.types.items()} == {
        name: +kinds for name, kinds in table.types.items()
    }
    assert grid.take().rows == 0


def test_a_matrix_of_another_width_is_refused():
    """It says how many columns there should be."""
    for rows in (np.zeros((3, 3)), np.zeros(3)):
        with pytest.raises(ColumnsError, match="expected rows by 2 numeric features"):
            Grid(CHECKS).add(rows, NOW)


@pytest.mark.parametrize(
    "table", [7, "text", None, {"a": [1], "b": [1, 2]}, {"a": 3}, [1, 2], np.zeros(3), {"a": np.zeros((2, 2, 2))}]
)
def test_what_is_no_table_is_refused_once(table):
    """By the reader's own error."""
    with pytest.raises(ColumnsError):
        CHECKS.count(table)


def test_columns_of_ever_new_names_are_bounded(monkeypatch):
    """Past the bound they are counted as one."""
    monkeypatch.setattr(quality, "MOST_COLUMNS", 5)
    checks = Checks()
    counts = Counts()
    for number in range(20):
        counts += checks.count({f"c{number}": [1.0, NAN]})
    assert counts.seen["other", "missing"] == 30
    assert len(counts.types) == 6


@pytest.mark.row("Q11")
@pytest.mark.parametrize("library", ["pandas", "pyarrow", "polars"])
def test_frames_are_looked_at_as_they_are(library):
    """Their own missing values, types and moments; nothing of theirs is imported by us."""
    module = pytest.importorskip(library)
    table = {
        "n": [1, None, 3],
        "x": [0.5, None, 7.5],
        "word": ["a", None, "c"],
        "flag": [True, None, False],
        "at": [dt.datetime.fromtimestamp(NOW, dt.UTC), None, dt.datetime.fromtimestamp(0, dt.UTC)],
    }
    frame = module.table(table) if library == "pyarrow" else module.DataFrame(table)
    checks = Checks(
        None,
        {
            "x": within(0, 1),
            "word": one_of(["a"]),
            "at": fresh(60),
            "flag": of_type("boolean"),
            "n": of_type("integer"),
        },
    )
    counts = checks.count(frame, now=NOW)
    failed = {place: counts.failed[place] for place in counts.seen if counts.failed[place]}
    assert failed == {
        **dict.fromkeys([(name, "missing") for name in table], 1),
        ("x", "range"): 1,
        ("word", "set"): 1,
        ("at", "fresh"): 1,
    }
    assert checks.report(counts).types["at"] == "datetime"
