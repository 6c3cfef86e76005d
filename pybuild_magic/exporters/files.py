"""The files of a result as `local` and `tar` export them: every platform's tree in one order, hardlinks found."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from ..errors import ExportError
from ..oci.platform import Platform, normalise
from ..store import Entry, Span, Store
from ..store.entry import DIR, FILE, SYMLINK
from . import SolveResult
from .attributes import Attribute, Values

_SECOND = 1_000_000_000
_ALONE = (DIR, SYMLINK)
"""The kinds of entries that fsutil never takes for another's hardlink."""

SPLIT = Attribute(
    "platform-split", "bool", None, "One directory a platform; the default when several platforms are built."
)


class Item(msgspec.Struct, frozen=True):
    """One entry to write, with where its content is."""

    entry: Entry
    span: Span | None = None
    """The content of a regular file; None for what has none."""
    hardlink: str = ""
    """The path, written before, that this is another name of."""


def items(result: SolveResult, values: Values, store: Store, *, split: bool) -> Iterator[Item]:
    """All entries, a directory before what is in it, siblings by the bytes of their names.

    With a source-date-epoch every time is that time (BuildKit's exporter/local sets, not clamps). With `split`
    each platform is in a directory named like `linux_amd64`. Raises ExportError when two platforms have a file
    of the same path and are not split.
    """
    epoch = values.epoch(result.epoch)
    if not split and len(result.targets) == 1:
        return _tree(store, result.targets[0].snapshot, epoch, "")
    return _together(result, store, epoch, split=split)


def _together(result: SolveResult, store: Store, epoch: int | None, *, split: bool) -> Iterator[Item]:
    found: dict[str, tuple[Platform, Item]] = {}
    for target in result.targets:
        platform = normalise(target.platform)
        prefix = str(platform).replace("/", "_") if split else ""
        if prefix:
            top = Entry(prefix, DIR, 0o755, mtime=(epoch or 0) * _SECOND)
            found[prefix] = (platform, Item(top))
        for item in _tree(store, target.snapshot, epoch, prefix):
            other = found.get(item.entry.path)
            if other is not None and not (item.entry.is_dir and other[1].entry.is_dir):
                raise ExportError(
                    f"{item.entry.path} of {platform} would overwrite that of {other[0]}.",
                    hint="Export with platform-split=true.",
                )
            found[item.entry.path] = (platform, item)
    return (found[path][1] for path in sorted(found, key=_order))


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
