"""A file, directory, link or device of a layer, in the terms of tar and OCI."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from types import MappingProxyType

import msgspec

FILE, HARDLINK, SYMLINK, CHAR, BLOCK, DIR, FIFO = "0123456"
"""The values of `Entry.type`: tar's type flags."""

WHITEOUT_PREFIX = ".wh."
"""`dir/.wh.name` in a layer deletes `dir/name` of the layers below (OCI image spec, layer.md)."""

OPAQUE_WHITEOUT = ".wh..wh..opq"
"""`dir/.wh..wh..opq` in a layer deletes all that the layers below have in `dir`."""

NO_XATTRS: Mapping[str, bytes] = MappingProxyType({})

NANOSECONDS = 1_000_000_000

_FORMATS = {
    FILE: stat.S_IFREG,
    HARDLINK: stat.S_IFREG,
    SYMLINK: stat.S_IFLNK,
    CHAR: stat.S_IFCHR,
    BLOCK: stat.S_IFBLK,
    DIR: stat.S_IFDIR,
    FIFO: stat.S_IFIFO,
}
_TYPES = {bits: type_ for type_, bits in _FORMATS.items() if type_ != HARDLINK}


class Entry(msgspec.Struct, frozen=True, gc=False):
    """An entry of a layer, or of the merged tree of several.

    `path` is relative to the root: no leading and no trailing "/", "" for the root itself; bytes that are
    not UTF-8 are surrogate-escaped (as `os.fsdecode` does on Linux).
    """

    path: str
    type: str = FILE
    """Tar's type flag: "0" file, "1" hardlink, "2" symlink, "3" char device, "4" block device, "5" dir or "6" fifo."""
    mode: int = 0o644
    """Permission bits with setuid, setgid and sticky: at most 0o7777."""
    uid: int = 0
    gid: int = 0
    mtime: int = 0
    """Nanoseconds since 1970. A layer's tar keeps whole seconds."""
    size: int = 0
    """Bytes of content; 0 for all but regular files."""
    link: str = ""
    """The target of a symlink, unchanged; for a hardlink, the path of the other name, without a leading "/"."""
    offset: int = -1
    """The offset of the content in the uncompressed tar (the first byte after the header); -1: not in a layer yet.
    Below -1: not in one piece there, see `content_span`. Two entries of a layer never have the same offset."""
    digest: bytes = b""
    """The SHA-256 of a regular file's content, 32 bytes; b"" if unknown or not a file."""
    devmajor: int = 0
    devminor: int = 0
    xattrs: Mapping[str, bytes] = msgspec.field(default_factory=lambda: NO_XATTRS)

    @property
    def name(self) -> str:
        """The last component of the path."""
        return self.path.rpartition("/")[2]

    @property
    def parent(self) -> str:
        """The path of the directory of the entry; "" for one at the top."""
        return self.path.rpartition("/")[0]

    @property
    def is_dir(self) -> bool:
        """Whether this is a directory."""
        return self.type == DIR

    @property
    def is_file(self) -> bool:
        """Whether this is a regular file (a hardlink of a merged tree has become one)."""
        return self.type == FILE

    @property
    def is_whiteout(self) -> bool:
        """Whether this is not a file but deletes one of the layers below."""
        return self.path.rpartition("/")[2].startswith(WHITEOUT_PREFIX)

    @property
    def st_mode(self) -> int:
        """The mode as in `stat`: permission bits with the file type."""
        return _FORMATS[self.type] | self.mode


def entry_type(st_mode: int) -> str | None:
    """Return the `Entry.type` for an `st_mode`; None for a socket, which no layer can have."""
    return _TYPES.get(stat.S_IFMT(st_mode))


def whiteout(path: str) -> Entry:
    """Return the entry that deletes `path` of the layers below. Mode, owner and time are 0, as containerd writes it."""
    parent, _, name = path.rpartition("/")
    return Entry(f"{parent}/{WHITEOUT_PREFIX}{name}" if parent else WHITEOUT_PREFIX + name, mode=0)


def opaque(directory: str) -> Entry:
    """Return the entry that deletes all that the layers below have in `directory`."""
    return Entry(f"{directory}/{OPAQUE_WHITEOUT}" if directory else OPAQUE_WHITEOUT, mode=0)


def placed(entry: Entry, offset: int, digest: bytes) -> Entry:
    """Return the entry with a new offset and digest of its content."""
    return Entry(
        entry.path, entry.type, entry.mode, entry.uid, entry.gid, entry.mtime, entry.size, entry.link, offset,
        digest, entry.devmajor, entry.devminor, entry.xattrs,
    )  # fmt: skip


class Span(msgspec.Struct, frozen=True, gc=False):
    """A range of a blob: the place of a regular file's content."""

    blob: str
    """The digest of the blob: nearly always a layer's uncompressed tar, and thus its diffID."""
    offset: int
    size: int


def content_span(diff_id: str, entry: Entry) -> Span:
    """Return the place of the content of a regular file of the layer `diff_id`.

    The content of a file that is sparse in the layer's tar is a separate blob; its offset is below -1.
    """
    if entry.offset < -1:
        return Span(f"sha256:{entry.digest.hex()}", 0, entry.size)
    return Span(diff_id, entry.offset, entry.size)
