"""Tables in files: what is read, what their columns are taken for, and what is said of what is no table."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import sys
import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest

from otel_llmon.errors import MissingExtraError
from otel_llmon.scores.columns import ColumnsError
from otel_llmon.scores.drift import Verdict, compare
from otel_llmon.scores.profile import Profile
from otel_llmon.scores.reference import Reference
from otel_llmon.scores.sampling import Sample
from otel_llmon.tables import Manner, TableFileError, open_table
from otel_llmon.tables.cells import Cells
from otel_llmon.tables.fitting import Wanted, fit, profile

ROWS = 3000


def rows(rng, count=ROWS):
    """Return rows of every kind that files have, as Python has them."""
    return [
        {
            "age": int(rng.integers(18, 90)) if row % 9 else None,
            "income": round(float(rng.lognormal(10, 1)), 2),
            "member": bool(rng.random() < 0.3),
            "city": str(rng.choice(["Paris", "Oslo", "São Paulo, SP", 'the "Hague"'])),
            "day": f"2026-{1 + row % 12:02d}-{1 + row % 28:02d}",
        }
        for row in range(count)
    ]


def cell(value):
    """Return a value as CSV has it."""
    return "" if value is None else str(value)


def as_csv(found, delimiter=","):
    """Return rows as CSV."""
    import csv

    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter)
    writer.writerow(found[0])
    writer.writerows([cell(value) for value in row.values()] for row in found)
    return text.getvalue()


def as_lines(found):
    """Return rows as JSON Lines."""
    return "".join(json.dumps(row) + "\n" for row in found)


FOUND = rows(np.random.default_rng(0))
CSV, LINES = as_csv(FOUND), as_lines(FOUND)


@pytest.fixture
def reader(tmp_path):
    """A function that returns the reader of some bytes in a file."""

    def make(content, name="data.csv", **manner):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return open_table(str(path), Manner(**manner))

    return make


def test_what_is_in_a_file_is_what_is_in_memory(reader):
    """Of a file that fits, the reference is the one that its columns have: numbers, words, booleans, dates."""
    found = fit(reader(CSV), Wanted(model="m"))
    moments = np.array([row["day"] for row in FOUND], dtype="datetime64[D]")
    table = {name: [row[name] for row in FOUND] for name in FOUND[0]} | {"day": moments}
    assert found == Reference.fit(table, model="m")
    assert [feature.kind for feature in found.features] == ["numeric"] * 3 + ["categorical", "numeric"]


PACKED = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", LINES),
        ("a.txt", LINES),
        ("a", CSV),
        ("a.tsv", as_csv(FOUND, "\t")),
        ("semicolons", as_csv(FOUND, ";")),
        ("pipes.csv", as_csv(FOUND, "|")),
        ("newlines.csv", CSV.replace("\r\n", "\n")),
        ("gaps.csv", CSV.replace("\r\n", "\r\n\r\n") + "\n\n"),
        ("gaps.jsonl", LINES.replace("\n", "\n  \n")),
        ("spaces.csv", CSV.replace(",False,", ", False, ")),
        ("mark.csv", b"\xef\xbb\xbf" + CSV.encode()),
        ("utf16.csv", CSV.encode("utf-16")),
        ("mark.jsonl", LINES.encode("utf-8-sig")),
        *((f"a.csv.{ending}", pack(CSV.encode())) for ending, pack in PACKED.items()),
        ("no-ending", gzip.compress(LINES.encode())),
    ],
)
def test_the_same_rows_in_another_file_are_the_same_reference(reader, name, content):
    """Whatever stands between cells, at the start, or around it all."""
    assert fit(reader(content, name), Wanted()).hash == fit(reader(CSV), Wanted()).hash


def test_parquet_has_the_same_reference(reader, tmp_path):
    """With nulls, decimals, dictionaries and dates as Arrow has them."""
    arrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    from decimal import Decimal

    parquet = pytest.importorskip("pyarrow.parquet")
    columns = {name: [row[name] for row in FOUND] for name in FOUND[0]}
    days = np.array(columns["day"], dtype="datetime64[D]")
    table = arrow.table(
        {
            "age": arrow.array(columns["age"], arrow.int32()),
            "income": arrow.array([Decimal(str(value)) for value in columns["income"]]),
            "member": arrow.array(columns["member"]),
            "city": arrow.array(columns["city"]).dictionary_encode(),
            "day": arrow.array(days),
        }
    )
    parquet.write_table(table, tmp_path / "a.parquet")
    whole = (tmp_path / "a.parquet").read_bytes()
    assert fit(reader(whole, "a.parquet"), Wanted()).hash == fit(reader(CSV), Wanted()).hash
    with pytest.raises(TableFileError, match="no Parquet that can be read"):
        fit(reader(whole[:-100], "cut.parquet"), Wanted())
    small = fit(reader(whole, "a.parquet"), Wanted(), sample=Sample(rows=1000))
    assert (small.rows, small["age"].missing) == (ROWS, fit(reader(CSV), Wanted())["age"].missing)


def test_parquet_without_pyarrow_says_what_to_install(reader, monkeypatch):
    """And everything else works without it."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match="'pyarrow' is not installed; run: pip install pyarrow"):
        fit(reader(b"PAR1 and so on", "a.parquet"), Wanted())
    assert fit(reader(CSV), Wanted()).rows == ROWS


