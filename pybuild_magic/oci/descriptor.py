"""Descriptors: the media type, digest and size by which one document of an image names another."""

from __future__ import annotations

import base64
from typing import Any

import msgspec

from ..golang.json import as_map, dumps
from .digest import sha256
from .platform import Platform

REF_NAME = "org.opencontainers.image.ref.name"
CREATED = "org.opencontainers.image.created"
CONTAINERD_NAME = "io.containerd.image.name"
"""The annotation in which containerd, and so Docker, keeps an image's full name."""

REFERENCE_TYPE = "vnd.docker.reference.type"
REFERENCE_DIGEST = "vnd.docker.reference.digest"
ATTESTATION = "attestation-manifest"
"""The reference type of an index's entry that attests another entry: the one with the reference digest."""


class Descriptor(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """The digest of a blob, with its media type and its size in bytes."""

    media_type: str
    digest: str
    size: int
    urls: tuple[str, ...] = ()
    annotations: dict[str, str] = {}
    data: bytes = b""
    """The content itself, when the document embeds it because it is small."""
    platform: Platform | None = None
    artifact_type: str = ""

    def document(self) -> dict[str, Any]:
        """Return the members of the JSON document, in the order of the OCI spec's Go type."""
        members: dict[str, Any] = {"mediaType": self.media_type, "digest": self.digest, "size": self.size}
        if self.urls:
            members["urls"] = list(self.urls)
        if self.annotations:
            members["annotations"] = as_map(self.annotations)
        if self.data:
            members["data"] = base64.b64encode(self.data).decode()
        if self.platform is not None:
            members["platform"] = self.platform.document()
        if self.artifact_type:
            members["artifactType"] = self.artifact_type
        return members

    def encode(self) -> bytes:
        """Return compact JSON, as in `containerimage.descriptor` of an exporter's response."""
        return dumps(self.document())

    def annotated(self, annotations: dict[str, str]) -> Descriptor:
        """Return the descriptor with `annotations` added to its own."""
        return msgspec.structs.replace(self, annotations={**self.annotations, **annotations})


def describe(data: bytes, media_type: str) -> Descriptor:
    """Return the descriptor of `data`."""
    return Descriptor(media_type, sha256(data), len(data))
