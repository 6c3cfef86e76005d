"""The contents of a finished build, read on demand: the layers of its image, trees and files.

Everything is read from where the build left it: the store of the embedded builder, or the directory, the archive or
the registry that it was written to. Layers that lie elsewhere are copied into the store on first use, with every
digest verified; the next garbage collection removes them again. No request leads out of its tree: in an image, links
are followed within its root; in a directory of the disk, no link is followed.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ..cancel import Cancel
from ..errors import SourceError, UsageError
from ..images.describe import ReadBlob
from ..oci.blobs import Blobs
from ..oci.descriptor import Descriptor
from ..portable import at
from ..request.outputs import Output
from ..store import (
    DIR,
    FILE,
    SYMLINK,
    Analysis,
    Entry,
    LayerTree,
    Store,
    changes,
    entry_type,
    resolve,
)
from ..store.opentar import OpenTar
from ..summary import ImageSummary, ManifestSummary
from .attested import Statement, statements, written_statements

if TYPE_CHECKING:
    from ..images.places import Place

Marked = tuple[str, Entry]
"""An entry of a tree, after what a layer did to it: `A` added, `M` changed, `D` removed, or ""."""

_BLOCK = 1 << 20
_LARGEST = 64 << 20
"""The most bytes that a statement may have."""
_QUICK = 20_000
"""The most entries of layers that an analysis reads while a user waits for it."""


class View(Protocol):
    """A tree that can be listed and whose files can be read."""

    def entries(self) -> Iterator[Marked]:
        """Yield all entries, each directory before its content."""
        ...

    def read(self, path: str, offset: int, limit: int) -> tuple[Entry, bytes]:
        """Return the regular file at `path`, and at most `limit` bytes of it from `offset` on.

        Raises SourceError when there is no such file.
        """
        ...


class Contents:
    """The image and the outputs of a build; layers are read in `store`. Safe to use from threads."""

    def __init__(
        self,
        store: Store,
        image: ImageSummary | None = None,
        outputs: Sequence[tuple[Output, Path | None]] = (),
        read_blob: ReadBlob | None = None,
        snapshot: tuple[str, ...] = (),
        blobs: Blobs | None = None,
        on_close: Callable[[], None] | None = None,
        *,
        attests: bool = False,
    ) -> None:
        self.store = store
        self.image = image
        self.outputs = tuple(outputs)
        self._read_blob = read_blob
        self._snapshot = snapshot
        """The stored layers that `local` and `tar` outputs show. The store keeps their tree, not this object: a kernel
        holds on to all its results, and would grow without end if each held a tree."""
        self._blobs = blobs
        """The place to fetch the image's blobs from when no output has them, such as a Docker engine."""
        self._on_close = on_close
        self._attests = attests
        """Whether the build wrote statements beside its files; if not, files named like statements are not its own."""
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close the archive that was opened for this; its documents cannot be read any more."""
        on_close, self._on_close = self._on_close, None
        if on_close is not None:
            on_close()

    def manifest(self, platform: str = "") -> ManifestSummary:
        """Return the manifest for `platform`, or the first one. Raises UsageError."""
        manifests = self.image.manifests if self.image else ()
        for manifest in manifests:
            if platform in ("", manifest.platform):
                return manifest
        if not manifests:
            raise UsageError("This build made no image.")
        known = ", ".join(manifest.platform for manifest in manifests if "unknown" not in manifest.platform)
        raise UsageError(f"The image is not for {platform}.", hint=f"It is for {known}.")

    def document(self, digest: str) -> bytes:
        """Return an index, a manifest or a config of the image. Raises UsageError for any other blob."""
        known: set[str] = set()
        if self.image:
            known = {self.image.digest} | {
                digest for manifest in self.image.manifests for digest in (manifest.digest, manifest.config_digest)
            }
        if digest not in known or self._read_blob is None:
            raise UsageError(f"{digest[:80]} is not a document of this image.")
        return self._read_blob(digest)

    def statements(self) -> list[Statement]:
        """Return the attested statements. Raises SourceError or StoreError for one that cannot be read."""
        attached = list(statements(self.image, self._read_blob)) if self.image and self._read_blob else []
        return attached or [statement for output in self.outputs for statement in self._written(*output)]

    def _written(self, output: Output, path: Path | None) -> Iterator[Statement]:
        if not self._attests or not output.exporter.files or path is None or not path.exists():
            return
        view = DirectoryView(path) if path.is_dir() else TarView(path)
        files = [(entry.path, entry.size) for _, entry in view.entries() if entry.type == FILE]
        prefix = output.attrs.get("attestation-prefix", "")
        yield from written_statements(files, prefix, lambda name: view.read(name, 0, _LARGEST)[1])

    def analysis(self, manifest: ManifestSummary, *, quick: bool = False) -> Analysis | None:
        """Return what the layers change and waste; with `quick`, None if that would take long to find out.

        Raises SourceError or StoreError when a layer cannot be fetched.
        """
        diff_ids = _diff_ids(manifest)
        if quick and not all(self.store.has_layer(diff_id) for diff_id in diff_ids):
            return None
        with self.store.lease():
            self._fetch(manifest)
            return self.store.analyses.get(diff_ids, _QUICK if quick else 0)

    def is_at_hand(self, manifest: ManifestSummary, limit: int) -> bool:
        """Return whether the layers are in the store and together have at most `limit` entries."""
        diff_ids = _diff_ids(manifest)
        if not all(self.store.has_layer(diff_id) for diff_id in diff_ids):
            return False
        with self.store.lease():
            return sum(map(self.store.entry_count, diff_ids)) <= limit

    def view(self, of: str, platform: str = "") -> View:
        """Return the tree that `of` names.

        `output:N` is an output and `image` the image; `image@N` is the image up to layer N, with its changes
        marked; `layer:DIFFID` has the changes of a layer alone. Raises UsageError for any other name, and SourceError
        or StoreError when a layer cannot be fetched.
        """
        kind, _, rest = of.partition(":")
        if kind == "output" and rest.isdecimal() and int(rest) < len(self.outputs):
            return self._output(int(rest))
        if of == "image":
            return StoreView(self.store, self._fetched(self.manifest(platform)))
        if kind == "layer":
            for manifest in self.image.manifests if self.image else ():
                diff_ids = _diff_ids(manifest)
                if rest in diff_ids and platform in ("", manifest.platform):
                    return StoreView(self.store, self._fetched(manifest), diff_ids.index(rest), alone=True)
        kind, _, rest = of.partition("@")
        if kind == "image" and rest.isdecimal():
            manifest = self.manifest(platform)
            if int(rest) < len(manifest.layers):
                return StoreView(self.store, self._fetched(manifest), int(rest))
        raise UsageError(f"This build has no {of[:100]!r}.")

    def tree(self, manifest: ManifestSummary) -> LayerTree:
        """Return the files of an image. Raises SourceError or StoreError when a layer cannot be fetched."""
        return self.store.tree(self._fetched(manifest))

    def _output(self, number: int) -> View:
        output, path = self.outputs[number]
        if path is None:
            return StoreView(self.store, self._fetched(self.manifest()))
        if output.exporter.archive:
            return StoreView(self.store, self._fetched(self.manifest()))
        if self._snapshot:
            return StoreView(self.store, self._snapshot)
        return DirectoryView(path) if path.is_dir() else TarView(path)

    def _fetched(self, manifest: ManifestSummary) -> tuple[str, ...]:
        self._fetch(manifest)
        return _diff_ids(manifest)

    def _fetch(self, manifest: ManifestSummary) -> None:
        """Copy missing layers into the store, from the first place that has them."""
        diff_ids = _diff_ids(manifest)
        with self._lock, self.store.lease():
            if all(self.store.has_layer(diff_id) for diff_id in diff_ids):
                return
            from ..images.places import describe_image
            from ..images.pull import fetch_layers

            own = Descriptor(manifest.media_type, manifest.digest, manifest.size)
            cancel = Cancel()
            with ExitStack() as stack:
                for place in self._places(stack):
                    if place.manifests.has(manifest.digest):
                        image = describe_image(self.store, place, own, own, cancel)
                        fetch_layers(self.store, place, image, cancel)
                        return
        raise SourceError(
            "The layers of this image are not here.",
            hint="They are where the image was sent; export it with -o type=oci,dest=FILE to look into it.",
        )

    def _places(self, stack: ExitStack) -> Iterator[Place]:
        from ..images.archive import open_images
        from ..images.places import BlobsPlace, RegistryPlace

        for output, path in self.outputs:
            if output.exporter.archive and path is not None and path.exists():
                yield BlobsPlace(stack.enter_context(closing(open_images(path))))
        if self._blobs is not None:
            yield BlobsPlace(self._blobs)
        pushed = any(output.pushed for output, _ in self.outputs)
        if pushed and self.image and self.image.names:
            from ..oci import reference
            from ..oci.remote.registry import Registry
            from ..session.auth import DockerAuth

            registry = stack.enter_context(Registry(DockerAuth()))
            yield RegistryPlace(registry, reference.parse(self.image.names[0]), self.store, Cancel())


def _diff_ids(manifest: ManifestSummary) -> tuple[str, ...]:
    return tuple(layer.diff_id for layer in manifest.layers)


class StoreView:
    """A snapshot of the store.

    With `layer`, it is the snapshot up to that layer, whose changes are marked; with `alone`, only these changes.
    """

    def __init__(
        self, store: Store, diff_ids: tuple[str, ...], layer: int | None = None, *, alone: bool = False
    ) -> None:
        height = len(diff_ids) if layer is None else layer + 1
        self._store = store
        self._diff_ids = diff_ids
        self.tree = store.tree(diff_ids[:height])
        self._below = None if layer is None else store.tree(diff_ids[:layer])
        self._alone = alone

    def entries(self) -> Iterator[Marked]:
        """See View."""
        if self._below is None:
            for entry in self.tree.walk():
                yield "", entry
            return
        marks = [(change.kind, change.entry) for change in changes(self._below, self.tree)]
        if self._alone:
            yield from marks
            return
        kinds = {entry.path: kind for kind, entry in marks if kind != "D"}
        whole = [(kinds.get(entry.path, ""), entry) for entry in self.tree.walk()]
        removed = [mark for mark in marks if mark[0] == "D"]
        if removed:
            whole += removed
            whole.sort(key=lambda mark: mark[1].path.split("/"))
        yield from whole

    def read(self, path: str, offset: int, limit: int) -> tuple[Entry, bytes]:
        """See View. A file that the layer has removed is read from the layers below it."""
        for tree in (self.tree, self._below):
            entry = tree.get(resolve(tree, path)) if tree is not None else None
            if tree is not None and entry is not None and entry.type == FILE:
                with self._store.lease(), tree.open(entry) as file:
                    file.seek(min(offset, entry.size))
                    return entry, file.read(min(limit, entry.size))
        raise SourceError(f"There is no file /{path[:200]}.")


class DirectoryView:
    """A directory of the disk. No link in it is followed."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def entries(self) -> Iterator[Marked]:
        """See View. Names that cannot be read are left out."""
        todo = _listed(str(self._root), "")
        while todo:
            path, item = todo.pop()
            entry = _described(path, item)
            if entry is not None:
                yield "", entry
                if entry.type == DIR:
                    todo += _listed(item.path, f"{path}/")

    def read(self, path: str, offset: int, limit: int) -> tuple[Entry, bytes]:
        """See View."""
        *folders, name = path.split("/")
        if any(part in ("", ".", "..") for part in (*folders, name)):
            raise SourceError(f"There is no file {path[:200]!r}.")
        try:
            with ExitStack() as stack:
                directory = at.open(self._root, at.O_RDONLY | at.O_DIRECTORY | at.O_CLOEXEC)
                stack.callback(at.close, directory)
                for folder in folders:
                    directory = at.open(folder, at.O_RDONLY | at.O_DIRECTORY | at.O_NOFOLLOW, dir_fd=directory)
                    stack.callback(at.close, directory)
                fd = at.open(name, at.O_RDONLY | at.O_NOFOLLOW | at.O_NONBLOCK, dir_fd=directory)
        except OSError as error:
            raise SourceError(f"{path[:200]} cannot be read: {error.strerror or error}.") from error
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            at.close(fd)
            raise SourceError(f"{path[:200]} is not a regular file.")
        with os.fdopen(fd, "rb") as file:
            file.seek(offset)
            return Entry(path, FILE, size=status.st_size), file.read(min(limit, status.st_size))


