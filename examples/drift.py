"""Twelve days of a model that scores loans: on day 5 the incomes come in another currency, on day 9 some are gone.

    llmon run -- python examples/drift.py           # beside `llmon view`, or after `llmon stack up` as it is
    llmon run -- python examples/drift.py folder    # keeps the reference there: then make the rules of a fleet of it
    llmon rules drift folder/loans.json --window 2m --out rules.yml

The applications are made up, the model is a formula. It prints a line a day. Look at:

- the metrics: `llmon.drift.score` of `income`, method `wasserstein`, leaps on day 5; that of `@prediction`, what the
  model says, follows; `age` and `town` stay where they are. In Prometheus:
  llmon_drift_score{llmon_model="loans",llmon_method="wasserstein"}
- `llmon.drift.state`: `income` is `stable`, then `drifted`, then `missing`; `llmon.drift.share` is the share of such;
- `llmon.drift.evidence`, which may be looked at at any time, grows day by day; past 3.7 it is no chance any more;
- the logs: `drift.detected` when it begins, `drift.ended` when it is over, with the features that it is about;
- the trace `drift check`, what was asked at the end;
- what a fleet would show: `llmon.drift.bin.rows`, from which the rules above work out all scores over all processes.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from otel_llmon import Reference, configure
from otel_llmon.drifts import DriftWatch

DAYS, LOANS = 12, 1000
Table = dict[str, np.ndarray]

chance = np.random.default_rng(4)


def applications(day: int, count: int = LOANS) -> Table:
    """Return a day's applications; day 0 is as it was when the model was made."""
    found = {
        "age": chance.normal(44, 12, count).clip(18, 90),
        "income": chance.lognormal(8, 0.4, count),
        "town": chance.choice(["Aix", "Bonn", "Cork"], count, p=[0.5, 0.3, 0.2]),
    }
    if 5 <= day <= 8:
        found["income"] *= 1.3  # dollars that should have been euros
    if 9 <= day <= 10:
        found["income"][chance.random(count) < 0.2] = np.nan
    return found | {"@prediction": scored(found)}


def scored(table: Table) -> np.ndarray:
    """Return how likely each loan is paid back: more income, more likely."""
    income = np.nan_to_num(table["income"], nan=3000.0)
    return 1 / (1 + np.exp(-(np.log(income) - 8) * 3 - (table["age"] - 44) / 40))


def told(watch: DriftWatch) -> str:
    """Return what the last day says, in a line."""
    said = watch.last
    if said is None:
        return "telemetry is off, so nobody watches"
    changed = [f"{found.name} {found.verdict}" for found in said.judged if found.changed]
    moved = said.features["income"].scores["wasserstein"]
    evidence = watch.detector.score
    return f"income moved by {moved:.2f} spreads, evidence {evidence:5.1f}: {', '.join(changed) or 'stable'}"


def main() -> None:
    """Watch the days go by."""
    handle = configure("loans")
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(*(sys.argv[1:] or [scratch])) / "loans.json"
        file.parent.mkdir(exist_ok=True)
        created = time.strftime("%Y-%m-%dT%H:%M:%S%z")
        Reference.fit(applications(0, 20_000), model="loans", created=created).save(file)
        reference = Reference.load(file)  # as a server does, which never sees the data it was made of
    watch = DriftWatch(reference, "loans", "1", window=LOANS, weights={"income": 2.0, "age": 1.0, "town": 1.0})
    listening = True
    for day in range(1, DAYS + 1):
        watch.add(applications(day))
        print(f"day {day:2}: {told(watch)}")
        listening = listening and handle.flush() and not handle.lost()  # a point for every day, however short here
        time.sleep(0.2)
    watch.check()
    print(f"\n{__doc__[__doc__.index('Look at:') :].strip()}")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("stopped")
