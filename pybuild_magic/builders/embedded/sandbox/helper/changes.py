"""The changes of a RUN, entry for entry as BuildKit's overlay differ finds it and containerd writes it.

The rules are those of BuildKit's `util/overlay`, continuity's `fs.Changes` (for opaque directories, and, but for
unchanged names of a file that got another, where there is no overlay) and containerd's `archive.ChangeWriter`
(which parents and hardlinks go in).
"""

from __future__ import annotations

import marshal
import os
import stat

from . import mounts
from .extract import OPAQUE, capability
from .owners import AS_ON_DISK, read, read_paths
from .reach import Reach

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from .extract import Recorded
    from .jobs import ChangesJob
    from .owners import Owner

ADD, MODIFY, DELETE, UNMODIFIED = range(4)
_OPAQUE = os.fsencode(f"/{OPAQUE}")
_SECOND = 1_000_000_000
_BLOCK = 1 << 18
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_TYPES = {
    stat.S_IFREG: "0",
    stat.S_IFLNK: "2",
    stat.S_IFCHR: "3",
    stat.S_IFBLK: "4",
    stat.S_IFDIR: "5",
    stat.S_IFIFO: "6",
}

Row = tuple[str, str, int, int, int, int, int, str, int, int, "dict[str, bytes] | None"]
"""path, type, mode, uid, gid, mtime (ns), size, link, devmajor, devminor, xattrs: an entry of a layer."""


class Info:
    """The properties of a file that are compared; from an `os.stat_result` or from a record."""

    __slots__ = (
        "blob", "capability", "ctime", "gid", "ino", "link", "mode", "mtime", "nlink", "offset", "rdev", "size", "uid",
    )  # fmt: skip

    def __init__(self, row: Recorded) -> None:
        (
            self.ino, self.ctime, self.mode, self.uid, self.gid, self.size, self.mtime, self.rdev, self.nlink,
            self.blob, self.offset, self.link, self.capability,
        ) = row  # fmt: skip

    @property
    def is_dir(self) -> bool:
        """Whether it is a directory."""
        return stat.S_ISDIR(self.mode)

    @property
    def is_whiteout(self) -> bool:
        """Whether it is overlayfs's mark of a deletion."""
        return stat.S_ISCHR(self.mode) and self.rdev == 0


def look(path: bytes, owners: dict[int, Owner] | None) -> Info:
    """Return the properties of `path`, links not followed; where there are `owners`, as they say. Raises OSError."""
    info = os.lstat(path)
    link = os.readlink(path) if stat.S_ISLNK(info.st_mode) else b""
    found = Info(
        (
            info.st_ino,
            info.st_ctime_ns,
            info.st_mode,
            info.st_uid,
            info.st_gid,
            info.st_size,
            info.st_mtime_ns,
            info.st_rdev,
            info.st_nlink,
            -1,
            -1,
            link,
            capability(path) if stat.S_ISREG(info.st_mode) or stat.S_ISDIR(info.st_mode) else b"",
        )
    )
    if owners is not None:
        believe(found, owners.get(info.st_ino))
    return found


def believe(info: Info, owner: Owner | None) -> None:
    """Give a file what a table of the tracer says of it, and else root as its owner."""
    info.uid = info.gid = 0
    if owner is not None:
        info.uid, info.gid = owner.uid, owner.gid
        info.capability = owner.xattrs.get("security.capability", info.capability)
        if owner.mode != AS_ON_DISK:
            info.mode, info.rdev = owner.mode, owner.rdev


def walk(root: bytes, start: bytes, reach: Reach, *, whiteouts: bool) -> Iterator[tuple[bytes, Info]]:
    """Yield all below `start`, sorted bytewise, a directory before what is in it; paths are relative to `root`."""
    stack = [iter(sorted(os.listdir(reach(root, start))))]
    prefixes = [start]
    while stack:
        name = next(stack[-1], None)
        if name is None:
            stack.pop()
            prefixes.pop()
            continue
        path = _join(prefixes[-1], name)
        info = look(reach(root, path), reach.owners)
        if info.is_whiteout and not whiteouts:
            continue
        yield path, info
        if info.is_dir:
            stack.append(iter(sorted(os.listdir(reach(root, path)))))
            prefixes.append(path)


def is_opaque(path: bytes) -> bool:
    """Return whether a directory hides all that the layers below have in it."""
    for name in ("trusted.overlay.opaque", "user.overlay.opaque"):
        try:
            if os.getxattr(path, name, follow_symlinks=False) == b"y":
                return True
        except OSError:
            continue
    return False


def _join(parent: bytes, name: bytes) -> bytes:
    if not parent or not name:
        return parent or name
    return parent + b"/" + name


