"""Manifests and indexes: the documents that list an image's config and layers, and its platforms."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from ..errors import SourceError
from ..golang.json import as_map, check_nesting, dumps, without_nulls
from .descriptor import Descriptor
from .digest import is_digest
from .mediatype import DOCKER_INDEX, INDEXES, MANIFESTS, OCI_INDEX, OCI_MANIFEST

MAX_DOCUMENT = 8 << 20
"""Bytes; larger manifests, indexes and configs are refused. Registries allow 4 MiB."""

T = TypeVar("T")


class Manifest(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """One image for one platform: its config, and its layers, bottom first."""

    config: Descriptor
    layers: tuple[Descriptor, ...] = ()
    media_type: str = OCI_MANIFEST
    artifact_type: str = ""
    subject: Descriptor | None = None
    annotations: dict[str, str] = {}

    def encode(self) -> bytes:
        """Return the bytes that BuildKit would store (json.MarshalIndent with two blanks)."""
        members = _head(self.media_type, self.artifact_type)
        members["config"] = self.config.document()
        members["layers"] = [layer.document() for layer in self.layers] or None
        return dumps(_tail(members, self.subject, self.annotations), indent=True)


class Index(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """Several manifests: one image for several platforms, or all the images of a layout."""

    manifests: tuple[Descriptor, ...] = ()
    media_type: str = OCI_INDEX
    artifact_type: str = ""
    subject: Descriptor | None = None
    annotations: dict[str, str] = {}

    def encode(self, *, indent: bool = True) -> bytes:
        """Return the bytes that BuildKit would store; `indent=False` for the `index.json` of a layout."""
        members = _head(self.media_type, self.artifact_type)
        members["manifests"] = [manifest.document() for manifest in self.manifests] or None
        return dumps(_tail(members, self.subject, self.annotations), indent=indent)


def _head(media_type: str, artifact_type: str) -> dict[str, Any]:
    members: dict[str, Any] = {"schemaVersion": 2, "mediaType": media_type}
    if artifact_type:
        members["artifactType"] = artifact_type
    return members


def _tail(members: dict[str, Any], subject: Descriptor | None, annotations: dict[str, str]) -> dict[str, Any]:
    if subject is not None:
        members["subject"] = subject.document()
    if annotations:
        members["annotations"] = as_map(annotations)
    return members


def decode_manifest(data: bytes) -> Manifest:
    """Return the manifest in `data`. Raises SourceError for other data, and for a manifest with an invalid digest."""
    manifest = _decode(data, Manifest, "manifest")
    _check((manifest.config, *manifest.layers), "manifest")
    return manifest


def decode_index(data: bytes) -> Index:
    """Return the index in `data`. Raises SourceError for other data, and for an index with an invalid digest."""
    index = _decode(data, Index, "index")
    _check(index.manifests, "index")
    return index


def media_type_of(data: bytes) -> str:
    """Return the media type of a manifest or index, as the document declares it, or else by its members.

    Raises SourceError for a document that could be read both ways (CVE-2021-41190) or neither.
    """
    members = _decode(data, dict[str, Any], "manifest")
    declared = members.get("mediaType", "")
    is_index, is_manifest = "manifests" in members, "layers" in members or "config" in members
    if is_index and is_manifest:
        raise SourceError("The document is both a manifest and an index, which the OCI image spec forbids.")
    if members.get("schemaVersion") != 2:
        raise SourceError(
            f"The manifest has schema version {members.get('schemaVersion')!r}; only version 2 is supported."
        )
    if is_index and declared not in MANIFESTS:
        return declared if declared in INDEXES else OCI_INDEX
    if is_manifest and declared not in INDEXES:
        return declared if declared in MANIFESTS else OCI_MANIFEST
    raise SourceError(f"The document of type {declared!r} is neither a manifest nor an index.")


def _decode(data: bytes, kind: type[T], noun: str) -> T:
    if len(data) > MAX_DOCUMENT:
        raise SourceError(f"The {noun} has {len(data)} bytes; more than {MAX_DOCUMENT} are refused.")
    check_nesting(data, f"The {noun}")
    try:
        return msgspec.convert(without_nulls(msgspec.json.decode(data, type=dict[str, Any])), kind)
    except (msgspec.DecodeError, UnicodeError) as error:
        raise SourceError(f"The {noun} cannot be read: {error}.") from error


def _check(descriptors: tuple[Descriptor, ...], noun: str) -> None:
    for descriptor in descriptors:
        if not is_digest(descriptor.digest):
            raise SourceError(f"The {noun} names a blob by {descriptor.digest!r}, which is not a digest.")
        if descriptor.size < 0:
            raise SourceError(f"The {noun} says that blob {descriptor.digest} has {descriptor.size} bytes.")


def index_type(*, oci: bool) -> str:
    """Return the media type of an index: OCI's, or Docker's manifest list."""
    return OCI_INDEX if oci else DOCKER_INDEX
