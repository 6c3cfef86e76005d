"""Layers as images or directories for overlayfs, made from the store's tars when a RUN needs them, and kept."""

from __future__ import annotations

import errno
import hashlib
import os
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ....cancel import Cancel
from ....errors import FULL, BuildError, StoreError
from ....garbage import uncollected
from ....removal import remove_tree
from ....store import HARDLINK, Entry, Layer, LayerTree, Span, Store, opaque, whiteout
from ....store.entry import OPAQUE_WHITEOUT
from ....store.merge import WHITEOUT, Unpacked
from ....store.parts import BlobParts, Parts, located
from . import cacheowners
from .client import Helper, JobFailed
from .spec import Snapshot

MAX_STACK = 400
"""The most layers of one overlay (the kernel's limit is 500); of a higher stack, the lowest layers are merged."""

IMAGE = "/image"
"""The suffix of an image's path."""
MAX_IMAGES = 128
"""The most images of one overlay: each is a descriptor that is passed on, and one message holds 253."""

MAX_TARS = 8
"""The most tars that a directory may need for contents that are written later: the tracer has each open."""

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
Row = tuple[Any, ...]


class Rootfs:
    """Makes and finds the directories and images of layers.

    A key of the store names a directory with `fs` (the files) or `image` (an EROFS image, see `helper.erofs`), and
    `boot`, the boot ID of the machine: nothing waits for files to reach the disk, so after a restart they are made
    again. Keys depend on the kind of user namespace, which changes how owners and overlayfs's marks look.
    """

    def __init__(self, store: Store, helper: Helper) -> None:
        self._store = store
        self._helper = helper
        self.images = False
        """Whether layers can be mounted as images, which are quickly made; then only changes of a RUN are
        directories.
        """
        self._locks: dict[str, threading.Lock] = {}
        self._guard = threading.Lock()
        self._current: set[str] = set()
        """Keys known to be from this boot; replacements are, too."""
        self._known: dict[Snapshot, str] = {}
        """Directories used during this lease, by the snapshot whose topmost layer they are: they stay until the lease
        ends.
        """
        self._by_key: dict[str, str] = {}
        """The same directories, by key."""
        self._lease = 0.0
        self._counted: dict[str, int] = {}
        """The bytes of content in directories whose contents the tracer writes, as recorded."""
        self._boot = _BOOT_ID.read_text("utf-8").strip() if _BOOT_ID.exists() else ""

    def workdir(self) -> Path:
        """Return a new empty directory on the store's file system."""
        return self._store.rootfs.workdir()

    def stack(self, snapshot: Snapshot, cancel: Cancel | None = None, *, whole: bool = False) -> list[str]:
        """Return the directories and images to stack with overlayfs or the tracer, bottom first.

        With `whole`, the tracer finds all contents in them.
        """
        first = 0 if len(snapshot) <= MAX_STACK else len(snapshot) - MAX_STACK // 2
        paths = [self.layer(snapshot[: n + 1], cancel, whole=whole) for n in range(first, len(snapshot))]
        images = [n for n, path in enumerate(paths) if path.endswith(IMAGE)]
        if len(images) > MAX_IMAGES:
            cut = images[-MAX_IMAGES // 2]
            first, paths = first + cut, paths[cut:]
        if first:
            paths.insert(0, self.merged(snapshot[:first], cancel))
        if any(path.endswith(IMAGE) or self._is_lazy(path) for path in paths):
            self._store.packed.ensure(snapshot)  # their contents are in the tars
        # overlayfs refuses a directory that is in a stack twice; the upper one already covers the lower one.
        return list(dict.fromkeys(reversed(paths)))[::-1]

    def layer(self, snapshot: Snapshot, cancel: Cancel | None = None, *, whole: bool = False) -> str:
        """Return the directory or image of the topmost layer of `snapshot`, checked once during a lease."""
        if whole or not self._store.leases.held:
            return self._layer(snapshot, cancel, whole=whole)
        self._begin_lease()
        known = self._known
        if snapshot not in known or not os.path.lexists(known[snapshot]):
            known[snapshot] = self._layer(snapshot, cancel)
        return known[snapshot]

    def _begin_lease(self) -> None:
        """Forget the directories that an earlier lease has kept."""
        began = self._store.leases.began
        if self._lease != began:
            self._lease, self._known, self._by_key = began, {}, {}

    def _layer(self, snapshot: Snapshot, cancel: Cancel | None, *, whole: bool = False) -> str:
        diff_id = snapshot[-1]
        lazy = self.lazy and not whole
        kind = ("image",) if self.images else ("lazy",) if lazy else ()
        alone, chained = self._key(*kind, diff_id), self._key(*kind, "chain", *snapshot)
        keys = dict.fromkeys((self._key(diff_id), alone, chained))
        for key in keys:
            if path := self.find(key):
                return path
        with self._lock(chained):
            for key in keys:
                if path := self.find(key):
                    return path
            layer = self._store.layer(diff_id)
            unpacked = Unpacked(diff_id, layer.index)
            key = chained if unpacked.dependent else alone
            tree = self._store.tree(snapshot) if unpacked.dependent else None
            rows = _layer_rows(layer, unpacked, tree, self._store.parts)
            work = self.workdir()
            try:
                size = self._write_image(work, rows) if self.images else None
                if size is None:
                    lazy = lazy and len(rows.blobs) <= MAX_TARS
                    self._extract(work, rows, cancel, lazy=lazy)
                    size = 0 if lazy else rows.size
                return self.keep(key, work, diff_id, size)
            except BaseException:
                self.remove(work)
                raise

    def merged(self, snapshot: Snapshot, cancel: Cancel | None = None, *, below: str = "") -> str:
        """Return a directory with the files of `snapshot`; see `copy` for `below`."""
        if not snapshot:
            return self._empty()
        key = self._key("merged", *snapshot, *([f"below {below}"] if below else []))
        if path := self.find(key):
            return path
        with self._lock(key):
            if path := self.find(key):
                return path
            work = self.workdir()
            try:
                size = self.copy(snapshot, work, cancel, below=below)
                return self.keep(key, work, snapshot[-1], size)
            except BaseException:
                self.remove(work)
                raise

    def copy(
        self, snapshot: Snapshot, work: Path, cancel: Cancel | None = None, *, record: str = "", below: str = ""
    ) -> int:
        """Write the files of `snapshot` into `work`/fs; return the bytes of content.

        With `below`, a path without links, only the files there and the directories on the way are written.
        """
        rows = _merged_rows(self._store.tree(snapshot), self._store.parts, below)
        if record:
            (work / "blobs").write_text("\n".join(self._paths(rows)))
        self._extract(work, rows, cancel, record=record)
        return rows.size

    def _extract(self, work: Path, rows: _Rows, cancel: Cancel | None, *, record: str = "", lazy: bool = False) -> None:
        """Write entries into the new directory `work`/fs; with `lazy`, the tracer writes the contents that it needs."""
        from .helper.lazy import NAME

        root = work / "fs"
        job = {
            "root": str(root),
            "blobs": self._paths(rows),
            "entries": rows.rows,
            "record": record,
            "owners": str(work / "owners"),
            "lazy": str(work / NAME) if lazy else "",
            "tars": [os.path.relpath(path, self._store.root / "rootfs/key") for path in self._paths(rows)],
            "remembered": self._helper.kept or (self._helper.traced and not self._helper.copied),
        }
        while True:
            root.mkdir(mode=0o755)
            root.chmod(0o755)
            try:
                self._helper.call("extract", job, cancel)
                return
            except JobFailed as error:
                self.remove(root)
                if error.errno not in FULL or not self._store.make_room():
                    raise extraction_error(error) from error

    @uncollected
    def _write_image(self, work: Path, rows: _Rows) -> int | None:
        """Write an image of the entries to `work`, and return its bytes; None when it would need too many blobs, or
        blobs that are not tars.
        """
        from .helper.erofs import BLOCK_SIZE, MAX_BLOBS, write_image

        if any(not digest.startswith("sha256:") for digest in rows.blobs):
            return None  # the link below leads to the blobs of a single algorithm
        blobs = [(digest.removeprefix("sha256:"), self._store.blobs.size(digest)) for digest in rows.blobs]
        if len(blobs) > MAX_BLOBS or any(size % BLOCK_SIZE for _, size in blobs):
            return None  # a sparse file has a separate blob, whose last block Linux would not read
        (work / "blobs").symlink_to("../../blobs/sha256")
        try:
            with (work / "image").open("wb") as file:
                write_image(file, rows.rows, blobs)
        except OSError as error:
            raise extraction_error(JobFailed(error.errno or 0, str(error.strerror))) from error
        return (work / "image").stat().st_size

    @property
    def lazy(self) -> bool:
        """Whether the tracer writes contents when a process opens their files."""
        return self._helper.traced and not self._helper.copied

    @property
    def refers(self) -> bool:
        """Whether what is made of a layer finds contents in the layer's tar, so that little is lost with it."""
        return self.images or self.lazy

    def _is_lazy(self, path: str) -> bool:
        from .helper.lazy import NAME  # the helper's modules are not imported with the package

        return self.lazy and Path(path).with_name(NAME).exists()

    def _is_damaged(self, place: Path) -> bool:
        """Return whether the directory of a layer at `place` has a table that says nothing of it any more."""
        from .helper.lazy import NAME, is_whole

        return self.lazy and (place / NAME).exists() and not is_whole(str(place / NAME))

    def count(self, stack: Iterable[str]) -> None:
        """Record the room that the directories of a stack take, after the tracer wrote contents."""
        from .helper.lazy import NAME, written

        for path in filter(self._is_lazy, stack):
            place = Path(path).parent
            size = written(str(place / NAME))
            if self._counted.get(path, 0) != size:
                self._counted[path] = size
                self._store.rootfs.resize(f"sha256:{place.name}", size)

    def _paths(self, rows: _Rows) -> list[str]:
        return [str(self._store.blobs.file(digest)) for digest in rows.blobs]

    def fill(self, target: Path, snapshot: Snapshot, cancel: Cancel | None = None, *, below: str = "") -> None:
        """Copy the files of `snapshot` into the directory `target`, unless it has files already.

        With `below`, a path without links, copy the files of that directory.
        """
        with self._lock(str(target)):
            if any(target.iterdir()):
                return
            work = self.workdir()
            try:
                self.copy(snapshot, work, cancel, below=below)
                self._move(work / "fs" / below, target)
                if (work / "owners").exists():
                    cacheowners.fill(target, work / "owners", below)
            except OSError as error:
                # Either error means that another process was faster.
                if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                    raise
            finally:
                self.remove(work)

    def _move(self, path: Path, target: Path) -> None:
        try:
            path.rename(target)
        except PermissionError:  # a directory of a subordinate user
            try:
                self._helper.call("move", [str(path), str(target)])
            except JobFailed as error:
                raise OSError(error.errno, str(error)) from error

    def remove(self, path: Path) -> None:
        """Delete a directory; files of subordinate users are deleted in their user namespace."""
        try:
            if path.exists():
                remove_tree(path)
        except PermissionError:
            self._remove_as_root(path)

    def _remove_as_root(self, path: Path) -> None:
        try:
            self._helper.call("remove", [str(path)])
        except JobFailed as error:
            raise StoreError(f"{path} could not be deleted: {error}.") from error

    def keep(self, key: str, work: Path, diff_id: str, size: int) -> str:
        """Make `work` the directory of `key`; return the path of the files or the image in it."""
        (work / "boot").write_text(self._boot, "utf-8")
        path = _content(self._store.rootfs.commit(key, work, diff_id, size))
        if self._store.leases.held:
            self._begin_lease()
            self._by_key[key] = path
        return path

    def has_layer(self, layer: Layer) -> bool:
        """Return whether there is a complete directory of the layer."""
        return self.find(self._key(layer.diff_id)) is not None

    def keep_layer(self, layer: Layer, work: Path) -> None:
        """Make `work`/fs, which a RUN wrote, the directory of the resulting layer."""
        self.keep(self._key(layer.diff_id), work, layer.diff_id, sum(entry.size for entry in layer.index))

    def find(self, key: str) -> str | None:
        """Return the files or the image of `key`, if made since the machine started, checked once during a lease."""
        self._begin_lease()
        if (known := self._by_key.get(key)) is not None and self._store.leases.held and os.path.lexists(known):
            return known
        path = self._store.rootfs.get(key)
        if path is None:
            return None
        try:
            current = key in self._current or (path / "boot").read_text("utf-8") == self._boot
            if current and not self._is_damaged(path):
                self._current.add(key)
                self._by_key[key] = _content(path)
                return self._by_key[key]
        except OSError:
            pass
        self._store.rootfs.evict(key)
        return None

    def mend(self, stack: Iterable[str]) -> bool:
        """Forget damaged parts of a stack, so that they are made again; return whether there were any."""
        self._known, self._by_key = {}, {}
        is_damaged = False
        for path in stack:
            place = Path(path).parent
            if place.parent != self._store.root / "rootfs":
                continue
            key = f"sha256:{place.name}"
            rows = self._store.db.read("SELECT diff_id FROM rootfs WHERE key = ?", (key,))
            if not rows or self._store.rootfs.damage(key, rows[0][0]):
                self._store.rootfs.evict(key)
                is_damaged = True
        return is_damaged

    def _empty(self) -> str:
        path = self.workdir() / "fs"
        path.mkdir(mode=0o755)
        return str(path)

    def _key(self, *parts: str) -> str:
        helper = self._helper
        kinds = ("copied", "traced", "kept", "single", "userns")
        kind = next((name for name in kinds if getattr(helper, name)), "")
        if not kind and len(parts) == 1:
            return parts[0]
        return "sha256:" + hashlib.sha256("\0".join((kind, *parts)).encode()).hexdigest()

    def _lock(self, key: str) -> threading.Lock:
        with self._guard:
            return self._locks.setdefault(key, threading.Lock())


def _content(path: Path) -> str:
    image = path / "image"
    return str(image if image.exists() else path / "fs")


def extraction_error(error: JobFailed) -> BuildError:
    """Return the error for a layer that cannot be extracted."""
    if error.errno in FULL:
        return StoreError(
            "The disk is full: a layer could not be extracted.",
            hint="Free some space, for instance with `%build prune`.",
        )
    if error.errno == errno.EINVAL:
        return StoreError(
            f"A layer could not be extracted: {error}.", hint="Give the user more ids in /etc/subuid and /etc/subgid."
        )
    return StoreError(f"A layer could not be extracted: {error}.")


class _Rows:
    """Entries in the helper's form (`helper.jobs.EntryRow`), and the blobs with their contents."""

    def __init__(self, files: BlobParts) -> None:
        self._files = files
        self._parts: dict[str, Parts | None] = {}
        self.rows: list[Row] = []
        self._numbers: dict[str, int] = {}
        self.size = 0
        """Bytes of content."""

    @property
    def blobs(self) -> list[str]:
        """Return the digests of the blobs, in the order of their numbers."""
        return list(self._numbers)

    def add(self, entry: Entry, content: Span | None) -> None:
        """Add an entry; a regular file has its content at `content`."""
        blob, offset = 0, -1
        if content is not None and entry.size:
            content = self._located(content)
            blob, offset = self._numbers.setdefault(content.blob, len(self._numbers)), content.offset
            self.size += entry.size
        self.rows.append(
            (
                entry.path, entry.type, entry.mode, entry.uid, entry.gid, entry.mtime, entry.size, entry.link, blob,
                offset, entry.devmajor, entry.devminor, dict(entry.xattrs) if entry.xattrs else None,
            )
        )  # fmt: skip

    def _located(self, content: Span) -> Span:
        """Return the range of a file in which a content is."""
        if content.blob not in self._parts:
            self._parts[content.blob] = self._files.get(content.blob)
        parts = self._parts[content.blob]
        return content if parts is None else located(parts, content)

    def name(self, entry: Entry, inode: tuple[str, int], first: dict[tuple[str, int], str], content: Span) -> None:
        """Add a name of a file: a hard link if `first` has another name of the inode."""
        target = first.setdefault(inode, entry.path)
        if target == entry.path:
            self.add(entry, content if entry.is_file else None)
        else:
            row = (entry.path, "1", entry.mode, entry.uid, entry.gid, entry.mtime, 0, target, 0, -1, 0, 0, None)
            self.rows.append(row)


@uncollected
def _layer_rows(layer: Layer, unpacked: Unpacked, tree: LayerTree | None, files: BlobParts) -> _Rows:
    """Return the rows of a layer; `tree`, of this and the layers below, completes entries that the layer leaves
    open.
    """
    rows = _Rows(files)
    first: dict[tuple[str, int], str] = {}
    for path, node in unpacked.walk():
        entry = node.entry
        if node is WHITEOUT:
            parent, _, name = path.rpartition("/")
            rows.add(opaque(parent) if name == OPAQUE_WHITEOUT else whiteout(path), None)
        elif node.children is not None:
            there = entry if node.diff_id or tree is None else tree.get(path)
            rows.add(there or entry, None)
        elif entry.type == HARDLINK and tree is not None:
            there = tree.get(path)
            assert there is not None
            rows.name(there, tree.inode(there), first, tree.span(there))
        else:
            rows.name(entry, (layer.diff_id, entry.offset), first, layer.span(entry))
    return rows


@uncollected
def _merged_rows(tree: LayerTree, files: BlobParts, below: str) -> _Rows:
    """Return the rows of a snapshot; additional names of a file are hard links to its first."""
    rows = _Rows(files)
    first: dict[tuple[str, int], str] = {}
    for entry in tree.walk():
        if below and not (f"{entry.path}/".startswith(f"{below}/") or below.startswith(f"{entry.path}/")):
            continue
        if entry.is_dir:
            rows.add(entry, None)
        else:
            rows.name(entry, tree.inode(entry), first, tree.span(entry))
    return rows
