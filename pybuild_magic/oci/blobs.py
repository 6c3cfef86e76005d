"""The interface of every place that holds an image's blobs, and reading a verified document from any of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import BinaryIO, Protocol

from ..errors import SourceError
from .config import ImageConfig
from .config import decode as decode_config
from .descriptor import ATTESTATION, REFERENCE_TYPE, Descriptor
from .digest import new_hash
from .manifest import (
    MAX_DOCUMENT,
    Index,
    Manifest,
    decode_index,
    decode_manifest,
    media_type_of,
)
from .mediatype import INDEXES
from .platform import Platform, best

_MOST_LOOKS = 64
"""The most entries of an index whose configs are read for their platform; more would be an attack, not an image."""


class Blobs(Protocol):
    """Content by digest: a store, an image layout, an archive."""

    def has(self, digest: str) -> bool:
        """Return whether the blob is here."""
        ...

    def size(self, digest: str) -> int | None:
        """Return the blob's size in bytes; when it is not here, return None or raise an error."""
        ...

    def open(self, digest: str) -> BinaryIO:
        """Return the blob's content, from its beginning. It is not verified: that is up to the reader."""
        ...


def read(blobs: Blobs, descriptor: Descriptor) -> bytes:
    """Return the whole content that `descriptor` names, verified. For documents, not layers.

    Raises SourceError when it is missing, larger than `MAX_DOCUMENT`, or does not match.
    """
    if descriptor.size > MAX_DOCUMENT:
        raise SourceError(
            f"The document {descriptor.digest} has {descriptor.size} bytes; more than {MAX_DOCUMENT} are refused."
        )
    if not blobs.has(descriptor.digest):
        raise SourceError(f"The blob {descriptor.digest} ({descriptor.media_type}) is missing.")
    with blobs.open(descriptor.digest) as file:
        data = file.read(descriptor.size + 1)
    verify(data, descriptor)
    return data


def verify(data: bytes, descriptor: Descriptor) -> None:
    """Raise SourceError unless `data` has the size and digest that `descriptor` says."""
    if len(data) != descriptor.size:
        raise SourceError(f"The blob {descriptor.digest} does not have the {descriptor.size} bytes it should have.")
    digest = new_hash(descriptor.digest)
    digest.update(data)
    if digest.hexdigest() != descriptor.digest.partition(":")[2]:
        raise SourceError(f"The content of the blob {descriptor.digest} is wrong: its digest does not match.")


def read_index(blobs: Blobs, descriptor: Descriptor) -> Index:
    """Return the index that `descriptor` names."""
    return decode_index(read(blobs, descriptor))


def read_manifest(blobs: Blobs, descriptor: Descriptor) -> Manifest:
    """Return the manifest that `descriptor` names."""
    return decode_manifest(read(blobs, descriptor))


def read_config(blobs: Blobs, manifest: Manifest) -> ImageConfig:
    """Return the config that `manifest` names."""
    return decode_config(read(blobs, manifest.config))


def select(
    blobs: Blobs, descriptor: Descriptor, platform: Platform, look: Callable[[Descriptor], Platform | None]
) -> Descriptor:
    """Return the manifest for `platform` that `descriptor` names, either itself or through an index.

    An entry of an index without a platform has that of its config, as in containerd: `look` reads it, and is called
    only when no entry with a platform fits. Raises SourceError when no entry fits, naming the platforms there are.
    """
    for _ in range(4):  # indexes may nest; more than a few levels is a loop or an attack
        media_type = descriptor.media_type
        if media_type not in INDEXES and (data := read(blobs, descriptor)):
            media_type = media_type_of(data)
        if media_type not in INDEXES:
            return descriptor
        entries = [entry for entry in read_index(blobs, descriptor).manifests if not is_attestation(entry)]
        offers = [(entry.platform, entry) for entry in entries if entry.platform]
        chosen = best(platform, offers)
        if chosen is None:
            unlabelled = [entry for entry in entries if not entry.platform][:_MOST_LOOKS]
            looks = ((look(entry), entry) for entry in unlabelled if entry.media_type not in INDEXES)
            offers += [(offered, entry) for offered, entry in looks if offered]
            # The platforms of a nested index are seen when it is opened.
            chosen = best(platform, offers) or next(
                (entry for entry in unlabelled if entry.media_type in INDEXES), None
            )
        if chosen is None:
            offered = ", ".join(str(offered) for offered, _ in offers) or "none"
            raise SourceError(f"The image has no manifest for {platform}; it has {offered}.")
        descriptor = chosen
    raise SourceError(f"The index {descriptor.digest} is nested too deep.")


def is_attestation(descriptor: Descriptor) -> bool:
    """Return whether an index's entry is BuildKit's attestation of another entry, not an image."""
    return descriptor.annotations.get(REFERENCE_TYPE) == ATTESTATION
