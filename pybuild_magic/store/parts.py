"""Blobs that are stored in parts: a tar whose contents are mostly in the store already is a recipe and a pack.

A layer is identified by the digest of its tar, and exports write the tar, but most of its bytes may be in the tars of
other layers. Such a tar has no file. It has a *recipe*, which names for each run of bytes the blob that has them, and
a *pack*, the blob of the bytes that no other blob has. The blobs of a recipe are files, never in parts themselves;
they stay as long as the recipe does (see `references`).
"""

from __future__ import annotations

import io
import os
import zlib
from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, cast

import msgspec

from ..errors import StoreError
from ..portable import pread
from .entry import Span

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

    from .blobfiles import BlobFiles
    from .database import Database

_BUFFER_SIZE = 1 << 18
_ZLIB = b"\x78"
"""The first byte of a packed recipe; one that an earlier version wrote is msgpack from the beginning."""


class Run(NamedTuple):
    """A run of bytes of a tar that another blob has."""

    at: int
    """The offset of the run in the tar."""
    size: int
    blob: str
    offset: int


class Recipe(msgspec.Struct, frozen=True, array_like=True):
    """The blobs of a tar's bytes: run `n` begins at `starts[n]`, and is in blob `numbers[n]` at `offsets[n]`."""

    size: int
    blobs: tuple[str, ...]
    """The digests of the blobs, the pack first."""
    starts: bytes
    numbers: bytes
    offsets: bytes
    """Like `starts` and `numbers`, an array of 64-bit integers in the machine's byte order."""


def make_recipe(size: int, pack: str, runs: Sequence[Run]) -> Recipe:
    """Return the recipe of a tar of `size` bytes, whose `runs`, in order, are in other blobs and the rest in `pack`."""
    numbers = {pack: 0}
    columns = array("q"), array("q"), array("q")
    at = packed = 0

    def add(start: int, blob: str, offset: int) -> None:
        for column, value in zip(columns, (start, numbers.setdefault(blob, len(numbers)), offset), strict=True):
            column.append(value)

    for run in (*runs, Run(size, 0, pack, 0)):
        if run.at > at:
            add(at, pack, packed)
            packed += run.at - at
        if run.size:
            add(run.at, run.blob, run.offset)
        at = run.at + run.size
    starts, where, offsets = (column.tobytes() for column in columns)
    return Recipe(size, tuple(numbers), starts, where, offsets)


def encode(recipe: Recipe) -> bytes:
    """Return a recipe as bytes for `decode`: packed, since it has 48 bytes for each file, and most of them are zero."""
    return zlib.compress(msgspec.msgpack.encode(recipe), 1)


def decode(data: bytes) -> Recipe:
    """Return the recipe in the output of `encode`. Raises MsgspecError or zlib.error if it is damaged."""
    return msgspec.msgpack.decode(zlib.decompress(data) if data.startswith(_ZLIB) else data, type=Recipe)


class Parts:
    """A recipe, decoded for look-ups."""

    def __init__(self, recipe: Recipe) -> None:
        self.size = recipe.size
        self.blobs = recipe.blobs
        self._starts, self._numbers, self._offsets = (
            array("q", column) for column in (recipe.starts, recipe.numbers, recipe.offsets)
        )

    def pieces(self, start: int, stop: int) -> Iterator[tuple[int, int, int]]:
        """Yield (number of the blob, offset in it, bytes) for the range from `start` to `stop`."""
        n = bisect_right(self._starts, start) - 1
        stop = min(stop, self.size)
        while start < stop:
            end = self._starts[n + 1] if n + 1 < len(self._starts) else self.size
            count = min(end, stop) - start
            yield self._numbers[n], self._offsets[n] + start - self._starts[n], count
            start += count
            n += 1


class BlobParts:
    """The blobs of a store that are stored in parts."""

    def __init__(self, db: Database, files: BlobFiles) -> None:
        self._db = db
        self._files = files
        self._decode = lru_cache(8)(self._read)

    def get(self, digest: str) -> Parts | None:
        """Return the parts of a blob; None if it is a file or not there."""
        rows = self._db.read("SELECT recipe FROM parts WHERE digest = ?", (digest,))
        return self._decode(rows[0][0]) if rows else None

    def locate(self, span: Span) -> Span:
        """Return the range of a file that has a content of a layer; it is one range, since contents are never cut."""
        parts = self.get(span.blob) if span.size else None
        return span if parts is None else located(parts, span)

    def open(self, digest: str) -> BinaryIO | None:
        """Open a blob in parts for reading; None if it is a file."""
        parts = self.get(digest)
        if parts is None:
            return None
        return cast("BinaryIO", io.BufferedReader(PartsFile(self._files, parts), _BUFFER_SIZE))

    def _read(self, recipe: str) -> Parts:
        try:
            with self._files.open(recipe) as file:
                return Parts(decode(file.read()))
        except (msgspec.MsgspecError, zlib.error) as error:
            raise StoreError(
                f"The recipe {recipe} cannot be read: {error}.", hint="Run `%build fsck --repair`."
            ) from error


def located(parts: Parts, span: Span) -> Span:
    """Return the range of a file that has a content of a tar in parts."""
    for number, offset, size in parts.pieces(span.offset, span.offset + span.size):
        if size == span.size:
            return Span(parts.blobs[number], offset, size)
        break
    raise StoreError(f"A content of {span.blob} is not in one piece.", hint="Run `%build fsck --repair`.")


class PartsFile(io.RawIOBase):
    """A blob in parts as a file; `read_at` may be called by many threads."""

    def __init__(self, files: BlobFiles, parts: Parts) -> None:
        self.size = parts.size
        self._parts = parts
        self._at = 0
        self._fds: list[int] = []
        try:
            self._fds.extend(files.descriptor(blob) for blob in parts.blobs)
        except BaseException:
            self.close()
            raise

    def pieces(self, start: int, size: int) -> Iterator[tuple[int, int, int]]:
        """Yield (descriptor, offset, bytes) in the files that have the `size` bytes from `start` on."""
        for number, offset, count in self._parts.pieces(start, start + size):
            yield self._fds[number], offset, count

    def read_at(self, size: int, start: int) -> bytes:
        """Return `size` bytes from `start` on; fewer only at the end."""
        return b"".join(pread(fd, count, offset) for fd, offset, count in self.pieces(start, size))

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to a position, and return it."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self.size}[whence]
        self._at = max(0, start + offset)
        return self._at

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Fill `buffer` from the position on, and return the number of bytes; 0 at the end."""
        view = memoryview(buffer).cast("B")
        data = self.read_at(min(len(view), max(0, self.size - self._at)), self._at)
        view[: len(data)] = data
        self._at += len(data)
        return len(data)

    def close(self) -> None:
        """Close the files."""
        fds, self._fds = self._fds, []
        for fd in fds:
            os.close(fd)
        super().close()


def pieces_of(file: BinaryIO, size: int) -> Iterator[tuple[int, int, int]]:
    """Yield (descriptor, offset, bytes) of a file that `ContentStore.open` has opened, from its beginning."""
    raw = getattr(file, "raw", None)
    if isinstance(raw, PartsFile):
        return raw.pieces(0, size)
    return iter([(file.fileno(), 0, size)])
