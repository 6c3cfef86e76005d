"""The table of contents of a layer's tar: every entry with the place of its content, compact on disk."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import repeat
from typing import Any

import msgspec

from ..errors import StoreError
from .entry import NO_XATTRS, Entry

_VERSION = 1
_ENCODING = ("utf-8", "surrogateescape")


class _Columns(msgspec.Struct, frozen=True, array_like=True):
    """An index as it lies on disk: one value a column where all entries agree, packed arrays where not."""

    version: int
    count: int
    paths: bytes
    types: bytes
    numbers: tuple[int | bytes, ...]
    """mode, uid, gid, mtime, size, offset, devmajor, devminor: little-endian 64-bit each."""
    links: dict[int, bytes]
    digests: bytes
    has_digest: bytes
    """One byte an entry, 1 where `digests` has the next 32 bytes for it."""
    xattrs: dict[int, dict[bytes, bytes]]


class Index:
    """The entries of one layer, in the order of its tar."""

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
        """The entry at `path` (the last one, as in any tar), or None."""
        return self._by_path.get(path)

    def encode(self) -> bytes:
        """The bytes that `decode` reads: msgpack, about 70 bytes an entry."""
        entries = self.entries
        return msgspec.msgpack.encode(
            _Columns(
                version=_VERSION,
                count=len(entries),
                paths="\0".join([entry.path for entry in entries]).encode(*_ENCODING),
                types="".join([entry.type for entry in entries]).encode(),
                numbers=(
                    _pack([entry.mode for entry in entries]),
                    _pack([entry.uid for entry in entries]),
                    _pack([entry.gid for entry in entries]),
                    _pack([entry.mtime for entry in entries]),
                    _pack([entry.size for entry in entries]),
                    _pack([entry.offset for entry in entries]),
                    _pack([entry.devmajor for entry in entries]),
                    _pack([entry.devminor for entry in entries]),
                ),
                links={i: entry.link.encode(*_ENCODING) for i, entry in enumerate(entries) if entry.link},
                digests=b"".join([entry.digest for entry in entries]),
                has_digest=bytes([1 if entry.digest else 0 for entry in entries]),
                xattrs={
                    i: {name.encode(*_ENCODING): value for name, value in entry.xattrs.items()}
                    for i, entry in enumerate(entries)
                    if entry.xattrs
                },
            )
        )

    @classmethod
    def decode(cls, data: bytes) -> Index:
        """Read what `encode` wrote. Raises StoreError when it is damaged or of another version."""
        try:
            columns = msgspec.msgpack.decode(data, type=_Columns)
            if columns.version != _VERSION:
                raise ValueError(f"version {columns.version}")
            return cls(_entries(columns))
        except (msgspec.MsgspecError, ValueError, IndexError, UnicodeError) as error:
            raise StoreError(
                f"The index of a layer cannot be read: {error}.", hint="Run `%build fsck --repair`."
            ) from error


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
    first = column[0] if column else 0
    if all(number == first for number in column):
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
