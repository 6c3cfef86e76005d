"""The tables of a snapshot for rungs with a single id: owners, devices and capabilities that files cannot have on
disk.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from ....llb.ops import MountType
from ....store import Entry, Store
from ....store.entry import OPAQUE_WHITEOUT
from ....store.merge import WHITEOUT, Unpacked
from .spec import RunSpec, Snapshot

if TYPE_CHECKING:
    from .helper.jobs import MountJob
    from .helper.owners import Owner

_DEVICES = {"3": stat.S_IFCHR, "4": stat.S_IFBLK}
_PREFIXES = ("security.", "trusted.")
_KEPT = 64
"""The most snapshots whose tables are kept: each RUN of a build needs that of the one before, with one more layer."""


class Remembered:
    """The tables of snapshots. Each layer is walked once; its changes are applied to the table below."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._tables: dict[Snapshot, Mapping[str, Entry]] = {(): {}}

    def write(self, spec: RunSpec, file: str, mounts: Sequence[MountJob]) -> None:
        """Write the table for the tracer of a RUN: of its root, and of its `mounts`."""
        from .helper.owners import read_beside, read_extracted, write

        rows: list[tuple[bytes | tuple[int, int], Owner]] = list(self._rows(spec.snapshot, "", ""))
        for mount, job in zip(spec.mounts, mounts, strict=True):
            if mount.outlives:
                rows += read_beside(str(mount.outlives)).items()
            elif job["compared"]:
                rows += read_extracted(job["source"]).items()  # all of the copy, and not just the part that is shown
            elif mount.kind == MountType.BIND:
                rows += self._rows(mount.snapshot, mount.selector.strip("/"), mount.dest.strip("/"))
        write(file, rows)

    def _rows(self, snapshot: Snapshot, selector: str, target: str) -> Iterator[tuple[bytes, Owner]]:
        """Return the entries below `selector` that differ from root's own, by their path below `target`."""
        for path, entry in self.table(snapshot).items():
            if not selector:
                name = f"{target}/{path}" if target else path
            elif path == selector or path.startswith(f"{selector}/"):
                name = target + path[len(selector) :]
            else:
                continue
            yield os.fsencode(name), _owner(entry)

    def table(self, snapshot: Snapshot) -> Mapping[str, Entry]:
        """Return the entries of a snapshot that differ from root's own, by path."""
        with self._lock:
            start = len(snapshot)
            while snapshot[:start] not in self._tables:
                start -= 1
            table = self._tables[snapshot[:start]]
            for end in range(start + 1, len(snapshot) + 1):
                table = self._with_layer(table, snapshot[:end])
            self._tables.pop(snapshot, None)
            self._tables[snapshot] = table
            while len(self._tables) > _KEPT:
                del self._tables[next(key for key in self._tables if key)]
            return table

    def _with_layer(self, below: Mapping[str, Entry], snapshot: Snapshot) -> Mapping[str, Entry]:
        """Return the table of a snapshot, made from its topmost layer and the table `below`."""
        layer = self._store.layer(snapshot[-1])
        unpacked = Unpacked(layer.diff_id, layer.index)
        tree = self._store.tree(snapshot) if unpacked.dependent else None
        table = dict(below)
        directories = {parent for path in below for parent in _above(path)}
        for path, node in unpacked.walk():
            parent, _, name = path.rpartition("/")
            if name == OPAQUE_WHITEOUT:
                _drop(table, parent, directories)
                continue
            if node.children is None:
                _drop(table, path, directories)
            table.pop(path, None)
            if node is WHITEOUT:
                continue
            # A layer lists all of its entries, except implied directories and links to files below.
            entry = node.entry if node.diff_id and node.entry.type != "1" else tree and tree.get(path)
            if entry and _differs(entry):
                table[path] = entry
        return table


def _above(path: str) -> Iterator[str]:
    while path:
        path = path.rpartition("/")[0]
        yield path


def _drop(table: dict[str, Entry], path: str, directories: set[str]) -> None:
    """Drop everything below `path`; `directories` are those that have entries."""
    if path in directories:
        below = f"{path}/" if path else ""
        for name in [name for name in table if name.startswith(below)]:
            del table[name]


def _differs(entry: Entry) -> bool:
    return bool(
        entry.uid
        or entry.gid
        or entry.type in _DEVICES
        or (entry.xattrs and any(name.startswith(_PREFIXES) for name in entry.xattrs))
    )


def _owner(entry: Entry) -> Owner:
    from .helper.owners import AS_ON_DISK, Owner

    xattrs = {name: value for name, value in (entry.xattrs or {}).items() if name.startswith(_PREFIXES)}
    if form := _DEVICES.get(entry.type):
        return Owner(entry.uid, entry.gid, form | entry.mode, os.makedev(entry.devmajor, entry.devminor), xattrs)
    return Owner(entry.uid, entry.gid, AS_ON_DISK, 0, xattrs)
