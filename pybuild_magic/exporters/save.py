"""Images of the store, written unchanged to a file or a directory, as by `docker save`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..errors import StoreError
from ..oci import config as configs
from ..oci import reference
from ..oci.blobs import is_attestation, read
from ..oci.descriptor import Descriptor
from ..oci.manifest import Manifest, decode_index, decode_manifest, media_type_of
from ..oci.mediatype import INDEXES
from ..oci.platform import Platform, normalise
from ..store import ImageRecord
from . import ExportContext
from .archive import docker_manifest, documents, named_entries, write_images
from .assemble import AssembledImage


def save(images: Sequence[ImageRecord], context: ExportContext) -> None:
    """Write images with their names; those of several platforms with all that are in the store.

    Raises StoreError for an incomplete image, ExportError when a file cannot be written.
    """
    assembled_images = [assembled(image, context) for image in images]
    names = [reference.parse(image.name) for image in images]
    together = AssembledImage(
        assembled_images[0].root,
        tuple(manifest for image in assembled_images for manifest in image.manifests),
        {digest: data for image in assembled_images for digest, data in image.documents.items()},
    )
    entries = [
        entry
        for image, name in zip(assembled_images, names, strict=True)
        for entry in named_entries(image.root, [name])
    ]
    manifests = [docker_manifest(image, [name]) for image, name in zip(assembled_images, names, strict=True)]
    write_images(together, documents(entries, manifests), context)


def assembled(image: ImageRecord, context: ExportContext) -> AssembledImage:
    """Return an image of the store with all parts that exist. Raises StoreError when there are none."""
    texts: dict[str, bytes] = {}
    manifests = tuple(_manifests(image.descriptor, context, texts))
    if not manifests:
        raise StoreError(f"No part of the image {image.name} is in the store.")
    return AssembledImage(image.descriptor, manifests, texts)


def _manifests(
    descriptor: Descriptor, context: ExportContext, texts: dict[str, bytes]
) -> Iterator[tuple[Platform, Manifest, Descriptor]]:
    """Yield the manifests below `descriptor`, with their documents put into `texts`."""
    blobs = context.store.blobs
    data = texts[descriptor.digest] = read(blobs, descriptor)
    if media_type_of(data) in INDEXES:
        for entry in decode_index(data).manifests:
            if blobs.has(entry.digest) and entry.digest not in texts:
                yield from _manifests(entry, context, texts)
        return
    manifest = decode_manifest(data)
    texts[manifest.config.digest] = read(blobs, manifest.config)
    if is_attestation(descriptor):
        texts.update((layer.digest, read(blobs, layer)) for layer in manifest.layers)
        return
    config = configs.decode(texts[manifest.config.digest])
    yield normalise(descriptor.platform or config.platform), manifest, descriptor
