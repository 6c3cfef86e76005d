"""Databases of rpm, in SQLite and Berkeley DB: the headers of the installed packages.

Source: Berkeley DB's `dbinc/db_page.h`.
"""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Iterator
from contextlib import closing

from .package import UnreadableError

_WAL = slice(18, 20)
"""The place where an SQLite database says that it has a write-ahead log beside it, which one in memory cannot have."""

_HASH_MAGIC = 0x061561
_HASH_META, _HASH_UNSORTED, _HASH, _OVERFLOW = 8, 2, 13, 7
"""Page types."""
_PAGE = "QIIIHHBB"
"""Log sequence number, own page number, previous, next, entries, first free (or used) byte, level, type."""
_PAGE_SIZE = struct.calcsize(f"<{_PAGE}")
_KEYDATA, _OFFPAGE = 1, 3
"""Entry types."""


def sqlite_headers(data: bytes) -> Iterator[bytes]:
    """Yield the headers in `rpmdb.sqlite`, the format that rpm has written since 4.16."""
    if data[_WAL] == b"\x02\x02":
        data = data[: _WAL.start] + b"\x01\x01" + data[_WAL.stop :]
    with closing(sqlite3.connect(":memory:")) as database:
        try:
            database.deserialize(data)
            database.execute("PRAGMA trusted_schema = OFF")
            rows = [blob for (blob,) in database.execute("SELECT blob FROM Packages")]
        except sqlite3.Error as error:
            raise UnreadableError(f"is not an rpm database: {error}") from error
    yield from rows


def berkeley_headers(data: bytes) -> Iterator[bytes]:
    """Yield the headers in `Packages`, rpm's earlier format: a hash from numbers to headers, with 0 kept for itself."""
    order = next((order for order in "<>" if struct.unpack_from(f"{order}I", data, 12)[0] == _HASH_MAGIC), None)
    if order is None or data[25] != _HASH_META:
        raise UnreadableError("is not an rpm database")
    (size,) = struct.unpack_from(f"{order}I", data, 20)
    if size < 512 or size & (size - 1):
        raise UnreadableError("is not an rpm database")
    pages = _Pages(data, size, order)
    remaining = len(data)
    for number in range(1, len(data) // size):
        for header in pages.values(number):
            remaining -= len(header)
            if remaining < 0:
                raise UnreadableError("claims more packages than it has room for")
            yield header


class _Pages:
    """The pages of a Berkeley DB database."""

    def __init__(self, data: bytes, size: int, order: str) -> None:
        self._data = data
        self._size = size
        self._order = order

    def values(self, number: int) -> Iterator[bytes]:
        """Yield the values of the pairs on a page; only hash pages have any."""
        page = self._data[number * self._size : (number + 1) * self._size]
        *_, entries, _, _, kind = struct.unpack_from(self._order + _PAGE, page)
        if kind not in (_HASH_UNSORTED, _HASH):
            return
        offsets = struct.unpack_from(f"{self._order}{entries}H", page, _PAGE_SIZE)
        for key, value in zip(offsets[::2], offsets[1::2], strict=False):
            if page[key] == _KEYDATA and not any(page[key + 1 : key + 5]):
                continue  # that is the number of the next package
            if page[value] == _KEYDATA:
                yield page[value + 1 : key]  # entries are written from the end of a page backwards
            elif page[value] == _OFFPAGE:
                yield self._chain(*struct.unpack_from(f"{self._order}II", page, value + 4))
            else:
                raise UnreadableError("has a damaged package")

    def _chain(self, number: int, size: int) -> bytes:
        """Return the contents of a chain of pages."""
        if size > len(self._data):
            raise UnreadableError("has a damaged package")
        parts: list[bytes] = []
        remaining = size
        while remaining > 0:
            start = number * self._size
            _, _, _, following, _, used, _, kind = struct.unpack_from(self._order + _PAGE, self._data, start)
            if kind != _OVERFLOW or not 0 < used <= self._size - _PAGE_SIZE:
                raise UnreadableError("has a damaged package")
            parts.append(self._data[start + _PAGE_SIZE : start + _PAGE_SIZE + used])
            remaining -= used
            number = following
        return b"".join(parts)
