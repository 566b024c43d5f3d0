"""How often drift is found where there is none, and how often where there is some: simulations through the whole product.

    python -m benchmarks.drift_quality                      # what is not in the file of results yet, about ten minutes
    python -m benchmarks.drift_quality --only power --again # one part anew
    python -m benchmarks.drift_quality --quick              # few repetitions, to see that it runs; nothing is stored

Every part consists of small jobs, each with a seed of its own; what was done is kept, so that a run may be interrupted.
"""

from __future__ import annotations

import os

os.environ.setdefault(
    "OPENBLAS_NUM_THREADS", "1"
)  # two threads on a shared core wait for each other, and that is CPU time

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

from otel_llmon.scores.drift import Limits, compare
from otel_llmon.scores.exact import Sample
from otel_llmon.scores.profile import Profile, Reference
from otel_llmon.scores.sequential import Detector

KEPT = Path(__file__).parent / "results" / "drift_quality.json"
Rng = np.random.Generator
Columns = dict[str, Any]
Found = dict[str, float]

SHAPES: Mapping[str, Callable[[Rng, int], np.ndarray[Any, Any]]] = {
    "normal": lambda rng, rows: rng.standard_normal(rows),
    "uniform": lambda rng, rows: rng.random(rows),
    "exponential": lambda rng, rows: rng.exponential(size=rows),
    "lognormal": lambda rng, rows: rng.lognormal(size=rows),
    "Student's t": lambda rng, rows: rng.standard_t(3, rows),
    "Poisson": lambda rng, rows: rng.poisson(4, rows).astype(float),
    "Pareto": lambda rng, rows: rng.pareto(1.2, rows) + 1,
}
NUMERIC, CATEGORICAL = 100, 20
CELLS = tuple((n, w) for n in (1_000, 10_000, 100_000) for w in (100, 1_000, 10_000, 100_000) if w <= n)


class Job(NamedTuple):
    """One piece of a part: what it is called, and what is to be called for it."""

    name: str
    run: Callable[[Rng], Found]


def table(rng: Rng, rows: int, shares: Sequence[Any], shapes: Sequence[str] = tuple(SHAPES)) -> Columns:
    """Return numeric columns, the shapes in turn, and categorical ones of the given shares."""
    found: Columns = {f"n{place}": SHAPES[shapes[place % len(shapes)]](rng, rows) for place in range(NUMERIC)}
    for place, share in enumerate(shares):
        levels = np.array([f"level {level}" for level in range(len(share))], dtype=object)
        found[f"c{place}"] = levels[rng.choice(len(share), rows, p=share)].tolist()
    return found


def shares_of(rng: Rng) -> list[Any]:
    """Return the shares of the levels of categorical columns: two to twelve, some of them rare."""
    return [rng.dirichlet(np.ones(levels)) for levels in rng.integers(2, 13, CATEGORICAL)]


# false alarms


def false_alarms(quick: bool) -> Iterator[Job]:
    """Yield one job per reference of each cell: nothing has changed, who is flagged?"""
    windows = {100: 10, 1_000: 6, 10_000: 3, 100_000: 2}
    fits = {1_000: 30, 10_000: 16, 100_000: 8}
    for before, rows in CELLS:
        count = 1 if quick else fits[before] * (2 if rows == before and before < 100_000 else 1)
        for number in range(count):
            yield Job(f"{before} {rows} {number}", lambda rng, b=before, r=rows: _nothing(rng, b, r, windows[r]))


def _nothing(rng: Rng, before: int, rows: int, windows: int) -> Found:
    shares = shares_of(rng)
    reference = Reference.fit(table(rng, before, shares), ordered=False)
    found = {"windows": 0.0, "tables": 0.0, "numeric": 0.0, "categorical": 0.0}
    for _ in range(windows):
        drift = compare(Profile.of(table(rng, rows, shares), reference))
        low = [one.p_value < 0.05 for one in drift.features.values()]
        found["windows"] += 1
        found["tables"] += bool(drift.changed)
        found["numeric"] += sum(low[:NUMERIC]) / NUMERIC
        found["categorical"] += sum(low[NUMERIC:]) / CATEGORICAL
    return found


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


# power


