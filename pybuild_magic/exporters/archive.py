"""Images as a tar or a directory that other tools load, for the `oci` and `docker` exporters."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from socket import socket
from typing import Any, BinaryIO

import msgspec

from ..errors import ExportError, UsageError, unwritable
from ..golang.json import dumps
from ..oci.descriptor import CONTAINERD_NAME, CREATED, REF_NAME, Descriptor
from ..oci.layout import INDEX_FILE, LAYOUT, LAYOUT_FILE, LayoutWriter, blob_path
from ..oci.manifest import Index, decode_index
from ..oci.platform import best, host
from ..oci.reference import Reference
from ..session import DirSink, FileSink, Sink
from ..store import TRAILER, Entry, padding, tar_header
from ..store.entry import DIR
from . import ExportContext, SolveResult
from .assemble import AssembledImage, assemble, is_attested
from .assemble import check as check_image
from .attributes import DEST, IMAGE_ATTRIBUTES, Attribute, Values, changed
from .image import image_names
from .output import OutputWriter

MANIFEST_FILE = "manifest.json"
"""Docker's list of the images in an archive, which every version of `docker load` reads."""

_ATTRIBUTES: tuple[Attribute, ...] = (
    *changed(IMAGE_ATTRIBUTES, **{"attestation-inline": False}),
    Attribute("tar", "bool", True, "Write a tar; false for a directory."),
    DEST,
)


class ArchiveExporter:
    """Writes `blobs/`, `index.json`, `manifest.json` and `oci-layout`, as a tar or as a directory."""

    attributes = _ATTRIBUTES

    def __init__(self, kind: str) -> None:
        self.type = kind
        self.name = f"exporting to {kind} image format"

    def check(self, values: Values, sink: Sink | None) -> None:
        """Raise UsageError for a `dest` that is missing or of the wrong kind, and for invalid names."""
        check_image(values)
        image_names(values["name"])
        if values["tar"] and isinstance(sink, DirSink):
            raise UsageError(f"The {self.type} exporter writes a tar to a file; use tar=false for a directory.")
        if not values["tar"] and not isinstance(sink, DirSink):
            raise UsageError(f"The {self.type} exporter with tar=false needs a directory: dest=DIR.")
        if sink is None and self.type == "docker":
            from ..docker.load import default_engine

            default_engine()
        elif sink is None:
            raise UsageError(f"The {self.type} exporter needs a file to write to: dest=FILE.")

    def export(self, result: SolveResult, values: Values, context: ExportContext) -> dict[str, str]:
        """Assemble the image and write it to the sink or, without one, into Docker's engine."""
        if self.type == "docker" and result.multi_platform:
            raise ExportError(
                "The docker exporter cannot export several platforms.", hint="Use type=oci, or build one --platform."
            )
        if self.type == "docker" and is_attested(result, values):
            raise ExportError(
                "The docker exporter cannot export attestations, which need an index.",
                hint="Use type=oci, or leave --provenance and --sbom out.",
            )
        image = assemble(result, values, context)
        names = image_names(values["name"])
        root = _created(image.root, values.epoch(result.epoch))
        files = documents(tuple(named_entries(root, names)), [docker_manifest(image, names)])
        response = image.response
        response["containerimage.descriptor"] = base64.b64encode(root.encode()).decode()
        if names:
            response["image.name"] = ",".join(map(str, names))
        write_images(image, files, context)
        return response


def write_images(image: AssembledImage, files: dict[str, bytes], context: ExportContext) -> None:
    """Write blobs and `files` (by name, at the root) to the sink of `context` or, without one, into Docker's engine."""
    if isinstance(context.sink, DirSink):
        _write_directory(image, files, context, context.sink)
        return
    with context.progress.step("sending tarball") as step:
        total = tar_size(image, files)

        def write(target: BinaryIO | socket) -> None:
            write_tar(
                image, files, context, OutputWriter(target, context.cancel, lambda done: step.update(done, total))
            )

        if isinstance(context.sink, FileSink):
            with context.sink.open() as file:
                write(file)
        else:
            _load(total, write, context)


def _load(size: int, write: Callable[[socket], None], context: ExportContext) -> None:
    from ..docker.load import Load, default_engine

    load = Load(default_engine(), size)
    try:
        with context.cancel.on_cancel(load.shut):
            try:
                write(load.socket)
            except (BrokenPipeError, ConnectionResetError) as error:
                load.refused_early(error)
            load.finish()
    except (OSError, ExportError) as error:
        context.cancel.check()
        if isinstance(error, ExportError):
            raise
        raise ExportError(f"The image cannot be sent to the Docker engine: {error.strerror or error}.") from error
    finally:
        load.close()


