"""The cache keys of results: made of the op, and the keys or the contents of its inputs."""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Mapping, Sequence

import msgspec

from ...llb.ops import (
    NO_INPUT,
    NO_OUTPUT,
    CacheOpt,
    ContentCache,
    ExecOp,
    FileAction,
    FileCopy,
    FileOp,
    Mount,
    MountType,
    Node,
    Op,
)
from .files.contenthash import WHOLE, Selector
from .files.fileop import selectors as file_selectors

_encoder = msgspec.msgpack.Encoder(order="deterministic")

VERSION = 1
"""A part of every key: increase it when the same op begins to give another result."""


def content_selectors(node: Node) -> dict[int, list[Selector]]:
    """Return, for each input whose content rather than key decides about the result, which part of it counts."""
    if isinstance(node.op, FileOp):
        return file_selectors(node.op, len(node.inputs))
    if isinstance(node.op, ExecOp):
        return _mount_selectors(node.op)
    return {}


def _mount_selectors(op: ExecOp) -> dict[int, list[Selector]]:
    """Select a mount's content where nothing but the mounted part can end up in the result, as in BuildKit."""
    selectors: dict[int, list[Selector]] = {}
    by_key: set[int] = set()
    for mount in op.mounts:
        if mount.input == NO_INPUT or mount.mount_type in (MountType.SECRET, MountType.SSH, MountType.TMPFS):
            continue
        path = posixpath.join("/", mount.selector)
        safe = mount.output == NO_OUTPUT or mount.readonly or path == "/"
        if mount.dest == "/" or not safe or mount.content_cache is ContentCache.OFF:
            by_key.add(mount.input)
        selectors.setdefault(mount.input, []).append(Selector(path, follow=True) if path != "/" else WHOLE)
    return {number: sorted(set(paths)) for number, paths in selectors.items() if number not in by_key}


def definition_key(node: Node, inputs: Sequence[str]) -> str:
    """Return the key of a node whose inputs have these keys."""
    return _digest(["definition", VERSION, normalise(node.op), node.platform, list(inputs), _outputs(node)])


def content_key(node: Node, inputs: Sequence[str], digests: Mapping[int, str]) -> str:
    """Return the key of a node from the contents of some inputs (digests by number) and the keys of the others."""
    parts = [digests.get(number, key) for number, key in enumerate(inputs)]
    return _digest(["content", VERSION, normalise(node.op, digests), node.platform, parts, _outputs(node)])


def rerun_key(key: str, snapshots: Sequence[Sequence[str]]) -> str:
    """Return the key that a result has for its readers when a run without cache gave another result than before."""
    return _digest(["rerun", key, [list(snapshot) for snapshot in snapshots]])


def result_key(snapshots: Sequence[Sequence[str]]) -> str:
    """Return the key that a result has for its readers when it is not known how it was made."""
    return _digest(["result", VERSION, [list(snapshot) for snapshot in snapshots]])


def _outputs(node: Node) -> list[int]:
    return [edge.output for edge in node.inputs]


def _digest(parts: object) -> str:
    return "solve:" + hashlib.sha256(_encoder.encode(parts)).hexdigest()


def normalise(op: Op, by_content: Mapping[int, str] | None = None) -> Op:
    """Return `op` without the parts that do not affect its result (BuildKit leaves them out of its keys too)."""
    if isinstance(op, ExecOp):
        return _normalise_exec(op)
    if isinstance(op, FileOp) and by_content:
        return FileOp(tuple(_normalise_action(action, by_content) for action in op.actions))
    return op


def _normalise_exec(op: ExecOp) -> ExecOp:
    meta = msgspec.structs.replace(
        op.meta, proxy_env=(), extra_hosts=tuple((host, "") for host, _ in op.meta.extra_hosts)
    )
    return msgspec.structs.replace(op, meta=meta, mounts=tuple(_normalise_mount(mount) for mount in op.mounts))


def _normalise_mount(mount: Mount) -> Mount:
    if mount.cache is not None:
        return msgspec.structs.replace(mount, cache=CacheOpt("", mount.cache.sharing))
    return msgspec.structs.replace(mount, selector="") if mount.mount_type == MountType.BIND else mount


def _normalise_action(action: FileAction, by_content: Mapping[int, str]) -> FileAction:
    change = action.action
    if isinstance(change, FileCopy) and action.secondary_input in by_content:
        change = msgspec.structs.replace(change, src=posixpath.basename(change.src))
        return msgspec.structs.replace(action, action=change)
    return action
