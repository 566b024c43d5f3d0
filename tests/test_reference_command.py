"""`llmon reference`: what is printed of references and comparisons, and how it ends."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from otel_llmon import cli
from otel_llmon.cli._features import MOST_STABLE, ago
from otel_llmon.cli.reference import STATUSES
from otel_llmon.scores.profile import Reference

ROWS = 1500


def write(path, seed, rows=ROWS, shift=0.0, columns=("age", "city", "note")):
    """Write a table with as many rows; `shift` moves two of its columns."""
    rng = np.random.default_rng(seed)
    cities = rng.choice(["Paris", "Oslo", "Rome"], rows, p=[0.5 - shift / 4, 0.3 + shift / 4, 0.2])
    found = {
        "age": rng.normal(40 + 10 * shift, 10, rows).round(1),
        "city": cities,
        "note": [f"note {number} of many" for number in rng.integers(0, 10**6, rows)],
    }
    lines = [",".join(columns), *(",".join(str(found[name][row]) for name in columns) for row in range(rows))]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.fixture
def llmon(monkeypatch, capsys, tmp_path):
    """A function that runs `llmon reference` in a folder with data; returns exit status, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "train.csv", 0)
    write(tmp_path / "same.csv", 1)
    write(tmp_path / "other.csv", 2, shift=1)
    write(tmp_path / "few.csv", 3, rows=12)

    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["llmon", "reference", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            cli.main()
        return left.value.code, *capsys.readouterr()

    return run


@pytest.fixture
def fitted(llmon):
    """The same, after a reference was made."""
    assert llmon("fit", "train.csv", "--out", "r.json", "--model", "credit", "--version", "3")[0] == 0
    return llmon


def test_fit_writes_a_reference_beside_us(llmon, tmp_path):
    """Under the data's name; it is printed as it is shown."""
    status, out, err = llmon(
        "fit", "train.csv", "--model", "credit", "--exclude", "note", "--unordered", "--bins", "10"
    )
    assert (status, err) == (0, "")
    assert out.endswith("written to train.reference.json\n")
    found = Reference.load(tmp_path / "train.reference.json")
    assert (found.model, found.rows, found.ordered, found.excluded) == ("credit", ROWS, False, ("note",))
    assert len(found["age"].tracks[0].counts) < 22
    shown = llmon("show", "train.reference.json")[1]
    assert out.startswith(shown.rstrip("\n"))
    assert "just now" in shown
    assert "age\tnumeric\t1,500\t0 %\t" in shown
    assert "3 levels: 'Paris' 48.4 %" in shown


def test_fit_says_what_a_column_is_where_it_is_told(llmon, tmp_path):
    """And refuses what is no kind, or no column."""
    assert llmon("fit", "train.csv", "--kind", "age=categorical")[0] == 0
    assert Reference.load(tmp_path / "train.reference.json")["age"].kind == "categorical"
    for given, expected in {
        "age=number": "--kind 'age=number': expected COLUMN=KIND, KIND one of numeric, categorical, text, embedding",
        "age": "--kind 'age': expected COLUMN=KIND, KIND one of numeric, categorical, text, embedding",
        "size=numeric": "--kind size: no such column, expected one of age, city, note",
    }.items():
        assert llmon("fit", "train.csv", "--kind", given) == (2, "", f"llmon: {expected}\n")


def test_fit_leaves_the_data_alone(llmon, tmp_path):
    """Who names it as the output is told; so is who names a folder."""
    before = (tmp_path / "train.csv").read_bytes()
    assert llmon("fit", "train.csv", "--out", "train.csv")[2] == (
        "llmon: --out train.csv: is the data itself, expected another file\n"
    )
    assert "is a folder, expected a file" in llmon("fit", "train.csv", "--out", tmp_path)[2]
    assert (tmp_path / "train.csv").read_bytes() == before


def test_facts_for_programs_are_those_that_are_shown(fitted):
    """--json of fit and of show."""
    _, out, _ = fitted("fit", "train.csv", "--out", "r.json", "--json")
    made, shown = json.loads(out), json.loads(fitted("show", "r.json", "--json")[1])
    assert made["file"] == "r.json"
    assert made["notes"] == []
    assert {name: made[name] for name in shown if name != "age"} == {
        name: value for name, value in shown.items() if name != "age"
    }
    assert shown["rows"] == ROWS
    assert 0 <= shown["age"] < 600
    age, city, note = shown["features"]
    assert (age["kind"], city["levels"], note["kind"]) == ("numeric", 3, "text")
    assert age["low"] < age["mean"] < age["high"]
    assert sum(city["top"].values()) == ROWS


def test_check_says_whether_a_reference_is_sound(fitted, tmp_path):
    """Whole, not newer, of the model that is named."""
    assert fitted("check", "r.json", "--model", "credit", "--version", "3") == (
        0, "a sound reference: 1,500 rows, 3 features, 0 findings\n", ""
    )  # fmt: skip
    text = (tmp_path / "r.json").read_text(encoding="utf-8")
    for changed, expected in {
        text[:3000]: "no JSON",
        text.replace("1500", "1501", 1): "damaged, its content and its hash differ",
        text.replace('"version": 1', '"version": 2', 1): "found version 2, expected 1 at most; update otel-llmon",
    }.items():
        (tmp_path / "bad.json").write_text(changed, encoding="utf-8")
        status, out, err = fitted("check", "bad.json")
        assert (status, out, len(err.splitlines())) == (1, "", 1)
        assert expected in err
    assert fitted("check", "r.json", "--model", "other") == (
        1, "", "llmon: r.json: model 'credit', expected 'other'; fit one for it, or leave --model out\n"
    )  # fmt: skip
    assert "version '3', expected '4'" in fitted("check", "r.json", "--version", "4")[2]


def test_check_says_what_keeps_data_from_being_a_good_reference(llmon, tmp_path):
    """Constant columns, ids, missing values, few rows, words that are numbers; it is fit all the same."""
    lines = [
        f"{row},1,{row % 7 if row % 3 == 0 else ''},{'5' if row == 9 else ''},'{row % 5}%',x" for row in range(400)
    ]
    (tmp_path / "odd.csv").write_text("id,one,gaps,rare,rate,word\n" + "\n".join(lines).replace("'", ""))
    status, out, err = llmon("check", "odd.csv")
    assert (status, err) == (0, "")
    for expected in (
        "(all)\t400 rows: only large changes will be told from chance",
        "id\trises or falls through all rows, as an id or a time: later rows will differ; exclude it, or fit with",
        "one\tconstant: all rows are 1; only another value would be noticed",
        "gaps\t66% of rows have no value",
        "rare\t1 rows have a value, at least 30 are needed",
        "rate\twords that look like numbers, such as '0%'",
        "word\tconstant: all rows are 'x'; only another value would be noticed",
        "fit to be a reference: 400 rows, 6 features, 7 findings",
    ):
        assert expected in out
    assert llmon("check", "odd.csv", "--strict")[0] == 1
    assert "id\t" not in llmon("check", "odd.csv", "--exclude", "id")[1]
    assert "id\t" not in llmon("check", "odd.csv", "--unordered")[1]
    found = json.loads(llmon("check", "odd.csv", "--json")[1])
    assert (found["kind"], found["usable"], len(found["notes"])) == ("data", True, 7)


def test_check_refuses_what_can_be_no_reference(llmon, tmp_path):
    """Too few rows, or no column that could say anything."""
    assert llmon("check", "few.csv") == (1, "", "llmon: few.csv: found 12 rows, expected at least 30\n")
    (tmp_path / "void.csv").write_text("a,b\n" + ",\n" * 100, encoding="utf-8")
    status, out, _ = llmon("check", "void.csv")
    assert (status, out.splitlines()[-1]) == (1, "no feature can say anything: 100 rows, 2 features, 3 findings")


def test_compare_leaves_with_its_verdict(fitted):
    """0 for stable, 1 for drifted, 3 for too few rows."""
    status, out, err = fitted("compare", "r.json", "same.csv")
    assert (status, err) == (0, "")
    assert out.splitlines()[-1].startswith("stable: 0 of 3 features drifted; 1,500 rows against reference ")
    status, out, _ = fitted("compare", "r.json", "other.csv")
    assert status == 1
    header, first, second, *_, last = [line.split("\t") for line in out.splitlines()]
    assert header == ["feature", "verdict", "effect", "p", "direction", "what changed"]
    assert (first[0], second[0]) == ("age", "city")
    assert first[1] == "drifted"
    assert first[2].startswith("location +1.0")
    assert float(first[3]) < 1e-100
    assert first[4] == "higher"
    assert first[5].startswith("mean 39.47 → 49.99")
    assert second[5].startswith("'Paris' 48.4 % →")
    assert last[0].startswith("drifted: 2 of 3 features drifted")
    status, out, _ = fitted("compare", "r.json", "few.csv")
    assert status == 3
    assert "age\tinsufficient\t\t\t\tfound 12 rows with a value; 30 are needed" in out


def test_compare_for_programs_has_the_same_facts(fitted):
    """--json: every number that the table shows, and the scores."""
    status, out, _ = fitted("compare", "r.json", "other.csv", "--json")
    found = json.loads(out)
    assert (status, found["outcome"], found["model"], found["rows"]) == (1, "drifted", "credit", ROWS)
    assert found["share"] == pytest.approx(2 / 3)
    lines = [line.split("\t") for line in fitted("compare", "r.json", "other.csv")[1].splitlines()[1:4]]
    for line, feature in zip(lines, found["features"], strict=True):
        effect = feature["effect"]
        assert line[:2] == [feature["name"], feature["verdict"]]
        assert line[2] == f"{effect['name']} {effect['value']:+.3g}"
        assert line[3] == f"{feature['p_value']:.2g}"
        assert line[4] == (effect["direction"] if feature["outcome"] == "drifted" else "")
        assert line[5] == "; ".join(feature["what"])
    assert found["features"][0]["mean"]["now"] - found["features"][0]["mean"]["before"] == pytest.approx(10, abs=1)
    assert json.loads(fitted("compare", "r.json", "few.csv", "--json")[1])["share"] is None


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("nowhere.json", "same.csv"), "nowhere.json: not read, no such file or directory"),
        (("train.csv", "same.csv"), "train.csv: no JSON"),
        (("r.json", "nowhere.csv"), "nowhere.csv: not read, no such file or directory"),
        (("r.json", "."), ".: not read, is a directory"),
        (("r.json", "same.csv", "--model", "other"), "r.json: model 'credit', expected 'other'"),
        (("r.json", "same.csv", "--html", "no/where.html"), "no/where.html: not written, no such file or directory"),
        (("r.json", "same.csv", "--encoding", "utf-16"), "same.csv: "),
        (("r.json", "r.json"), "r.json: found a reference, expected a table; what it holds: llmon reference show"),
        (("r.json", "same.csv", "--exclude", "nosuch"), "--exclude nosuch: no such column, expected one of age, city"),
        (
            ("r.json", "same.csv", "--exclude", "age", "--exclude", "city", "--exclude", "note"),
            "same.csv: no features left, expected at least one that is not excluded",
        ),
    ],
)
def test_compare_tells_trouble_from_drift(fitted, arguments, expected):
    """Status 2 and one line, where 1 would say that something has drifted."""
    status, out, err = fitted("compare", *arguments)
    assert (status, out, len(err.splitlines())) == (2, "", 1)
    assert err.startswith(f"llmon: {expected}")