class StackBase:
    """The files from before, in the directories of the lower layers (bottom first), looked up as overlayfs does.

    Mounting them to look would cost more, and would need to be root.
    """

    def __init__(
        self, lower: list[str], reach: Reach, before: dict[int, Owner] | None = None, *, traced: bool = False
    ) -> None:
        self.reach = reach
        self.before = before
        """Owners of the layers' files by inode, where a tracer remembers owners in namespaces."""
        self.owners: dict[bytes, dict[bytes, Owner]] = {}
        """Of a traced root: what is believed of a layer's paths, by the layer's root."""
        if traced:
            self.owners = {os.fsencode(path): read_paths(f"{path}/../owners") for path in lower}
        self.merged: dict[bytes, list[bytes]] = {b"": [os.fsencode(path) for path in reversed(lower)]}
        """By the path of a directory: the layers' roots that show something there, topmost first."""

    def get(self, path: bytes) -> Info | None:
        """Return the earlier properties of `path`."""
        for root in self.directories(path.rpartition(b"/")[0]):
            try:
                info = look(self.reach(root, path), self.before)
            except FileNotFoundError:
                continue
            if info.is_whiteout:
                return None
            if self.owners:
                believe(info, self.owners[root].get(path))
            return info
        return None

    def directories(self, path: bytes) -> list[bytes]:
        """Return the roots of the layers that together have the directory `path`; none when there was no directory."""
        if (known := self.merged.get(path)) is not None:
            return known
        todo = [path]
        while (parent := todo[-1].rpartition(b"/")[0]) not in self.merged:
            todo.append(parent)
        while todo:
            path = todo.pop()
            self.merged[path] = self._showing(path, self.merged[path.rpartition(b"/")[0]])
        return self.merged[path]

    def _showing(self, path: bytes, roots: list[bytes]) -> list[bytes]:
        found: list[bytes] = []
        for root in roots:
            place = self.reach(root, path)
            try:
                mode = os.lstat(place).st_mode
            except FileNotFoundError:
                continue
            if not stat.S_ISDIR(mode):
                break
            found.append(root)
            if os.path.lexists(place + _OPAQUE) if self.owners else is_opaque(place):
                break
        return found

    def walk(self, start: bytes) -> Iterator[tuple[bytes, Info]]:
        """Yield all that was below `start`; nothing when that was no directory."""
        stack = [(start, self.names(start))]
        while stack:
            directory, names = stack[-1]
            name = next(names, None)
            if name is None:
                stack.pop()
                continue
            path = _join(directory, name)
            info = self.get(path)
            if info is not None:
                yield path, info
                if info.is_dir:
                    stack.append((path, self.names(path)))

    def names(self, path: bytes) -> Iterator[bytes]:
        """Return the names in a directory, sorted; also those that a layer deletes."""
        names = {name for root in self.directories(path) for name in os.listdir(self.reach(root, path))}
        return iter(sorted(names - {_OPAQUE[1:]} if self.owners else names))

    def same_content(self, path: bytes, old: Info, new: int) -> bool:
        """Return whether the file at `path` had the content that the open file `new` has; they are of one size."""
        del old
        for root in self.directories(path.rpartition(b"/")[0]):
            try:
                fd = os.open(self.reach(root, path), _READ)
            except FileNotFoundError:
                continue
            try:
                return _same_bytes(fd, 0, new)
            finally:
                os.close(fd)
        return False


class RecordBase:
    """The files from before, from the record that the extraction wrote; contents are in the layers' tars."""

    def __init__(self, path: str, blobs: list[str], owners: dict[int, Owner] | None) -> None:
        with open(path, "rb") as file:
            rows: dict[bytes, Recorded] = marshal.load(file)
        self.infos = {path: Info(row) for path, row in rows.items()}
        if owners is not None:
            for info in self.infos.values():
                believe(info, owners.get(info.ino))
        self.blobs = blobs

    def get(self, path: bytes) -> Info | None:
        """Return the earlier properties of `path`."""
        return self.infos.get(path)

    def walk(self, start: bytes) -> Iterator[tuple[bytes, Info]]:
        """Yield all that was below `start`."""
        prefix = start + b"/" if start else b""
        paths = [path for path in self.infos if path.startswith(prefix)]
        for path in sorted(paths, key=_order):
            yield path, self.infos[path]

    def same_content(self, path: bytes, old: Info, new: int) -> bool:
        """Return whether the file at `path` had the content that the open file `new` has; they are of one size."""
        del path
        fd = os.open(self.blobs[old.blob], os.O_RDONLY | os.O_CLOEXEC)
        try:
            return _same_bytes(fd, old.offset, new)
        finally:
            os.close(fd)


def _same_bytes(fd: int, offset: int, other: int) -> bool:
    at = 0
    while block := os.pread(other, _BLOCK, at):
        if os.pread(fd, len(block), offset + at) != block:
            return False
        at += len(block)
    return True


def _order(path: bytes) -> bytes:
    """Return the key that sorts paths as a walk meets them."""
    return path.replace(b"/", b"\0")


