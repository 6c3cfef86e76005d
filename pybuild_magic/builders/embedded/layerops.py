"""MergeOp and DiffOp on stacks of layers."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from ...cancel import Cancel
from ...llb.ops import NO_INPUT, DiffOp
from ...store import BLOCK, CHAR, DIR, FILE, SYMLINK, Entry, LayerTree, Store, write_layer
from .files.upper import Content, Inode, Upper, join
from .snapshot import Snapshot


def merge(inputs: Sequence[Snapshot]) -> Snapshot:
    """Return the layers of all inputs, those of later inputs on top."""
    return tuple(layer for snapshot in inputs for layer in snapshot)


def diff(store: Store, op: DiffOp, inputs: Sequence[Snapshot], cancel: Cancel) -> Snapshot:
    """Return the layers of the upper input above the lower one; if the stacks have no common base, a new layer of the
    differences.
    """
    lower = () if op.lower == NO_INPUT else inputs[op.lower]
    upper = () if op.upper == NO_INPUT else inputs[op.upper]
    if upper[: len(lower)] == lower:
        return upper[len(lower) :]
    layer = write_layer(store, differences(store.tree(lower), store.tree(upper)), cancel=cancel)
    return (layer.diff_id,) if layer.index.entries else ()


def differences(lower: LayerTree, upper: LayerTree) -> Iterator[tuple[Entry, Content]]:
    """Yield the entries of a layer that turns `lower` into `upper`."""
    target = Upper(lower, time.time_ns())
    _replace(target, target.root, "", upper)
    return target.changes()


def _replace(target: Upper, folder: Inode, path: str, source: LayerTree) -> None:
    replacements = {entry.name: entry for entry in source.children(path)}
    for name in target.names(folder, path):
        if name not in replacements:
            target.remove(folder, path, name)
    for name, entry in replacements.items():
        inode = target.child(folder, path, name)
        if inode is not None and inode.type != entry.type:
            target.remove(folder, path, name)
            inode = None
        if inode is None:
            inode = Inode(entry.type, entry.mode, entry.mtime)
            target.put(folder, name, inode)
        _describe(inode, entry, source)
        if entry.type == DIR:
            _replace(target, inode, join(path, name), source)
            inode.mtime = entry.mtime


def _describe(inode: Inode, entry: Entry, source: LayerTree) -> None:
    inode.mode, inode.uid, inode.gid, inode.mtime = entry.mode, entry.uid, entry.gid, entry.mtime
    inode.size, inode.digest, inode.xattrs, inode.dirty = entry.size, entry.digest, entry.xattrs, True
    if entry.type == FILE:
        if entry.size:
            inode.content, inode.contents = entry, source.span
    elif entry.type == SYMLINK:
        inode.link = entry.link
    elif entry.type in (CHAR, BLOCK):
        inode.devmajor, inode.devminor = entry.devmajor, entry.devminor
