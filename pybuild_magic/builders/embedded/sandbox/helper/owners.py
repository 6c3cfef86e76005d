"""The tracer's table of owners: properties that processes see on files, but that are not on disk.

A file: `PBOWNER1`, then records, little-endian, each a multiple of 8 bytes:

    u32 size (of the record), uid, gid, mode (with the type; 0xffffffff: as on disk)
    u64 dev, ino, btime (ns since 1970; 0: unknown), rdev
    u32 length of path, length of xattrs, names that the image has for the file (0: one), 0
    path; xattrs: (u32 length of name, u32 length of value, name, value)...; zeros

A record whose ino is 0 names its file by `path` (from the root, links not followed): so are the tables of layers, which
lie beside the layer's directory. What the tracer writes has dev and ino, and no path; so are the tables of cache
mounts, which are all on one file system, whose number may be another one the next time. A file without a record
belongs to root, where it is ours.
"""

from __future__ import annotations

import os
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_MAGIC = b"PBOWNER1"
_RECORD = struct.Struct("<4I4Q4I")
_PAIR = struct.Struct("<2I")
AS_ON_DISK = 0xFFFF_FFFF


class Owner:
    """The owner and mode that processes see on a file; `mode` includes the type, or is AS_ON_DISK."""

    __slots__ = ("born", "gid", "mode", "names", "rdev", "uid", "xattrs")

    def __init__(
        self,
        uid: int = 0,
        gid: int = 0,
        mode: int = AS_ON_DISK,
        rdev: int = 0,
        xattrs: dict[str, bytes] | None = None,
        born: int = 0,
        names: int = 0,
    ) -> None:
        self.uid = uid
        self.gid = gid
        self.mode = mode
        self.rdev = rdev
        self.xattrs = xattrs or {}
        self.born = born
        """The creation time of the inode in nanoseconds (0: unknown): its number may be reused after the file is
        deleted.
        """
        self.names = names
        """The number of names that the image has for the file, where it is more than one."""


def read(file: str) -> dict[tuple[int, int], Owner]:
    """Return the tracer's records by (st_dev, st_ino). Raises ValueError for a file that is not such a table."""
    with open(file, "rb") as stream:
        data = stream.read()
    if data and not data.startswith(_MAGIC):
        raise ValueError(f"{file} is not a table of owners")
    return load(data)


def load(data: bytes) -> dict[tuple[int, int], Owner]:
    """Return the records of a table, by (st_dev, st_ino)."""
    by_inode: dict[tuple[int, int], Owner] = {}
    at = len(_MAGIC)
    while at < len(data):
        size, uid, gid, mode, dev, ino, born, rdev, path, xattrs, names, _ = _RECORD.unpack_from(data, at)
        owner = Owner(uid, gid, mode, rdev, None, born, names)
        if xattrs:
            owner.xattrs = _unpack_xattrs(data, at + _RECORD.size + path, xattrs)
        if ino:
            by_inode[dev, ino] = owner
        at += size
    return by_inode


def read_paths(file: str) -> dict[bytes, Owner]:
    """Return the records of a layer's table, by path."""
    with open(file, "rb") as stream:
        data = stream.read()
    by_name: dict[bytes, Owner] = {}
    at = len(_MAGIC)
    while at < len(data):
        size, uid, gid, mode, _, _, _, rdev, path, xattrs, names, _ = _RECORD.unpack_from(data, at)
        start = at + _RECORD.size
        named = _unpack_xattrs(data, start + path, xattrs) if xattrs else None
        by_name[data[start : start + path]] = Owner(uid, gid, mode, rdev, named, 0, names)
        at += size
    return by_name


def read_extracted(root: str) -> dict[tuple[int, int], Owner]:
    """Return the records of the files extracted to `root`, by (st_dev, st_ino), from the table beside it."""
    by_inode: dict[tuple[int, int], Owner] = {}
    for path, owner in read_paths(f"{root}/../owners").items():
        info = os.lstat(os.fsencode(root) + b"/" + path)
        by_inode[info.st_dev, info.st_ino] = owner
    return by_inode


def beside(directory: str) -> str:
    """Return the path of a cache mount's table."""
    return f"{directory}.owners"


def read_beside(directory: str) -> dict[tuple[int, int], Owner]:
    """Return the records of a cache mount, by their present (st_dev, st_ino)."""
    try:
        by_inode = read(beside(directory))
    except FileNotFoundError:
        return {}
    device = os.stat(directory).st_dev
    return {(device, inode): owner for (_, inode), owner in by_inode.items()}


def _unpack_xattrs(data: bytes, at: int, size: int) -> dict[str, bytes]:
    end = at + size
    attributes: dict[str, bytes] = {}
    while at + _PAIR.size <= end:
        name, value = _PAIR.unpack_from(data, at)
        at += _PAIR.size
        attributes[os.fsdecode(data[at : at + name])] = data[at + name : at + name + value]
        at += name + value
    return attributes


def append(file: str, owners: Iterable[tuple[bytes | tuple[int, int], Owner]]) -> None:
    """Append records to a table for the tracer."""
    with open(file, "ab") as stream:
        stream.write(_pack(owners))


def write(file: str, owners: Iterable[tuple[bytes | tuple[int, int], Owner]]) -> None:
    """Write a table for the tracer; a file is named by its path in the root, or by (st_dev, st_ino)."""
    with open(file, "wb") as stream:
        stream.write(_MAGIC + _pack(owners))


def _pack(owners: Iterable[tuple[bytes | tuple[int, int], Owner]]) -> bytes:
    parts: list[bytes] = []
    for name, owner in owners:
        path, dev, ino = (name, 0, 0) if isinstance(name, bytes) else (b"", *name)
        named = [(os.fsencode(key), value) for key, value in owner.xattrs.items()]
        xattrs = b"".join(_PAIR.pack(len(key), len(value)) + key + value for key, value in named)
        body = path + xattrs
        body += bytes(-(_RECORD.size + len(body)) % 8)
        parts.append(
            _RECORD.pack(
                *(_RECORD.size + len(body), owner.uid, owner.gid, owner.mode),
                *(dev, ino, owner.born, owner.rdev, len(path), len(xattrs), owner.names, 0),
            )
        )
        parts.append(body)
    return b"".join(parts)
