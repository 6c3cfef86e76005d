"""The changes of a RUN, entry by entry as BuildKit's overlay differ finds them and containerd writes them.

The rules are those of BuildKit's `util/overlay`; of continuity's `fs.Changes` (for opaque directories, and where there
is no overlay, except for the unchanged names of a file that got another name); and of containerd's
`archive.ChangeWriter` (which parents and hard links are written).
"""

from __future__ import annotations

import os
import stat

from . import mounts
from .before import READ, RecordBase, StackBase
from .owners import read, read_paths
from .properties import Info, is_opaque, join, look, order_of, walk
from .reach import Reach

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .jobs import ChangesJob
    from .owners import Owner

ADD, MODIFY, DELETE, UNMODIFIED = range(4)
_SECOND = 1_000_000_000
_TYPES = {
    stat.S_IFREG: "0",
    stat.S_IFLNK: "2",
    stat.S_IFCHR: "3",
    stat.S_IFBLK: "4",
    stat.S_IFDIR: "5",
    stat.S_IFIFO: "6",
}

Row = tuple[str, str, int, int, int, int, int, str, int, int, "dict[str, bytes] | None"]
"""An entry of a layer: path, type, mode, uid, gid, mtime (ns), size, link, devmajor, devminor, xattrs."""


class Differ:
    """Compares the tree at `root` with `base`, and passes the changes to a ChangeWriter."""

    def __init__(
        self, root: str, base: StackBase | RecordBase, emit: Callable[[Row, bytes], object], reach: Reach
    ) -> None:
        self.root = os.fsencode(root)
        self.base = base
        self.reach = reach
        self.writer = ChangeWriter(self.root, emit, reach)

    def overlay(self) -> None:
        """Compare where `root` is an upper directory: everything in it has changed, except directories copied up on the
        way.
        """
        skip = b""
        for path, info in walk(self.root, b"", self.reach, whiteouts=True):
            if skip and path.startswith(skip):
                continue
            old = self.base.get(path)
            if info.is_whiteout:
                if old is not None:
                    self.writer.handle(DELETE, path, info)
                continue
            if old is None:
                self.writer.handle(ADD, path, info)
            elif not self.same(path, old, info):
                self.writer.handle(MODIFY, path, info)
            if old is not None and info.is_dir and is_opaque(self.reach(self.root, path)):
                self.walked(path)
                skip = path + b"/"

    def compare_names(self, names: list[bytes]) -> None:
        """Compare where `root` was filled from the layers as a process looked at them; `names` are those that it
        changed.

        A name that ends with a slash is a directory that was made or moved there: everything in it counts as changed.
        """
        anew = {name[1:-1] for name in names if name.endswith(b"/")}
        real = {b"": True}
        skip = b"\0"
        for path in sorted({name.strip(b"/") for name in names} - {b""}, key=order_of):
            if path.startswith(skip) or not self._is_real(path.rpartition(b"/")[0], real):
                continue
            old = self.base.get(path)
            try:
                info = look(self.reach(self.root, path), self.reach.owners)
            except FileNotFoundError:
                if old is not None:
                    self.writer.handle(DELETE, path, old)
                continue
            if old is None:
                self.writer.handle(ADD, path, info)
            elif not self.same(path, old, info):
                self.writer.handle(MODIFY, path, info)
            if info.is_dir and path in anew:
                skip = path + b"/"
                self.walked(path)

    def _is_real(self, path: bytes, known: dict[bytes, bool]) -> bool:
        """Return whether `path` and all of its parents are directories, not links."""
        if path not in known:
            known[path] = False
            if self._is_real(path.rpartition(b"/")[0], known):
                try:
                    known[path] = stat.S_ISDIR(os.lstat(self.reach(self.root, path)).st_mode)
                except FileNotFoundError:
                    pass
        return known[path]

    def walked(self, start: bytes) -> None:
        """Compare everything below `start` with the files before, walking both in step."""
        new_rows = walk(self.root, start, self.reach, whiteouts=False)
        old_rows = self.base.walk(start)
        new, old = next(new_rows, None), next(old_rows, None)
        removed = b""
        while new or old:
            if old is None or (new is not None and order_of(new[0]) < order_of(old[0])):
                assert new is not None
                removed = b""
                self.writer.handle(ADD, *new)
                new = next(new_rows, None)
            elif new is None or order_of(old[0]) < order_of(new[0]):
                path, info = old
                old = next(old_rows, None)
                if removed and path.startswith(removed):
                    continue
                removed = path + b"/" if info.is_dir else b""
                self.writer.handle(DELETE, path, info)
            else:
                path, info = new
                removed = path + b"/" if old[1].is_dir and not info.is_dir else b""
                if not self.same(path, old[1], info):
                    self.writer.handle(MODIFY, path, info)
                elif not info.is_dir and info.nlink > 1 and not isinstance(self.base, RecordBase):
                    # Without overlayfs too, the layer is the same as on a machine with overlayfs.
                    self.writer.handle(UNMODIFIED, path, info)
                new, old = next(new_rows, None), next(old_rows, None)

    def same(self, path: bytes, old: Info, new: Info) -> bool:
        """Return whether a file is unchanged: continuity's sameFile, preceded by the record's quicker proof."""
        if (old.mode, old.uid, old.gid, old.rdev) != (new.mode, new.uid, new.gid, new.rdev):
            return False
        if old.capability != new.capability:
            return False
        if isinstance(self.base, RecordBase) and (old.ino, old.ctime) == (new.ino, new.ctime):
            return True
        if new.is_dir:
            return True
        if old.size != new.size or old.mtime != new.mtime:
            return False
        if new.mtime % _SECOND:
            return True
        if stat.S_ISLNK(new.mode):
            return old.link == new.link
        if new.size == 0 or not stat.S_ISREG(new.mode):
            return True
        fd = os.open(self.reach(self.root, path), READ)
        try:
            return self.base.same_content(path, old, fd)
        finally:
            os.close(fd)


