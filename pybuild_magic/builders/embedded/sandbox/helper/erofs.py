"""EROFS images of layers: names and metadata only; the contents stay in the layer's tar.

Linux mounts such an image at once, however many files it has, while a directory of the layer would have to be written
file by file. Source: Linux, `fs/erofs/erofs_fs.h`, and how containerd's erofs snapshotter indexes a tar: blocks of 512
bytes, as in tars, with the blobs as additional devices.
"""

from __future__ import annotations

import errno
import os
import stat
import struct
import time

from .extract import (
    BLOB,
    GID,
    LINK,
    MAJOR,
    MINOR,
    MODE,
    MTIME,
    OFFSET,
    PATH,
    SIZE,
    STEERING,
    TYPE,
    UID,
    XATTRS,
    Extraction,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, BinaryIO

    from .jobs import EntryRow

BLOCK_SIZE = 512
"""Bytes; blobs are read in whole blocks."""
MAX_BLOBS = 50
"""The limit set by the one page of options that mount(2) takes."""

_BLOCK_BITS = 9
_MAGIC = 0xE0F5E1E2
_SUPER_AT = 1024
_SUPER = struct.Struct("<IIIBBHQQIIII16s16sIHHHBBIQB23x")
_DEVICE = struct.Struct("<64sII56x")
_INODE = struct.Struct("<HHHHQIIIIqII16x")
_CHUNK = struct.Struct("<HHI")
_DIRENT = struct.Struct("<QHBB")
_XATTRS = struct.Struct("<IB7x")
_XATTR = struct.Struct("<BBH")
_SLOT = 32
"""The size of an inode's slot in bytes: an inode begins at a multiple, which gives its number."""
_DEVICE_TABLE, _CHUNKED = 8, 4
_PLAIN, _INLINE, _CHUNKS = 0 << 1 | 1, 2 << 1 | 1, 4 << 1 | 1
"""The place of an inode's data: blocks of the image, after the inode, or in a blob."""
_CHUNK_INDEXES = 0x20
_KINDS = {"0": (stat.S_IFREG, 1), "5": (stat.S_IFDIR, 2), "3": (stat.S_IFCHR, 3), "4": (stat.S_IFBLK, 4),
          "6": (stat.S_IFIFO, 5), "2": (stat.S_IFLNK, 7)}  # fmt: skip
"""For each type of entry, the format bits of its mode, and its type in a directory."""
_PREFIXES = (
    ("user.", 1), ("system.posix_acl_access", 2), ("system.posix_acl_default", 3), ("trusted.", 4), ("security.", 6),
)  # fmt: skip
_NANOSECONDS = 1_000_000_000


_NO_CHILDREN: dict[bytes, Any] = {}


class _Node:
    """An inode that is being built."""

    __slots__ = ("children", "data", "links", "mtime", "number", "row", "type", "xattrs")

    def __init__(self, kind: str, row: EntryRow | None, mtime: int, xattrs: bytes) -> None:
        self.type = kind
        self.row = row
        self.mtime = mtime
        self.xattrs = xattrs
        self.links = 0
        self.number = 0
        self.data = b""
        """The bytes after the inode."""
        self.children: dict[bytes, _Node] = {} if kind == "5" else _NO_CHILDREN


def write_image(file: BinaryIO, rows: list[EntryRow], blobs: list[tuple[str, int]]) -> None:
    """Write the image of the entries `rows`, whose contents are in `blobs`; each blob has a name of 64 bytes, and a
    size in bytes.

    Raises OSError for entries that no directory could hold either, such as overlong names or links to nothing.
    """
    nodes = _nodes(Extraction(rows))
    start = -(-(_SUPER_AT + _SUPER.size + _DEVICE.size * len(blobs)) // BLOCK_SIZE) * BLOCK_SIZE
    end = _number(nodes)
    tables, sizes, places = _directories(nodes, start + end)
    file.write(bytes(_SUPER_AT))
    blocks = (start + end + len(tables)) // BLOCK_SIZE
    file.write(
        _SUPER.pack(
            _MAGIC, 0, 0, _BLOCK_BITS, 0, nodes[0].number, len(nodes), 0, 0, blocks, start // BLOCK_SIZE, 0, b"", b"",
            _CHUNKED | _DEVICE_TABLE, 0, len(blobs), (_SUPER_AT + _SUPER.size) // _DEVICE.size, 0, 0, 0, 0, 0,
        )
    )  # fmt: skip
    file.writelines(_DEVICE.pack(name.encode(), -(-size // BLOCK_SIZE), 0) for name, size in blobs)
    inodes = bytearray(start - file.tell() + end)
    at = len(inodes) - end
    for number, node in enumerate(nodes):
        place = at + node.number * _SLOT
        inode = _inode(node, number, sizes.get(number, 0), places.get(number, 0))
        inodes[place : place + len(inode)] = inode
    file.write(inodes)
    file.write(tables)
    if padding := -file.tell() % 4096:
        file.write(bytes(padding))


def _nodes(plan: Extraction) -> list[_Node]:
    """Return the tree of a plan as a list, root first."""
    now = time.time_ns()
    nodes: dict[str, _Node] = {}
    for path in sorted(plan.directories):
        row = plan.directories[path]
        xattrs = _xattrs(row[XATTRS] if row else None, opaque=path in plan.opaque)
        node = nodes[path] = _Node("5", row, row[MTIME] if row else now, xattrs)
        node.links = 2
        if path:
            parent, name = _place(nodes, path)
            parent.children[name] = node
            parent.links += 1
    links: list[EntryRow] = []
    for path, row in plan.others.items():
        if row[TYPE] == "1":
            links.append(row)
            continue
        node = nodes[path] = _Node(row[TYPE], row, row[MTIME], _xattrs(row[XATTRS]))
        _enter(nodes, path, node)
    for row in links:
        target = nodes.get(row[LINK])
        if target is None or target.type == "5":
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT), row[LINK])
        _enter(nodes, row[PATH], target)
        nodes[row[PATH]] = target
    for path in plan.deleted:
        node = nodes[path] = _Node("3", None, now, b"")
        _enter(nodes, path, node)
    return list(dict.fromkeys(nodes.values()))


def _place(nodes: dict[str, _Node], path: str) -> tuple[_Node, bytes]:
    """Return the parent directory of `path`, and the last name."""
    parent, _, name = path.rpartition("/")
    encoded = os.fsencode(name)
    if len(encoded) > 255:
        raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), path)
    return nodes[parent], encoded


def _enter(nodes: dict[str, _Node], path: str, node: _Node) -> None:
    parent, name = _place(nodes, path)
    parent.children[name] = node
    node.links += 1


def _number(nodes: list[_Node]) -> int:
    """Assign each inode its place; return the total size in bytes, in whole blocks."""
    at = _SLOT  # readdir(3) skips an entry whose number is 0
    for node in nodes:
        size = _INODE.size + len(node.xattrs)
        if node.type == "2" and node.row is not None:
            target = os.fsencode(node.row[LINK])
            if len(target) > 4095:
                raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), node.row[PATH])
            node.data = target
            if size + len(target) <= BLOCK_SIZE:
                if at % BLOCK_SIZE + size + len(target) > BLOCK_SIZE:
                    at = -(-at // BLOCK_SIZE) * BLOCK_SIZE
                size += len(target)
        elif node.type == "0" and node.row is not None and node.row[SIZE]:
            size = -(-size // 8) * 8 + _CHUNK.size
        node.number = at // _SLOT
        at += -(-size // _SLOT) * _SLOT
    return -(-at // BLOCK_SIZE) * BLOCK_SIZE


def _directories(nodes: list[_Node], start: int) -> tuple[bytearray, dict[int, int], dict[int, int]]:
    """Return the blocks from `start` on (directories, long link targets) as bytes, and the first block of each
    inode.
    """
    data = bytearray()
    sizes: dict[int, int] = {}
    places: dict[int, int] = {}
    directories = [node for node in nodes if node.type == "5"]
    parents = {id(child): node for node in directories for child in node.children.values() if child.type == "5"}
    for number, node in enumerate(nodes):
        if node.type == "5":
            places[number] = (start + len(data)) // BLOCK_SIZE
            before = len(data)
            for block in _directory(node, parents.get(id(node), node)):
                data += block
            sizes[number] = len(data) - before
        elif node.type == "2" and _INODE.size + len(node.xattrs) + len(node.data) > BLOCK_SIZE:
            places[number], sizes[number] = (start + len(data)) // BLOCK_SIZE, len(node.data)
            data += node.data.ljust(-(-len(node.data) // BLOCK_SIZE) * BLOCK_SIZE, b"\0")
    return data, sizes, places


def _directory(node: _Node, parent: _Node) -> Iterator[bytes]:
    """Yield the blocks of a directory: each begins with its entries, which point at the names that follow."""
    entries = sorted([(b".", node), (b"..", parent), *node.children.items()], key=lambda item: item[0])
    block: list[tuple[bytes, _Node]] = []
    room = BLOCK_SIZE
    for item in entries:
        length = _DIRENT.size + len(item[0])
        if length > room:
            yield _directory_block(block)
            block, room = [], BLOCK_SIZE
        block.append(item)
        room -= length
    yield _directory_block(block)


def _directory_block(entries: list[tuple[bytes, _Node]]) -> bytes:
    at = _DIRENT.size * len(entries)
    head: list[bytes] = []
    for name, node in entries:
        head.append(_DIRENT.pack(node.number, at, _KINDS[node.type][1], 0))
        at += len(name)
    return b"".join([*head, *(name for name, _ in entries)]).ljust(BLOCK_SIZE, b"\0")


def _inode(node: _Node, number: int, size: int, place: int) -> bytes:
    """Return an inode with the data that follows it."""
    row, xattrs = node.row, node.xattrs
    mode, uid, gid = (row[MODE], row[UID], row[GID]) if row else (0o755 if node.type == "5" else 0, 0, 0)
    layout, tail = _PLAIN, b""
    if node.type == "0" and row and row[SIZE]:
        size = row[SIZE]
        bits = max(0, (size - 1 >> _BLOCK_BITS).bit_length())
        layout, place = _CHUNKS, _CHUNK_INDEXES | bits
        aligned = -(len(xattrs)) % 8
        tail = bytes(aligned) + _CHUNK.pack(0, row[BLOB] + 1, row[OFFSET] >> _BLOCK_BITS)
    elif node.type == "2" and not place:
        layout, size, tail = _INLINE, len(node.data), node.data
    elif node.type in "34" and row:
        place = row[MINOR] & 0xFF | row[MAJOR] << 8 | (row[MINOR] & ~0xFF) << 12
    seconds, nanoseconds = divmod(node.mtime, _NANOSECONDS)
    count = (len(xattrs) - _XATTRS.size) // 4 + 1 if xattrs else 0
    mode |= _KINDS[node.type][0] if node.type != "2" else stat.S_IFLNK | 0o777
    return (
        _INODE.pack(
            layout, count, mode, 0, size, place, number + 1, uid, gid, seconds, nanoseconds, node.links
        ) + xattrs + tail
    )  # fmt: skip


def _xattrs(attributes: dict[str, bytes] | None, *, opaque: bool = False) -> bytes:
    """Return the extended attributes of an inode, without those that EROFS cannot hold."""
    if not attributes and not opaque:
        return b""
    xattrs = {name: value for name, value in (attributes or {}).items() if not name.startswith(STEERING)}
    if opaque:
        xattrs["trusted.overlay.opaque"] = b"y"
    parts: list[bytes] = []
    for name, value in xattrs.items():
        for prefix, index in _PREFIXES:
            if name.startswith(prefix):
                short = os.fsencode(name[len(prefix) :])
                if len(short) > 255 or len(value) > 0xFFFF:
                    raise OSError(errno.E2BIG, os.strerror(errno.E2BIG), name)
                item = _XATTR.pack(len(short), index, len(value)) + short + value
                parts.append(item.ljust(-(-len(item) // 4) * 4, b"\0"))
                break
    return _XATTRS.pack(0, 0) + b"".join(parts) if parts else b""
