"""Indexes of several images, made from existing manifests as `docker buildx imagetools` makes them.

Two builds for two platforms, on two machines, become one image of both; manifests keep their bytes and digests. Source:
buildx's util/imagetools.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from ..cancel import Cancel
from ..errors import SourceError, UsageError
from ..exporters import ExportContext
from ..exporters.push import push_image
from ..exporters.save import assembled
from ..oci import config as configs
from ..oci import reference
from ..oci.blobs import Blobs, read
from ..oci.descriptor import Descriptor, describe
from ..oci.manifest import Index, decode_index, decode_manifest, index_type, media_type_of
from ..oci.mediatype import INDEXES
from ..oci.platform import normalise
from ..session import Auth, Session
from ..status.report import VertexReport
from ..store import ImageRecord, Store
from .copy import Location, parse_location, take

_DOCKER = "application/vnd.docker."


def create(
    store: Store,
    sources: Sequence[str],
    names: Sequence[str],
    auth: Auth | None,
    cancel: Cancel,
    report: VertexReport,
    *,
    append: bool = False,
    annotations: Mapping[str, str] | None = None,
) -> bytes:
    """Make an index of all manifests of the sources, write it under the given names, and return its document.

    Sources and names have the syntax of `copy`: `docker://NAME`, or an image of the store; without names nothing is
    written. With `append`, the manifests are added to those already under the names. Raises BuildError.
    """
    if not sources:
        raise UsageError(
            "No image was named for the index.", hint="Write imagetools create -t docker://NAME NAME1 NAME2."
        )
    dests = [parse_location(name) for name in names]
    for dest in dests:
        if dest.kind not in ("docker", "store"):
            raise UsageError(f"An index cannot be written to {dest.kind}:.", hint="Use docker://NAME or NAME.")
    with store.lease():
        context = ExportContext(store, Session(auth=auth), report, cancel, None)
        before = dests[:1] if append and dests else []
        roots = [take(store, place, context) for place in [*before, *map(parse_location, sources)]]
        document, root = merged(store.blobs, roots, annotations or {})
        store.blobs.put(document)
        for dest in dests:
            _name(store, dest, root, context)
    return document


def merged(blobs: Blobs, roots: Sequence[Descriptor], annotations: Mapping[str, str]) -> tuple[bytes, Descriptor]:
    """Return an index of all manifests below the roots, each once, and its descriptor.

    A single index without annotations stays as it is. Manifests that are all Docker's make a Docker manifest list.
    """
    entries: dict[str, Descriptor] = {}
    for root in roots:
        data = read(blobs, root)
        if media_type_of(data) in INDEXES:
            if len(roots) == 1 and not annotations:
                return data, describe(data, media_type_of(data))
            for entry in decode_index(data).manifests:
                entries.setdefault(entry.digest, entry)
        else:
            config = configs.decode(read(blobs, decode_manifest(data).config))
            platform = normalise(root.platform or config.platform)
            entries.setdefault(
                root.digest, msgspec.structs.replace(describe(data, media_type_of(data)), platform=platform)
            )
    oci = not all(entry.media_type.startswith(_DOCKER) for entry in entries.values())
    if annotations and not oci:
        raise UsageError(
            "Docker's manifest lists cannot have annotations.", hint="OCI indexes can: set oci-mediatypes=true."
        )
    document = Index(tuple(entries.values()), index_type(oci=oci), annotations=dict(annotations)).encode()
    return document, describe(document, index_type(oci=oci))


def _name(store: Store, dest: Location, root: Descriptor, context: ExportContext) -> None:
    ref = reference.parse(dest.name).tagged()
    if dest.kind == "store":
        store.images.put(str(ref), root)
        return
    image = assembled(ImageRecord(str(ref), root, 0.0), context)
    if not image.manifests:
        raise SourceError(f"{dest.name} would be left without an image.")
    push_image(image, ref, context)