@pytest.mark.parametrize("place", range(0, 100, 7))
def test_a_damaged_archive_is_one_line_wherever_the_damage_is(fitted, tmp_path, place):
    """Its compression says so, or what comes out of it; never a status that is a verdict."""
    packed = bytearray(gzip.compress((tmp_path / "same.csv").read_bytes()))
    at = 10 + (len(packed) - 20) * place // 100
    packed[at : at + 30] = bytes(255 - one for one in packed[at : at + 30])
    (tmp_path / "bad.csv.gz").write_bytes(packed)
    status, out, err = fitted("compare", "r.json", "bad.csv.gz")
    assert (status, out, len(err.splitlines())) == (2, "", 1), err


def test_what_nobody_expected_is_no_verdict(fitted, monkeypatch):
    """Python would end with 1, which says that something has drifted, or that a file is no reference."""

    def broken(*_):
        raise ZeroDivisionError

    monkeypatch.setattr("otel_llmon.tables.open_table", broken)
    for command in (("compare", "r.json", "same.csv"), ("check", "same.csv"), ("fit", "same.csv")):
        status, _, err = fitted(*command)
        assert status == 2
        assert "ZeroDivisionError" in err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no full device here")
@pytest.mark.parametrize("command", ["show r.json", "compare r.json same.csv", "compare r.json same.csv --json"])
def test_a_result_that_cannot_be_written_is_no_verdict(fitted, command):
    """One line, and nothing more at the interpreter's end."""
    line = [sys.executable, "-m", "otel_llmon.cli", "reference", *command.split()]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(line, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "llmon: standard output: not written, no space left on device\n")