def test_embeddings_come_from_lists(reader):
    """In JSON as lists, in CSV as their text."""
    rng = np.random.default_rng(1)
    vectors = rng.standard_normal((200, 4)).round(3).tolist()
    lines = "".join(json.dumps({"v": vector}) + "\n" for vector in [*vectors, None])
    cells = "v\n" + "".join(f'"{json.dumps(vector)}"\n' for vector in vectors) + '""\n'
    one, other = fit(reader(lines, "a.jsonl"), Wanted()), fit(reader(cells), Wanted())
    assert one.hash == other.hash
    assert (one["v"].kind, one["v"].rows, one["v"].missing) == ("embedding", 200, 1)


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (["1", "2.5", "-3e7", "", "NA"], "numeric"),
        (["", "", "null"], "numeric"),
        (["inf", "nan", "1"], "numeric"),
        (["True", "false", "TRUE"], "numeric"),
        (["2026-11-21", "2026-11-21T13:00:00Z", "2026-11-21 13:00:00+02:00"], "numeric"),
        (["red", "green"], None),
        (["1_000", "2_000"], None),
        (["1,5", "2,5"], None),
        (["2026", "red", "blue"], None),
        (["[1, 2]", "[3, 4]", ""], "embedding"),
        (["[1, 2", "[3, 4]"], None),
        ([*map(str, range(20)), "what"], "numeric"),
        ([*map(str, range(8)), "what", "now"], None),
        ([*map(str, range(5000)), "what"], "numeric"),
    ],
)
def test_cells_are_taken_for_what_nearly_all_of_them_are(cells, kind):
    """One that is something else among numbers is a mistake, and is told at the fit."""
    assert Cells().guess(cells) == kind


def test_cells_of_numbers_are_read_however_they_are_written():
    """Empty ones, marked ones, blanks, booleans and dates; what is none stays, to be counted."""
    numbers = Cells(["-99"]).column(["1", " 2 ", "", " ", "N/A", "-99", "true", "1970-01-02"], "numeric")
    assert np.array_equal(numbers, [1, 2, *[np.nan] * 4, 1, 86_400], equal_nan=True)
    assert Cells().column(["1", "x", "1970-01-02"], "numeric") == [1.0, "x", 86_400.0]
    assert Cells(["-"]).column(["a", "", " ", "NULL", "NA", "-"], "categorical") == ["a", *[None] * 3, "NA", None]


def test_a_large_file_is_counted_in_full(reader):
    """Its bins come from some of its rows, and all rows are in them; parts and runs make no difference."""
    large = rows(np.random.default_rng(2), 9000)
    one = fit(reader(as_csv(large)), Wanted(), sample=Sample(rows=2000))
    whole = fit(reader(as_csv(large)), Wanted())
    assert one.hash == fit(reader(as_lines(large), "a.jsonl"), Wanted(), sample=Sample(rows=2000)).hash != whole.hash
    for feature, same in zip(one.features, whole.features, strict=True):
        assert (feature.rows, feature.missing) == (same.rows, same.missing)
        if feature.tracks:
            assert (feature.tracks[0].low, feature.tracks[0].high) == (same.tracks[0].low, same.tracks[0].high)
    assert one["city"].levels.counts == whole["city"].levels.counts
    assert one.correlation.rows < whole.correlation.rows


