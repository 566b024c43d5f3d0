"""Where a table's bytes come from: a file or standard input, compressed or not, and what they seem to be."""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
import shutil
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property, partial
from pathlib import Path
from typing import IO, Any, cast

from otel_llmon.errors import LlmonError, reason

HEAD = 1 << 16
"""Bytes that are looked at to find out what a file holds."""
IN_MEMORY = 1 << 23
"""Bytes of standard input that are kept in memory; more of them go to a temporary file."""
LONGEST = 1 << 26
"""Characters of one line."""
STDIN = "-"
_COMPRESSED: dict[bytes, Callable[..., Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
}
_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


class TableFileError(LlmonError, ValueError):
    """A file holds no table that can be read here."""


class Source:
    """The bytes of a table, which may be read again and again; `done` is how many of `size` were read."""

    def __init__(self, name: str) -> None:
        self.name = "standard input" if name == STDIN else name
        self._path = None if name == STDIN else Path(name)
        self._kept: IO[bytes] | None = None
        self._raw: IO[bytes] | None = None

    @property
    def done(self) -> int:
        """Return how many bytes were read, as they lie on the disk."""
        return self._raw.tell() if self._raw is not None and not self._raw.closed else 0

    @cached_property
    def size(self) -> int:
        """Return how many bytes there are."""
        with self._open() as raw:
            return raw.seek(0, io.SEEK_END)

    @cached_property
    def head(self) -> bytes:
        """Return the first bytes, uncompressed."""
        with self.binary() as file:
            return file.read(HEAD)

    @cached_property
    def encoding(self) -> str:
        """Return the encoding that a mark at the start tells; UTF-8 without one."""
        return next((name for mark, name in _MARKS.items() if self.head.startswith(mark)), "utf-8")

    @contextmanager
    def binary(self) -> Iterator[IO[bytes]]:
        """Open the bytes, uncompressed; raises TableFileError for what cannot be read."""
        try:
            with self._open() as raw:
                self._raw = raw
                start = raw.read(8)
                raw.seek(0)
                opened = next((way for magic, way in _COMPRESSED.items() if start.startswith(magic)), None)
                yield raw if opened is None else cast("IO[bytes]", opened(raw))
        except (EOFError, gzip.BadGzipFile, lzma.LZMAError, zlib.error) as exc:
            raise TableFileError(f"{self.name}: its compression is damaged ({exc}), expected a whole file") from exc
        except OSError as exc:
            raise TableFileError(f"{self.name}: not read, {reason(exc)}") from exc

    @contextmanager
    def text(self, encoding: str) -> Iterator[Iterator[str]]:
        """Open the lines; raises TableFileError, which names the line, where they are in another encoding."""
        with self.binary() as file:
            lines = io.TextIOWrapper(file, encoding=encoding, newline="")
            try:
                yield iter(partial(lines.readline, LONGEST), "")
            except UnicodeError as exc:
                raise TableFileError(self._undecodable(encoding)) from exc
            finally:
                lines.detach()  # whoever opened the bytes closes them

    def _undecodable(self, encoding: str) -> str:
        with self.binary() as file:
            for number, line in enumerate(file, 1):
                try:
                    line.decode(encoding)
                except UnicodeDecodeError as exc:
                    found = f"byte 0x{line[exc.start]:02x}"
                    return f"{self.name}: line {number}: {found} is no {encoding}; say --encoding, such as latin-1"
        return f"{self.name}: no {encoding}; say --encoding, such as latin-1"

    def close(self) -> None:
        """Let go of what was kept of standard input."""
        if self._kept is not None:
            self._kept.close()

    @contextmanager
    def _open(self) -> Iterator[IO[bytes]]:
        if self._path is not None:
            with self._path.open("rb") as file:
                yield file
            return
        if self._kept is None:
            self._kept = cast("IO[bytes]", tempfile.SpooledTemporaryFile(IN_MEMORY))  # noqa: SIM115  # it is read again
            shutil.copyfileobj(sys.stdin.buffer, self._kept)
        self._kept.seek(0)
        yield self._kept
