"""Images of the store, found by name or digest."""

from __future__ import annotations

from ..cancel import Cancel
from ..oci.blobs import read
from ..oci.descriptor import Descriptor
from ..oci.manifest import media_type_of
from ..oci.platform import Platform
from ..oci.reference import Reference
from ..store import Store
from .places import BlobsPlace, Found, find_image


def find_stored(store: Store, ref: Reference, platform: Platform, cancel: Cancel) -> Found | None:
    """Return the store's image of that name or digest, if there is one. Raises SourceError for a mismatch.

    One that is found by name has all its layers here, perhaps as they were pulled; one that is found by digest may
    lack some.
    """
    root = _root(store, ref)
    if root is None:
        return None
    image = find_image(store, BlobsPlace(store.blobs), root, platform, cancel)
    if ref.digest:
        return image
    whole = all(
        store.has_layer(diff_id) or store.blobs.has(layer.digest)
        for diff_id, layer in zip(image.diff_ids, image.manifest.layers, strict=True)
    )
    return image if whole else None


def _root(store: Store, ref: Reference) -> Descriptor | None:
    if not ref.digest:
        image = store.images.get(str(ref))
        return image.descriptor if image else None
    if not store.blobs.has(ref.digest):
        return None
    data = read(store.blobs, Descriptor("", ref.digest, store.blobs.size(ref.digest)))
    return Descriptor(media_type_of(data), ref.digest, len(data))
