"""Counting from other processes: each writes its sums into a small file of its own, which the loop's process reads.

A file is mapped into memory, so that counting is a store and what was counted survives the child. The folder belongs
to the process that made it, is made when it first forks or pickles a progress, and is removed at its end.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import threading
import weakref
from collections.abc import Iterable
from itertools import count
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

Sums = tuple[float, float, float, float]
"""Completed, failed, skipped, tokens."""
_SIZE = 4 * 8  # doubles
_NOTHING: Sums = (0, 0, 0, 0)
_numbers = count()


class _Home:
    """The folder of this process."""

    folder: str | None = None
    owner = 0


def folder() -> str:
    """Return this process's folder, made now where there is none."""
    if _Home.folder is None or _Home.owner != os.getpid():
        import mmap  # noqa: F401  # here, before a fork: a child amid another thread's import would wait for its end
        import pathlib  # noqa: F401
        import shutil  # noqa: F401
        import tempfile
        import uuid  # noqa: F401

        _Home.folder = tempfile.mkdtemp(prefix="llmon-progress-")
        _Home.owner = os.getpid()
        atexit.register(_remove, _Home.folder, _Home.owner)
    return _Home.folder


def _remove(path: str, owner: int) -> None:
    """Remove the folder at the end; what is in it may still be asked for by the last export."""
    import shutil

    if os.getpid() == owner:
        for shared in list(_open):
            shared.close()
        shutil.rmtree(path, ignore_errors=True)


_open: weakref.WeakSet[Shared] = weakref.WeakSet()


class Shared:
    """The sums of one loop in other processes."""

    def __init__(self, home: str | None = None, number: int | None = None) -> None:
        self.home = home
        self.number = next(_numbers) if number is None else number
        self._settled = _NOTHING
        self._slot: Any = None  # a memoryview of floats
        self._writer = 0
        self._lock = threading.Lock()

    def open(self) -> str:
        """See that there is a folder, and return it."""
        if self.home is None:
            self.home = folder()
            _open.add(self)
        return self.home

    def add(self, numbers: Iterable[float]) -> None:
        """Count in another process than the loop's own."""
        if self._writer != os.getpid():
            self._begin()
        with self._lock:
            if self._slot is not None:
                for place, number in enumerate(numbers):
                    self._slot[place] += number

    def _begin(self) -> None:
        """Make a file for this process; where the loop's process is gone, count nowhere."""
        self._lock, self._writer, self._slot = threading.Lock(), os.getpid(), None
        if self.home is None:
            return
        import mmap
        import uuid
        from pathlib import Path

        with contextlib.suppress(OSError):
            path = Path(self.home, f"{self.number}-{uuid.uuid4().hex}")
            with path.open("x+b") as file:
                file.truncate(_SIZE)
                self._slot = memoryview(mmap.mmap(file.fileno(), _SIZE)).cast("d")

    def read(self) -> Sums:
        """Return what all other processes have counted."""
        sums = self._settled
        for path in self._files():
            with contextlib.suppress(OSError, TypeError):
                found = memoryview(path.read_bytes()).cast("d", (4,))
                sums = (sums[0] + found[0], sums[1] + found[1], sums[2] + found[2], sums[3] + found[3])
        return sums

    def close(self) -> None:
        """Keep the sums, and remove the files: what others count from now on is lost."""
        self._settled = self.read()
        for path in self._files():
            path.unlink(missing_ok=True)
        self.home = None

    def _files(self) -> list[Path]:
        if self.home is None:
            return []
        from pathlib import Path

        return list(Path(self.home).glob(f"{self.number}-*"))

    @property
    def used(self) -> bool:
        """Whether others may have counted."""
        return self.home is not None or self._settled is not _NOTHING