def test_a_files_profile_is_that_of_its_rows(reader):
    """Every row is counted once, in the bins and levels of the reference."""
    reference = fit(reader(CSV), Wanted())
    window = rows(np.random.default_rng(3), 2500)
    days = np.array([row["day"] for row in window], dtype="datetime64[D]")
    table = {name: [row[name] for row in window] for name in window[0]} | {"day": days}
    expected = Profile.of(table, reference)
    assert profile(reader(as_csv(window)), reference) == expected
    assert profile(reader(as_lines(window), "a.jsonl"), reference) == expected
    assert compare(expected).changed is False


def test_memory_does_not_grow_with_the_file(reader):
    """Four times the rows take no more."""
    rng = np.random.default_rng(4)
    words = rng.choice(["x" * 120, "y" * 120], 40_000)
    lines = [f"{number:.4f},{word}" for number, word in zip(rng.standard_normal(40_000), words, strict=True)]
    peaks = []
    for count in (10_000, 40_000):
        found = reader("number,word\n" + "\n".join(lines[:count]))
        tracemalloc.start()
        reference = fit(found, Wanted(), sample=Sample(rows=1500))
        profile(found, reference)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]


def test_text_among_numbers_is_refused_with_its_line(reader):
    """At the fit; also where the sample has not seen it, and also among quoted lines."""
    text = 'note,n\n"two\nlines",1\n\n' + "a,1\n" * 400 + "b,what\n" + "c,2\n" * 20
    expected = "line 405: column 'n': found 'what', expected a number; --missing 'what', --kind n=categorical"
    for sample in (Sample(), Sample(rows=100)):
        with pytest.raises(ColumnsError, match=expected):
            fit(reader(text), Wanted(), sample=sample)
    assert fit(reader(text, missing=["what"]), Wanted())["n"].missing == 1
    assert fit(reader(text), Wanted(kinds={"n": "categorical"}))["n"].levels.names == ("1", "2", "what")
    assert [one.name for one in fit(reader(text), Wanted(excluded=["n"])).features] == ["note"]


def test_a_number_can_stand_for_none(reader, tmp_path):
    """However it is written, in whatever format; in words it is the word."""
    text = "n,w\n" + "".join(f"{row},x\n-99,-99\n-99.0,y\n" for row in range(100))
    for sample in (Sample(), Sample(rows=150)):
        found = fit(reader(text, missing=["-99"]), Wanted(), sample=sample)
        assert (found["n"].rows, found["n"].missing, found["n"].tracks[0].low) == (100, 200, 0)
        assert (found["w"].missing, found["w"].levels.names) == (100, ("x", "y"))
        window = profile(reader(text, missing=["-99"]), found)
        assert compare(window).features["n"].verdict is Verdict.STABLE
    rows = [{"n": row if row % 2 else -99, "f": row + 0.5 if row % 3 else -99.0, "t": row % 2 > 0} for row in range(90)]
    pandas = pytest.importorskip("pandas")
    pandas.DataFrame(rows).to_parquet(tmp_path / "rows.parquet")
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for name in ("rows.parquet", "rows.jsonl"):
        found = fit(open_table(str(tmp_path / name), Manner(missing=["-99"])), Wanted())
        assert [(found[one].missing, found[one].tracks[0].low) for one in "nft"] == [(45, 1), (30, 1.5), (0, 0)], name


