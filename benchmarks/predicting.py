"""A command of its own: predictions at a steady rate into a Collector, or by the million for their memory.

`python -m benchmarks.predicting --rate 10000 --seconds 60` sends to OTEL_EXPORTER_OTLP_ENDPOINT; `--rows 10000000`
prints the memory as it goes.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import numpy as np

import otel_llmon as llmon


def resident() -> float:
    """Return the process's physical memory in MiB."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def at_a_rate(rate: int, seconds: float) -> None:
    """Log so many predictions per second, each with a record, a count and two histograms."""
    llmon.configure("predicting")
    random = np.random.default_rng(1)
    reference = llmon.Reference.fit(random.normal(size=(10_000, 10)))
    monitor = llmon.ModelMonitor("steady", "1", reference)
    rows = random.normal(size=(1000, 10)).tolist()
    began, used = time.perf_counter(), time.process_time()
    for place in range(int(rate * seconds)):
        monitor.log(rows[place % 1000], "yes", 0.75, latency=0.001)
        if not place % 50:
            time.sleep(max(began + place / rate - time.perf_counter(), 0))
    took, cpu = time.perf_counter() - began, time.process_time() - used
    print(f"{rate * seconds:,.0f} predictions in {took:.1f} s, {cpu / took:.2f} cores, {resident():.0f} MiB")
    llmon.shutdown()


def by_the_million(rows: int) -> None:
    """Log rows of 100 features in batches, truths and ids among them; print the memory ten times."""
    llmon.configure("predicting")
    random = np.random.default_rng(1)
    monitor = llmon.ModelMonitor(
        "many", "1", llmon.Reference.fit(random.normal(size=(10_000, 100))), sample_rate=0.0001
    )
    matrix, labels = random.normal(size=(1000, 100)), ["yes", "no"] * 500
    for number in range(0, rows, 1000):
        if not number % (rows // 10):
            print(f"{number:>12,} rows: {resident():.1f} MiB", flush=True)
        ids = list(range(number, number + 1000))
        monitor.log_batch(matrix, labels, random.uniform(size=1000), id=ids, latency=0.01)
        monitor.outcome(number, "yes")
    print(f"{rows:>12,} rows: {resident():.1f} MiB")


def main() -> None:
    """Run what the arguments ask for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--rows", type=int)
    options = parser.parse_args()
    if options.rows:
        by_the_million(options.rows)
    else:
        at_a_rate(options.rate, options.seconds)


if __name__ == "__main__":
    main()
