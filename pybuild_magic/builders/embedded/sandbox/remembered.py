"""What one id is to remember of a snapshot: the owners, devices and capabilities that its files cannot have on disk."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ....llb.ops import MountType
from ....store import Entry, Store
from .spec import RunSpec, Snapshot

if TYPE_CHECKING:
    from .helper.owners import Owner

_DEVICES = {"3": stat.S_IFCHR, "4": stat.S_IFBLK}
_PREFIXES = ("security.", "trusted.")


def remember(store: Store, spec: RunSpec, file: str) -> None:
    """Write to `file` the table of owners for the tracer of a RUN: of its root, and of what is mounted in it."""
    from .helper.owners import write

    rows = list(_owned(store, spec.snapshot, "", ""))
    for mount in spec.mounts:
        if mount.kind == MountType.BIND:
            rows += _owned(store, mount.snapshot, mount.selector.strip("/"), mount.dest.strip("/"))
    write(file, rows)


def _owned(store: Store, snapshot: Snapshot, selector: str, target: str) -> Iterator[tuple[bytes, Owner]]:
    """What of the files below `selector` differs from root's own, by the path that it has below `target`."""
    tree = store.tree(snapshot)
    for path in {entry.path for diff_id in snapshot for entry in store.layer(diff_id).index if _differs(entry)}:
        entry = tree.get(path)
        if entry is None or not _differs(entry):
            continue
        if not selector:
            name = f"{target}/{path}" if target else path
        elif path == selector or path.startswith(f"{selector}/"):
            name = target + path[len(selector) :]
        else:
            continue
        yield os.fsencode(name), _owner(entry)


def _differs(entry: Entry) -> bool:
    return bool(
        entry.uid
        or entry.gid
        or entry.type in _DEVICES
        or (entry.xattrs and any(name.startswith(_PREFIXES) for name in entry.xattrs))
    )


def _owner(entry: Entry) -> Owner:
    from .helper.owners import AS_ON_DISK, Owner

    kept = {name: value for name, value in (entry.xattrs or {}).items() if name.startswith(_PREFIXES)}
    if form := _DEVICES.get(entry.type):
        return Owner(entry.uid, entry.gid, form | entry.mode, os.makedev(entry.devmajor, entry.devminor), kept)
    return Owner(entry.uid, entry.gid, AS_ON_DISK, 0, kept)
