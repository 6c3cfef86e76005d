"""Directories of layers: made from the store's tars when a RUN needs them, kept as long as the store keeps them."""

from __future__ import annotations

import errno
import hashlib
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ....cancel import Cancel
from ....errors import BuildError, StoreError
from ....store import Entry, Layer, Store
from ....store.tree import LayerTree, resolve
from .client import Helper, JobFailed
from .spec import Snapshot

MAX_STACK = 400
"""Layers that one overlay takes (the kernel's own limit is 500); below that many, the lowest become one."""

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
Row = tuple[Any, ...]


class Rootfs:
    """Makes and finds directories of layers.

    What a key of the store names is a directory with `fs`, the files, and `boot`, the boot ID of the machine:
    nothing waits for files to reach the disk, so after a restart directories are made again. Keys differ by the
    kind of user namespace, in which owners and overlayfs's marks look different.
    """

    def __init__(self, store: Store, helper: Helper) -> None:
        self._store = store
        self._helper = helper
        self._locks: dict[str, threading.Lock] = {}
        self._guard = threading.Lock()
        self._boot = _BOOT_ID.read_text().strip() if _BOOT_ID.exists() else ""

    def stack(self, snapshot: Snapshot, cancel: Cancel | None = None) -> list[str]:
        """The directories to stack with overlayfs, bottom first."""
        below, first = [], 0
        if len(snapshot) > MAX_STACK:
            first = len(snapshot) - MAX_STACK // 2
            below = [self.merged(snapshot[:first], cancel)]
        found = below + [self.layer(snapshot[: n + 1], cancel) for n in range(first, len(snapshot))]
        # overlayfs refuses a directory that is there twice; what it does below, it does again above.
        return list(dict.fromkeys(reversed(found)))[::-1]

    def layer(self, snapshot: Snapshot, cancel: Cancel | None = None) -> str:
        """The directory of the topmost layer of `snapshot`."""
        diff_id = snapshot[-1]
        alone, chained = self._key(diff_id), self._key("chain", *snapshot)
        for key in (alone, chained):
            if found := self.find(key):
                return found
        with self._lock(chained):
            for key in (alone, chained):
                if found := self.find(key):
                    return found
            layer = self._store.layer(diff_id)
            if _stands_alone(layer):
                blobs, rows = [diff_id], [_row(entry, entry.path) for entry in layer.index]
                key = alone
            else:
                blobs, rows = self._upon(layer, self._store.tree(snapshot))
                key = chained
            work = self._store.rootfs.workdir()
            try:
                self.extract(work, blobs, rows, cancel)
                return self.keep(key, work, diff_id, sum(row[6] for row in rows))
            except BaseException:
                self.remove(work)
                raise

    def merged(self, snapshot: Snapshot, cancel: Cancel | None = None) -> str:
        """A directory of all that `snapshot` shows."""
        if not snapshot:
            return self._empty()
        key = self._key("merged", *snapshot)
        if found := self.find(key):
            return found
        with self._lock(key):
            if found := self.find(key):
                return found
            work = self._store.rootfs.workdir()
            try:
                size = self.copy(snapshot, work, cancel)
                return self.keep(key, work, snapshot[-1], size)
            except BaseException:
                self.remove(work)
                raise

    def copy(self, snapshot: Snapshot, work: Path, cancel: Cancel | None = None, *, record: str = "") -> int:
        """Write all that `snapshot` shows into `work`/fs; returns the bytes of content."""
        blobs, rows = _merged_rows(self._store.tree(snapshot))
        if record:
            (work / "blobs").write_text("\n".join(str(self._store.blobs.path(diff_id)) for diff_id in blobs))
        self.extract(work, blobs, rows, cancel, record=record)
        return sum(row[6] for row in rows)

    def extract(
        self, work: Path, blobs: list[str], rows: list[Row], cancel: Cancel | None, *, record: str = ""
    ) -> None:
        """Write entries into the new directory `work`/fs."""
        root = work / "fs"
        root.mkdir(mode=0o755)
        root.chmod(0o755)
        paths = [str(self._store.blobs.path(diff_id)) for diff_id in blobs]
        job = {"root": str(root), "blobs": paths, "entries": rows, "record": record}
        try:
            self._helper.call("extract", job, cancel)
        except JobFailed as error:
            raise extraction_error(error) from error

    def fill(self, target: Path, snapshot: Snapshot, cancel: Cancel | None = None) -> None:
        """Give the directory `target` the files of `snapshot`, unless it has files already."""
        with self._lock(str(target)):
            if any(target.iterdir()):
                return
            work = self._store.rootfs.workdir()
            try:
                self.copy(snapshot, work, cancel)
                (work / "fs").rename(target)
            except FileExistsError:
                pass  # another process was faster
            finally:
                self.remove(work)

    def remove(self, path: Path) -> None:
        """Delete a directory, whoever its files belong to."""
        try:
            self._helper.call("remove", [str(path)])
        except JobFailed as error:
            raise StoreError(f"{path} could not be deleted: {error}.") from error

    def keep(self, key: str, work: Path, diff_id: str, size: int) -> str:
        """Make `work` the directory of `key`."""
        (work / "boot").write_text(self._boot)
        return str(self._store.rootfs.commit(key, work, diff_id, size) / "fs")

    def keep_layer(self, layer: Layer, work: Path) -> None:
        """Make `work`/fs, what a RUN has written, the directory of the layer that was made of it."""
        self.keep(self._key(layer.diff_id), work, layer.diff_id, sum(entry.size for entry in layer.index))

    def find(self, key: str) -> str | None:
        """The directory of `key`, made since the machine was started."""
        path = self._store.rootfs.get(key)
        if path is None:
            return None
        try:
            if (path / "boot").read_text() == self._boot:
                return str(path / "fs")
        except OSError:
            pass
        self._store.rootfs.evict(key)
        return None

    def _empty(self) -> str:
        path = self._store.rootfs.workdir() / "fs"
        path.mkdir(mode=0o755)
        return str(path)

    def _upon(self, layer: Layer, tree: LayerTree) -> tuple[list[str], list[Row]]:
        """The entries of a layer that counts on those below it: for parents, their owners, or hardlink targets."""
        blobs, rows = [layer.diff_id], list[Row]()
        known: set[str] = {""}
        own = {entry.path for entry in layer.index}
        for entry in layer.index:
            parent = resolve(tree, entry.parent)
            path = f"{parent}/{entry.name}" if parent else entry.name
            for directory in _missing(parent, known):
                there = tree.get(directory)
                known.add(directory)
                if there is not None:
                    rows.append(_row(there, directory))
            if entry.is_dir:
                known.add(path)
            there = tree.get(path)
            if entry.type == "1" and entry.link not in own and there is not None:
                blobs.append(tree.span(there).diff_id)
                rows.append(_row(there, path, len(blobs) - 1))
            else:
                rows.append(_row(entry, path))
        return blobs, rows

    def _key(self, *parts: str) -> str:
        kind = "single" if self._helper.single else "userns" if self._helper.userns else ""
        if not kind and len(parts) == 1:
            return parts[0]
        return "sha256:" + hashlib.sha256("\0".join((kind, *parts)).encode()).hexdigest()

    def _lock(self, key: str) -> threading.Lock:
        with self._guard:
            return self._locks.setdefault(key, threading.Lock())