def _listed(folder: str, prefix: str) -> list[tuple[str, os.DirEntry[str]]]:
    """Return the entries of a directory in descending order of names; [] if it cannot be read."""
    try:
        with os.scandir(folder) as items:
            return [(prefix + item.name, item) for item in sorted(items, key=lambda item: item.name, reverse=True)]
    except OSError:
        return []


def _described(path: str, item: os.DirEntry[str]) -> Entry | None:
    try:
        status = item.stat(follow_symlinks=False)
        type_ = entry_type(status.st_mode)
        link = str(Path(item.path).readlink()) if type_ == SYMLINK else ""
    except OSError:
        return None
    if type_ is None:
        return None
    size = status.st_size if type_ == FILE else 0
    return Entry(path, type_, stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid, size=size, link=link)


class TarView:
    """A tar of the disk, compressed or not, in its own order. Raises SourceError when it is not a tar."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._opened() as tar:
            self._members = {member.entry.path: member for member in tar.members()}

    def entries(self) -> Iterator[Marked]:
        """See View."""
        for member in self._members.values():
            yield "", member.entry

    def read(self, path: str, offset: int, limit: int) -> tuple[Entry, bytes]:
        """See View."""
        member = self._members.get(path)
        if member is None or member.entry.type != FILE:
            raise SourceError(f"There is no file {path[:200]!r}.")
        with self._opened() as tar, tar.open(member) as file:
            if member.sparse is None:
                file.seek(offset)
            else:
                while offset > 0 and (passed := file.read(min(offset, _BLOCK))):
                    offset -= len(passed)
            return member.entry, file.read(min(limit, member.entry.size))

    @contextmanager
    def _opened(self) -> Generator[OpenTar]:
        try:
            with OpenTar(self._path, str(self._path)) as tar:
                yield tar
        except OSError as error:
            raise SourceError(f"{self._path} cannot be read: {error.strerror or error}.") from error
