"""A check of an image: all blobs that its descriptors name are there, with the right size and digest, and agree."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import BinaryIO, Protocol

from ..errors import BuildError
from .blobs import Blobs, is_attestation, read
from .config import decode as decode_config
from .descriptor import Descriptor
from .digest import new_hash
from .manifest import Manifest, decode_index, decode_manifest, media_type_of
from .mediatype import CONFIGS, INDEXES, is_layer
from .platform import normalise

_BLOCK = 1 << 20
_MAX_DEPTH = 4


class Readable(Protocol):
    """A source of bytes."""

    def read(self, size: int, /) -> bytes:
        """Return at most `size` bytes; b"" at the end."""
        ...


Decompress = Callable[[BinaryIO], Readable]
"""From a layer's blob to its uncompressed content: the store's `decompress`."""


def problems(blobs: Blobs, root: Descriptor, decompress: Decompress | None = None) -> list[str]:
    """Return the faults of the image that `root` describes, a sentence each; [] when there are none.

    With `decompress`, the content of each layer is compared with the config's diffIDs too.
    """
    return list(_document(blobs, root, decompress, 0))


def _document(blobs: Blobs, descriptor: Descriptor, decompress: Decompress | None, depth: int) -> Iterator[str]:
    if depth > _MAX_DEPTH:
        yield f"The index {descriptor.digest} is nested too deep."
        return
    try:
        data = read(blobs, descriptor)
        kind = media_type_of(data)
        if descriptor.media_type and kind != descriptor.media_type:
            yield f"{descriptor.digest} is {kind}, but its descriptor says {descriptor.media_type}."
        entries = decode_index(data).manifests if kind in INDEXES else ()
        manifest = None if kind in INDEXES else decode_manifest(data)
    except BuildError as error:
        yield error.message
        return
    for entry in entries:
        yield from _document(blobs, entry, decompress, depth + 1)
    if manifest is not None:
        yield from _manifest(blobs, descriptor, manifest, decompress)


def _manifest(blobs: Blobs, descriptor: Descriptor, manifest: Manifest, decompress: Decompress | None) -> Iterator[str]:
    diff_ids: tuple[str, ...] | None = None
    try:
        data = read(blobs, manifest.config)
        if manifest.config.media_type in CONFIGS:
            config = decode_config(data)
            diff_ids = None if is_attestation(descriptor) else config.rootfs.diff_ids
            if descriptor.platform and normalise(descriptor.platform) != normalise(config.platform):
                yield f"The config {manifest.config.digest} is for {config.platform}, not {descriptor.platform}."
    except BuildError as error:
        yield error.message
    if diff_ids is not None and len(diff_ids) != len(manifest.layers):
        yield f"The manifest {descriptor.digest} has {len(manifest.layers)} layers, its config {len(diff_ids)}."
        diff_ids = None
    for position, layer in enumerate(manifest.layers):
        wrong = _blob(blobs, layer)
        if wrong:
            yield wrong
        elif decompress and diff_ids is not None and is_layer(layer.media_type):
            yield from _layer(blobs, layer, diff_ids[position], decompress)


def _blob(blobs: Blobs, descriptor: Descriptor) -> str:
    if not blobs.has(descriptor.digest):
        return f"The blob {descriptor.digest} ({descriptor.media_type}) is missing."
    size = blobs.size(descriptor.digest)
    if size != descriptor.size:
        return f"The blob {descriptor.digest} has {size} bytes, but its descriptor says {descriptor.size}."
    with blobs.open(descriptor.digest) as file:
        if _digest(file, descriptor.digest) != descriptor.digest:
            return f"The content of the blob {descriptor.digest} is wrong: its digest does not match."
    return ""


def _layer(blobs: Blobs, layer: Descriptor, diff_id: str, decompress: Decompress) -> Iterator[str]:
    try:
        with blobs.open(layer.digest) as file:
            actual = _digest(decompress(file), diff_id)
    except BuildError as error:
        yield error.message
        return
    if actual != diff_id:
        yield f"The layer {layer.digest} has the diffID {actual}, but the config says {diff_id}."


def _digest(source: Readable, like: str) -> str:
    content = new_hash(like)
    while block := source.read(_BLOCK):
        content.update(block)
    return f"{like.partition(':')[0]}:{content.hexdigest()}"
