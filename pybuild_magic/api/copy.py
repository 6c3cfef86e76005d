"""Copies of images between places, named as `skopeo copy` names them. A copied image keeps its digests.

    docker://NAME          a registry
    oci:PATH[:TAG]         a directory: an OCI layout
    oci-archive:PATH[:TAG] the same as a tar
    docker-archive:PATH[:NAME]   what `docker save` writes and `docker load` reads
    docker-daemon:NAME     Docker's engine, at DOCKER_HOST
    store:NAME, or NAME    the store

Everything goes through the store, under no name, so that the next garbage collection removes it again.
"""

from __future__ import annotations

import tempfile
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec

from .. import exporters
from ..cancel import Cancel
from ..docker.save import save_image
from ..errors import SourceError, UsageError, nearest
from ..exporters import ExportContext, SolveResult, TargetResult
from ..exporters.archive import docker_manifest, documents, named_entries, write_images
from ..exporters.assemble import AssembledImage, assemble
from ..exporters.push import push_image
from ..exporters.save import assembled
from ..images.archive import Images, open_images
from ..images.load import take_in
from ..images.places import BlobsPlace, RegistryPlace
from ..oci import config as configs
from ..oci import platform as platforms
from ..oci import reference
from ..oci.blobs import Blobs, read, select
from ..oci.descriptor import REF_NAME, Descriptor, describe
from ..oci.layout import find
from ..oci.manifest import Index, Manifest, media_type_of
from ..oci.mediatype import INDEXES
from ..oci.platform import Platform
from ..oci.reference import Reference
from ..oci.remote.registry import Registry
from ..portable import kind_of, user_path
from ..session import Auth, DirSink, FileSink, Session, Sink
from ..status.report import VertexReport
from ..store import ImageRecord, Store

KINDS = ("docker", "oci", "oci-archive", "docker-archive", "docker-daemon", "store")


class Location(msgspec.Struct, frozen=True):
    """A place that an image is copied from or to."""

    kind: str
    path: str = ""
    name: str = ""
    """A reference; for a layout or an archive, the tag or name inside it."""


def parse_location(text: str) -> Location:
    """Parse the name of a place. Raises UsageError."""
    kind, colon, rest = text.partition(":")
    if not colon or kind not in KINDS:
        if colon and rest.startswith("//"):
            suggestion = nearest(kind, KINDS)
            raise UsageError(
                f"{kind}:// is not a known kind of place.", hint=f"Did you mean {suggestion}?" if suggestion else _HINT
            )
        return Location("store", name=text)
    if kind in ("docker", "docker-daemon", "store"):
        return Location(kind, name=rest.removeprefix("//"))
    path, _, name = rest.partition(":")
    if not path:
        raise UsageError(f"{text} has no path.", hint=_HINT)
    return Location(kind, path, name)


_HINT = "Write docker://NAME, oci:DIR:TAG, oci-archive:FILE, docker-archive:FILE:NAME, docker-daemon:NAME or NAME."


def copy_image(
    store: Store,
    source: Location,
    dest: Location,
    auth: Auth | None,
    cancel: Cancel,
    report: VertexReport,
    *,
    platform: str = "",
    compression: str = "",
) -> str:
    """Copy an image, and return the digest of the copy. Raises BuildError.

    For an image of several platforms, all that are present are copied, or just `platform`. With `compression`, layers
    are packed again, which changes the digests.
    """
    with store.lease():
        context = ExportContext(store, Session(auth=auth), report, cancel, _sink(dest))
        root = take(store, source, context, platform)
        image = assembled(ImageRecord(str(source.name or source.path), root, 0.0), context)
        if compression:
            image = _packed(image, compression, context)
        _give(image, source, dest, context)
        return image.root.digest


def take(store: Store, source: Location, context: ExportContext, platform: str = "") -> Descriptor:
    """Bring the image into the store; return its root, or the manifest of `platform`. Raises BuildError."""
    target = platforms.parse(platform) if platform else None
    cancel, report = context.cancel, context.progress

    def chosen(blobs: Blobs, root: Descriptor) -> Descriptor:
        return select(blobs, root, target, lambda _entry: None) if target else root

    if source.kind == "docker":
        ref = reference.parse(source.name).tagged()
        with Registry(context.session.auth) as registry:
            place = RegistryPlace(registry, ref, store, cancel)
            root = chosen(place.manifests, registry.resolve(ref, cancel))
            take_in(store, place, root, cancel, report)
            return root
    if source.kind == "store":
        record = store.images.get(str(reference.parse(source.name).tagged()))
        if record is None:
            raise SourceError(f"The image {source.name} is not in the store.", hint="`%build images` lists them.")
        return chosen(store.blobs, record.descriptor)
    with _images(store, source) as images:
        root = find(images.index(), "" if source.kind == "docker-daemon" else source.name)
        root = Descriptor(root.media_type or media_type_of(read(images, root)), root.digest, root.size)
        root = chosen(images, root)
        take_in(store, BlobsPlace(images), root, cancel, report)
        return root


