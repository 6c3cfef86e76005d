"""The difference between two images: their files, their configs, and the layers that they share."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any, cast

import msgspec

from ..store import DIR, FILE, Entry, LayerTree
from ..summary import FileSummary, ManifestSummary
from .contents import Contents
from .summarise import file_summary

_BLOCK = 1 << 20


class FileChange(msgspec.Struct, frozen=True):
    """A path that differs between two images: `kind` is A added, M changed or D removed, as seen from the first."""

    kind: str
    file: FileSummary
    """The file as it is in the second image; for a removed path, as it was in the first."""
    before: FileSummary | None = None
    """For a changed path, the file as it was in the first image."""

    @property
    def sizes(self) -> tuple[int, int]:
        """The file's bytes before and after."""
        if self.before is not None:
            return self.before.size, self.file.size
        return (self.file.size, 0) if self.kind == "D" else (0, self.file.size)


class ConfigChange(msgspec.Struct, frozen=True):
    """A value of the config that differs; None in the image that does not have it."""

    key: str
    """Such as `Env PATH`, `Labels version` or `Cmd`."""
    before: str | None
    after: str | None


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """The changes that turn the first image into the second."""

    files: tuple[FileChange, ...]
    """In the order of their paths; directories are listed only when added or removed."""
    config: tuple[ConfigChange, ...]
    shared_layers: int
    """How many of the lowest layers are the same, so that they are pushed and stored only once."""
    layers_before: int
    layers_after: int
    size_before: int
    """Bytes of the first image's layers, as stored."""
    size_after: int

    def __len__(self) -> int:
        return len(self.files)

    def __iter__(self) -> Iterator[FileChange]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return iter(self.files)

    def __bool__(self) -> bool:
        return bool(self.files or self.config)

    def to_dataframe(self) -> Any:
        """Return the files as a pandas DataFrame, one row per file. Raises UnsupportedError without pandas."""
        from .frames import dataframe

        columns = ("change", "path", "type", "size_before", "size", "mode", "uid", "gid")
        rows = (
            (
                change.kind,
                change.file.path,
                change.file.type,
                *change.sizes,
                change.file.mode,
                change.file.uid,
                change.file.gid,
            )
            for change in self.files
        )
        return dataframe(columns, rows)


def compare(old: Contents, new: Contents, platform: str = "") -> Difference:
    """Compare the images of two builds for `platform`, or for the first platform of each.

    Two files are equal when their type, mode, owner, link and content are; times do not count. Raises UsageError when
    there is no image, and SourceError or StoreError when a layer cannot be fetched.
    """
    before, after = old.manifest(platform), new.manifest(platform)
    with old.store.lease(), new.store.lease():
        earlier, later = old.tree(before), new.tree(after)
        files = tuple(_files(earlier, later))
    shared = 0
    for before_layer, after_layer in zip(before.layers, after.layers, strict=False):
        if before_layer.diff_id != after_layer.diff_id:
            break
        shared += 1
    return Difference(
        files=files,
        config=tuple(_config(before, after)),
        shared_layers=shared,
        layers_before=len(before.layers),
        layers_after=len(after.layers),
        size_before=sum(layer.size for layer in before.layers),
        size_after=sum(layer.size for layer in after.layers),
    )


def compare_trees(earlier: LayerTree, later: LayerTree) -> Difference:
    """Compare only the files of two trees, which need not be those of images."""
    return Difference(
        files=tuple(_files(earlier, later)),
        config=(),
        shared_layers=len(earlier.diff_ids),
        layers_before=len(earlier.diff_ids),
        layers_after=len(later.diff_ids),
        size_before=0,
        size_after=0,
    )


def _files(earlier: LayerTree, later: LayerTree) -> Iterator[FileChange]:
    for old, new in later.differences(earlier):
        if old is None and new is not None:
            yield FileChange("A", file_summary(new))
        elif new is None and old is not None:
            yield FileChange("D", file_summary(old))
        elif old is not None and new is not None and not _alike(earlier, old, later, new):
            yield FileChange("M", file_summary(new), file_summary(old))


def _alike(earlier: LayerTree, old: Entry, later: LayerTree, new: Entry) -> bool:
    if (old.type, old.link, old.size) != (new.type, new.link, new.size):
        return False
    if old.type != DIR and (old.mode, old.uid, old.gid) != (new.mode, new.uid, new.gid):
        return False
    return old.type != FILE or not old.size or _digest(earlier, old) == _digest(later, new)


def _digest(tree: LayerTree, entry: Entry) -> bytes:
    if entry.digest:
        return entry.digest
    hashed = hashlib.sha256()
    with tree.open(entry) as file:
        while block := file.read(_BLOCK):
            hashed.update(block)
    return hashed.digest()


def _config(before: ManifestSummary, after: ManifestSummary) -> Iterator[ConfigChange]:
    old, new = _flat(before.config), _flat(after.config)
    for key in sorted({*old, *new}):
        if old.get(key) != new.get(key):
            yield ConfigChange(key, old.get(key), new.get(key))


def _flat(document: dict[str, Any]) -> dict[str, str]:
    """Return the values that a Dockerfile sets, by name."""
    values = {key: str(document[key]) for key in ("architecture", "os", "variant", "author") if document.get(key)}
    config: object = document.get("config")
    for key, value in cast("dict[str, object]", config).items() if isinstance(config, dict) else ():
        if key == "Env" and isinstance(value, list):
            pairs = (str(pair).partition("=") for pair in cast("list[object]", value))
            values |= {f"Env {name}": text for name, _, text in pairs}
        elif isinstance(value, dict) and key in ("Labels", "ExposedPorts", "Volumes"):
            items = cast("dict[str, object]", value).items()
            values |= {f"{key} {name}": item if isinstance(item, str) else "yes" for name, item in items}
        elif value:
            values[key] = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return values
