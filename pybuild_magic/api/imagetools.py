"""Indexes of several images, made from existing manifests as `docker buildx imagetools` makes them.

Two builds for two platforms, on two machines, become one image of both; manifests keep their bytes and digests. Source:
buildx's util/imagetools.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from ..cancel import Cancel
from ..errors import SourceError, UsageError
from ..exporters import ExportContext
from ..exporters.push import push_image
from ..exporters.save import assembled
from ..images.places import RegistryPlace, read_document
from ..oci import config as configs
from ..oci import platform as platforms
from ..oci import reference
from ..oci.blobs import Blobs, is_attestation, read
from ..oci.descriptor import REFERENCE_DIGEST, Descriptor, describe
from ..oci.digest import is_digest
from ..oci.manifest import Index, decode_index, decode_manifest, index_type, media_type_of
from ..oci.mediatype import INDEXES
from ..oci.platform import Platform, normalise
from ..oci.remote.registry import Registry
from ..session import Auth, Session
from ..status.report import VertexReport
from ..store import ImageRecord, Store
from .copy import Location, parse_location, take

_DOCKER = "application/vnd.docker."
_ANNOTATION = re.compile(r"(index|manifest-descriptor)(?:\[([\w/.-]+)\])?")


class Annotation(msgspec.Struct, frozen=True):
    """An annotation of an index, or of its entries: those of one platform, or all."""

    key: str
    value: str
    of_entries: bool = False
    platform: Platform | None = None


class _Source(msgspec.Struct, frozen=True):
    """An image of a new index, with what a descriptor says of it beyond its digest."""

    place: Location
    described: dict[str, Any] = {}


def create(
    store: Store,
    sources: Sequence[str],
    names: Sequence[str],
    auth: Auth | None,
    cancel: Cancel,
    report: VertexReport,
    *,
    append: bool = False,
    annotations: Sequence[Annotation] = (),
    only: Sequence[Platform] = (),
    prefer_index: bool = True,
    dry_run: bool = False,
) -> bytes:
    """Make an index of all manifests of the sources, write it under the given names, and return its document.

    Sources and names have the syntax of `copy`: `docker://NAME`, or an image of the store. A source may also be a
    digest or the JSON of a descriptor, in the only repository that the others name. With `append`, the manifests are
    added to those already under the first name; with `only`, those of other platforms are left out. A `dry_run` writes
    nothing and fetches no layers. Raises BuildError.
    """
    if not sources:
        raise UsageError(
            "No image was named for the index.", hint="Write imagetools create -t docker://NAME NAME1 NAME2."
        )
    dests = [parse_location(name) for name in names]
    for dest in dests:
        if dest.kind not in ("docker", "store"):
            raise UsageError(f"An index cannot be written to {dest.kind}:.", hint="Use docker://NAME or NAME.")
    before = [_Source(dest) for dest in dests[:1] if append]
    with store.lease():
        context = ExportContext(store, Session(auth=auth), report, cancel, None)
        bring = _look if dry_run else take
        roots = [_described(bring(store, own.place, context), own) for own in [*before, *_sources(sources, dests)]]
        document, root = merged(store.blobs, roots, annotations, prefer_index=prefer_index)
        if only:
            document, root = _only(document, root, only)
        store.blobs.put(document)
        for dest in () if dry_run else dests:
            _name(store, dest, root, context)
    return document


def parse_annotation(text: str) -> list[Annotation]:
    """Parse `[KIND[PLATFORM],…:]KEY=VALUE`; without a kind, it is the index's. Raises UsageError."""
    key, equals, value = text.partition("=")
    kinds, colon, name = key.partition(":")
    matches = [_ANNOTATION.fullmatch(kind) for kind in kinds.split(",")] if colon else []
    if not equals or not key:
        raise UsageError(f"--annotation {text!r} is not KEY=VALUE.")
    if None in matches:
        raise UsageError(
            f"--annotation {text!r} is not one of an index or its entries: manifests keep their bytes here.",
            hint="Use index:KEY=VALUE or manifest-descriptor[PLATFORM]:KEY=VALUE.",
        )
    return [
        Annotation(name, value, match[1] != "index", platforms.parse(match[2]) if match[2] else None)
        for match in matches
        if match
    ] or [Annotation(key, value)]


def _sources(texts: Sequence[str], dests: Sequence[Location]) -> list[_Source]:
    """Return the images that the texts name. Raises UsageError."""
    bare = {text: _descriptor(text) for text in texts if is_digest(text) or text.lstrip().startswith("{")}
    places = {text: parse_location(text) for text in texts if text not in bare}
    repositories = {
        repository
        for place in (*dests, *places.values())
        if place.kind == "docker" and (repository := str(reference.parse(place.name).name))
    }
    if bare and len(repositories) != 1:
        raise UsageError(
            f"A digest or a descriptor needs one repository in a registry, but {len(repositories)} are named.",
            hint="Write the whole name in its place, with @ before the digest.",
        )
    return [
        _Source(Location("docker", name=f"{next(iter(repositories))}@{bare[text]['digest']}"), bare[text])
        if text in bare
        else _Source(places[text])
        for text in texts
    ]


def _descriptor(text: str) -> dict[str, Any]:
    """Return the members of a descriptor, written as a digest or as JSON. Raises UsageError."""
    if is_digest(text):
        return {"digest": text}
    try:
        document = msgspec.json.decode(text, type=dict[str, Any])
        # A descriptor need not repeat what the registry says of its digest.
        msgspec.convert({"mediaType": "", "size": 0} | document, Descriptor)
    except (msgspec.DecodeError, UnicodeError) as error:
        raise UsageError(f"A source is not a descriptor: {error}.") from error
    if "schemaVersion" in document or not is_digest(document.get("digest", "")):
        raise UsageError(
            "A source is not a descriptor: it has no digest.", hint="A descriptor has mediaType, digest and size."
        )
    return document


