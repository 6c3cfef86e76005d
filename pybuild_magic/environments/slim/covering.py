"""The files of a stack of layers: which of them the image shows, and which another layer has covered."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from ...store import DIR, FILE, Entry
from ...store.entry import OPAQUE_WHITEOUT, WHITEOUT_PREFIX

REMOVED, REPLACED = "removed", "replaced"


class SlimLayer(msgspec.Struct, frozen=True):
    """A layer: its instruction, as the image's history has it, and its entries."""

    created_by: str
    entries: Iterable[Entry]


class LayerFile(msgspec.Struct, frozen=True, gc=False):
    """A regular file that a layer has."""

    entry: Entry
    layer: int
    """From 0, the bottom."""
    covered: str = ""
    """REMOVED or REPLACED by a layer above; "" when the image shows it."""
    above: int = -1
    """That layer."""
    same: bool = False
    """Whether what replaces it has the same content, as after `chown` and `chmod`."""


class _Cover(msgspec.Struct, frozen=True, gc=False):
    """What a layer did to a path of those below: `deep` to all that is in it, too."""

    layer: int
    kind: str
    deep: bool
    digest: bytes = b""


def layer_files(layers: Sequence[SlimLayer]) -> Iterator[LayerFile]:
    """Yield all regular files of all layers, the top layer first."""
    covers: dict[str, _Cover] = {}
    for number in range(len(layers) - 1, -1, -1):
        above: dict[str, _Cover | None] = {"": covers.get("")}
        mine: dict[str, _Cover] = {}
        for entry in layers[number].entries:
            path = entry.path
            parent, _, name = path.rpartition("/")
            if name.startswith(WHITEOUT_PREFIX):
                if name == OPAQUE_WHITEOUT:
                    mine[f"{parent}/"] = _Cover(number, REMOVED, deep=True)
                else:
                    gone = name.removeprefix(WHITEOUT_PREFIX)
                    mine.setdefault(f"{parent}/{gone}" if parent else gone, _Cover(number, REMOVED, deep=True))
                continue
            directory = entry.type == DIR
            if entry.type == FILE:
                cover = covers.get(path) or _over(parent, covers, above)
                if cover is None:
                    yield LayerFile(entry, number)
                else:
                    same = cover.kind == REPLACED and bool(entry.digest) and cover.digest == entry.digest
                    yield LayerFile(entry, number, cover.kind, cover.layer, same)
            if path:
                mine[path] = _Cover(number, REPLACED, deep=not directory, digest=entry.digest)
        for path, cover in mine.items():
            # The nearest layer above is the one that counts; a directory takes nothing back of what is removed in it.
            if cover.deep or not (known := covers.get(path)) or not known.deep:
                covers[path] = cover


def _over(directory: str, covers: dict[str, _Cover], known: dict[str, _Cover | None]) -> _Cover | None:
    """Return what covers all that is in a directory, or in one above it; remembered for its other files."""
    if directory in known:
        return known[directory]
    cover = covers.get(f"{directory}/")
    if cover is None:
        own = covers.get(directory)
        cover = own if own is not None and own.deep else _over(directory.rpartition("/")[0], covers, known)
    known[directory] = cover
    return cover
