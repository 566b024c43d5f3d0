"""Embed a thousand reports in batches: retries, checkpoints, what the time went into, and what it cost.

    llmon run -- python examples/batch_embedding.py            # or opentelemetry-instrument, or beside `llmon view`
    llmon run -- python examples/batch_embedding.py vectors    # keeps them in a folder: Ctrl-C it, and run it again
    OTEL_LLMON_PRICES='{"cpu_hour": 0.05}' llmon run -- ...    # what an hour of a CPU costs you, in dollars

The reports are made up, the model is a projection by numpy that is too busy now and then. Look at:

- the trace `embedding`: an `embed` is red where the model was busy, and the next attempt links to it. A batch for which
  it was busy three times has failed: with a folder, the next run makes up for it;
- the logs: retries, `checkpoint.saved`, and what the hooks around each batch say: `batch.repeated`, `batch.embedded`;
- the metrics: `llmon.progress.items` by `llmon.outcome`, `llmon.progress.tokens`, `llmon.cost` as above, and
  `llmon.efficiency.score` with its parts. A run that goes on from another one counts both in `llmon.progress.done`.
"""

from __future__ import annotations

import logging
import random
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import rich
from rich.table import Table

from otel_llmon import batch, configure, efficiency, event, phase, pipeline, progress
from otel_llmon.scores.efficiency import Use, cost, per_thousand, utilization

SIZE, LONGEST, ATTEMPTS, USUAL_RATE = 64, 60, 3, 2000
WORDS = ("pump", "valve", "leak", "noise", "pressure", "low", "high", "replaced", "tested", "fine", "again", "loud")

log = logging.getLogger("embedding")
chance = random.Random(10)
weights = np.random.default_rng(6).normal(size=(len(WORDS), 256))


@phase("read")
def read() -> list[list[str]]:
    """Return the words of each report; some reports come twice."""
    made = random.Random(1)
    reports = [made.choices(WORDS, k=made.choice((40, 90, 200))) for _ in range(980)]
    return reports + reports[-20:]


@phase("chunk")
def chunk(reports: list[list[str]]) -> list[str]:
    """Cut them into pieces of as many words as the model reads."""
    return [" ".join(words[at : at + LONGEST]) for words in reports for at in range(0, len(words), LONGEST)]


@phase("store")
def store(vectors: np.ndarray, file: Path) -> None:
    """Keep vectors in a file, all or none of them."""
    part = file.with_suffix(".part.npy")
    np.save(part, vectors)
    part.rename(file)
    event("checkpoint.saved", {"path": str(file), "size": file.stat().st_size})


def embed(texts: list[str]) -> np.ndarray:
    """Return a vector for each text; asks again while the model is busy, and raises TimeoutError where it stays so."""
    attempt = None
    for number in range(1, ATTEMPTS + 1):
        try:
            with phase("embed", after=attempt) as attempt:
                return model(texts)
        except TimeoutError as exc:
            log.warning("attempt %s of %s: %s", number, ATTEMPTS, exc)
    raise TimeoutError(f"given up after {ATTEMPTS} attempts")


def model(texts: list[str]) -> np.ndarray:
    """Project the words of each text: what an embedding is to a model, as far as this example needs one."""
    time.sleep(0.03)
    if chance.random() < 0.25:
        raise TimeoutError("the model is busy")
    return np.array([[text.split().count(word) for word in WORDS] for text in texts]) @ weights


def tell_repeated(texts: list[str]) -> None:
    """Before a batch: tell of texts that come twice."""
    if repeated := len(texts) - len(set(texts)):
        event("batch.repeated", {"chunks": repeated}, "warning")


def tell_done(texts: list[str]) -> None:
    """After a batch: tell that it is done, as one would tell whoever waits for it."""
    event("batch.embedded", {"chunks": len(texts)})


def run(folder: Path) -> progress[None]:
    """Embed what is not in the folder yet, and return how far that is now; what failed is left for the next run."""
    chunks = chunk(read())
    batches = {folder / f"{start:06}.npy": chunks[start : start + SIZE] for start in range(0, len(chunks), SIZE)}
    left = {file: texts for file, texts in batches.items() if not file.exists()}
    done = len(chunks) - sum(map(len, left.values()))
    with progress(total=len(chunks), name="chunks", initial=done, every=500) as loop:
        for file, texts in left.items():
            try:
                with batch(texts, "batch", before=[tell_repeated], after=[tell_done]) as this:
                    store(embed(texts), file)
                    this.count("tokens", tokens := sum(len(text.split()) for text in texts))
                loop.update(len(texts), tokens=tokens)
            except TimeoutError:
                loop.update(len(texts), "failed")
    return loop


def main() -> None:
    """Embed the reports, and print what came of it."""
    prices = configure("embedding").settings.prices
    with tempfile.TemporaryDirectory() as scratch, pipeline("embedding", phases=("read", "chunk", "batch")) as job:
        folder = Path(*(sys.argv[1:] or [scratch]))
        folder.mkdir(exist_ok=True)
        began = time.process_time()
        loop = run(folder)
        used = Use(cpu=time.process_time() - began)
        efficiency.spend(cpu=used.cpu)
        speed = loop.rate and min(loop.rate / USUAL_RATE, 1)
        efficiency.score({"utilization": utilization(used.cpu, loop.elapsed), "throughput": speed})
    done = job.report()
    table = Table("phase", "runs", "failed", "seconds", "share", title=f"{done.pipeline}: {done.seconds:.1f} s")
    for each in done.phases:
        table.add_row(each.name, str(each.count), str(each.failures), f"{each.own:.2f}", f"{each.share:.0%}")
    rich.print(table)
    embedded, tokens = (done.items.get(what, 0) for what in ("batch", "tokens"))
    dollars = sum(cost(used, prices).values())
    price = f"{per_thousand(dollars, embedded):.7f} dollars for 1,000 chunks" if dollars else "no price is set"
    print(f"{embedded:,} chunks of {loop.total:,.0f} embedded, {loop.rate or 0:,.0f} a second, {tokens:,} tokens")
    print(f"{used.cpu:.2f} s of CPU, {price}\n\n{__doc__[__doc__.index('Look at:') :].strip()}")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("stopped; with a folder, the same command goes on from here")
