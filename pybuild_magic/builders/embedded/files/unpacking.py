"""ADD of a local archive: its files are laid over a directory of the destination, as by Docker's unpacker."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, BinaryIO, Protocol

from ....cancel import Cancel
from ....session.files import CAPABILITY
from ....store import (
    BLOCK,
    CHAR,
    DIR,
    FILE,
    HARDLINK,
    SYMLINK,
    Entry,
    is_tar,
    read_tar,
)
from ....store.entry import NO_XATTRS
from ....store.links import EscapeError, LinkLoopError, follow_links
from .copying import make_folders
from .upper import Content, FileOpError, Inode, Upper, join

_BLOCK = 1 << 20


class SupportsRead(Protocol):
    """The content of a member of an archive."""

    def read(self, size: int = -1, /) -> bytes:
        """Return at most `size` bytes; empty at the end."""
        ...


def is_archive(open_file: Callable[[], BinaryIO]) -> bool:
    """Return whether a file is a tar archive, in any compression."""
    with open_file() as file:
        return is_tar(file)


class Unpacked:
    """The contents of an archive in a spool file, from which the layer is written later."""

    def __init__(self, folder: Path) -> None:
        # In the store, because /tmp may be in memory; and without a name, so that it disappears with the process.
        self._spool: IO[bytes] = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - read when the layer is written

    def close(self) -> None:
        """Release the space."""
        self._spool.close()

    def unpack(self, upper: Upper, path: str, file: BinaryIO, owner: tuple[int, int] | None, cancel: Cancel) -> None:
        """Lay the archive over the directory `path` (resolved, existing). Raises `BuildError` for a bad archive."""
        times: list[tuple[Inode, int]] = []
        for entry, content in read_tar(file):
            cancel.check()
            if not entry.path:
                continue
            at = self._place(upper, path, entry.path)
            folder, above, name = upper.parent(at)
            existing = upper.child(folder, above, name)
            if existing is not None and not (existing.is_dir and entry.type == DIR):
                upper.remove(folder, above, name)
                existing = None
            inode = existing or self._inode(upper, path, entry, content)
            if existing is None:
                upper.put(folder, name, inode)
            _describe(inode, entry, owner)
            if entry.type == DIR:
                times.append((inode, entry.mtime))
        for inode, mtime in times:
            inode.mtime = mtime

    def _place(self, upper: Upper, root: str, path: str) -> str:
        """Return the path of an entry: below `root`, following existing links but never leaving `root`."""
        above, _, name = path.rpartition("/")
        folder = _resolve_below(upper, root, above)
        make_folders(upper, folder, 0o755, None, None, hand_down=False)
        return join(folder, name)

    def _inode(self, upper: Upper, root: str, entry: Entry, content: SupportsRead) -> Inode:
        if entry.type == HARDLINK:
            above, _, name = entry.link.strip("/").rpartition("/")
            original = upper.lookup(join(_resolve_below(upper, root, above), name))
            if original is None or original.is_dir:
                raise FileOpError(f"linkat {entry.link} {entry.path}: no such file or directory")
            original.shared = original.dirty = True
            return original
        inode = Inode(entry.type, entry.mode, upper.now)
        if entry.type == FILE:
            inode.size = entry.size
            inode.content = self._keep(content, entry.size)
        elif entry.type == SYMLINK:
            inode.link = entry.link
        elif entry.type in (CHAR, BLOCK):
            inode.devmajor, inode.devminor = entry.devmajor, entry.devminor
        return inode

    def _keep(self, content: SupportsRead, size: int) -> Content:
        if not size:
            return None
        start = self._spool.seek(0, 2)
        while data := content.read(_BLOCK):
            self._spool.write(data)
        spool = self._spool

        def place() -> tuple[int, int]:
            spool.flush()
            return spool.fileno(), start

        return place


def _describe(inode: Inode, entry: Entry, owner: tuple[int, int] | None) -> None:
    inode.uid, inode.gid = owner or (entry.uid, entry.gid)
    if inode.type != SYMLINK:
        inode.mode = entry.mode
    else:
        inode.mode = 0o777
    inode.mtime = entry.mtime
    inode.dirty = True
    if entry.type != HARDLINK:
        capability = entry.xattrs.get(CAPABILITY)
        inode.xattrs = {CAPABILITY: capability} if capability else NO_XATTRS


def _resolve_below(upper: Upper, root: str, path: str) -> str:
    """Resolve `path` under `root`, following links as if `root` were the root of the file system.

    Raises for a relative link that leads above `root`, unless an absolute one was followed before, as in Docker.
    """
    try:
        at = follow_links(path, lambda below: upper.link(join(root, below)), refuse_escapes=True)
    except EscapeError as error:
        raise FileOpError(f"statat {path}: path escapes from parent") from error
    except LinkLoopError as error:
        raise FileOpError(f"/{path}: too many levels of symbolic links") from error
    return join(root, at) if at else root
