"""Names and contents of a layer's directory that the tracer makes when a process looks for them.

At first the directory has the layer's top, and what only this side can make: deletions, devices, hard links and their
targets, files with a set-user-ID bit or attributes. Files have a hole for content. The table `lazy` beside the
directory, little-endian:

    `PBLAZY03`, u64 bytes of content written so far; u64 counts: of directories, records, tars, slots;
        u64 where the strings begin
    directories by path: u32 path (place among the strings), first record, count of records, made; i64 mtime in ns
    records by directory: u64 ino, offset in the tar, size; i64 mtime in ns; u32 mode, tar, path, target, written, 0
    slots by ino (see `_slot`): u32 number of the record, from 1; 0 when free
    strings, each ended by NUL: first the paths of the tars, from the place of the table; then those in the layer

The tracer (`native/lazy.c`) makes the names of a directory when a process looks into it, and then sets `made`; it
writes a content, in place, when a process opens the file, and then sets `written`. A file that is not made yet has no
inode; one that is there from the beginning, but without its content, has one.
"""

from __future__ import annotations

import mmap
import os
import stat
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NAME = "lazy"
_MAGIC = b"PBLAZY03"
_HEAD = struct.Struct("<8s6Q")
_DIRECTORY = struct.Struct("<4Iq")
_RECORD = struct.Struct("<3Qq6I")
_SLOT = struct.Struct("<I")
_GOLDEN = 0x9E3779B97F4A7C15

Record = tuple[str, int, int, int, int, int, str, int]
"""A file: path, mode with type, mtime in ns, size, number of the tar, offset in it, target of a link, inode or 0."""


def write(
    table: str, blobs: Sequence[str], directories: Mapping[str, Sequence[Record]], times: Mapping[str, int]
) -> None:
    """Write the table of these files, each in its directory, for which `times` has the mtime.

    `blobs` are the tars' paths, from the place of the table. A directory whose files all have an inode is made.
    """
    strings = bytearray()

    def place(text: str) -> int:
        at = len(strings)
        strings.extend(os.fsencode(text) + b"\0")
        return at

    places = [place(blob) for blob in blobs]
    nothing = place("")
    rows, records, inodes = bytearray(), bytearray(), list[tuple[int, int]]()
    count = regular = 0
    for directory in sorted(directories, key=os.fsencode):
        inside = directories[directory]
        made = all(record[-1] for record in inside)
        rows += _DIRECTORY.pack(place(directory), count, len(inside), made, times[directory])
        for path, mode, mtime, size, blob, offset, target, inode in inside:
            tar = places[blob] if size else 0
            link = place(target) if target else nothing
            records += _RECORD.pack(inode, max(offset, 0), size, mtime, mode, tar, place(path), link, 0, 0)
            count += 1
            regular += stat.S_ISREG(mode)
            if inode:
                inodes.append((inode, count))
    slots = [0] * (1 << max(1, (2 * regular).bit_length()))
    for inode, number in inodes:
        slots[_slot(inode, slots)] = number
    start = _HEAD.size + len(rows) + len(records) + _SLOT.size * len(slots)
    head = _HEAD.pack(_MAGIC, 0, len(directories), count, len(blobs), len(slots), start)
    with open(table, "wb") as file:
        file.write(head + rows + records + struct.pack(f"<{len(slots)}I", *slots) + strings)


def _slot(inode: int, slots: Sequence[int]) -> int:
    """Return the first free slot for an inode: from its hash on."""
    at = _hash(inode, len(slots))
    while slots[at]:
        at = (at + 1) % len(slots)
    return at


def _hash(inode: int, slots: int) -> int:
    """Fibonacci hashing: the upper bits of a product."""
    return (inode * _GOLDEN % (1 << 64)) >> (65 - slots.bit_length())


def _whole(data: bytes | mmap.mmap) -> bool:
    magic, _, directories, records, _, slots, strings = _HEAD.unpack_from(data)
    start = _HEAD.size + directories * _DIRECTORY.size + records * _RECORD.size + slots * _SLOT.size
    return magic == _MAGIC and start == strings < len(data) and data[-1:] == b"\0"


def is_whole(table: str) -> bool:
    """Return whether a table is one of this kind, from its beginning to its end."""
    try:
        with open(table, "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as data:
            return _whole(data)
    except (OSError, ValueError, struct.error):
        return False


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
        *_, directories, records, _, slots, strings = _HEAD.unpack_from(table)
        first = _HEAD.size + directories * _DIRECTORY.size
        at = _hash(inode, slots)
        while number := _SLOT.unpack_from(table, first + records * _RECORD.size + at * _SLOT.size)[0]:
            found, offset, _, _, _, tar, _, _, is_written, _ = _RECORD.unpack_from(
                table, first + (number - 1) * _RECORD.size
            )
            if found == inode:
                if is_written:
                    break
                path = table[strings + tar : table.find(b"\0", strings + tar)]
                return os.open(os.path.join(place, path), os.O_RDONLY | os.O_CLOEXEC), offset
            at = (at + 1) % slots
    return os.dup(fd), 0
