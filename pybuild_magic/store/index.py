"""The table of contents of a layer's tar: all entries with the places of their contents, compact on the disk."""

from __future__ import annotations

import struct
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import repeat
from operator import attrgetter
from typing import Any, BinaryIO

import msgspec

from ..errors import StoreError
from .entry import NO_XATTRS, Entry

_VERSION = 2
_ENCODING = ("utf-8", "surrogateescape")
_NUMBERS = tuple(map(attrgetter, ("mode", "uid", "gid", "mtime", "size", "offset", "devmajor", "devminor")))
_BATCH = 4096
"""How many entries are turned into columns together."""
_LENGTH = struct.Struct("<I")


class _Columns(msgspec.Struct, frozen=True, array_like=True):
    """Some entries as stored on the disk: a column is a single value if all entries agree, and else a packed array.

    An index is a sequence of these, each preceded by its length, so that a large one takes little memory to write or
    read.
    """

    version: int
    count: int
    paths: bytes
    types: bytes
    numbers: tuple[int | bytes, ...]
    """The columns of `_NUMBERS`, with 64 bits for each number, little-endian."""
    links: dict[int, bytes]
    digests: bytes
    has_digest: bytes
    """One byte for each entry: 1 if the next 32 bytes of `digests` are its own."""
    xattrs: dict[int, dict[bytes, bytes]]


class Index:
    """The entries of a layer, in the order of its tar."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self.entries: tuple[Entry, ...] = tuple(entries)

    def __len__(self) -> int:
        return len(self.entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries)

    @cached_property
    def _by_path(self) -> dict[str, Entry]:
        return {entry.path: entry for entry in self.entries}

    def get(self, path: str) -> Entry | None:
        """Return the entry at `path`, or None; of several the last, as in any tar."""
        return self._by_path.get(path)

    def encode(self) -> bytes:
        """Return the index as bytes for `decode`: about 70 for each entry."""
        parts: list[bytes] = []
        writer = IndexWriter(parts.append)
        for entry in self.entries:
            writer.add(entry)
        writer.finish()
        return b"".join(parts)

    @classmethod
    def decode(cls, file: BinaryIO) -> Index:
        """Read the output of `encode` or an `IndexWriter`. Raises StoreError if it is damaged or of another version."""
        try:
            return cls(_read(file))
        except (msgspec.MsgspecError, ValueError, IndexError, UnicodeError) as error:
            raise StoreError(
                f"The index of a layer cannot be read: {error}.", hint="Run `%build fsck --repair`."
            ) from error


class IndexWriter:
    """Writes an index entry by entry."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write = write
        self._batch: list[Entry] = []

    def add(self, entry: Entry) -> None:
        """Append an entry."""
        self._batch.append(entry)
        if len(self._batch) == _BATCH:
            self.finish()

    def finish(self) -> None:
        """Write the remaining entries."""
        if self._batch:
            part = msgspec.msgpack.encode(_columns(self._batch))
            self._write(_LENGTH.pack(len(part)) + part)
            self._batch = []


def _columns(entries: list[Entry]) -> _Columns:
    digests = [entry.digest for entry in entries]
    return _Columns(
        version=_VERSION,
        count=len(entries),
        paths="\0".join([entry.path for entry in entries]).encode(*_ENCODING),
        types="".join([entry.type for entry in entries]).encode(),
        numbers=tuple(_pack([number(entry) for entry in entries]) for number in _NUMBERS),
        links={i: entry.link.encode(*_ENCODING) for i, entry in enumerate(entries) if entry.link},
        digests=b"".join(digests),
        has_digest=bytes(map(bool, digests)),
        xattrs={
            i: {name.encode(*_ENCODING): value for name, value in entry.xattrs.items()}
            for i, entry in enumerate(entries)
            if entry.xattrs
        },
    )


def _read(file: BinaryIO) -> Iterator[Entry]:
    while head := file.read(_LENGTH.size):
        if len(head) < _LENGTH.size:
            raise ValueError("it ends too early")
        columns = msgspec.msgpack.decode(file.read(_LENGTH.unpack(head)[0]), type=_Columns)
        if columns.version != _VERSION:
            raise ValueError(f"version {columns.version}")
        yield from _entries(columns)


def _entries(columns: _Columns) -> Iterable[Entry]:
    count = columns.count
    if not count:
        return ()
    paths = columns.paths.decode(*_ENCODING).split("\0")
    mode, uid, gid, mtime, size, offset, major, minor = [_unpack(column, count) for column in columns.numbers]
    if not len(paths) == len(columns.types) == len(columns.has_digest) == count:
        raise ValueError("its columns are of different lengths")
    packed = columns.digests
    digests: list[bytes] = []
    at = 0
    for known in columns.has_digest:
        digests.append(packed[at : at + 32] if known else b"")
        at += 32 * known
    if at != len(packed):
        raise ValueError("its digests are incomplete")
    links: Iterable[str] = repeat("")
    if columns.links:
        links = _sparse(count, "", {i: link.decode(*_ENCODING) for i, link in columns.links.items()})
    xattrs: Iterable[Mapping[str, bytes]] = repeat(NO_XATTRS)
    if columns.xattrs:
        decoded = {
            i: {name.decode(*_ENCODING): value for name, value in pairs.items()} for i, pairs in columns.xattrs.items()
        }
        xattrs = _sparse(count, NO_XATTRS, decoded)
    return map(
        Entry, paths, columns.types.decode(), mode, uid, gid, mtime, size, links, offset, digests, major, minor, xattrs
    )


def _pack(column: list[int]) -> int | bytes:
    first = column[0]
    if column.count(first) == len(column):
        return first
    packed = array("q", column)
    if _BIG_ENDIAN:
        packed.byteswap()
    return packed.tobytes()


def _unpack(column: int | bytes, count: int) -> Iterable[int]:
    if isinstance(column, int):
        return repeat(column, count)
    packed = array("q")
    packed.frombytes(column)
    if len(packed) != count:
        raise ValueError("its columns are of different lengths")
    if _BIG_ENDIAN:
        packed.byteswap()
    return packed


def _sparse(count: int, default: Any, values: dict[int, Any]) -> Sequence[Any]:
    column = [default] * count
    for i, value in values.items():
        column[i] = value
    return column


_BIG_ENDIAN = array("H", [1]).tobytes() == b"\0\1"