def test_a_reader_that_has_seen_enough_hears_no_complaint(fitted):
    """`llmon reference show | head -1`."""
    line = [sys.executable, "-m", "otel_llmon.cli", "reference", "show", "r.json"]
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 2


def test_what_is_excluded_is_neither_judged_nor_counted(fitted, tmp_path):
    """Whether the file has such a column or not; all else is judged as it is without."""
    fitted("fit", "train.csv", "--out", "less.json", "--exclude", "age")
    status, out, err = fitted("compare", "r.json", "other.csv", "--exclude", "age")
    assert (status, err) == (1, "")
    less = fitted("compare", "less.json", "other.csv")[1]
    assert out.splitlines()[:-1] == less.splitlines()[:-1]
    assert f"drifted: 1 of 2 features drifted; 1,500 rows against reference {Reference.load('r.json').hash}" in out
    write(tmp_path / "less.csv", 5, columns=("city", "note"))
    assert fitted("compare", "r.json", "less.csv", "--exclude", "age")[0] == 0


def test_fit_refuses_to_exclude_what_is_not_there(llmon):
    """It would be a misspelt name, and its column a feature."""
    assert llmon("fit", "train.csv", "--exclude", "Age") == (
        2, "", "llmon: --exclude Age: no such column, expected one of age, city, note\n"
    )  # fmt: skip


