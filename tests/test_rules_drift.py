"""The rules for a fleet's drift, as text: what they name, and how they are written."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from otel_llmon.errors import SettingsError
from otel_llmon.render import drift, promql
from otel_llmon.scores.dense import dense
from otel_llmon.scores.profile import Reference
from otel_llmon.semconv import rows
from otel_llmon.semconv.attributes import MEANINGS

LLMON = str(Path(sys.executable).with_name("llmon"))


def parsed(**wanted):
    """Return the rules of a made-up reference."""
    [group] = yaml.safe_load(drift.rules_file("abc123", 10, **wanted))["groups"]
    return group["rules"]


def test_every_recorded_series_is_made_before_it_is_read():
    """The rules of a group are evaluated one after the other."""
    known: set[str] = set()
    for rule in parsed():
        used = set(re.findall(r"\w+:llmon_\w+:\w+", rule["expr"]))
        assert used <= known, rule
        known.add(rule.get("record", ""))
    made = {rule["record"] for rule in parsed() if "record" in rule}
    assert all(
        re.fullmatch(r"(feature|feature_bin|reference|reference_bin):llmon_drift_[a-z_]+:increase1h", name)
        for name in made
    )


def test_the_rules_of_two_references_do_not_meet():
    """Each reads its own series only: two files together write none twice."""
    for rule in parsed():
        if rule.get("alert") in ("LlmonDriftMixedReferences", "LlmonDriftInOneProcess"):
            continue
        selected = re.findall(r"\w+:llmon_\w+:\w+(?!\w)(\{[^}]*\})?", rule["expr"])
        raw = re.findall(r"\bllmon_drift_\w+(\{[^}]*\})", rule["expr"])
        assert selected or raw
        assert all('llmon_reference="abc123"' in braces for braces in (*selected, *raw)), rule


def test_the_rules_name_no_metric_but_the_registrys():
    """And no label but those of its attributes."""
    spelt, labels = {promql.series(row) for row in rows()}, {promql.label(key) for key in MEANINGS}
    for rule in parsed():
        names = set(re.findall(r"(?<![:\w])llmon_\w+", rule["expr"]))
        assert names <= spelt | labels


def test_a_rarer_alert_is_asked_for_the_more_series_there_are():
    """By chance one alert in five thousand windows over all of them: what one series has to show grows with that."""

    def limits(series):
        text = drift.rules_file("abc123", series)
        found = re.search(r"> ([\d.]+) \* sqrt", text)
        return float(found[1])

    assert limits(1) < limits(10) < limits(100) < limits(10_000) < 3.5


@pytest.mark.parametrize("window", ["", "1", "h", "1w", "1h30m", "-1h", "0h", "1h]) or vector(1"])
def test_what_is_no_window_is_refused(window):
    """With the way out."""
    with pytest.raises(SettingsError, match="expected a time like 30m or 1h"):
        drift.rules_file("abc123", 1, window=window)


@pytest.fixture
def saved(tmp_path):
    """A file with a reference of two features."""
    rng = np.random.default_rng(0)
    Reference.fit({"a": rng.normal(size=200), "b": rng.choice(["x", "y"], 200)}).save(tmp_path / "model.json")
    return tmp_path / "model.json"


def llmon(*arguments):
    """Run the command line."""
    return subprocess.run([LLMON, "rules", "drift", *map(str, arguments)], capture_output=True, text=True, check=False)


def test_the_command_writes_the_rules_of_the_reference_in_a_file(saved):
    """Printed, or into a file with one line that says so; its options are in the rules."""
    reference = Reference.load(saved)
    done = llmon(saved)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == drift.rules_file(reference.hash, len(dense(reference)))
    out = saved.with_name("drift.yml")
    done = llmon(
        saved, "--window", "30m", "--ks", "0.2", "--psi", "0.3", "--score", "0.4", "--rows", "50", "--out", out
    )
    assert done.stdout == f"{out}: rules for {saved}, over 30m\n"
    floors = drift.Floors(0.2, 0.3, 0.4, 50)
    assert out.read_text() == drift.rules_file(reference.hash, 2, window="30m", floors=floors)
    assert "[30m]" in out.read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["missing.json"], "missing.json: not read, no such file or directory"),
        (["{saved}", "--window", "soon"], "window 'soon': expected a time like 30m or 1h, from a minute to a year"),
        (["{saved}", "--window", "1s"], "window '1s': expected a time like 30m or 1h, from a minute to a year"),
        (["{saved}", "--window", "9999d"], "window '9999d': expected a time like 30m or 1h, from a minute to a year"),
        (["{saved}", "--ks", "nan"], "ks nan: expected a number of 0 or more and less than 1"),
        (["{saved}", "--ks", "-1"], "ks -1: expected a number of 0 or more and less than 1"),
        (["{saved}", "--ks", "5"], "ks 5: expected a number of 0 or more and less than 1"),
        (["{saved}", "--psi", "nan"], "psi nan: expected a number of 0 or more"),
        (["{saved}", "--score", "inf"], "score inf: expected a number of 0 or more"),
        (["{saved}", "--rows", "-5"], "rows -5: expected 1 or more"),
        (["{saved}", "--out", "/nowhere/rules.yml"], "/nowhere/rules.yml: not written, no such file or directory"),
        (["{text}"], "no JSON"),
    ],
)
def test_what_the_command_cannot_do_is_one_line(saved, arguments, said):
    """And status 2."""
    text = saved.with_name("text.json")
    text.write_text("hello")
    done = llmon(*(argument.format(saved=saved, text=text) for argument in arguments))
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert said in done.stderr
