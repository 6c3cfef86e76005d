"""Changes on top of a snapshot, held in memory and written as one layer; BuildKit uses overlayfs for this.

Paths are relative to the root, without leading or trailing slash; "" is the root. Contents are references (to bytes, to
a file of the context, to a range of another layer), so that each file is read once, when the layer is written.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from typing import BinaryIO

from ....errors import BuildError
from ....portable import pread
from ....session.files import CAPABILITY, by_bytes
from ....store import (
    BLOCK,
    CHAR,
    DIR,
    FILE,
    HARDLINK,
    SYMLINK,
    Entry,
    LayerFiles,
    LayerTree,
    LayerWriter,
    Span,
    Store,
    whiteout,
)
from ....store.entry import NO_XATTRS
from ....store.links import LinkLoopError, follow_links
from .. import deep

Content = bytes | Span | Callable[[], BinaryIO | int] | Callable[[], tuple[int, int]] | None
"""The content of a file for LayerWriter.add: bytes, a range of a layer, or a function that opens a file or returns
(descriptor, offset).
"""

SETGID = 0o2000
_SECOND = 1_000_000_000


class FileOpError(BuildError):
    """A change that the file system refuses, in the words of the kernel and BuildKit."""

    kind = "build error"


class Inode:
    """A file, directory, link or device in its final state. Hard links are one Inode under several names."""

    __slots__ = (
        "base",
        "children",
        "content",
        "contents",
        "devmajor",
        "devminor",
        "digest",
        "dirty",
        "gid",
        "link",
        "mode",
        "mtime",
        "shared",
        "size",
        "type",
        "uid",
        "xattrs",
    )

    def __init__(self, type: str, mode: int, mtime: int, uid: int = 0, gid: int = 0) -> None:  # noqa: A002
        self.type = type
        self.mode = mode
        self.uid = uid
        self.gid = gid
        self.mtime = mtime
        """Nanoseconds since 1970."""
        self.size = 0
        self.link = ""
        self.devmajor = 0
        self.devminor = 0
        self.digest = b""
        self.xattrs: Mapping[str, bytes] = NO_XATTRS
        self.content: Content | Entry = None
        """The Content, or the entry of another tree that has it, which saves an object per file in a large copy."""
        self.contents: Callable[[Entry], Content] | None = None
        """The reader of such an entry's content."""
        self.children: dict[str, Inode | None] | None = {} if type == DIR else None
        """Entries that differ from the base directory, or that were looked at; None for a removed name."""
        self.base: Entry | None = None
        """The entry at the same path below: the one that this may have changed or, for a directory, continues."""
        self.dirty = True
        self.shared = False
        """Whether it has more than one name."""

    @classmethod
    def of(cls, entry: Entry, contents: Callable[[Entry], Content]) -> Inode:
        """Return an unchanged entry of the snapshot below; `contents` reads the contents of its files."""
        inode = cls(entry.type, entry.mode, entry.mtime, entry.uid, entry.gid)
        inode.size = entry.size
        inode.link = entry.link
        inode.devmajor = entry.devmajor
        inode.devminor = entry.devminor
        inode.digest = entry.digest
        inode.xattrs = entry.xattrs
        if entry.type == FILE and entry.size:
            inode.content, inode.contents = entry, contents
        inode.base = entry
        inode.dirty = False
        return inode

    @classmethod
    def within(cls, folder: Inode, type: str, mode: int, mtime: int, owner: tuple[int, int] | None) -> Inode:  # noqa: A002
        """Return a new entry of `folder` as Linux makes it: a set-group-ID directory hands down its group and that bit.

        With `owner`, the entry is then given to that owner, which keeps the bit on directories.
        """
        inherits = bool(folder.mode & SETGID)
        uid, gid = owner or (0, folder.gid if inherits else 0)
        return cls(type, mode | SETGID if inherits and type == DIR else mode, mtime, uid, gid)

    @property
    def data(self) -> Content:
        """The content of a regular file, for a LayerWriter."""
        content = self.content
        if isinstance(content, Entry):
            return self.contents(content) if self.contents is not None else None
        return content

    @property
    def is_dir(self) -> bool:
        """Whether it is a directory."""
        return self.type == DIR