def _write_directory(image: AssembledImage, files: dict[str, bytes], context: ExportContext, sink: DirSink) -> None:
    path = sink.make()
    try:
        writer = LayoutWriter(path)
        for digest, size in image.blobs.items():
            with writer.blob(digest) as file:
                if file is not None:
                    with context.packed.open(digest) as source:
                        output = OutputWriter(file, context.cancel)
                        output.copy_blob(source, size)
                        output.close()
        if (path / INDEX_FILE).is_file():
            files = {**files, INDEX_FILE: _merged((path / INDEX_FILE).read_bytes(), files[INDEX_FILE])}
        writer.finish(files)
    except OSError as error:
        raise unwritable(error.filename or path, error) from error


def documents(entries: Sequence[Descriptor], entries_of_docker: Sequence[dict[str, Any]]) -> dict[str, bytes]:
    """Return the files at the root of a layout: its index, and Docker's list of the images."""
    return {
        LAYOUT_FILE: LAYOUT,
        INDEX_FILE: Index(tuple(entries)).encode(indent=False),
        MANIFEST_FILE: dumps(list(entries_of_docker)),
    }


def _created(root: Descriptor, epoch: int | None) -> Descriptor:
    if CREATED in root.annotations:
        return root
    moment = datetime.now(UTC) if epoch is None else datetime.fromtimestamp(epoch, UTC)
    return root.annotated({CREATED: moment.strftime("%Y-%m-%dT%H:%M:%SZ")})


def named_entries(root: Descriptor, names: Sequence[Reference]) -> Iterator[Descriptor]:
    """Yield the image's entries for `index.json`: one for each name, with the annotations that containerd writes."""
    if not names:
        yield root
    for name in names:
        yield root.annotated({CONTAINERD_NAME: str(name), REF_NAME: name.tag or name.digest})


def _merged(existing: bytes, new: bytes) -> bytes:
    """Merge into the `index.json` of an existing layout: its images stay, unless the new ones have their names."""
    added = decode_index(new)
    names = {entry.annotations.get(CONTAINERD_NAME) for entry in added.manifests}
    digests = {entry.digest for entry in added.manifests}
    old = decode_index(existing)
    others = [
        entry
        for entry in old.manifests
        if (name := entry.annotations.get(CONTAINERD_NAME)) not in names or (not name and entry.digest not in digests)
    ]
    return msgspec.structs.replace(old, manifests=(*others, *added.manifests)).encode(indent=False)


def docker_manifest(image: AssembledImage, names: Sequence[Reference]) -> dict[str, Any]:
    """Return the single image that `docker load` takes: of several platforms, the one for this machine."""
    own = best(host(), [(platform, manifest) for platform, manifest, _ in image.manifests])
    manifest = own or image.manifests[0][1]
    return {
        "Config": blob_path(manifest.config.digest),
        "RepoTags": [name.familiar for name in names] or None,
        "Layers": [blob_path(layer.digest) for layer in manifest.layers] or None,
    }


def _members(image: AssembledImage, files: dict[str, bytes]) -> list[tuple[Entry, bytes | str]]:
    """Return the entries of the tar in order: the name of each, with its content or its blob's digest."""
    directories = [Entry("blobs", DIR, 0o755)]
    directories += [Entry(f"blobs/{name}", DIR, 0o755) for name in {digest.partition(":")[0] for digest in image.blobs}]
    blobs = [(Entry(blob_path(digest), mode=0o444, size=size), digest) for digest, size in image.blobs.items()]
    small = [
        (Entry(name, mode=0o444 if name == LAYOUT_FILE else 0o644, size=len(data)), data)
        for name, data in files.items()
    ]
    members: list[tuple[Entry, bytes | str]] = [*((entry, b"") for entry in directories), *blobs, *small]
    return sorted(members, key=lambda member: member[0].path)


def tar_size(image: AssembledImage, files: dict[str, bytes]) -> int:
    """Return the size of the whole archive in bytes."""
    entries = (entry for entry, _ in _members(image, files))
    return sum(len(tar_header(entry)) + entry.size + padding(entry.size) for entry in entries) + len(TRAILER)


def write_tar(image: AssembledImage, files: dict[str, bytes], context: ExportContext, output: OutputWriter) -> None:
    """Write the archive like containerd: entries by name, times 1970, blobs read-only."""
    for entry, content in _members(image, files):
        output.write(tar_header(entry))
        if isinstance(content, bytes):
            output.write(content)
        else:
            with context.packed.open(content) as source:
                output.copy_blob(source, entry.size)
        output.write(bytes(padding(entry.size)))
    output.write(TRAILER)
    output.close()
