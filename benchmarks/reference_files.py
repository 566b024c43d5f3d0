"""References of files: CPU time per row, beside reading the same file and no more; memory of a file of any size.

The file has ten columns of numbers and two of words. The peer reads its cells with csv.reader and makes numbers of
those that are. Where pandas is installed it stands beside, for information: its reader is written in C, and leaves a
frame in memory that somebody still has to look at.
"""

from __future__ import annotations

import csv
import functools
import importlib.util
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.figures import SECOND, Figure
from otel_llmon.scores.drift import compare
from otel_llmon.scores.reference import Reference
from otel_llmon.tables import open_table
from otel_llmon.tables.fitting import Wanted, fit, profile

ROWS, NUMBERS = 300_000, 10
LARGE = 2_000_000
_FOLDER = tempfile.TemporaryDirectory()


@functools.cache
def table(rows: int) -> str:
    """Return the path of a file of so many rows, written once."""
    path = Path(_FOLDER.name, f"{rows}.csv")
    rng = np.random.default_rng(rows)
    with path.open("w", encoding="utf-8") as file:
        file.write(",".join([f"n{place}" for place in range(NUMBERS)] + ["city", "plan"]) + "\n")
        for _ in range(rows // 10_000):
            numbers = rng.standard_normal((10_000, NUMBERS))
            words = rng.choice(["Paris", "Oslo", "Rome", "Bern"], (10_000, 2))
            file.writelines(
                ",".join([*(f"{value:.6f}" for value in row), *word]) + "\n"
                for row, word in zip(numbers.tolist(), words.tolist(), strict=True)
            )
    return str(path)


@functools.cache
def reference() -> Reference:
    """Return the reference of the file."""
    return fit(open_table(table(ROWS)), Wanted())


def _fit() -> None:
    fit(open_table(table(ROWS)), Wanted())


def _compare() -> None:
    assert compare(profile(open_table(table(ROWS)), reference())).rows == ROWS


def _read() -> None:
    with Path(table(ROWS)).open(encoding="utf-8", newline="") as file:
        rows = csv.reader(file)
        next(rows)
        for row in rows:
            list(map(float, row[:NUMBERS]))


def _pandas() -> None:
    import pandas as pd  # type: ignore[import-untyped, unused-ignore]

    assert len(pd.read_csv(table(ROWS))) == ROWS


@dataclass(frozen=True)
class PerRow:
    """CPU time of all threads for something that is done with the file, per row."""

    what: str
    most: int | None = 7

    def __call__(self) -> float:
        """Return nanoseconds."""
        table(ROWS), reference()
        began = time.process_time()
        {"fit": _fit, "compare": _compare, "read": _read, "pandas": _pandas}[self.what]()
        return (time.process_time() - began) / ROWS * SECOND


@dataclass(frozen=True)
class Memory:
    """The most memory that `llmon reference fit` held for a file of so many rows."""

    rows: int
    most: int | None = 1

    def __call__(self) -> float:
        """Return megabytes."""
        command = [sys.executable, "-m", "otel_llmon.cli", "reference", "fit", table(self.rows)]
        with subprocess.Popen([*command, "--out", f"{_FOLDER.name}/r.json"], stdout=subprocess.DEVNULL) as process:
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        return usage.ru_maxrss / 1024


FIGURES = (
    Figure("reference: fit of a CSV, per row of 12 cells", PerRow("fit"), PerRow("read"), 6.0),
    Figure("reference: compare with a CSV, likewise", PerRow("compare"), PerRow("read"), 2.5),
    *(
        (
            Figure("reference: fit, beside pandas.read_csv", PerRow("fit"), PerRow("pandas")),
            Figure("reference: compare, beside pandas.read_csv", PerRow("compare"), PerRow("pandas")),
        )
        if importlib.util.find_spec("pandas")
        else ()
    ),
    Figure("reference: memory of a fit, 300,000 rows", Memory(ROWS), unit="MB"),
    Figure("reference: memory of a fit, 2,000,000 rows", Memory(LARGE), plus=300, unit="MB"),
)