class Differ:
    """Compares the tree at `root` with `base` and tells a ChangeWriter."""

    def __init__(
        self, root: str, base: StackBase | RecordBase, emit: Callable[[Row, bytes], object], reach: Reach
    ) -> None:
        self.root = os.fsencode(root)
        self.base = base
        self.reach = reach
        self.writer = ChangeWriter(self.root, emit, reach)

    def overlay(self) -> None:
        """`root` is an upper directory: what is in it has changed, but for directories copied up on the way."""
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

    def told(self, names: list[bytes]) -> None:
        """`root` has been filled from the layers as far as a process has looked, and `names` are what it changed.

        A name that ends with a slash is a directory that was made or moved there: all in it counts.
        """
        anew = {name[1:-1] for name in names if name.endswith(b"/")}
        real = {b"": True}
        skip = b"\0"
        for path in sorted({name.strip(b"/") for name in names} - {b""}, key=_order):
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
        """Return whether `path`, and all above it, are directories and no links."""
        if path not in known:
            known[path] = False
            if self._is_real(path.rpartition(b"/")[0], known):
                try:
                    known[path] = stat.S_ISDIR(os.lstat(self.reach(self.root, path)).st_mode)
                except FileNotFoundError:
                    pass
        return known[path]

    def walked(self, start: bytes) -> None:
        """Everything below `start` against what was there, both sides walked in step."""
        news = walk(self.root, start, self.reach, whiteouts=False)
        olds = self.base.walk(start)
        new, old = next(news, None), next(olds, None)
        removed = b""
        while new or old:
            if old is None or (new is not None and _order(new[0]) < _order(old[0])):
                assert new is not None
                removed = b""
                self.writer.handle(ADD, *new)
                new = next(news, None)
            elif new is None or _order(old[0]) < _order(new[0]):
                path, info = old
                old = next(olds, None)
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
                    # Without overlayfs too the layer is the one that a machine with overlayfs makes.
                    self.writer.handle(UNMODIFIED, path, info)
                new, old = next(news, None), next(olds, None)

    def same(self, path: bytes, old: Info, new: Info) -> bool:
        """Return whether a file is what it was: continuity's sameFile, with the record's quicker proof before it."""
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
        fd = os.open(self.reach(self.root, path), _READ)
        try:
            return self.base.same_content(path, old, fd)
        finally:
            os.close(fd)


class ChangeWriter:
    """Turns changes into entries of a layer: parents first, hardlinks as links, deletions as whiteouts."""

    def __init__(self, root: bytes, emit: Callable[[Row, bytes], object], reach: Reach) -> None:
        self.root = root
        self.emit = emit
        self.reach = reach
        self.sources: dict[int, bytes] = {}
        """Inode -> the name under which its content is in the layer."""
        self.waiting: dict[int, list[bytes]] = {}
        """Inode -> unchanged names, which follow when one of the names turns out to be in the layer."""
        self.included: set[bytes] = {b""}

    def handle(self, kind: int, path: bytes, info: Info) -> None:
        """Take one change."""
        if kind == DELETE:
            parent, _, name = path.rpartition(b"/")
            self.parents(path)
            self.emit((os.fsdecode(_join(parent, b".wh." + name)), "0", 0, 0, 0, 0, 0, "", 0, 0, None), b"")
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
        """The directories above `path`, those that are not in the layer yet."""
        missing: list[bytes] = []
        while (path := path.rpartition(b"/")[0]) not in self.included:
            self.included.add(path)
            missing.append(path)
        for parent in reversed(missing):
            self.entry(parent, look(self.reach(self.root, parent), self.reach.owners))

    def entry(self, path: bytes, info: Info, source: bytes = b"") -> None:
        """One entry: a link to `source` when there is one, else what is at `path`."""
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
    """Tell the entries of the layer that a process has made, each with the path of its content (b"" for none).

    Mount stubs that are still empty go first.
    """
    root = job["upper"] or job["root"]
    mounts.remove_stubs(root, job["stubs"])
    with Reach() as reach:
        if job["told"]:
            reach.owners = _by_inode(job["owners"])
            with open(job["told"], "rb") as file:
                names = file.read().split(b"\0")
            Differ(root, StackBase(job["lower"], reach, traced=True), emit, reach).told(names)
            os.chmod(root, 0o755)
            return
        before: dict[int, Owner] | None = None
        if job["owners"]:
            before, reach.owners = (_by_inode(job["owners"] + end) for end in (".before", ""))
        if job["record"]:
            Differ(root, RecordBase(job["record"], job["blobs"], before), emit, reach).walked(b"")
        else:
            Differ(root, StackBase(job["lower"], reach, before), emit, reach).overlay()
    # The root directory is in no layer: what the process did to its mode and owner ends here.
    if not job["owners"]:
        os.chown(root, 0, 0)
    os.chmod(root, 0o755)


def open_files(job: ChangesJob, paths: Iterable[str], take: Callable[[int], object]) -> None:
    """Open each of the files that `find` has told of, for `take` to read and close."""
    root = os.fsencode(job["upper"] or job["root"])
    with Reach() as reach:
        for path in paths:
            take(os.open(reach(root, os.fsencode(path)), _READ))


def _by_inode(file: str) -> dict[int, Owner]:
    """Return a table of the tracer, of one file system."""
    return {inode: owner for (_, inode), owner in read(file).items()}
