"""The statements that are attested of an image, read from wherever its blobs are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from ..attest.statement import PREDICATE_ANNOTATION, SLSA, SPDX
from ..errors import SourceError
from ..golang.json import check_nesting
from ..oci.blobs import is_attestation
from ..oci.descriptor import REFERENCE_DIGEST
from ..oci.manifest import decode_index, decode_manifest
from ..summary import ImageSummary

_LARGEST = 64 << 20
"""Bytes of a statement that is read."""


class Statement(msgspec.Struct, frozen=True):
    """An in-toto statement about the image for one platform."""

    type: str = msgspec.field(name="predicateType", default="")
    predicate: dict[str, Any] = {}
    platform: str = ""


def statements(image: ImageSummary, read: Callable[[str], bytes]) -> Iterator[Statement]:
    """Return all that is attested of an image. Raises SourceError and StoreError for what cannot be read."""
    if not image.is_index:
        return
    platforms = {manifest.digest: manifest.platform for manifest in image.manifests}
    for entry in filter(is_attestation, decode_index(read(image.digest)).manifests):
        platform = platforms.get(entry.annotations.get(REFERENCE_DIGEST, ""), "")
        if entry.digest not in platforms:
            continue
        for layer in decode_manifest(read(entry.digest)).layers:
            if layer.annotations.get(PREDICATE_ANNOTATION) not in (SPDX, *SLSA.values()) or layer.size > _LARGEST:
                continue
            data = read(layer.digest)
            check_nesting(data, "The attestation")
            try:
                statement = msgspec.json.decode(data, type=Statement)
            except msgspec.MsgspecError as error:
                raise SourceError(f"The attestation {layer.digest[:19]} cannot be read: {error}.") from error
            yield msgspec.structs.replace(statement, platform=platform)
