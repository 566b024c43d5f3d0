"""Simulations of drift detection, through the whole product: jobs with a seed each, which `drift_quality` adds up."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np

from otel_llmon.render.drift import TESTS, WINDOWS, Floors
from otel_llmon.scores.dense import Dense, Sums, Tally, dense
from otel_llmon.scores.drift import Limits, compare
from otel_llmon.scores.exact import Sample
from otel_llmon.scores.profile import Profile, Reference
from otel_llmon.scores.sequential import Detector

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


def false_alarms(*, quick: bool) -> Iterator[Job]:
    """Yield one job per reference of each cell: nothing has changed, and whoever is flagged is so by chance."""
    windows = {100: 10, 1_000: 6, 10_000: 3, 100_000: 1}
    fits = {1_000: 30, 10_000: 16, 100_000: 8}
    for before, rows in CELLS:
        count = 1 if quick else fits[before] * {100_000: 6}.get(rows, 2 if rows == before else 1)
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
    "mean +0.1 sd": ("normal", lambda _, values: values + 0.1),
    "mean +0.3 sd": ("normal", lambda _, values: values + 0.3),
    "sd x1.15": ("normal", lambda _, values: values * 1.15),
    "1 % of rows at 6 sd": ("normal", _tails),
    "+0.3 sd and one value 1e6": ("normal", lambda _, values: _with_one(values)),
    "Pareto(1.2) x1.5": ("Pareto", lambda _, values: values * 1.5),
}
FACTS = {
    (1_000, "mean +0.1 sd"): 0.30, (1_000, "mean +0.3 sd"): 1.0, (1_000, "sd x1.15"): 0.97,
    (1_000, "1 % of rows at 6 sd"): 0.55, (1_000, "+0.3 sd and one value 1e6"): 1.0, (1_000, "Pareto(1.2) x1.5"): 1.0,
    (1_000, "two levels swap"): 1.0, (200, "mean +0.1 sd"): 0.0, (200, "mean +0.3 sd"): 0.80, (200, "sd x1.15"): 0.28,
    (10_000, "mean +0.1 sd"): 1.0, (10_000, "1 % of rows at 6 sd"): 1.0,
}  # fmt: skip
"""What the design that was tried reached, where that was measured."""


def power(*, quick: bool) -> Iterator[Job]:
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


# correlation


def correlation(*, quick: bool) -> Iterator[Job]:
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


# watching without end


def continuous(*, quick: bool) -> Iterator[Job]:
    """Yield runs of the detector over windows of 100 rows of 100 features: long ones without a change, others with."""
    for before in (1_000, 10_000, 100_000):
        for number in range(1 if quick else 12):
            length = 100 if quick else 2_000
            yield Job(f"nothing {before} #{number}", lambda rng, b=before, n=length: _watched(rng, b, NO_SHIFT, n))
    for change in SHIFTS:
        for number in range(1 if quick else 20):
            yield Job(f"{change.name} #{number}", lambda rng, c=change: _watched(rng, 100_000, c, 1_000))


class Shift(NamedTuple):
    """What happens to how many features: a shift, and a factor on the spread."""

    name: str
    count: int
    shift: float
    scale: float


NO_SHIFT = Shift("nothing", 0, 0.0, 1.0)
SHIFTS = (
    Shift("+0.1 sd in 1", 1, 0.1, 1.0),
    Shift("+0.1 sd in 10", 10, 0.1, 1.0),
    Shift("+0.2 sd in 1", 1, 0.2, 1.0),
    Shift("+0.5 sd in 1", 1, 0.5, 1.0),
    Shift("sd x1.15 in 1", 1, 0.0, 1.15),
)


def _watched(rng: Rng, before: int, change: Shift, windows: int) -> Found:
    _, count, shift, scale = change
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


# rows that follow each other


def autocorrelated(*, quick: bool) -> Iterator[Job]:
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


# what the rules of a fleet say


FLEETS = ((100, 200), (100, 5_000), (200, 200), (200, 5_000), (1_000, 200), (1_000, 1_000), (5_000, 500))


def fleet(*, quick: bool) -> Iterator[Job]:
    """Yield tables of which nothing has changed, and how many alerts the rules of one series raise on each."""
    for before, rows in FLEETS:
        for number in range(1 if quick else 20):
            yield Job(f"{before} {rows} #{number}", lambda rng, b=before, r=rows: _alerts(rng, b, r))


def _alerts(rng: Rng, before: int, rows: int) -> Found:
    shares = shares_of(rng)
    reference = Reference.fit(table(rng, before, shares), ordered=False, correlation=False)
    tally = Tally.of(Profile.of(table(rng, rows, shares), reference))
    found = [_alerting(one, one.sums(tally)) for one in dense(reference)]
    return dict(zip(("KS", "PSI", "scores"), np.sum(found, axis=0).tolist(), strict=True)) | {"series": len(found)}


def _alerting(one: Dense, sums: Sums) -> tuple[bool, bool, bool]:
    """Return what the generated rules say: the same arithmetic, which tests hold against Prometheus' own."""
    floors, rare, bins = Floors(), 1 / (WINDOWS * TESTS), len(one.ends)
    rows, before = sums.rows[-1], one.rows[-1]
    chance = (1 / rows + 1 / before) * one.effect
    ks = np.abs(sums.rows / rows - one.rows / before).max()
    now, then = ((np.diff(up_to, prepend=0) + 0.5) / (up_to[-1] + bins / 2) for up_to in (sums.rows, one.rows))
    psi = float(((now - then) * np.log(now / then)).sum())
    freedom = bins - 1
    far = NormalDist().inv_cdf(1 - rare) * (2 / (9 * freedom)) ** 0.5
    score = np.abs(sums.scores / rows + one.lowest)
    least = NormalDist().inv_cdf(1 - rare / 2) ** 2 + 2 / 3 * np.log(2 / rare) * score * one.reach
    return (
        bool(ks > max((np.log(2 / rare) / 2 * chance) ** 0.5, floors.ks)),
        psi > chance * freedom * max((1 - 2 / (9 * freedom) + far) ** 3, 1 + floors.psi / (chance * freedom)),
        bool(((score**2 > chance * least) & (score > floors.score)).any()),
    )


# cost


def cost(*, quick: bool) -> Iterator[Job]:
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


# what is odd


def plain(rng: Rng, rows: int) -> Columns:
    """Return a small table of three columns."""
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