class ChangeWriter:
    """Turns changes into the entries of a layer: parents first, hard links as links, deletions as whiteouts."""

    def __init__(self, root: bytes, emit: Callable[[Row, bytes], object], reach: Reach) -> None:
        self.root = root
        self.emit = emit
        self.reach = reach
        self.sources: dict[int, bytes] = {}
        """From an inode to the name under which its content is in the layer."""
        self.waiting: dict[int, list[bytes]] = {}
        """From an inode to its unchanged names, which are added if one of its names turns out to be in the layer."""
        self.included: set[bytes] = {b""}

    def handle(self, kind: int, path: bytes, info: Info) -> None:
        """Handle one change."""
        if kind == DELETE:
            parent, _, name = path.rpartition(b"/")
            self.parents(path)
            self.emit((os.fsdecode(join(parent, b".wh." + name)), "0", 0, 0, 0, 0, 0, "", 0, 0, None), b"")
            return
        if stat.S_ISSOCK(info.mode):
            return
        if info.is_dir or info.nlink < 2:
            if kind != UNMODIFIED:
                self.entry(path, info)
            return
        if (source := self.sources.get(info.ino)) is not None:
            self.entry(path, info, source)
        elif kind == UNMODIFIED:
            self.waiting.setdefault(info.ino, []).append(path)
        else:
            self.sources[info.ino] = path
            self.entry(path, info)
            for other in self.waiting.pop(info.ino, ()):
                self.entry(other, info, path)

    def parents(self, path: bytes) -> None:
        """Add the directories above `path` that are not in the layer yet."""
        missing: list[bytes] = []
        while (path := path.rpartition(b"/")[0]) not in self.included:
            self.included.add(path)
            missing.append(path)
        for parent in reversed(missing):
            self.entry(parent, look(self.reach(self.root, parent), self.reach.owners))

    def entry(self, path: bytes, info: Info, source: bytes = b"") -> None:
        """Add one entry: a link to `source` if given, else the file at `path`."""
        self.parents(path)
        if info.is_dir:
            self.included.add(path)
        kind = "1" if source else _TYPES[stat.S_IFMT(info.mode)]
        device = info.rdev if stat.S_ISCHR(info.mode) or stat.S_ISBLK(info.mode) else 0
        row = (
            os.fsdecode(path),
            kind,
            info.mode & 0o7777,
            info.uid,
            info.gid,
            info.mtime,
            info.size if kind == "0" else 0,
            os.fsdecode(source or info.link),
            os.major(device),
            os.minor(device),
            {"security.capability": info.capability} if info.capability else None,
        )
        self.emit(row, self.reach(self.root, path) if kind == "0" and info.size else b"")


def find(job: ChangesJob, emit: Callable[[Row, bytes], object]) -> None:
    """Report the entries of the layer that a process made, each with the path of its content (b"" for none).

    Mount stubs that are still empty are removed first.
    """
    root = job["upper"] or job["root"]
    mounts.remove_stubs(root, job["stubs"])
    with Reach() as reach:
        if job["told"]:
            reach.owners = _by_inode(job["owners"])
            with open(job["told"], "rb") as file:
                names = file.read().split(b"\0")
            Differ(root, StackBase(job["lower"], reach, traced=True), emit, reach).compare_names(names)
            os.chmod(root, 0o755)
            return
        before: dict[int, Owner] | None = None
        if job["owners"] and job["before"]:
            device = os.stat(root).st_dev
            reach.owners = {inode: owner for (dev, inode), owner in read(job["owners"]).items() if dev == device}
        elif job["owners"]:
            before, reach.owners = (_by_inode(job["owners"] + end) for end in (".before", ""))
        if job["record"]:
            base = RecordBase(job["record"], job["blobs"], before)
            if job["before"]:
                base.own(read_paths(job["before"]))
            Differ(root, base, emit, reach).walked(b"")
        else:
            Differ(root, StackBase(job["lower"], reach, before), emit, reach).overlay()
    # The root directory is in no layer: changes of its mode and owner are dropped here.
    if job["upper"] and not job["owners"]:
        os.chown(root, 0, 0)
    os.chmod(root, 0o755)


def open_files(job: ChangesJob, paths: Iterable[str], take: Callable[[int], object]) -> None:
    """Open each of the files that `find` reported, for `take` to read and close."""
    root = os.fsencode(job["upper"] or job["root"])
    with Reach() as reach:
        for path in paths:
            take(os.open(reach(root, os.fsencode(path)), READ))


def _by_inode(file: str) -> dict[int, Owner]:
    """Return a table of the tracer for a single file system, by inode."""
    return {inode: owner for (_, inode), owner in read(file).items()}