def _described(root: Descriptor, source: _Source) -> Descriptor:
    """Return the root of a source with what its descriptor says. Raises UsageError for another size."""
    if not source.described:
        return root
    own = msgspec.convert({"mediaType": root.media_type, "size": root.size} | source.described, Descriptor)
    if own.size not in (0, root.size):
        raise UsageError(f"The descriptor of {root.digest} says {own.size} bytes, but it has {root.size}.")
    return msgspec.structs.replace(
        root,
        media_type=own.media_type or root.media_type,
        annotations=own.annotations or root.annotations,
        platform=own.platform or root.platform,
    )


def _look(store: Store, place: Location, context: ExportContext) -> Descriptor:
    """Bring the documents of an image that an index needs into the store, and return its root. Raises BuildError."""
    if place.kind != "docker":
        return take(store, place, context)
    ref = reference.parse(place.name).tagged()
    with Registry(context.session.auth) as registry:
        found = RegistryPlace(registry, ref, store, context.cancel)
        root = registry.resolve(ref, context.cancel)
        data = read(found.manifests, root)
        if media_type_of(data) not in INDEXES:
            read_document(store, found, decode_manifest(data).config, context.cancel)
    return root


def merged(
    blobs: Blobs, roots: Sequence[Descriptor], annotations: Sequence[Annotation] = (), *, prefer_index: bool = True
) -> tuple[bytes, Descriptor]:
    """Return an index of all manifests below the roots, each once, and its descriptor.

    A single index without annotations stays as it is, and so does a single manifest unless `prefer_index`. Manifests
    that are all Docker's make a Docker manifest list.
    """
    entries: dict[str, Descriptor] = {}
    for root in roots:
        data = read(blobs, root)
        media_type = media_type_of(data)
        if len(roots) == 1 and not annotations and (media_type in INDEXES or not prefer_index):
            platform = root.platform if media_type in INDEXES else _platform(blobs, root, data)
            return data, msgspec.structs.replace(describe(data, media_type), platform=platform)
        own = Descriptor(
            media_type, root.digest, len(data), annotations=root.annotations, platform=_platform(blobs, root, data)
        )
        for entry in decode_index(data).manifests if media_type in INDEXES else (own,):
            entries[entry.digest] = _both(entries[entry.digest], entry) if entry.digest in entries else entry
    oci = not all(entry.media_type.startswith(_DOCKER) for entry in entries.values())
    if annotations and not oci:
        raise UsageError(
            "Docker's manifest lists cannot have annotations.", hint="OCI indexes can: set oci-mediatypes=true."
        )
    described = tuple(entry.annotated(_own(annotations, entry)) for entry in entries.values())
    of_index = {own.key: own.value for own in annotations if not own.of_entries}
    document = Index(described, index_type(oci=oci), annotations=of_index).encode()
    return document, describe(document, index_type(oci=oci))


def _platform(blobs: Blobs, root: Descriptor, data: bytes) -> Platform | None:
    """Return the platform of a manifest: its descriptor's, or its config's; None for an index."""
    if media_type_of(data) in INDEXES:
        return None
    if root.platform and root.platform.os and root.platform.architecture:
        return root.platform
    return normalise(configs.decode(read(blobs, decode_manifest(data).config)).platform)


def _both(first: Descriptor, second: Descriptor) -> Descriptor:
    """Return an entry that two indexes have: later ones may know its platform and more annotations."""
    return msgspec.structs.replace(first.annotated(second.annotations), platform=second.platform or first.platform)


def _own(annotations: Sequence[Annotation], entry: Descriptor) -> dict[str, str]:
    return {
        own.key: own.value
        for own in annotations
        if own.of_entries and (own.platform is None or (entry.platform and str(own.platform) == str(entry.platform)))
    }


def _only(document: bytes, root: Descriptor, only: Sequence[Platform]) -> tuple[bytes, Descriptor]:
    """Leave out the manifests of other platforms, and what attests them. Raises SourceError if none is left."""

    def fits(entry: Descriptor | None) -> bool:
        offered = entry.platform if entry else None
        return bool(entry) and (offered is None or any(platforms.same(platform, offered) for platform in only))

    if root.media_type not in INDEXES:
        if not fits(root):
            raise SourceError(f"The image is for {root.platform}, which is not one of --platform.")
        return document, root
    index = decode_index(document)
    by_digest = {entry.digest: entry for entry in index.manifests}
    kept = tuple(
        entry
        for entry in index.manifests
        if fits(entry) or (is_attestation(entry) and fits(by_digest.get(entry.annotations.get(REFERENCE_DIGEST, ""))))
    )
    if not kept:
        offered = ", ".join(str(entry.platform) for entry in index.manifests if not is_attestation(entry))
        raise SourceError(f"None of the manifests is for one of --platform; they are for {offered}.")
    if len(kept) == len(index.manifests):
        return document, root
    document = msgspec.structs.replace(index, manifests=kept).encode()
    return document, describe(document, root.media_type)


def _name(store: Store, dest: Location, root: Descriptor, context: ExportContext) -> None:
    ref = reference.parse(dest.name).tagged()
    if dest.kind == "store":
        store.images.put(str(ref), root)
        return
    image = assembled(ImageRecord(str(ref), root, 0.0), context)
    if not image.manifests:
        raise SourceError(f"{dest.name} would be left without an image.")
    push_image(image, ref, context)