def test_dates_may_be_missing_by_a_word(tmp_path):
    """In JSON as in CSV."""
    rows = [{"day": f"2026-01-{1 + row % 28:02d}" if row % 2 else "never"} for row in range(100)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = fit(open_table(str(tmp_path / "rows.jsonl"), Manner(missing=["never"])), Wanted())["day"]
    assert (found.kind, found.missing) == ("numeric", 50)


def test_text_where_numbers_were_is_a_verdict(reader):
    """At a comparison it is counted: the reference says what a column is."""
    reference = fit(reader("a,b\n" + "".join(f"{row % 7},{row % 5}\n" for row in range(500))), Wanted())
    window = "a,b\n" + "".join(f"{row % 7},{'x' if row % 3 else row % 5}\n" for row in range(500))
    found = compare(profile(reader(window), reference)).features["b"]
    assert found.verdict is Verdict.WRONG_TYPE
    assert found.scores["wrong type"] == pytest.approx(2 / 3, abs=0.01)


def test_excluded_columns_are_no_strangers_later(reader):
    """The reference remembers them; others are told of."""
    reference = fit(reader(CSV), Wanted(excluded=["age"]))
    assert "age" not in reference
    assert "age" not in compare(profile(reader(CSV), reference)).features
    assert compare(Profile.of({"age": [1] * 50}, reference)).features.keys() == {one.name for one in reference.features}
    less = fit(reader(CSV.replace("income", "pay")), Wanted())
    found = compare(profile(reader(CSV), less, ["income"])).features
    assert found["pay"].verdict is Verdict.ABSENT
    assert "income" not in found
    assert compare(profile(reader(CSV), less)).features["pay"].verdict is Verdict.RENAMED


def test_when_it_was_made_makes_no_other_reference(reader):
    """The same rows, the same hash."""
    one, other = (fit(reader(CSV), Wanted(created=f"2026-11-{day}T00:00:00+00:00")) for day in (20, 21))
    assert one != other
    assert one.hash == other.hash == fit(reader(CSV), Wanted()).hash


def test_standard_input_is_read_like_a_file(monkeypatch):
    """Twice where it has to be."""
    for content in (CSV.encode(), gzip.compress(LINES.encode())):
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(content)))
        found = open_table("-")
        assert fit(found, Wanted(), sample=Sample(rows=500)).rows == ROWS
        found.source.close()


GOOD = "a,b\n" + "".join(f"{row % 7},x{row % 3}\n" for row in range(100))
OBJECTS = '{"a": 1}\n' * 60
BAD = {
    "empty": (b"", "a.csv", "empty, expected a table"),
    "only empty lines": (b"\n\n\n", "a.csv", "empty, expected names of columns and rows below"),
    "no rows": (b"a,b\n", "a.csv", "found 0 rows, expected at least 30"),
    "few rows": (b"a,b\n1,2\n", "a.csv", "found 1 rows, expected at least 30"),
    "ragged": (GOOD + "1\n" + GOOD, "a.csv", "line 102: found 1 cell, expected 2"),
    "too many": (GOOD + "1,2,3\n", "a.csv", "line 102: found 3 cells, expected 2"),
    "ends amid a line": (GOOD + "1", "a.csv", "line 102: found 1 cell, expected 2"),
    "ends amid a cell": (GOOD + '1,"x\n3,4', "a.csv", "line 103: a quoted cell that begins before never ends"),
    "a quote amid": (GOOD + '1,"x"y\n', "a.csv", "line 102: ',' expected after '\"'; is this CSV"),
    "latin": (
        GOOD.encode() + b"1,caf\xe9\n",
        "a.csv",
        "line 102: byte 0xe9 is no utf-8; say --encoding, such as latin-1",
    ),
    "binary": (b"\x89PNG\r\n\x1a\n" + bytes(100), "a.csv", "found binary data, expected CSV, JSON Lines or Parquet"),
    "two names": ("a,a\n1,2\n", "a.csv", "column 'a': found twice, expected once"),
    "no names": ("1,2\n" * 40, "a.csv", "found numbers in the first row .1, 2., expected names; or: --no-header"),
    "cut compression": (gzip.compress(GOOD.encode())[:60], "a.csv.gz", "its compression is damaged"),
    "changed compression": (gzip.compress(GOOD.encode())[:-9] + b"x" * 9, "a.csv.gz", "its compression is damaged"),
    "a list": (json.dumps([{"a": 1}]), "a.json", "line 1: found a list .jq -c '...' makes lines of it."),
    "lists": ("[1]\n" * 40, "a.jsonl", "line 1: found a list"),
    "words": (OBJECTS + '"x"\n', "a.jsonl", "line 61: found 'x', expected an object"),
    "pretty": (
        json.dumps({"a": 1}, indent=2),
        "a.json",
        "line 1: JSON over several lines, expected an object per line",
    ),
    "no JSON": (OBJECTS + "{a}\n" + OBJECTS, "a.jsonl", r"line 61: no JSON \(Expecting property name.*\), expected"),
    "cut JSON": (OBJECTS + '{"a": ', "a.jsonl", "line 61: the file ends amid an object"),
    "deep": ('{"a":' * 100_000 + "\n", "a.jsonl", "line 1: no JSON"),
    "no lines": ("\n", "a.jsonl", "empty, expected a JSON object per line"),
    "objects": (
        '{"a": {"b": 1}}\n' * 40,
        "a.jsonl",
        "line 1: column 'a': found {'b': 1}, expected a number; --exclude a",
    ),
    "mixed": (OBJECTS + '{"a": "x"}\n', "a.jsonl", "line 61: column 'a': found 'x', expected a number"),
    "vectors": ('{"a": [1]}\n' * 40 + '{"a": [1, 2]}\n', "a.jsonl", "column 'a': found .*, expected as many numbers"),
}


