"""Count the words of three books in three processes, chapter by chapter: one trace and one tree of bars over all.

    llmon run -- python examples/distributed.py          # or under opentelemetry-instrument, or beside `llmon view`
    llmon run -- python examples/distributed.py --die    # a worker is killed amid a chapter, and another one hired

Look at:

- the trace `words`: inside each `chapter`, as it was handed out, is the `count` of the process that did it. With --die
  one `chapter` is red: who was to count it never came back. Its second attempt links to it;
- the logs: who died, how, and amid which chapter;
- the metrics: `llmon.progress.done` by book is kept by the process that hands out, and right whoever dies. The words
  in `llmon.pipeline.items` are told by each worker, and are as many as above. What a killed one had not sent yet,
  spans as well as words, is lost with it.
"""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import queue
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection

from otel_llmon import carry, child_environ, configure, continued, inject, phase, pipeline, progress

BOOKS = ("whales", "windmills", "witches")
CHAPTERS, PAGES, WORKERS, ATTEMPTS = 8, 8, 3, 3
WORDS = ("the", "and", "of", "a", "to", "sea", "wind", "night", "ship", "giant", "moon", "captain", "broom")
DEADLY = ("windmills", 3) if "--die" in sys.argv else None

log = logging.getLogger("words")
spawn = multiprocessing.get_context("spawn")


class Worker:
    """A process that counts words, with a line to it. A queue for all would be stuck if one died as it reads."""

    def __init__(self, rank: int, books: dict[str, progress[None]]) -> None:
        self.rank = rank
        self.line, other_end = spawn.Pipe()
        self.process = spawn.Process(target=carry(work), args=(rank, other_end, books))
        self.process.start()
        other_end.close()

    def count(self, chapter: tuple[str, int], *, deadly: bool) -> Counter[str]:
        """Return the words of a chapter; raises ChildProcessError where the worker ends instead."""
        try:
            self.line.send((inject(), chapter, deadly))
            return self.line.recv()
        except (EOFError, OSError):
            self.process.join()
            how = self.process.exitcode
            raise ChildProcessError(f"worker {self.rank} ended with {how} amid chapter {chapter}") from None


def work(rank: int, line: Connection, books: dict[str, progress[None]]) -> None:
    """Count the words of each chapter that comes in, until no more will; in a process of its own."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that hands out
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(WORKERS)}  # as torch's launchers do
    configure("words")
    while True:
        try:
            headers, (book, chapter), deadly = line.recv()
        except EOFError:
            return
        with continued(headers), phase("count", {"book": book, "chapter": chapter}) as counting:
            found = Counter[str]()
            for page in range(PAGES):
                if deadly and page == PAGES // 2:
                    os.kill(os.getpid(), signal.SIGKILL)
                time.sleep(0.02)  # as a slow disk would
                found.update(random.Random(f"{book} {chapter} {page}").choices(WORDS, range(len(WORDS), 0, -1), k=250))
            counting.count("words", found.total())
        books[book].update(tokens=found.total())
        line.send(found)


def hand_out(chapter: tuple[str, int], idle: queue.Queue[Worker], books: dict[str, progress[None]]) -> Counter[str]:
    """Have a chapter counted by whoever is idle; who dies of it is replaced, and the chapter handed out once more."""
    worker, attempt = idle.get(), None
    try:
        for number in range(ATTEMPTS):
            try:
                with phase("chapter", {"book": chapter[0], "worker": worker.rank}, after=attempt) as attempt:
                    return worker.count(chapter, deadly=chapter == DEADLY and not number)
            except ChildProcessError as exc:
                log.warning("%s; hiring another", exc)
                worker = Worker(worker.rank, books)
        raise ChildProcessError(f"{ATTEMPTS} workers died of chapter {chapter}")
    finally:
        idle.put(worker)


@pipeline("words", phases=("chapter", "top"))
def run() -> None:
    """Hire workers, hand out the chapters, and let another program say which words are the most frequent."""
    with progress(name="library") as library:
        books = {book: progress(total=CHAPTERS, name=book, within=library) for book in BOOKS}
        idle: queue.Queue[Worker] = queue.Queue()
        chapters = [(book, number) for number in range(CHAPTERS) for book in BOOKS]
        try:
            for rank in range(WORKERS):
                idle.put(Worker(rank, books))
            with ThreadPoolExecutor(WORKERS) as pool:
                found = sum(pool.map(carry(lambda chapter: hand_out(chapter, idle, books)), chapters), Counter())
        finally:
            while not idle.empty():
                idle.get().line.close()  # which lets it go
            for child in multiprocessing.active_children():
                child.join()
    print(f"{found.total():,} words in {len(chapters)} chapters", flush=True)
    with phase("top"):
        sort = [sys.executable, __file__, "--sort"]
        subprocess.run(sort, input=json.dumps(found), env=child_environ(), text=True, check=True)


if __name__ == "__main__":
    configure("sort" if "--sort" in sys.argv else "words")
    if "--sort" in sys.argv:
        with phase("sort"):
            print("most frequent:", *(word for word, _ in Counter(json.load(sys.stdin)).most_common(3)))
        sys.exit()
    try:
        run()
    except KeyboardInterrupt:
        sys.exit("stopped")
    print("\n" + __doc__[__doc__.index("Look at:") :].strip())
