"""Images in a tar: archived OCI layouts, and archives of `docker save`. They are read in place, never unpacked.

Archives are untrusted: nothing is written to disk under their names, links are only followed to other members, and
readers verify the members' digests.
"""

from __future__ import annotations

import io
import posixpath
from pathlib import Path
from typing import BinaryIO, Protocol

import msgspec

from ..errors import SourceError, UsageError
from ..golang.json import check_nesting
from ..oci import reference
from ..oci.blobs import Blobs
from ..oci.descriptor import CONTAINERD_NAME, REF_NAME, Descriptor, describe
from ..oci.digest import new_hash
from ..oci.layout import INDEX_FILE, LAYOUT_FILE, Layout, blob_path
from ..oci.manifest import MAX_DOCUMENT, Index, Manifest, decode_index
from ..oci.mediatype import OCI_CONFIG, OCI_LAYER, OCI_LAYER_GZIP, OCI_LAYER_ZSTD, OCI_MANIFEST
from ..portable import kind_of
from ..store.decompress import MAGIC_SIZE, compression_of
from ..store.entry import FILE, HARDLINK, SYMLINK
from ..store.opentar import OpenTar
from ..store.tarread import Member

DOCKER_FILE = "manifest.json"
_LAYER_TYPES = {"gzip": OCI_LAYER_GZIP, "zstd": OCI_LAYER_ZSTD}
_MAX_MEMBERS = 100_000
_MAX_LINKS = 16
_MAX_IMPLIED = 64 << 20
"""The most bytes of configs and manifests in a `docker save` archive, counting each as often as it is named."""


class Images(Blobs, Protocol):
    """A place with several images: a layout or an archive."""

    def index(self) -> Index:
        """Return the images, with their names as annotations."""
        ...

    def close(self) -> None:
        """Close open files."""
        ...


def open_images(path: Path) -> Images:
    """Return the images at `path`: a layout directory, an archived layout, or an archive of `docker save`.

    Archives may be compressed with gzip, bzip2, xz or zstd. Raises SourceError for anything else.
    """
    if kind_of(path) == "directory":
        return Layout(path)
    try:
        return Archive(path, str(path))
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}.") from error


class _Member(msgspec.Struct, frozen=True):
    stored: Member
    link: str = ""
    """The path of the member to which this is a link."""

    @property
    def size(self) -> int:
        return self.stored.stored


class _Saved(msgspec.Struct):
    """One image of `manifest.json`, with Docker's keys."""

    config: str = msgspec.field(name="Config")
    layers: list[str] = msgspec.field(name="Layers", default_factory=list[str])
    tags: list[str] | None = msgspec.field(name="RepoTags", default=None)


class _RootFS(msgspec.Struct, frozen=True):
    diff_ids: list[str] = []


class _Config(msgspec.Struct):
    rootfs: _RootFS = _RootFS()


