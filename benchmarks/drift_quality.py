"""How often drift is found where there is none, and where there is some: simulations through the whole product.

    python -m benchmarks.drift_quality                      # what is not in the file of results yet, about ten minutes
    python -m benchmarks.drift_quality --only power --again # one part anew
    python -m benchmarks.drift_quality --quick              # few repetitions, to see that it runs; nothing is stored

Every part consists of small jobs, each with a seed of its own; what was done is kept, so that a run may be interrupted.
"""

from __future__ import annotations

import os

os.environ.setdefault(
    "OPENBLAS_NUM_THREADS", "1"
)  # two threads on a shared core wait for each other: CPU time for nothing

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks import drift_simulations as simulations
from benchmarks.drift_simulations import CATEGORICAL, CELLS, FACTS, NUMERIC, ODD, SHIFTS, Found, plain
from otel_llmon.render.drift import WINDOWS
from otel_llmon.scores.drift import compare
from otel_llmon.scores.profile import Profile, Reference

KEPT = Path(__file__).parent / "results" / "drift_quality.json"


def show_false_alarms(found: Mapping[str, Found]) -> Iterator[Table]:
    """Yield the table of false alarms."""
    shown = Table(title="false alarms with nothing changed: 100 numeric and 20 categorical features, nominal 5 %")
    for name in ("rows of reference, window", "numeric", "categorical", "all", "tables flagged"):
        shown.add_column(name, justify="right")
    whole = {"tables": 0.0, "windows": 0.0}
    for before, rows in CELLS:
        jobs = [one for name, one in found.items() if name.startswith(f"{before} {rows} ")]
        if jobs:
            sums = {name: sum(job[name] for job in jobs) for name in jobs[0]}
            numeric, categorical = (sums[name] / sums["windows"] for name in ("numeric", "categorical"))
            both = (numeric * NUMERIC + categorical * CATEGORICAL) / (NUMERIC + CATEGORICAL)
            whole = {name: whole[name] + sums[name] for name in whole}
            cells = (f"{numeric:.1%}", f"{categorical:.1%}", f"{both:.1%}")
            shown.add_row(f"{before:,}, {rows:,}", *cells, f"{sums['tables']:.0f} of {sums['windows']:.0f}")
    rate = 120 * whole["tables"] / max(whole["windows"], 1)
    shown.add_row("all", "", "", "", f"{rate:.1f} of 120")
    yield shown


def show_power(found: Mapping[str, Found]) -> Iterator[Table]:
    """Yield the table of power."""
    shown = Table(
        title="power after false-discovery control, 20 of 100 (4 of 20) features changed, reference 10,000 rows"
    )
    for name in ("window", "change", "found", "at least", "false among the others"):
        shown.add_column(name, justify="right")
    for (rows, change), least in FACTS.items():
        jobs = [one for name, one in found.items() if name.startswith(f"{rows} {change} #")]
        if jobs:
            hit, false = (np.mean([job[name] for job in jobs]) for name in ("hit", "false"))
            shown.add_row(f"{rows:,}", change, f"{hit:.2f}", f"{least:.2f}", f"{false:.3f}")
    yield shown


def show_correlation(found: Mapping[str, Found]) -> Iterator[Table]:
    """Yield the table of correlation drift."""
    shown = Table(title="correlation only: 5 of 20 features, reference 10,000, window 1,000, decided at 1 %")
    for name in ("correlation", "found", "at least", "CPU of a check"):
        shown.add_column(name, justify="right")
    for rho, least in ((0.0, "0 (1 % nominal)"), (0.1, ".60"), (0.3, "1.0")):
        jobs = [one for name, one in found.items() if name.startswith(f"{rho} #")]
        if jobs:
            hit, seconds = (np.mean([job[name] for job in jobs]) for name in ("found", "seconds"))
            shown.add_row(f"{rho}", f"{hit:.2f}", least, f"{seconds * 1e3:.1f} ms")
    yield shown


def show_continuous(found: Mapping[str, Found]) -> Iterator[Table]:
    """Yield the tables of watching without end."""
    shown = Table(title="watching 100 features in windows of 100 rows, nothing changed, 2,000 windows a run")
    for name in ("reference", "runs that alarmed", "largest score (an alarm is 3.70)"):
        shown.add_column(name, justify="right")
    for before in (1_000, 10_000, 100_000):
        jobs = [one for name, one in found.items() if name.startswith(f"nothing {before} ")]
        if jobs:
            alarms, most = sum(job["alarm"] for job in jobs), max(job["most"] for job in jobs)
            shown.add_row(f"{before:,}", f"{alarms:.0f} of {len(jobs)}", f"{most:.2f}")
    yield shown
    shown = Table(title="records until the alarm, reference 100,000")
    for name in ("change", "median", "quartiles", "runs"):
        shown.add_column(name, justify="right")
    for change in SHIFTS:
        records = [one["records"] for name, one in found.items() if name.startswith(f"{change.name} #")]
        if records:
            low, middle, high = np.quantile(records, [0.25, 0.5, 0.75])
            shown.add_row(change.name, f"{middle:,.0f}", f"{low:,.0f} to {high:,.0f}", f"{len(records)}")
    yield shown