@pytest.mark.parametrize(("content", "name", "message"), BAD.values(), ids=BAD.keys())
def test_what_is_no_table_is_one_line_with_its_place(reader, content, name, message):
    """The file, the line, what was found, what to do."""
    with pytest.raises((TableFileError, ColumnsError), match=message) as raised:
        fit(reader(content, name), Wanted())
    assert str(raised.value).startswith(("/", "column"))
    assert len(str(raised.value).splitlines()) == 1


def test_what_cannot_be_read_is_said(tmp_path):
    """A folder, and a file that is not there."""
    for path, why in ((tmp_path, "is a directory"), (tmp_path / "nowhere.csv", "no such file or directory")):
        with pytest.raises(TableFileError, match=f"not read, {why}"):
            open_table(str(path))


@pytest.mark.parametrize(
    ("manner", "message"),
    [
        ({"encoding": "klingon"}, "--encoding 'klingon': expected one that Python knows"),
        ({"delimiter": "ab"}, "--delimiter 'ab': expected one character, or tab"),
        ({"delimiter": '"'}, "--delimiter '\"': expected one character"),
    ],
)
def test_options_that_cannot_be_are_told(reader, manner, message):
    """Before anything is read."""
    with pytest.raises(TableFileError, match=message):
        reader(CSV, **manner)


def test_options_say_what_cannot_be_seen(reader):
    """Another encoding, no names, names that are numbers."""
    latin = fit(reader(GOOD.replace("x0", "é").encode("latin-1"), encoding="latin-1"), Wanted())
    assert "é" in latin["b"].levels.names
    bare = fit(reader("1,2\n" * 20 + "2,1\n" * 20, header=False), Wanted())
    assert ([one.name for one in bare.features], bare.rows) == (["0", "1"], 40)
    years = fit(reader("2025,2026\n" + "1,2\n2,1\n" * 20, header=True), Wanted())
    assert ([one.name for one in years.features], years.rows) == (["2025", "2026"], 40)
    unnamed = fit(reader(",b\n" + "1,2\n2,1\n" * 20), Wanted())
    assert [one.name for one in unnamed.features] == ["column 1", "b"]


def test_ten_thousand_columns_are_read(reader):
    """Few rows at a time."""
    names = ",".join(f"c{place}" for place in range(10_000))
    lines = [",".join(str((place * row) % 7) for place in range(10_000)) for row in range(40)]
    found = reader(f"{names}\n" + "\n".join(lines))
    parts = list(found.parts())
    assert sum(part.rows for part in parts) == 40
    assert max(part.rows for part in parts) <= 16
    assert parts[0].columns["c9999"][1] == str(9999 % 7)


def test_a_column_may_come_late_in_json(reader):
    """Rows before have none."""
    found = fit(reader('{"a": 1}\n' * 3000 + '{"a": 2, "b": 3}\n' * 60, "a.jsonl"), Wanted())
    assert (found["b"].rows, found["b"].missing) == (60, 3000)
