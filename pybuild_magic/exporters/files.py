"""The files of a result for `local` and `tar`: the trees of all platforms in one order, with hard links resolved."""

from __future__ import annotations

import hashlib
import heapq
import time
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from ..attest.statement import Subject
from ..errors import ExportError
from ..oci.platform import Platform, normalise
from ..store import Entry, Span, Store
from ..store.entry import DIR, FILE, SYMLINK
from . import SolveResult
from .attributes import ATTESTATION_PREFIX, Attribute, Values

_SECOND = 1_000_000_000
_ALONE = (DIR, SYMLINK)
"""The kinds of entries that fsutil never treats as hard links."""

SPLIT = Attribute(
    "platform-split", "bool", None, "One directory for each platform; the default when several platforms are built."
)


class Item(msgspec.Struct, frozen=True):
    """An entry to write, with the place of its content."""

    entry: Entry
    span: Span | None = None
    """The content of a regular file; None for entries without content."""
    hardlink: str = ""
    """The path, written before, of which this is another name."""


def items(
    result: SolveResult, values: Values, store: Store, *, split: bool, statements: Sequence[Item] = ()
) -> Iterator[Item]:
    """Yield all entries, a directory before its contents, siblings in byte order of their names.

    With a source-date-epoch every time is that time (BuildKit's exporter/local sets, and does not clamp). With `split`,
    each platform is in a directory named like `linux_amd64`. Raises ExportError when two platforms have a file at the
    same path and are not split. `statements` are added as files.
    """
    epoch = values.epoch(result.epoch)
    if not split and len(result.targets) == 1:
        tree = _tree(store, result.targets[0].snapshot, epoch, "")
    else:
        tree = _together(result, store, epoch, split=split)
    if not statements:
        return tree
    names = {item.entry.path for item in statements}
    rest = (item for item in tree if item.entry.path not in names)
    return heapq.merge(rest, statements, key=lambda item: _order(item.entry.path))


def attested(
    result: SolveResult, values: Values, store: Store, *, split: bool, telling: bool | None = None
) -> list[Item]:
    """Return the attestations of the files: a statement each, with every file as a subject.

    The names include the platform if `telling`; by default, if directories do not. Raises ExportError for two
    statements with the same name.
    """
    epoch = values.epoch(result.epoch)
    statements: dict[str, Item] = {}
    for target in result.targets:
        attestations = [attestation for attestation in target.attestations if not attestation.inline_only]
        subjects = list(_subjects(store, target.snapshot)) if attestations else []
        platform = str(normalise(target.platform)).replace("/", "_")
        for attestation in attestations:
            data = attestation.statement(subjects, lambda _: None, indent=True)
            name = values[ATTESTATION_PREFIX.name] + attestation.path
            if result.multi_platform and (not split if telling is None else telling):
                stem, dot, extension = name.rpartition(".")
                name = f"{stem}.{platform}.{extension}" if dot else f"{name}.{platform}"
            if split:
                name = f"{platform}/{name}"
            if name in statements:
                raise ExportError(f"Two attestations would be written to {name}.")
            mtime = (int(time.time()) if epoch is None else epoch) * _SECOND
            entry = Entry(name, FILE, 0o600, mtime=mtime, size=len(data))
            statements[name] = Item(entry, Span(store.blobs.put(data), 0, len(data)))
    return sorted(statements.values(), key=lambda item: _order(item.entry.path))


def _subjects(store: Store, snapshot: tuple[str, ...]) -> Iterator[Subject]:
    tree = store.tree(snapshot)
    for entry in tree.walk():
        if entry.type == FILE:
            digest = entry.digest or hashlib.sha256(tree.read(entry)).digest()
            yield Subject(_shown(entry.path), (f"sha256:{digest.hex()}",))


def _shown(path: str) -> str:
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _together(result: SolveResult, store: Store, epoch: int | None, *, split: bool) -> Iterator[Item]:
    merged: dict[str, tuple[Platform, Item]] = {}
    for target in result.targets:
        platform = normalise(target.platform)
        prefix = str(platform).replace("/", "_") if split else ""
        if prefix:
            top = Entry(prefix, DIR, 0o755, mtime=(epoch or 0) * _SECOND)
            merged[prefix] = (platform, Item(top))
        for item in _tree(store, target.snapshot, epoch, prefix):
            other = merged.get(item.entry.path)
            if other is not None and not (item.entry.is_dir and other[1].entry.is_dir):
                raise ExportError(
                    f"{item.entry.path} of {platform} would overwrite that of {other[0]}.",
                    hint="Export with platform-split=true.",
                )
            merged[item.entry.path] = (platform, item)
    return (merged[path][1] for path in sorted(merged, key=_order))


def _order(path: str) -> list[bytes]:
    return path.encode("utf-8", "surrogateescape").split(b"/")


def _tree(store: Store, snapshot: Iterable[str], epoch: int | None, prefix: str) -> Iterator[Item]:
    tree = store.tree(tuple(snapshot))
    first: dict[tuple[str, int], str] = {}
    for entry in tree.walk():
        path = f"{prefix}/{entry.path}" if prefix else entry.path
        changed = entry
        if prefix or epoch is not None:
            mtime = entry.mtime if epoch is None else epoch * _SECOND
            changed = msgspec.structs.replace(entry, path=path, mtime=mtime)
        name = first.setdefault(tree.inode(entry), path) if entry.type not in _ALONE and tree.is_linked(entry) else path
        if name != path:
            yield Item(changed, hardlink=name)
        else:
            yield Item(changed, tree.span(entry) if entry.type == FILE else None)