def _tails(rng: Rng, values: Any) -> Any:
    values = values.copy()
    values[rng.choice(len(values), max(len(values) // 100, 1), replace=False)] = 6.0
    return values


def _with_one(values: Any) -> Any:
    values = values + 0.3
    values[0] = 1e6
    return values


CHANGES: Mapping[str, tuple[str, Callable[[Rng, Any], Any]]] = {
    "mean +0.1 sd": ("normal", lambda rng, values: values + 0.1),
    "mean +0.3 sd": ("normal", lambda rng, values: values + 0.3),
    "sd x1.15": ("normal", lambda rng, values: values * 1.15),
    "1 % of rows at 6 sd": ("normal", _tails),
    "+0.3 sd and one value 1e6": ("normal", lambda rng, values: _with_one(values)),
    "Pareto(1.2) x1.5": ("Pareto", lambda rng, values: values * 1.5),
}
FACTS = {
    (1_000, "mean +0.1 sd"): 0.30, (1_000, "mean +0.3 sd"): 1.0, (1_000, "sd x1.15"): 0.97,
    (1_000, "1 % of rows at 6 sd"): 0.55, (1_000, "+0.3 sd and one value 1e6"): 1.0, (1_000, "Pareto(1.2) x1.5"): 1.0,
    (1_000, "two levels swap"): 1.0, (200, "mean +0.1 sd"): 0.0, (200, "mean +0.3 sd"): 0.80, (200, "sd x1.15"): 0.28,
    (10_000, "mean +0.1 sd"): 1.0, (10_000, "1 % of rows at 6 sd"): 1.0,
}  # fmt: skip
"""What the design that was tried reached, where that was measured."""


def power(quick: bool) -> Iterator[Job]:
    """Yield jobs in which 20 of 100 numeric features have changed, or 4 of 20 categorical ones."""
    for rows, change in FACTS:
        for number in range(1 if quick else 8):
            yield Job(f"{rows} {change} #{number}", lambda rng, r=rows, c=change: _changed(rng, r, c))


def _changed(rng: Rng, rows: int, change: str) -> Found:
    shares = [rng.dirichlet(np.full(8, 3.0)) for _ in range(CATEGORICAL)]
    shape, apply = CHANGES.get(change, ("normal", None))
    reference = Reference.fit(table(rng, 10_000, shares, [shape]), ordered=False)
    window = table(rng, rows, shares, [shape])
    names = [f"n{place}" for place in range(20)] if apply else [f"c{place}" for place in range(4)]
    for place, name in enumerate(names):
        if apply:
            window[name] = apply(rng, window[name])
        else:
            one, other = (f"level {level}" for level in np.argsort(shares[place])[[-1, 0]])
            swapped = {one: other, other: one}
            window[name] = [swapped.get(level, level) for level in window[name]]
    features = compare(Profile.of(window, reference)).features
    hit = [bool(features[name].changed) for name in names]
    false = [bool(found.changed) for name, found in features.items() if name not in names]
    return {"hit": sum(hit) / len(hit), "false": sum(false) / len(false)}


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


# correlation


def correlation(quick: bool) -> Iterator[Job]:
    """Yield jobs in which 5 of 20 features begin to go together, and nothing else changes."""
    for rho in (0.0, 0.1, 0.3):
        for number in range(2 if quick else 40):
            yield Job(f"{rho} #{number}", lambda rng, r=rho: _together(rng, r))


def _together(rng: Rng, rho: float) -> Found:
    reference = Reference.fit(rng.standard_normal((10_000, 20)), ordered=False)
    window = rng.standard_normal((1_000, 20))
    window[:, :5] = rho**0.5 * rng.standard_normal((1_000, 1)) + (1 - rho) ** 0.5 * window[:, :5]
    began = time.process_time()
    drift = compare(Profile.of(window, reference), Limits(correlation=0.01))
    assert drift.correlation is not None
    return {"found": float(drift.correlation.changed), "seconds": time.process_time() - began}


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


# watching without end


def continuous(quick: bool) -> Iterator[Job]:
    """Yield runs of the detector over windows of 100 rows of 100 features: long ones without a change, others with."""
    for before in (1_000, 10_000, 100_000):
        for number in range(1 if quick else 12):
            length = 100 if quick else 2_000
            yield Job(f"nothing {before} #{number}", lambda rng, b=before, n=length: _watched(rng, b, 0, 0.0, 1.0, n))
    for name, count, shift, scale in SHIFTS:
        for number in range(1 if quick else 20):
            yield Job(
                f"{name} #{number}", lambda rng, f=count, s=shift, x=scale: _watched(rng, 100_000, f, s, x, 1_000)
            )


SHIFTS = (
    ("+0.1 sd in 1", 1, 0.1, 1.0), ("+0.1 sd in 10", 10, 0.1, 1.0), ("+0.2 sd in 1", 1, 0.2, 1.0),
    ("+0.5 sd in 1", 1, 0.5, 1.0), ("sd x1.15 in 1", 1, 0.0, 1.15),
)  # fmt: skip


def _watched(rng: Rng, before: int, count: int, shift: float, scale: float, windows: int) -> Found:
    reference = Reference.fit(rng.standard_normal((before, NUMERIC)), ordered=False)
    detector = Detector(reference)
    most = -np.inf
    for number in range(1, windows + 1):
        rows = rng.standard_normal((100, NUMERIC))
        rows[:, :count] = rows[:, :count] * scale + shift
        window = Profile(reference)
        window.add_matrix(rows)
        alarm = detector.add(window)
        most = max(most, detector.score)
        if alarm:
            return {"records": 100.0 * number, "alarm": 1.0, "most": most}
    return {"records": 100.0 * windows, "alarm": 0.0, "most": most}


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
    for change, *_ in SHIFTS:
        records = [one["records"] for name, one in found.items() if name.startswith(f"{change} #")]
        if records:
            low, middle, high = np.quantile(records, [0.25, 0.5, 0.75])
            shown.add_row(change, f"{middle:,.0f}", f"{low:,.0f} to {high:,.0f}", f"{len(records)}")
    yield shown


# rows that follow each other


def autocorrelated(quick: bool) -> Iterator[Job]:
    """Yield windows of a series whose rows follow each other, beside a reference of the same."""
    for rho in (0.0, 0.3, 0.6, 0.9):
        for number in range(1 if quick else 4):
            yield Job(f"{rho} #{number}", lambda rng, r=rho: _following(rng, r))


def _following(rng: Rng, rho: float, features: int = 30, windows: int = 40) -> Found:
    reference = Reference.fit(_series(rng, rho, 100_000, features))
    low = alarms = rows = 0
    for _ in range(windows):
        drift = compare(Profile.of(_series(rng, rho, 1_000, features), reference))
        low += sum(found.p_value < 0.05 for found in drift.features.values())
        rows += len(drift.features)
        alarms += bool(drift.changed)
    effects = [feature.tracks[0].effects[0] for feature in reference.features]
    return {"low": low / rows, "effect": float(np.mean(effects)), "tables": alarms / windows}


def _series(rng: Rng, rho: float, rows: int, features: int) -> Any:
    steps = rng.standard_normal((rows, features)) * (1 - rho**2) ** 0.5
    steps[0] /= (1 - rho**2) ** 0.5
    for row in range(1, rows):
        steps[row] += rho * steps[row - 1]
    return steps


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


# cost


def cost(quick: bool) -> Iterator[Job]:
    """Yield what a check of 10,000 rows of 100 features costs, beside copying them."""
    for number in range(1 if quick else 8):
        yield Job(f"#{number}", _costs)


def _costs(rng: Rng) -> Found:
    before, window = ({f"n{place}": _shape(place)(rng, rows) for place in range(NUMERIC)} for rows in (100_000, 10_000))
    began = time.process_time()
    with_pairs, alone = Reference.fit(before), Reference.fit(before, correlation=False)
    found = {"fit": (time.process_time() - began) / 2}
    compare(Profile.of(window, alone)), compare(Profile.of(window, with_pairs))
    samples = [Sample.of(values) for values in before.values()]
    matrix = np.stack(list(window.values()), axis=1)

    def exact() -> None:
        for sample, values in zip(samples, window.values(), strict=True):
            other = Sample.of(values)
            sample.ks(other), sample.wasserstein(other)

    def batches() -> None:
        profile = Profile(alone)
        for start in range(0, 9_984, 64):
            profile.add_matrix(matrix[start : start + 64])

    exact()
    found["copy"] = _least(lambda: [values.copy() for values in window.values()])
    found["binned"] = _least(lambda: compare(Profile.of(window, alone)))
    found["binned with correlation"] = _least(lambda: compare(Profile.of(window, with_pairs)))
    found["exact"] = _least(exact)
    found["batches"] = _least(batches)
    return found


def _shape(place: int) -> Callable[[Rng, int], Any]:
    return list(SHAPES.values())[place % len(SHAPES)]


def _least(run: Callable[[], Any], times: int = 5) -> float:
    found = []
    for _ in range(times):
        began = time.process_time()
        run()
        found.append(time.process_time() - began)
    return min(found)


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


# what is odd


def odd(quick: bool) -> Iterator[Job]:
    """Yield one job for all odd windows."""
    return iter(())


def show_odd(_: Mapping[str, Found]) -> Iterator[Table]:
    """Yield the verdict on every odd window."""
    rng = np.random.default_rng(1)
    reference = Reference.fit(_plain(rng, 10_000), ordered=False)
    shown = Table(title="odd windows: 1,000 rows beside 10,000")
    for name in ("window", "verdict on the feature", "changed", "detail"):
        shown.add_column(name)
    for name, (feature, spoil) in ODD.items():
        window = spoil(_plain(rng, 1_000))
        found = compare(Profile.of(window, reference)).features[feature]
        shown.add_row(name, found.verdict.value, str(found.changed), ", ".join(found.detail))
    yield shown


def _plain(rng: Rng, rows: int) -> Columns:
    levels = np.array(["red", "green", "blue"], dtype=object)
    return {
        "size": rng.standard_normal(rows),
        "age": rng.lognormal(size=rows),
        "colour": list(levels[rng.integers(0, 3, rows)]),
    }


def _put(name: str, change: Callable[[Any], Any]) -> Callable[[Columns], Columns]:
    return lambda window: {**window, name: change(window[name])}


def _nan(share: float) -> Callable[[Any], Any]:
    return lambda values: np.where(np.arange(len(values)) < share * len(values), np.nan, values)


ODD: Mapping[str, tuple[str, Callable[[Columns], Columns]]] = {
    "as it was": ("size", dict),
    "all NaN": ("size", _put("size", _nan(1.0))),
    "30 % NaN": ("size", _put("size", _nan(0.3))),
    "one NaN": ("size", _put("size", _nan(0.001))),
    "infinities": ("size", _put("size", lambda values: np.where(np.arange(len(values)) < 3, np.inf, values))),
    "no rows": ("size", lambda window: {name: values[:0] for name, values in window.items()}),
    "constant": ("size", _put("size", lambda values: np.full(len(values), 0.1))),
    "five rows": ("size", lambda window: {name: values[:5] for name, values in window.items()}),
    "levels never seen": ("colour", _put("colour", lambda levels: ["mauve"] * 30 + levels[30:])),
    "one row of a level never seen": ("colour", _put("colour", lambda levels: ["mauve", *levels[1:]])),
    "dropped": ("size", lambda window: {name: values for name, values in window.items() if name != "size"}),
    "added": ("weight", lambda window: {**window, "weight": window["size"] * 2}),
    "renamed": ("size", lambda window: {"Size" if name == "size" else name: values for name, values in window.items()}),
    "text where numbers were": ("size", _put("size", lambda values: ["1.5 kg"] * len(values))),
    "all out of range": ("size", _put("size", lambda values: values + 1e6)),
}

PARTS = {
    "false-alarms": (false_alarms, show_false_alarms),
    "power": (power, show_power),
    "correlation": (correlation, show_correlation),
    "autocorrelated": (autocorrelated, show_autocorrelated),
    "continuous": (continuous, show_continuous),
    "odd": (odd, show_odd),
    "cost": (cost, show_cost),
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
            for number, job in enumerate(jobs(options.quick)):
                if job.name not in done:
                    found = job.run(np.random.default_rng([*name.encode(), number]))
                    done[job.name] = {key: float(f"{value:.5g}") for key, value in found.items()}
                    kept[name] = done
                    _keep(kept, options.quick)
            console.print(*show(done))
    return 0


def _keep(kept: Mapping[str, Any], quick: bool) -> None:
    if not quick:
        beside = KEPT.with_suffix(".part")
        beside.write_text(json.dumps(kept, indent=0, sort_keys=True) + "\n")
        beside.replace(KEPT)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
