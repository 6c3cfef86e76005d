"""The attested statements about an image, read from wherever its blobs are."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec

from ..attest.statement import PREDICATE_ANNOTATION, SLSA, SPDX
from ..errors import SourceError
from ..golang.json import check_nesting
from ..oci.blobs import is_attestation
from ..oci.descriptor import REFERENCE_DIGEST
from ..oci.manifest import decode_index, decode_manifest
from ..summary import ImageSummary

_KINDS = (SPDX, *SLSA.values())
_WRITTEN = re.compile(r"(?:provenance|sbom[^/]*?\.spdx)(?:\.(?P<platform>[a-z0-9]+_[a-z0-9_]+))?\.json\Z")
_LARGEST = 64 << 20
"""The most bytes that a statement may have."""


class Statement(msgspec.Struct, frozen=True):
    """An in-toto statement about the image for one platform."""

    type: str = msgspec.field(name="predicateType", default="")
    predicate: dict[str, Any] = {}
    platform: str = ""


def statements(image: ImageSummary, read: Callable[[str], bytes]) -> Iterator[Statement]:
    """Yield all attested statements about an image. Raises SourceError or StoreError for one that cannot be read."""
    if not image.is_index:
        return
    platforms = {manifest.digest: manifest.platform for manifest in image.manifests}
    for entry in filter(is_attestation, decode_index(read(image.digest)).manifests):
        platform = platforms.get(entry.annotations.get(REFERENCE_DIGEST, ""), "")
        if entry.digest not in platforms:
            continue
        for layer in decode_manifest(read(entry.digest)).layers:
            if layer.annotations.get(PREDICATE_ANNOTATION) in _KINDS and layer.size <= _LARGEST:
                yield _statement(read(layer.digest), layer.digest[:19], platform)


def written_statements(
    files: Iterable[tuple[str, int]], prefix: str, read: Callable[[str], bytes]
) -> Iterator[Statement]:
    """Yield the statements among the files of a `local` or `tar` output, which are given by path and size.

    They lie beside the files of the image, or beside those of each platform. Raises SourceError.
    """
    for path, size in files:
        folder, _, name = path.rpartition("/")
        match = _WRITTEN.match(name.removeprefix(prefix)) if name.startswith(prefix) else None
        if match is None or "/" in folder or size > _LARGEST:
            continue
        statement = _statement(read(path), path, (folder or match["platform"] or "").replace("_", "/"))
        if statement.type in _KINDS:
            yield statement


def _statement(data: bytes, name: str, platform: str) -> Statement:
    check_nesting(data, "The attestation")
    try:
        statement = msgspec.json.decode(data, type=Statement)
    except msgspec.MsgspecError as error:
        raise SourceError(f"The attestation {name} cannot be read: {error}.") from error
    return msgspec.structs.replace(statement, platform=platform)