class Upper:
    """The file system that a FileOp changes: `base` with all changes so far. `now` is the time of new files, in
    nanoseconds.
    """

    def __init__(self, base: LayerTree, now: int) -> None:
        self.base = base
        self.now = now
        self.root = Inode.of(base.get("") or Entry("", DIR, 0o755), base.span)

    def child(self, folder: Inode, path: str, name: str) -> Inode | None:
        """Return the entry `name` of the directory `folder`, whose path is `path`, without following links."""
        children = folder.children
        if children is None:
            return None
        if name in children:
            return children[name]
        if folder.base is None:
            return None
        entry = self.base.get(f"{path}/{name}" if path else name)
        if entry is None:
            return None
        inode = Inode.of(entry, self.base.span)
        children[name] = inode
        return inode

    def names(self, folder: Inode, path: str) -> list[str]:
        """Return the names in a directory, in byte order."""
        names = {name for name, child in (folder.children or {}).items() if child is not None}
        if folder.base is not None:
            removed = {name for name, child in (folder.children or {}).items() if child is None}
            names |= {entry.name for entry in self.base.children(path)} - removed
        return by_bytes(list(names))

    def lookup(self, path: str) -> Inode | None:
        """Return the entry at `path` without following any link, not even on the way."""
        inode: Inode | None = self.root
        at = ""
        for name in path.split("/") if path else ():
            if inode is None:
                return None
            inode = self.child(inode, at, name)
            at = f"{at}/{name}" if at else name
        return inode

    def resolve(self, path: str, *, follow_last: bool = True) -> str:
        """Return `path` with symbolic links followed inside the root; missing parts stay as they are. Raises for a
        loop.
        """
        try:
            return follow_links(path, self.link, follow_last=follow_last)
        except LinkLoopError as error:
            raise FileOpError(f"/{path.strip('/')}: too many levels of symbolic links") from error

    def link(self, path: str) -> str | None:
        """Return the target of the symbolic link at `path`; None for anything else."""
        inode = self.lookup(path)
        return inode.link if inode is not None and inode.type == SYMLINK else None

    def stat(self, path: str) -> Inode | None:
        """Return the entry at `path`, following links."""
        return self.lookup(self.resolve(path))

    def read(self, store: Store, path: str) -> bytes | None:
        """Return the content of the regular file to which `path` leads; None when there is none."""
        inode = self.stat(path)
        if inode is None or inode.type != FILE:
            return None
        content = inode.data
        if content is None or isinstance(content, bytes):
            return content or b""
        if isinstance(content, Span):
            with LayerFiles(store.blobs) as files:
                return files.read(content)
        opened = content()
        if isinstance(opened, tuple):
            return pread(opened[0], inode.size, opened[1])
        with os.fdopen(opened, "rb") if isinstance(opened, int) else opened as file:
            return file.read()

    def put(self, folder: Inode, name: str, inode: Inode) -> None:
        """Add `inode` to a directory under a name that is free, or was removed."""
        assert folder.children is not None
        folder.children[name] = inode
        self.touch(folder)

    def remove(self, folder: Inode, path: str, name: str) -> None:
        """Remove a name, with its contents if it is a directory."""
        assert folder.children is not None
        if folder.base is not None and self.base.get(join(path, name)) is not None:
            folder.children[name] = None
        else:
            folder.children.pop(name, None)
        self.touch(folder)

    def touch(self, folder: Inode) -> None:
        """Update a directory's time after a change in it."""
        folder.mtime = self.now
        folder.dirty = True

    def parent(self, path: str) -> tuple[Inode, str, str]:
        """Return (directory, its path, name) for a path whose directories are resolved. Raises when a directory is
        missing.
        """
        at, _, name = path.rpartition("/")
        folder = self.lookup(at)
        if folder is None:
            raise FileOpError(f"mkdir /{path}: no such file or directory")
        if not folder.is_dir:
            raise FileOpError(f"/{at}: not a directory")
        return folder, at, name

    def contents(self) -> dict[bytes, int]:
        """Return the known digests of the layer's contents, each with its size."""
        sizes: dict[bytes, int] = {}
        todo = [self.root]
        while todo:
            for child in (todo.pop().children or {}).values():
                if child is not None and child.is_dir:
                    todo.append(child)
                elif child is not None and child.dirty and child.digest:
                    sizes[child.digest] = child.size
        return sizes

    def changes(self) -> Iterator[tuple[Entry, Content]]:
        """Yield the entries of the layer, with the order and the parents of BuildKit's differ.

        Entries are released on the way, so that a large copy is not in memory twice: the Upper cannot be used
        afterwards.
        """
        yield from deep.flat(_Differ(self.base).folder(self.root, "", below=True))

    def write(self, writer: LayerWriter) -> None:
        """Add the changes to a layer."""
        for entry, content in self.changes():
            writer.add(entry, content)


