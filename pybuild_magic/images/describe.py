"""The description of an image as plain data, from wherever its blobs are."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from ..errors import StoreError
from ..oci import mediatype
from ..oci.config import ImageConfig, decode
from ..oci.descriptor import Descriptor
from ..oci.manifest import Manifest, decode_index, decode_manifest, media_type_of
from ..summary import HistorySummary, ImageSummary, LayerSummary, ManifestSummary

_SHELL = re.compile(r"^RUN (?:\|\d+ .*?)?/bin/sh -c ", re.DOTALL)

ReadBlob = Callable[[str], bytes]
"""Returns the bytes of a small blob (a manifest, an index, a config) by digest."""


def inspect_image(read: ReadBlob, digest: str, names: tuple[str, ...] = ()) -> ImageSummary:
    """Describe the manifest or index at `digest`. Raises `BuildError` when a document is missing or malformed."""
    data = read(digest)
    media_type = media_type_of(data)
    if media_type not in mediatype.INDEXES:
        own = Descriptor(media_type, digest, len(data))
        manifests = (_manifest(read, own, data),)
        return ImageSummary(names=names, digest=digest, media_type=media_type, size=len(data), manifests=manifests)
    described = decode_index(data).manifests
    return ImageSummary(
        names=names,
        digest=digest,
        media_type=media_type,
        size=len(data),
        is_index=True,
        manifests=tuple(
            _manifest(read, descriptor, raw)
            for descriptor in described
            if descriptor.media_type in mediatype.MANIFESTS and (raw := _read_if_there(read, descriptor.digest))
        ),
        raw=data.decode("utf-8", "replace"),
    )


def _read_if_there(read: ReadBlob, digest: str) -> bytes:
    """Return a manifest; b"" when it is missing: a loaded image may lack platforms of its index."""
    try:
        return read(digest)
    except StoreError:
        return b""


def _manifest(read: ReadBlob, own: Descriptor, raw: bytes) -> ManifestSummary:
    manifest = decode_manifest(raw)
    data = read(manifest.config.digest)
    config = decode(data)
    document: dict[str, Any] = json.loads(data)
    made_by = [entry.created_by for entry in config.history if not entry.empty_layer]
    made_by += [""] * (len(manifest.layers) - len(made_by))
    return ManifestSummary(
        digest=own.digest,
        media_type=own.media_type,
        size=own.size,
        platform=str(own.platform or config.platform),
        config_digest=manifest.config.digest,
        config_media_type=manifest.config.media_type,
        config_size=manifest.config.size,
        config=document,
        layers=tuple(
            LayerSummary(
                digest=layer.digest,
                media_type=layer.media_type,
                size=layer.size,
                diff_id=diff_id,
                created_by=_instruction(instruction),
            )
            for layer, diff_id, instruction in zip(manifest.layers, _diff_ids(config, manifest), made_by, strict=False)
        ),
        history=tuple(
            HistorySummary(
                created=entry.created,
                created_by=_instruction(entry.created_by),
                empty_layer=entry.empty_layer,
                comment=entry.comment,
            )
            for entry in config.history
        ),
        annotations=manifest.annotations,
        raw=raw.decode("utf-8", "replace"),
    )


def _diff_ids(config: ImageConfig, manifest: Manifest) -> tuple[str, ...]:
    missing = len(manifest.layers) - len(config.rootfs.diff_ids)
    return config.rootfs.diff_ids + ("",) * missing


def _instruction(created_by: str) -> str:
    """Return `created_by` in its Dockerfile form, without additions of the builder."""
    for prefix, word in (("/bin/sh -c #(nop) ", ""), ("/bin/sh -c ", "RUN ")):
        if created_by.startswith(prefix):
            created_by = word + created_by.removeprefix(prefix).lstrip()
    # BuildKit writes the shell, preceded by the build args that the command saw.
    created_by = _SHELL.sub("RUN ", created_by)
    return created_by.removesuffix(" # buildkit").strip()
