"""The places of an image's content, a registry or local blobs, and the reading of its documents into the store."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, BinaryIO, Protocol

import msgspec

from ..cancel import Cancel
from ..errors import SourceError
from ..oci import config as image_config
from ..oci.blobs import Blobs, read, read_manifest, select, verify
from ..oci.config import ImageConfig
from ..oci.descriptor import Descriptor
from ..oci.manifest import MAX_DOCUMENT, Manifest, decode_manifest
from ..oci.mediatype import CONFIGS
from ..oci.platform import Platform
from ..oci.reference import Reference
from ..store import Store

if TYPE_CHECKING:
    from ..oci.remote.registry import Registry


class Stream(Protocol):
    """A blob that is read once, from start to end."""

    def read(self, amount: int, /) -> bytes:
        """Return up to `amount` bytes; b"" at the end."""
        ...

    def close(self) -> None:
        """Release the stream."""
        ...


class Place(Protocol):
    """A registry's repository, a layout, an archive, the store."""

    @property
    def manifests(self) -> Blobs:
        """The manifests and indexes."""
        ...

    def blob(self, descriptor: Descriptor, cancel: Cancel) -> Stream:
        """Return a config or layer, which the reader verifies. Raises SourceError."""
        ...


class BlobsPlace:
    """Local blobs: an image layout, an archive."""

    def __init__(self, blobs: Blobs) -> None:
        self.manifests = blobs

    def blob(self, descriptor: Descriptor, cancel: Cancel) -> Stream:
        """See Place."""
        cancel.check()
        if not self.manifests.has(descriptor.digest):
            raise SourceError(f"The blob {descriptor.digest} ({descriptor.media_type}) is missing.")
        return self.manifests.open(descriptor.digest)


class RegistryPlace:
    """A repository of a registry. Its documents are kept in the store, and requested once."""

    def __init__(self, registry: Registry, ref: Reference, store: Store, cancel: Cancel) -> None:
        self._registry = registry
        self._ref = ref
        self.manifests = _RegistryManifests(registry, ref, store, cancel)

    def blob(self, descriptor: Descriptor, cancel: Cancel) -> Stream:
        """See Place."""
        return self._registry.blob(self._ref, descriptor, cancel)


class _RegistryManifests:
    """Manifests and indexes by digest, from the store or else from the registry."""

    def __init__(self, registry: Registry, ref: Reference, store: Store, cancel: Cancel) -> None:
        self._registry = registry
        self._ref = ref
        self._store = store
        self._cancel = cancel

    def has(self, digest: str) -> bool:  # noqa: ARG002 - asking is fetching: `open` raises when it is not there
        return True

    def size(self, digest: str) -> int:
        return len(self._data(digest))

    def open(self, digest: str) -> BinaryIO:
        return io.BytesIO(self._data(digest))

    def _data(self, digest: str) -> bytes:
        if self._store.blobs.has(digest):
            return self._store.blobs.read(digest)
        data = self._registry.manifest(self._ref.with_digest(digest), self._cancel).data
        self._store.blobs.put(data)
        return data


class Found(msgspec.Struct, frozen=True):
    """An image for one platform, with its documents in the store."""

    root: Descriptor
    """The descriptor to which the name refers: of the index, or of the manifest itself."""
    descriptor: Descriptor
    """The manifest."""
    manifest: Manifest
    config: ImageConfig
    config_data: bytes

    @property
    def diff_ids(self) -> tuple[str, ...]:
        """The snapshot, bottom layer first."""
        return self.config.rootfs.diff_ids


def find_image(store: Store, place: Place, root: Descriptor, platform: Platform, cancel: Cancel) -> Found:
    """Return the image below `root` for `platform`, after storing all its documents.

    Raises SourceError when there is none for the platform, or when documents are missing or inconsistent.
    """
    chosen = select(place.manifests, root, platform, lambda entry: _platform(store, place, entry, cancel))
    for document in {root.digest: root, chosen.digest: chosen}.values():
        store.blobs.put(read(place.manifests, document))
    return describe_image(store, place, root, chosen, cancel)


def _platform(store: Store, place: Place, entry: Descriptor, cancel: Cancel) -> Platform | None:
    """Return the platform in a manifest's config; None if it is not an image, or not available."""
    if not place.manifests.has(entry.digest):
        return None
    data = read(place.manifests, entry)
    try:
        described = decode_manifest(data).config
    except SourceError:
        return None
    if described.media_type not in CONFIGS:
        return None
    data = read_document(store, place, described, cancel)
    try:
        config = image_config.decode(data)
    except SourceError:
        return None
    return config.platform if config.os and config.architecture else None


def describe_image(store: Store, place: Place, root: Descriptor, chosen: Descriptor, cancel: Cancel) -> Found:
    """Return the image of the manifest `chosen`, after storing its config."""
    manifest = read_manifest(place.manifests, chosen)
    data = read_document(store, place, manifest.config, cancel)
    config = image_config.decode(data)
    if len(config.rootfs.diff_ids) != len(manifest.layers):
        raise SourceError(
            f"The manifest {chosen.digest} has {len(manifest.layers)} layers, but its config "
            f"{len(config.rootfs.diff_ids)}: it cannot be used as a base image."
        )
    return Found(root, chosen, manifest, config, data)


def read_document(store: Store, place: Place, descriptor: Descriptor, cancel: Cancel) -> bytes:
    """Return a config or another small blob, after storing it. Raises SourceError for one that is too large."""
    if store.blobs.has(descriptor.digest):
        return store.blobs.read(descriptor.digest)
    data = read_blob(place, descriptor, cancel)
    store.blobs.put(data)
    return data


def read_blob(place: Place, descriptor: Descriptor, cancel: Cancel, limit: int = MAX_DOCUMENT) -> bytes:
    """Return a small blob, verified. Raises SourceError for one larger than `limit` bytes, or with another digest."""
    if descriptor.size > limit:
        raise SourceError(
            f"The blob {descriptor.digest} has {descriptor.size} bytes, but at most {limit} are accepted."
        )
    stream = place.blob(descriptor, cancel)
    try:
        parts: list[bytes] = []
        remaining = descriptor.size + 1
        while remaining and (part := stream.read(remaining)):
            parts.append(part)
            remaining -= len(part)
    finally:
        stream.close()
    data = b"".join(parts)
    verify(data, descriptor)
    return data
