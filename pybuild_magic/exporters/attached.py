"""Attestations in an image: a manifest of statements in its index, as BuildKit attaches them."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ..attest.statement import Attestation, LayerForm, described, image_subjects
from ..golang.json import dumps
from ..oci import mediatype
from ..oci.descriptor import ATTESTATION, REFERENCE_DIGEST, REFERENCE_TYPE, Descriptor, describe
from ..oci.manifest import Manifest
from ..oci.platform import Platform
from . import ExportContext

_UNKNOWN = Platform("unknown", "unknown")
_EMPTY = b"{}"


def attach(
    attestations: Sequence[Attestation],
    target: Descriptor,
    names: Sequence[str],
    form: LayerForm,
    documents: dict[str, bytes],
    context: ExportContext,
    *,
    artifact: bool,
) -> Descriptor:
    """Write the attestations of the manifest `target` to the store and to `documents`; return their index entry.

    With `artifact` it is an OCI artifact whose subject is the manifest; otherwise it looks like an image.
    """
    assert target.platform
    subjects = image_subjects(names, target.platform, target.digest)
    layers: list[Descriptor] = []
    for attestation in attestations:
        data = attestation.statement(subjects, form)
        digest = context.store.blobs.put(data)
        documents[digest] = data
        layers.append(described(data, digest, attestation.predicate_type))
    config = _EMPTY
    if not artifact:
        # `layers` are not layers, but tools that only know images expect them.
        rootfs = {"type": "layers", "diff_ids": [layer.digest for layer in layers]}
        config = dumps({"architecture": "unknown", "os": "unknown", "config": {}, "rootfs": rootfs})
    described_config = describe(config, mediatype.EMPTY if artifact else mediatype.OCI_CONFIG)
    if artifact:
        described_config = msgspec.structs.replace(described_config, data=config)
    manifest = Manifest(
        config=described_config,
        layers=tuple(layers),
        artifact_type=mediatype.ATTESTATION_ARTIFACT if artifact else "",
        subject=Descriptor(target.media_type, target.digest, target.size) if artifact else None,
    ).encode()
    entry = describe(manifest, mediatype.OCI_MANIFEST)
    with context.progress.step(f"exporting attestation manifest {entry.digest}"):
        documents[context.store.blobs.put(config)] = config
        documents[context.store.blobs.put(manifest)] = manifest
    return msgspec.structs.replace(
        entry,
        platform=_UNKNOWN,
        annotations={REFERENCE_TYPE: ATTESTATION, REFERENCE_DIGEST: target.digest},
    )