@contextmanager
def _images(store: Store, source: Location) -> Generator[Images]:
    """Return the images of a layout, of an archive, or of an engine's `docker save`."""
    if source.kind != "docker-daemon":
        path = user_path(source.path)
        is_layout = source.kind == "oci"
        if kind_of(path) and (kind_of(path) == "directory") != is_layout:
            raise SourceError(
                f"{source.kind}: takes a {'directory' if is_layout else 'file'}, but {source.path} is not one."
            )
        with closing(open_images(path)) as images:
            yield images
        return
    with tempfile.TemporaryDirectory(dir=store.root / "work") as place:
        archive = Path(place) / "saved.tar"
        with archive.open("wb") as file:
            save_image(source.name, file)
        with closing(open_images(archive)) as images:
            yield images


def _packed(image: AssembledImage, compression: str, context: ExportContext) -> AssembledImage:
    """Return the same image with its layers packed again; its configs stay as they are."""
    values = exporters.check("image", {"compression": compression, "force-compression": "true"})
    multi = image.root.media_type in INDEXES
    targets: list[TargetResult] = []
    for platform, manifest, _ in image.manifests:
        config = configs.decode(image.documents[manifest.config.digest])
        targets.append(TargetResult(platform, config.rootfs.diff_ids, config, config))
    result = assemble(SolveResult(tuple(targets), multi_platform=multi), values, context)
    return _with_configs(result, [manifest.config for _, manifest, _ in image.manifests], image.documents, context)


def _with_configs(
    result: AssembledImage, descriptors: Sequence[Descriptor], documents: Mapping[str, bytes], context: ExportContext
) -> AssembledImage:
    """Return the image with its original configs, byte for byte: they name layers by their uncompressed digests."""
    texts: dict[str, bytes] = {}
    manifests: list[tuple[Platform, Manifest, Descriptor]] = []
    for (platform, manifest, old), config in zip(result.manifests, descriptors, strict=True):
        own = msgspec.structs.replace(config, media_type=manifest.config.media_type)
        whole = msgspec.structs.replace(manifest, config=own)
        data = whole.encode()
        digest = context.store.blobs.put(data)
        texts |= {digest: data, config.digest: documents[config.digest]}
        manifests.append((platform, whole, msgspec.structs.replace(old, digest=digest, size=len(data))))
    root = manifests[0][2]
    if result.root.media_type in INDEXES:
        index = Index(tuple(descriptor for _, _, descriptor in manifests), media_type=result.root.media_type)
        data = index.encode()
        root = describe(data, result.root.media_type)
        texts[context.store.blobs.put(data)] = data
    return AssembledImage(root, tuple(manifests), texts)


def _sink(dest: Location) -> Sink | None:
    if dest.kind == "oci":
        return DirSink(dest.path)
    return FileSink(dest.path) if dest.path else None


def _give(image: AssembledImage, source: Location, dest: Location, context: ExportContext) -> None:
    """Write an image of the store to its destination."""
    if dest.kind == "store":
        name = str(reference.parse(dest.name).tagged())
        context.store.images.put(name, image.root)
        return
    if dest.kind == "docker":
        push_image(image, reference.parse(dest.name).tagged(), context)
        return
    if dest.kind in ("docker-archive", "docker-daemon") and len(image.manifests) > 1:
        raise UsageError(
            f"{dest.kind} takes an image of a single platform.",
            hint="Choose one, for instance with --platform linux/amd64.",
        )
    names = _names(source, dest)
    entries = [image.root.annotated({REF_NAME: dest.name})] if dest.kind.startswith("oci") and dest.name else []
    files = documents(entries or list(named_entries(image.root, names)), [docker_manifest(image, names)])
    write_images(image, files, context)


def _names(source: Location, dest: Location) -> list[Reference]:
    """Return the image's name in an archive: the given one, else its previous name if that is a valid reference."""
    if dest.kind.startswith("oci"):
        return []
    name = dest.name or (source.name if source.kind in ("docker", "docker-daemon", "store") else "")
    return [reference.parse(name).tagged()] if name else []
