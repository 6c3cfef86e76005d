"""Files of a layer's directory whose contents are still in the layer's tar, until the tracer writes them.

Such a file has all its properties, and a hole for content. The table `lazy` beside the directory, little-endian:

    `PBLAZY02`, u64 bytes written so far, u64 records, u64 tars, u64 where the strings begin
    records by ino: u64 ino, offset in the tar, size; i64 mtime in ns;
        u32 tar, path (places among the strings), written, 0
    strings, each ended by NUL: first the paths of the tars, from the place of the table; then those in the layer

The tracer (`native/lazy.c`) writes a content, in place, when a process opens the file, and then sets `written`.
"""

from __future__ import annotations

import mmap
import os
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

NAME = "lazy"
_MAGIC = b"PBLAZY02"
_HEAD = struct.Struct("<8s4Q")
_RECORD = struct.Struct("<3Qq4I")

Hollow = tuple[int, str, int, int, int, int]
"""A file without its content: inode, path, size, mtime in ns, number of the tar, offset in it."""


def write(table: str, blobs: Sequence[str], files: Iterable[Hollow]) -> None:
    """Write the table of these files; `blobs` are the tars' paths, from the place of the table."""
    strings, places = bytearray(), list[int]()
    for blob in blobs:
        places.append(len(strings))
        strings += os.fsencode(blob) + b"\0"
    records: list[bytes] = []
    for inode, path, size, mtime, blob, offset in sorted(files):
        records.append(_RECORD.pack(inode, offset, size, mtime, places[blob], len(strings), 0, 0))
        strings += os.fsencode(path) + b"\0"
    head = _HEAD.pack(_MAGIC, 0, len(records), len(blobs), _HEAD.size + len(records) * _RECORD.size)
    with open(table, "wb") as file:
        file.write(head + b"".join(records) + strings)


def is_whole(table: str) -> bool:
    """Return whether a table is one of this kind, from its beginning to its end."""
    try:
        with open(table, "rb") as file:
            magic, _, count, _, strings = _HEAD.unpack(file.read(_HEAD.size))
            file.seek(-1, os.SEEK_END)
            ends, size = file.read(1) == b"\0", file.tell()
    except (OSError, struct.error):
        return False
    fits = strings == _HEAD.size + count * _RECORD.size <= size
    return magic == _MAGIC and fits and (ends or not count)


def written(table: str) -> int:
    """Return the bytes of content that the tracer has written."""
    with open(table, "rb") as file:
        return _HEAD.unpack(file.read(_HEAD.size))[1]


def open_content(root: bytes, fd: int) -> tuple[int, int]:
    """Return a new descriptor of the content of a layer's open file, and the offset there: in the file, or the tar.

    `root` is the layer's directory.
    """
    inode, place = os.fstat(fd).st_ino, os.path.dirname(root)
    try:
        file = os.open(os.path.join(place, os.fsencode(NAME)), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return os.dup(fd), 0
    try:
        table = mmap.mmap(file, 0, prot=mmap.PROT_READ)
    finally:
        os.close(file)
    with table:
        *_, count, _, strings = _HEAD.unpack_from(table)
        low, high = 0, count
        while low < high:
            middle = (low + high) // 2
            found, offset, _, _, blob, _, is_written, _ = _RECORD.unpack_from(table, _HEAD.size + middle * _RECORD.size)
            if found == inode:
                if is_written:
                    break
                path = table[strings + blob : table.find(b"\0", strings + blob)]
                return os.open(os.path.join(place, path), os.O_RDONLY | os.O_CLOEXEC), offset
            low, high = (middle + 1, high) if found < inode else (low, middle)
    return os.dup(fd), 0
