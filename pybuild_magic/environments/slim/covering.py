"""The files in a stack of layers: visible in the image, or covered by another layer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from ...store import DIR, FILE, Entry
from ...store.entry import OPAQUE_WHITEOUT, WHITEOUT_PREFIX
from .steps import Source

REMOVED, REPLACED = "removed", "replaced"


class SlimLayer(msgspec.Struct, frozen=True):
    """A layer: its instruction in the image's history, and its entries."""

    created_by: str
    entries: Iterable[Entry]
    before: tuple[str, ...] = ()
    """The instructions of the history between it and the layer below, which have no layers."""
    source: Source | None = None
    """Its instruction in the Dockerfile, if that is known."""
    is_base: bool = False
    """Whether it is certainly the base's."""


class LayerFile(msgspec.Struct, frozen=True, gc=False):
    """A regular file in a layer."""

    entry: Entry
    layer: int
    """From 0, the bottom."""
    covered: str = ""
    """REMOVED or REPLACED by a layer above; "" when it is visible in the image."""
    above: int = -1
    """The number of that layer."""
    covering: str = ""
    """The path that is removed or replaced there: its own, or that of a directory above it."""
    replacement: Entry | None = None
    """The file that replaces it there, if it does."""

    @property
    def same(self) -> bool:
        """Whether its replacement has the same content, as after `chown` and `chmod`."""
        return self.replacement is not None and bool(self.entry.digest) and self.replacement.digest == self.entry.digest


class _Cover(msgspec.Struct, frozen=True, gc=False):
    """The effect of a layer on a path below; `deep` if it includes everything in it."""

    layer: int
    kind: str
    deep: bool
    path: str
    entry: Entry | None = None


def layer_files(layers: Sequence[SlimLayer]) -> Iterator[LayerFile]:
    """Yield all regular files of all layers, top layer first."""
    covers: dict[str, _Cover] = {}
    for number in range(len(layers) - 1, -1, -1):
        above: dict[str, _Cover | None] = {"": covers.get("")}
        changes: dict[str, _Cover] = {}
        for entry in layers[number].entries:
            path = entry.path
            parent, _, name = path.rpartition("/")
            if name.startswith(WHITEOUT_PREFIX):
                if name == OPAQUE_WHITEOUT:
                    changes[f"{parent}/"] = _Cover(number, REMOVED, deep=True, path=parent)
                else:
                    deleted = f"{parent}/{name.removeprefix(WHITEOUT_PREFIX)}".lstrip("/")
                    changes.setdefault(deleted, _Cover(number, REMOVED, deep=True, path=deleted))
                continue
            directory = entry.type == DIR
            if entry.type == FILE:
                cover = covers.get(path) or _over(parent, covers, above)
                if cover is None:
                    yield LayerFile(entry, number)
                else:
                    yield LayerFile(entry, number, cover.kind, cover.layer, cover.path, cover.entry)
            if path:
                changes[path] = _Cover(number, REPLACED, deep=not directory, path=path, entry=entry)
        for path, cover in changes.items():
            # The nearest layer above counts; a directory does not restore files removed from it.
            if cover.deep or not (known := covers.get(path)) or not known.deep:
                covers[path] = cover


def _over(directory: str, covers: dict[str, _Cover], known: dict[str, _Cover | None]) -> _Cover | None:
    """Return what covers the contents of a directory, itself or through a parent; cached for its other files."""
    if directory in known:
        return known[directory]
    cover = covers.get(f"{directory}/")
    if cover is None:
        own = covers.get(directory)
        cover = own if own is not None and own.deep else _over(directory.rpartition("/")[0], covers, known)
    known[directory] = cover
    return cover