def show_autocorrelated(found: Mapping[str, Found]) -> Iterator[Table]:
    """Yield the table of dependent rows."""
    shown = Table(title="rows that follow each other (AR 1), reference 100,000 in order, window 1,000, nothing changed")
    for name in ("rho", "rows that count as one", "flagged at 5 %", "at most", "tables flagged"):
        shown.add_column(name, justify="right")
    for rho in (0.0, 0.3, 0.6, 0.9):
        jobs = [one for name, one in found.items() if name.startswith(f"{rho} #")]
        if jobs:
            low, effect, tables = (np.mean([job[name] for job in jobs]) for name in ("low", "effect", "tables"))
            shown.add_row(f"{rho}", f"{effect:.2f}", f"{low:.1%}", "7 %", f"{tables:.1%}")
    yield shown


def show_fleet(found: Mapping[str, Found]) -> Iterator[Table]:
    """Yield the table of a fleet's alerts."""
    shown = Table(title="alerts of the fleet's rules with nothing changed, each series with rules of its own")
    for name in ("rows of reference, fleet", "series", "KS", "PSI", "scores", "promised, all together"):
        shown.add_column(name, justify="right")
    for before, rows in simulations.FLEETS:
        jobs = [one for name, one in found.items() if name.startswith(f"{before} {rows} #")]
        if jobs:
            sums = {name: sum(job[name] for job in jobs) for name in ("series", "KS", "PSI", "scores")}
            cells = (f"{number:,.0f}" for number in sums.values())
            shown.add_row(f"{before:,}, {rows:,}", *cells, f"{sums['series'] / WINDOWS:.1f}")
    yield shown


def show_cost(found: Mapping[str, Found]) -> Iterator[Table]:
    """Yield the table of costs."""
    shown = Table(
        title="CPU of checking 10,000 rows x 100 features of seven shapes, reference 100,000; least and median"
    )
    for name in ("what", "least", "median", "by a copy", "at most"):
        shown.add_column(name, justify="right")
    jobs = list(found.values())
    if not jobs:
        return
    copied = np.median([job["copy"] for job in jobs])
    limits = {"binned": "10 ms", "exact": "250 ms"}
    for name in jobs[0]:
        seconds = [job[name] for job in jobs]
        times = f"{np.median(seconds) / copied:.1f}"
        shown.add_row(
            name, f"{min(seconds) * 1e3:.1f} ms", f"{np.median(seconds) * 1e3:.1f} ms", times, limits.get(name, "")
        )
    least = min(job["batches"] for job in jobs) / 9_984 * 1e6
    shown.caption = f"batches of 64 rows: {least:.1f} us per record of 100 features"
    yield shown


def show_odd(_: Mapping[str, Found]) -> Iterator[Table]:
    """Yield the verdict on every odd window."""
    rng = np.random.default_rng(1)
    reference = Reference.fit(plain(rng, 10_000), ordered=False)
    shown = Table(title="odd windows: 1,000 rows beside 10,000")
    for name in ("window", "verdict on the feature", "changed", "detail"):
        shown.add_column(name)
    for name, (feature, spoil) in ODD.items():
        window = spoil(plain(rng, 1_000))
        found = compare(Profile.of(window, reference)).features[feature]
        shown.add_row(name, found.verdict.value, str(found.changed), ", ".join(found.detail))
    yield shown


PARTS = {
    "false-alarms": (simulations.false_alarms, show_false_alarms),
    "power": (simulations.power, show_power),
    "correlation": (simulations.correlation, show_correlation),
    "autocorrelated": (simulations.autocorrelated, show_autocorrelated),
    "continuous": (simulations.continuous, show_continuous),
    "fleet": (simulations.fleet, show_fleet),
    "odd": (lambda **_: (), show_odd),
    "cost": (simulations.cost, show_cost),
}


def main(arguments: Sequence[str]) -> int:
    """Run what is not done, print all tables."""
    parser = argparse.ArgumentParser(description="false alarms, power and cost of drift detection")
    parser.add_argument("--only", choices=sorted(PARTS))
    parser.add_argument("--quick", action="store_true", help="few repetitions, nothing is stored")
    parser.add_argument("--again", action="store_true", help="forget what was done")
    options = parser.parse_args(arguments)
    console = Console()
    console.width = max(console.width, 120)
    kept = json.loads(KEPT.read_text()) if KEPT.exists() and not options.quick else {}
    for name, (jobs, show) in PARTS.items():
        if options.only in (None, name):
            done = {} if options.again else kept.get(name, {})
            for number, job in enumerate(jobs(quick=options.quick)):
                if job.name not in done:
                    found = job.run(np.random.default_rng([*name.encode(), number]))
                    done[job.name] = {key: float(f"{value:.5g}") for key, value in found.items()}
                    kept[name] = done
                    if not options.quick:
                        _keep(kept)
            console.print(*show(done))
    return 0


def _keep(kept: Mapping[str, Any]) -> None:
    beside = KEPT.with_suffix(".part")
    beside.write_text(json.dumps(kept, indent=0, sort_keys=True) + "\n")
    beside.replace(KEPT)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