class _Differ:
    """One pass over the changes: yields those that differ from the base, with parents just before their first child."""

    def __init__(self, base: LayerTree) -> None:
        self._base = base
        self._pending: list[tuple[Inode, str]] = []
        """The parent directories that are not yet written, from the top down."""
        self._first: dict[int, str] = {}

    def folder(self, folder: Inode, path: str, *, below: bool) -> deep.Walk[tuple[Entry, Content]]:
        """Yield the changes in a directory; `below` is true when the base has a directory at its path too."""
        children, folder.children = folder.children or {}, {}
        if below and folder.base is None:
            hidden = {entry.name: None for entry in self._base.children(path)}
            children = {**hidden, **children}
        for name in by_bytes(list(children)):
            child, at = children.pop(name), join(path, name)
            if child is None:
                if below:
                    yield from self._parents()
                    yield whiteout(at), None
                continue
            under = child.base or (self._base.get(at) if below else None)
            if child.type == DIR:
                self._pending.append((child, at))
                if child.dirty and (under is None or not _same_meta(child, under)):
                    yield from self._parents()
                yield self.folder(child, at, below=under is not None and under.is_dir)
                if self._pending and self._pending[-1][0] is child:
                    self._pending.pop()
            elif child.dirty and (under is None or not _same_file(child, under)):
                yield from self._parents()
                yield self._entry(child, at)

    def _parents(self) -> Iterator[tuple[Entry, Content]]:
        for inode, path in self._pending:
            yield self._entry(inode, path)
        self._pending.clear()

    def _entry(self, inode: Inode, path: str) -> tuple[Entry, Content]:
        if inode.shared:
            first = self._first.setdefault(id(inode), path)
            if first != path:
                return (
                    Entry(
                        path,
                        HARDLINK,
                        inode.mode,
                        inode.uid,
                        inode.gid,
                        inode.mtime,
                        link=first,
                        devmajor=inode.devmajor,
                        devminor=inode.devminor,
                        xattrs=inode.xattrs,
                    ),
                    None,
                )
        return (
            Entry(
                path,
                inode.type,
                inode.mode,
                inode.uid,
                inode.gid,
                inode.mtime,
                inode.size,
                inode.link,
                -1,
                inode.digest,
                inode.devmajor,
                inode.devminor,
                inode.xattrs,
            ),
            inode.data,
        )


def _same_meta(inode: Inode, below: Entry) -> bool:
    return (
        inode.type == below.type
        and inode.mode == below.mode
        and inode.uid == below.uid
        and inode.gid == below.gid
        and inode.xattrs.get(CAPABILITY) == below.xattrs.get(CAPABILITY)
    )


def _same_file(inode: Inode, below: Entry) -> bool:
    """Return whether BuildKit's differ considers the two files the same: by metadata, whole seconds and content.

    A layer keeps no fractions of seconds, so the content decides where BuildKit compares the fractions.
    """
    if not _same_meta(inode, below) or inode.mtime // _SECOND != below.mtime // _SECOND:
        return False
    if inode.type == SYMLINK:
        return inode.link == below.link
    if inode.type in (CHAR, BLOCK):
        return (inode.devmajor, inode.devminor) == (below.devmajor, below.devminor)
    return inode.size == below.size and (inode.size == 0 or (inode.digest == below.digest and inode.digest != b""))


def join(path: str, name: str) -> str:
    """Join `path` and `name`, where "" is the root."""
    return f"{path}/{name}" if path else name
