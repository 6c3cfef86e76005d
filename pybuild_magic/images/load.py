"""Images from files: an OCI layout or a docker archive, loaded into the store under a name."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from ..cancel import Cancel
from ..errors import SourceError
from ..oci import reference
from ..oci.blobs import Blobs, is_attestation, read
from ..oci.descriptor import CONTAINERD_NAME, Descriptor
from ..oci.layout import find
from ..oci.manifest import decode_index, decode_manifest, media_type_of
from ..oci.mediatype import INDEXES
from ..portable import kind_of, user_path
from ..status.report import VertexReport
from ..store import Store
from .archive import open_images
from .layout import split_layout
from .places import BlobsPlace, Place, describe_image, read_document
from .pull import fetch_layers

_DEPTH = 4
"""The deepest nesting of indexes; more is a loop or an attack."""


def load_image(
    store: Store,
    path: Path | str,
    name: str = "",
    cancel: Cancel | None = None,
    progress: VertexReport | None = None,
) -> str:
    """Load an image into the store, for all its platforms; return its normalised name.

    `path` is an OCI image layout (directory or tar), or an archive of `docker save`; a suffix `:TAG` or `@DIGEST`
    selects one of several images. Without `name`, the image keeps the name under which it was saved. Raises
    SourceError, UsageError for a malformed name, StoreError and Interrupted.
    """
    where, tag, digest = split_layout(str(path))
    cancel = cancel or Cancel()
    with cancel.bound(), closing(open_images(user_path(where))) as images:
        root = find(images.index(), digest or tag)
        name = name or root.annotations.get(CONTAINERD_NAME, "")
        if not name:
            raise SourceError(f"The image of {path} has no name.", hint="Give it one.")
        return _load_named(store, images, root, name, str(path), cancel, progress)


def load_images(
    store: Store, path: Path, name: str = "", cancel: Cancel | None = None, progress: VertexReport | None = None
) -> list[str]:
    """Load all images of a layout or an archive into the store, under their own names; return the names.

    If there is just one, or `path` selects one with `:TAG` or `@DIGEST`, it gets `name` if given. Raises as
    `load_image`.
    """
    if name or not kind_of(path):
        return [load_image(store, path, name, cancel, progress)]
    cancel = cancel or Cancel()
    with cancel.bound(), closing(open_images(path)) as images:
        entries = images.index().manifests
        named = [(entry, whole) for entry in entries if (whole := entry.annotations.get(CONTAINERD_NAME, ""))]
        if not named:
            raise SourceError(f"{path} has {len(entries)} images without names.", hint="Name one with -t NAME.")
        return [_load_named(store, images, entry, whole, str(path), cancel, progress) for entry, whole in named]


def _load_named(
    store: Store,
    images: Blobs,
    root: Descriptor,
    name: str,
    path: str,
    cancel: Cancel,
    progress: VertexReport | None,
) -> str:
    normal = str(reference.parse(name).tagged())
    with store.lease():
        loaded = take_in(store, BlobsPlace(images), root, cancel, progress)
        if not loaded:
            raise SourceError(f"{path} has none of the image's manifests.")
        media_type = root.media_type or media_type_of(store.blobs.read(root.digest))
        store.images.put(normal, Descriptor(media_type, root.digest, root.size))
    return normal


def take_in(
    store: Store, place: Place, root: Descriptor, cancel: Cancel, progress: VertexReport | None, depth: int = _DEPTH
) -> int:
    """Load all images below `root` into the store; return how many there were, because an index may name missing ones.

    The caller must hold a lease of the store. Raises SourceError, StoreError and Interrupted.
    """
    data = read(place.manifests, root)
    store.blobs.put(data)
    if media_type_of(data) not in INDEXES:
        fetch_layers(store, place, describe_image(store, place, root, root, cancel), cancel, progress)
        return 1
    if not depth:
        raise SourceError(f"The index {root.digest} is nested too deeply.")
    entries = [entry for entry in decode_index(data).manifests if place.manifests.has(entry.digest)]
    for entry in filter(is_attestation, entries):
        _attestation(store, place, entry, cancel)
    images = [entry for entry in entries if not is_attestation(entry)]
    return sum(take_in(store, place, entry, cancel, progress, depth - 1) for entry in images)


def _attestation(store: Store, place: Place, descriptor: Descriptor, cancel: Cancel) -> None:
    """Keep the attestations of an image unchanged: small documents, which no build reads."""
    data = read(place.manifests, descriptor)
    store.blobs.put(data)
    manifest = decode_manifest(data)
    for document in (manifest.config, *manifest.layers):
        store.blobs.put(read_document(store, place, document, cancel))