def test_compare_knows_columns_that_come_and_go(fitted, tmp_path):
    """Absent, renamed and unknown ones come first; what is excluded is not looked at."""
    write(tmp_path / "less.csv", 5, columns=("city",))
    (tmp_path / "less.csv").write_text((tmp_path / "less.csv").read_text().replace("city", "town"))
    _, out, _ = fitted("compare", "r.json", "less.csv")
    assert [line.split("\t")[:2] for line in out.splitlines()[1:5]] == [
        ["age", "absent"], ["note", "absent"], ["city", "renamed"], ["town", "unknown"]
    ]  # fmt: skip
    assert "no such column here; 'town' has its values" in out
    assert "town" not in fitted("compare", "r.json", "less.csv", "--exclude", "town")[1]
    fitted("fit", "train.csv", "--out", "no.json", "--exclude", "age", "--exclude", "note")
    assert fitted("compare", "no.json", "same.csv")[0] == 0


def test_a_long_table_keeps_to_what_matters(llmon, tmp_path):
    """Stable features of many are counted; --all shows them, and so does --json."""
    names = [f"c{place}" for place in range(50)]
    lines = "\n".join(",".join(str((row * (place + 3)) % 11) for place in range(50)) for row in range(300))
    (tmp_path / "wide.csv").write_text(",".join(names) + "\n" + lines, encoding="utf-8")
    llmon("fit", "wide.csv", "--out", "w.json", "--unordered")
    short, whole = (llmon("compare", "w.json", "wide.csv", *more)[1].splitlines() for more in ((), ("--all",)))
    assert len(short) == 1 + MOST_STABLE + 2
    assert short[-2] == f"and {50 - MOST_STABLE} more that are stable; to see them: --all"
    assert len(whole) == 1 + 50 + 1
    assert len(json.loads(llmon("compare", "w.json", "wide.csv", "--json")[1])["features"]) == 50


