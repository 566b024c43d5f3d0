"""Files of /proc that stay open: opening one costs more than reading it."""

from __future__ import annotations

import os


class Kept:
    """One file, open. A program may close descriptors that it does not know, and the number may be another's then.

    Reading from another's is noticed by what it says; before writing, this looks.
    """

    def __init__(self, path: str, flags: int = os.O_RDONLY) -> None:
        self._path, self._flags = path, flags
        self._open()

    def _open(self) -> None:
        self._fd = os.open(self._path, self._flags | os.O_CLOEXEC)
        found = os.fstat(self._fd)
        self._inode, self._device = found.st_ino, found.st_dev

    def read(self, size: int) -> bytes:
        """Return the file's beginning."""
        return os.pread(self._fd, size, 0)

    def write(self, text: bytes) -> None:
        """Write to its beginning."""
        if not self._ours():
            self._open()
        os.pwrite(self._fd, text, 0)

    def _ours(self) -> bool:
        try:
            found = os.fstat(self._fd)
        except OSError:
            return False
        return found.st_ino == self._inode and found.st_dev == self._device

    def close(self) -> None:
        """Close the file, unless its descriptor is another's by now."""
        if self._ours():
            os.close(self._fd)