def extraction_error(error: JobFailed) -> BuildError:
    """What a user reads when a layer cannot be written to a directory."""
    if error.errno == errno.ENOSPC:
        return StoreError("The disk is full: a layer could not be extracted.", hint="Free space, or `%build prune`.")
    if error.errno == errno.EINVAL:
        return StoreError(
            f"A layer could not be extracted: {error}.", hint="Give the user more ids in /etc/subuid and /etc/subgid."
        )
    return StoreError(f"A layer could not be extracted: {error}.")


def _stands_alone(layer: Layer) -> bool:
    """Whether the layer has an entry for each directory that its entries are in, and all of its link targets."""
    directories, paths = {""}, set[str]()
    for entry in layer.index:
        if entry.parent not in directories or (entry.type == "1" and entry.link not in paths):
            return False
        paths.add(entry.path)
        if entry.is_dir:
            directories.add(entry.path)
    return True


def _missing(path: str, known: set[str]) -> Iterable[str]:
    """Of `path` and its parents, those that are not known, outermost first."""
    found: list[str] = []
    while path not in known:
        found.append(path)
        path = path.rpartition("/")[0]
    return reversed(found)


def _merged_rows(tree: LayerTree) -> tuple[list[str], list[Row]]:
    """Everything a snapshot shows; names of one file as hardlinks to the first of them."""
    numbers: dict[str, int] = {}
    first: dict[tuple[str, int], str] = {}
    rows: list[Row] = []
    for entry in tree.walk():
        if not entry.is_file:
            rows.append(_row(entry, entry.path))
            continue
        inode = tree.inode(entry)
        if (source := first.get(inode)) is not None:
            rows.append((entry.path, "1", *_row(entry, entry.path)[2:6], 0, source, 0, -1, 0, 0, None))
            continue
        first[inode] = entry.path
        rows.append(_row(entry, entry.path, numbers.setdefault(inode[0], len(numbers))))
    return list(numbers), rows


def _row(entry: Entry, path: str, blob: int = 0) -> Row:
    """An entry as the helper takes it (`helper.jobs.EntryRow`)."""
    return (
        path, entry.type, entry.mode, entry.uid, entry.gid, entry.mtime, entry.size, entry.link, blob, entry.offset,
        entry.devmajor, entry.devminor, dict(entry.xattrs) if entry.xattrs else None,
    )  # fmt: skip
