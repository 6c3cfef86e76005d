"""Files of a layer's directory whose contents are still in the layer's tar, until the tracer writes them.

Such a file has all its properties, and a hole for content. The table `lazy` beside the directory, little-endian:

    `PBLAZY01`, u64 bytes written so far, u64 records, u64 tars, u64 where the strings begin
    records by ino: u64 ino, offset in the tar, size; u32 tar, path (places among the strings), written, 0
    strings, each ended by NUL: first the paths of the tars, from the place of the table; then those in the layer

The tracer (`native/lazy.c`) writes a content, in place, when a process opens the file, and then sets `written`.
"""

from __future__ import annotations

import os
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

NAME = "lazy"
_MAGIC = b"PBLAZY01"
_HEAD = struct.Struct("<8s4Q")
_RECORD = struct.Struct("<3Q4I")

Hollow = tuple[int, str, int, int, int]
"""A file without its content: inode, path, size, number of the tar, offset in it."""


def write(table: str, blobs: Sequence[str], files: Iterable[Hollow]) -> None:
    """Write the table of these files; `blobs` are the tars' paths, from the place of the table."""
    strings, places = bytearray(), list[int]()
    for blob in blobs:
        places.append(len(strings))
        strings += os.fsencode(blob) + b"\0"
    records: list[bytes] = []
    for inode, path, size, blob, offset in sorted(files):
        records.append(_RECORD.pack(inode, offset, size, places[blob], len(strings), 0, 0))
        strings += os.fsencode(path) + b"\0"
    head = _HEAD.pack(_MAGIC, 0, len(records), len(blobs), _HEAD.size + len(records) * _RECORD.size)
    with open(table, "wb") as file:
        file.write(head + b"".join(records) + strings)


def written(table: str) -> int:
    """Return the bytes of content that the tracer has written."""
    with open(table, "rb") as file:
        return _HEAD.unpack(file.read(_HEAD.size))[1]


def open_content(root: bytes, fd: int) -> tuple[int, int]:
    """Return a new descriptor of the content of a layer's open file, and the offset there: in the file, or the tar.

    `root` is the layer's directory.
    """
    inode, data = os.fstat(fd).st_ino, b""
    place = os.path.dirname(root)
    try:
        with open(os.path.join(place, os.fsencode(NAME)), "rb") as file:
            data = file.read()
    except FileNotFoundError:
        return os.dup(fd), 0
    *_, strings = _HEAD.unpack_from(data)
    for found, offset, _, blob, _, is_written, _ in _RECORD.iter_unpack(data[_HEAD.size : strings]):
        if found == inode and not is_written:
            path = data[strings + blob : data.index(b"\0", strings + blob)]
            return os.open(os.path.join(place, path), os.O_RDONLY | os.O_CLOEXEC), offset
    return os.dup(fd), 0