class Archive:
    """An archive that is open for reading, by several threads. `name` is for messages."""

    def __init__(self, file: Path | BinaryIO, name: str = "The archive") -> None:
        self._name = name
        self._tar = OpenTar(file, name)
        try:
            self._open_index()
        except BaseException:
            self._tar.close()
            raise

    def _open_index(self) -> None:
        self._members = self._scan()
        self._made: dict[str, bytes] = {}
        """Configs and manifests of a `docker save` archive, which only implies them."""
        self._implied = 0
        self._digests: dict[int, str] = {}
        """Digests of members that may have several names, by offset."""
        self._named: dict[str, _Member] = {}
        if LAYOUT_FILE in self._members and INDEX_FILE in self._members:
            self._index = decode_index(self._document(INDEX_FILE))
        elif DOCKER_FILE in self._members:
            self._index = self._imply()
        else:
            raise SourceError(
                f"{self._name} contains no image: it has neither {INDEX_FILE} and {LAYOUT_FILE} (OCI) nor "
                f"{DOCKER_FILE} (docker save)."
            )

    def index(self) -> Index:
        """Return the images of the archive."""
        return self._index

    def has(self, digest: str) -> bool:
        """Return whether the blob exists."""
        return self.size(digest) is not None

    def size(self, digest: str) -> int | None:
        """Return the blob's size in bytes; None when it does not exist."""
        if digest in self._made:
            return len(self._made[digest])
        member = self._blob(digest)
        return None if member is None else member.size

    def open(self, digest: str) -> BinaryIO:
        """Return the blob's content."""
        if digest in self._made:
            return io.BytesIO(self._made[digest])
        member = self._blob(digest)
        if member is None:
            raise SourceError(f"{self._name} has no blob {digest}.")
        return self._tar.open(member.stored)

    def close(self) -> None:
        """Close the file."""
        self._tar.close()

    def _blob(self, digest: str) -> _Member | None:
        return self._named.get(digest) or self._find(blob_path(digest))

    def _scan(self) -> dict[str, _Member]:
        scanned: dict[str, _Member] = {}
        try:
            for member in self._tar.members():
                entry = member.entry
                if entry.type == FILE and member.sparse is None:
                    scanned[entry.path] = _Member(member)
                elif entry.type == SYMLINK:
                    scanned[entry.path] = _Member(member, posixpath.join(posixpath.dirname(entry.path), entry.link))
                elif entry.type == HARDLINK:
                    scanned[entry.path] = _Member(member, entry.link)
                if len(scanned) > _MAX_MEMBERS:
                    raise SourceError(f"{self._name} has more than {_MAX_MEMBERS} members.")
        except OSError as error:
            raise SourceError(f"{self._name} cannot be read: {error.strerror or error}.") from error
        return scanned

    def _find(self, name: str) -> _Member | None:
        """Return the member of that name, following links between members."""
        for _ in range(_MAX_LINKS):
            member = self._members.get(posixpath.normpath(name).lstrip("/"))
            if member is None or not member.link:
                return member
            name = member.link
        return None

    def _document(self, name: str) -> bytes:
        member = self._find(name)
        if member is None:
            raise SourceError(f"{self._name} is incomplete: it has no {name}.")
        if member.size > MAX_DOCUMENT:
            raise SourceError(f"{name} in {self._name} is too large: it has {member.size} bytes.")
        with self._tar.open(member.stored) as file:
            data = file.read()
        check_nesting(data, f"{name} in {self._name}")
        return data

    def _imply(self) -> Index:
        """Return an index for an archive without one; its manifests are made from Docker's list."""
        try:
            images = msgspec.json.decode(self._document(DOCKER_FILE), type=list[_Saved])
            return Index(tuple(entry for image in images for entry in self._entries(image)))
        except msgspec.DecodeError as error:
            raise SourceError(f"{DOCKER_FILE} in {self._name} cannot be read: {error}.") from error

    def _entries(self, image: _Saved) -> list[Descriptor]:
        config = self._document(image.config)
        diff_ids = msgspec.json.decode(config, type=_Config).rootfs.diff_ids
        if len(diff_ids) != len(image.layers):
            raise SourceError(f"{self._name} has {len(image.layers)} layers, but its config lists {len(diff_ids)}.")
        described = describe(config, OCI_CONFIG)
        self._keep(described.digest, config)
        layers = tuple(map(self._layer, image.layers, diff_ids))
        data = Manifest(config=described, layers=layers).encode()
        manifest = describe(data, OCI_MANIFEST)
        self._keep(manifest.digest, data)
        names: list[dict[str, str]] = []
        for tag in image.tags or ():
            try:
                ref = reference.parse(tag).tagged()
            except UsageError as error:
                raise SourceError(f"{self._name} names an image {tag!r}, which is not a valid name.") from error
            names.append({CONTAINERD_NAME: str(ref), REF_NAME: ref.tag})
        return [manifest.annotated(annotations) for annotations in names or [{}]]

    def _keep(self, digest: str, data: bytes) -> None:
        self._made[digest] = data
        self._implied += len(data)
        if self._implied > _MAX_IMPLIED:
            raise SourceError(f"The images of {self._name} are described by more than {_MAX_IMPLIED} bytes.")

    def _layer(self, name: str, diff_id: str) -> Descriptor:
        """Return the descriptor of a layer's file: its digest is the diffID for a plain tar."""
        member = self._find(name)
        if member is None:
            raise SourceError(f"{self._name} is incomplete: it has no {name}.")
        start = member.stored.entry.offset
        with self._tar.open(member.stored) as file:
            digest, kind = diff_id, _LAYER_TYPES.get(compression_of(file.read(MAGIC_SIZE)), OCI_LAYER)
            if kind != OCI_LAYER:
                file.seek(0)
                digest = self._digests[start] = self._digests.get(start) or _digest(file)
        self._named[digest] = member
        return Descriptor(kind, digest, member.size)


def _digest(file: BinaryIO) -> str:
    content = new_hash("sha256:" + "0" * 64)
    while block := file.read(1 << 20):
        content.update(block)
    return f"sha256:{content.hexdigest()}"
