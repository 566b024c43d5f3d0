"""Three epochs over forty pages, then an index that is built by four processes: loops that tell how far they are.

    python examples/progress.py                    # bars, in a terminal
    python examples/progress.py 2>&1 | cat         # a line every ten seconds, in a pipe
    llmon run -- python examples/progress.py       # the same, with metrics, spans and logs on a page

What to look at:

- in a terminal, the tree: while an epoch is under way its pages move it on, and what is left is said as a band as long
  as little is known. What the program prints stands above the bars, whole;
- the metrics `llmon.progress.items` by `llmon.outcome` (some pages fail), `llmon.progress.tokens`, and
  `llmon.progress.eta` with its quantiles, a band that narrows. `llmon.operation` is `training/pages`;
- the spans `training` and `index` with what they counted, and a log record `llmon.progress` every twenty chunks;
- `llmon.progress.state`: the last loop is left early and reads `stopped`.

`--quick` takes a tenth of the time.
"""

from __future__ import annotations

import multiprocessing
import random
import sys
import time

from otel_llmon import phase, progress

PACE = 0.1 if "--quick" in sys.argv else 1.0
PAGES = [f"page {number}" for number in range(40)]


def train(chance: random.Random) -> None:
    """Go over all pages three times; one in twenty fails, and tokens are counted beside pages."""
    with progress(total=3, name="training") as epochs:
        for epoch in range(3):
            with phase("epoch"), progress(PAGES, "pages") as pages:
                for page in pages:
                    time.sleep(chance.uniform(0.02, 0.08) * PACE)
                    failed = chance.random() < 0.05
                    if failed:
                        print(f"epoch {epoch}: {page} cannot be read")
                    pages.update(outcome="failed" if failed else "completed", tokens=chance.randrange(200, 900))
            epochs.update()


def index(chunks: progress[None], number: int) -> None:
    """Count chunks in the loop of the process that started this one."""
    for _ in range(number):
        time.sleep(0.04 * PACE)
        chunks.update()


def build() -> None:
    """Let four processes build an index."""
    with progress(total=100, name="index", every=20) as chunks:
        workers = [multiprocessing.Process(target=index, args=(chunks, 25)) for _ in range(4)]
        for worker in workers:
            worker.start()
        while any(worker.is_alive() for worker in workers):
            time.sleep(0.05 * PACE)
            chunks.update(0)  # nothing of one's own, but a moment to look up
        for worker in workers:
            worker.join()


def search() -> None:
    """Leave a loop as soon as something is found."""
    for page in progress(PAGES, "search"):
        time.sleep(0.05 * PACE)
        if page == "page 23":
            print("found on", page)
            break


def main() -> None:
    """Do one after the other."""
    train(random.Random(1))
    build()
    search()


if __name__ == "__main__":
    main()
