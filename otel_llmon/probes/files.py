"""Files of /proc that stay open: opening one costs more than reading it."""

from __future__ import annotations

import errno
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

    def stat(self) -> os.stat_result:
        """Return what the file says of itself; raises OSError where its descriptor is gone, or another's by now."""
        found = os.fstat(self._fd)
        if (found.st_ino, found.st_dev) != (self._inode, self._device):
            raise OSError(errno.EBADF, "another's descriptor", self._path)
        return found

    def _ours(self) -> bool:
        try:
            self.stat()
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Close the file, unless its descriptor is another's by now."""
        if self._ours():
            os.close(self._fd)