def test_numbers_have_as_many_digits_as_tell_them_apart(llmon, tmp_path):
    """A date is a large number of seconds, and its first and last are not the same."""
    lines = [f"2026-01-{1 + row % 20:02d},{52.37 + row / 1e5:.5f}" for row in range(400)]
    (tmp_path / "days.csv").write_text("day,latitude\n" + "\n".join(lines))
    out = llmon("fit", "days.csv", "--out", "d.json", "--unordered")[1]
    assert "1,767,225,600 to 1,768,867,200, mean 1,768,046,400" in out
    assert "52.37000 to 52.37399, mean 52.37200" in out


def test_names_can_do_no_harm_to_a_terminal_or_a_table(llmon, tmp_path):
    """Escape sequences, tabs and halves of characters are no markup of a terminal, and break no line."""
    rows = "".join(
        json.dumps({"\x1b[31mred\tx": row % 5, "half \ud800": "\u202e" + "ab"[row % 2]}) + "\n" for row in range(90)
    )
    (tmp_path / "odd.jsonl").write_text(rows, encoding="utf-8")
    for arguments in (
        ("fit", "odd.jsonl", "--out", "o.json"),
        ("show", "o.json"),
        ("check", "o.json"),
        ("compare", "o.json", "odd.jsonl"),
        ("compare", "o.json", "same.csv", "--exclude", "note"),
    ):
        _, out, err = llmon(*arguments)
        assert "\x1b" not in out + err
        assert "\u202e" not in out
        assert all(line.count("\t") in (0, 1, 4, 5) for line in out.splitlines())
    for arguments in (("show", "o.json", "--json"), ("compare", "o.json", "odd.jsonl", "--json", "--html", "o.html")):
        names = [feature["name"] for feature in json.loads(llmon(*arguments)[1])["features"]]
        assert sorted(names) == ["\x1b[31mred\tx", "half \ud800"]


def test_a_terminal_sees_how_far_it_is(fitted, monkeypatch):
    """A bar on standard error, which is gone at the end; nothing of it in a pipe."""
    assert fitted("compare", "r.json", "same.csv")[2] == ""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    _, out, err = fitted("compare", "r.json", "same.csv")
    assert "reading 1,500 rows" in err
    assert "reading" not in out


def test_age_is_said_in_words():
    """From just now on."""
    assert [ago(seconds) for seconds in (-5, 3, 60, 3599, 7200, 86_400 * 40)] == [
        "in the future", "just now", "1 minute ago", "59 minutes ago", "2 hours ago", "40 days ago"
    ]  # fmt: skip


def test_help_says_what_statuses_mean(llmon, monkeypatch):
    """Of check and of compare."""
    monkeypatch.setenv("COLUMNS", "100")
    for command, words in (("check", "Leaves with 1 where"), ("compare", "with 3 where there are too few rows")):
        status, out, _ = llmon(command, "--help")
        assert status == 0
        assert words in " ".join(out.replace("│", " ").split())


def test_it_loads_no_telemetry(fitted):
    """Who compares two files sends nothing, and waits for no exporter to be imported."""
    import subprocess

    program = (
        "import sys; sys.argv = ['llmon', 'reference', 'compare', 'r.json', 'same.csv']\n"
        "from otel_llmon import cli\n"
        "try: cli.main()\n"
        "except SystemExit: print(*[name for name in sys.modules if name.startswith('opentelemetry.sdk')])"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == ""


def test_the_page_does_what_it_says(monkeypatch, tmp_path):
    """Its program runs, and the numbers that it names are those that are."""
    import re

    from otel_llmon.scores.sampling import MOST_ROWS

    page = (Path(cli.__file__).parents[2] / "docs/reference.md").read_text(encoding="utf-8")
    [program] = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    rng = np.random.default_rng(0)
    tables = {
        "frame": {"a": rng.random(200), "id": np.arange(200)},
        "window": {"a": rng.random(90), "id": np.arange(90)},
    }
    monkeypatch.chdir(tmp_path)
    exec(program, tables)
    assert tables["drift"].changed is False
    assert f"Up to {MOST_ROWS:,} rows" in page
    assert all(f"| {status} | {outcome}" in page for outcome, status in STATUSES.items())
