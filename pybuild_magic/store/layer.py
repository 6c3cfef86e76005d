"""A layer of the store, and its compressed forms, which were pulled or made for an export."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

import msgspec

from ..oci.reference import Reference
from .entry import Entry, Span, content_span
from .index import Index

if TYPE_CHECKING:
    from .blobs import ContentStore
    from .database import Database


_SOURCE = "containerd.io/distribution.source."
"""containerd's annotation for the repositories that have a blob: `…source.docker.io` = `library/busybox,…`."""


EMPTY_LAYER = "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef"
"""The diffID of a layer without entries, as after a RUN that changes nothing: two zero blocks."""


class Layer:
    """An uncompressed tar of the store, and its index."""

    def __init__(self, diff_id: str, size: int, load: Callable[[str], Index]) -> None:
        self.diff_id = diff_id
        """The digest of the uncompressed tar."""
        self.size = size
        """Bytes of the uncompressed tar."""
        self._load = load
        self._index: Index | None = None

    @property
    def index(self) -> Index:
        """The entries of the tar, read from the store on first use."""
        if self._index is None:
            self._index = self._load(self.diff_id)
        return self._index

    def span(self, entry: Entry) -> Span:
        """Return the place of the content of a regular file of this layer."""
        return content_span(self.diff_id, entry)

    def __repr__(self) -> str:
        return f"Layer({self.diff_id}, {self.size} bytes)"


class Compressed(msgspec.Struct, frozen=True):
    """A blob that has a layer in the form of a registry or of an export."""

    media_type: str
    digest: str
    size: int
    compression: str
    """gzip, zstd or uncompressed; an export may add what distinguishes its form, such as the level."""
    annotations: dict[str, str] = {}


def is_elsewhere(annotations: Mapping[str, str]) -> bool:
    """Return whether, by its annotations, a registry has this form, so that it can be fetched again."""
    return any(paths for key, paths in annotations.items() if key.startswith(_SOURCE))


class CompressedForms:
    """The compressed forms of the layers."""

    def __init__(self, db: Database, blobs: ContentStore, has_layer: Callable[[str], bool]) -> None:
        self._db = db
        self._blobs = blobs
        self._has_layer = has_layer

    def put(self, diff_id: str, form: Compressed) -> None:
        """Record that `form` is the layer `diff_id`; its blob need not be in the store."""
        self._db.execute(
            "INSERT OR REPLACE INTO compressed VALUES (?, ?, ?, ?, ?, ?)",
            (
                diff_id,
                form.digest,
                form.media_type,
                form.size,
                form.compression,
                msgspec.json.encode(form.annotations),
            ),
        )

    def get(self, diff_id: str, *, missing_ok: bool = False) -> list[Compressed]:
        """Return the forms of a layer whose blobs are in the store, or with `missing_ok` all known ones."""
        rows = self._db.read(
            "SELECT media_type, digest, size, compression, annotations FROM compressed WHERE diff_id = ?",
            (diff_id,),
        )
        forms = [
            Compressed(media_type, digest, size, compression, msgspec.json.decode(annotations, type=dict[str, str]))
            for media_type, digest, size, compression, annotations in rows
        ]
        return forms if missing_ok else [form for form in forms if self._blobs.has(form.digest)]

    def usable(self, diff_id: str) -> list[Compressed]:
        """Return the forms of a layer that an image may name: first those in the store, then those of registries."""
        known = [(self._blobs.has(form.digest), form) for form in self.get(diff_id, missing_ok=True)]
        elsewhere = [form for here, form in known if not here and is_elsewhere(form.annotations)]
        return [form for here, form in known if here] + elsewhere

    def places(self, form: Compressed) -> Iterator[Reference]:
        """Yield the repositories known to have a form."""
        for key, paths in form.annotations.items():
            if key.startswith(_SOURCE):
                yield from (Reference(key.removeprefix(_SOURCE), path) for path in paths.split(",") if path)

    def seen_in(self, digest: str, domain: str, path: str) -> None:
        """Record that the repository `path` of the registry `domain` has the blob and can mount it into another."""
        diff_id = self.diff_id(digest)
        for form in self.get(diff_id, missing_ok=True) if diff_id else ():
            known = form.annotations.get(_SOURCE + domain, "")
            if form.digest == digest and path not in known.split(","):
                places = ",".join(filter(None, (known, path)))
                annotations = {**form.annotations, _SOURCE + domain: places}
                self.put(diff_id or "", msgspec.structs.replace(form, annotations=annotations))

    def repositories(self, digest: str, domain: str) -> list[str]:
        """Return the repositories of a registry known to have the blob."""
        diff_id = self.diff_id(digest)
        forms = self.get(diff_id, missing_ok=True) if diff_id else []
        sources = (form.annotations.get(_SOURCE + domain, "") for form in forms if form.digest == digest)
        return [path for paths in sources for path in paths.split(",") if path]

    def diff_id(self, digest: str) -> str | None:
        """Return the diffID of the layer that a compressed blob has, or None if that layer is not in the store."""
        for (diff_id,) in self._db.read("SELECT diff_id FROM compressed WHERE digest = ?", (digest,)):
            if self._has_layer(diff_id):
                return diff_id
        return digest if self._has_layer(digest) else None
