"""The writer of layers: from entries and contents to a tar and its index, in one pass that hashes on the way."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO

from ..cancel import Cancel
from ..errors import StoreError
from ..portable import pread
from .entry import BLOCK, CHAR, FILE, HARDLINK, NANOSECONDS, NO_XATTRS, SYMLINK, WHITEOUT_PREFIX, Entry, Span, placed
from .files import LayerFiles
from .header import TRAILER, padding, tar_header
from .index import IndexWriter
from .layer import EMPTY_LAYER, Layer
from .parts import Run, make_recipe
from .tarread import MAX_NAME, MAX_PATH
from .tarsink import TarSink

if TYPE_CHECKING:
    from .blobfiles import Ingest
    from .store import Store

Content = bytes | memoryview | int | tuple[int, int] | Span | BinaryIO
"""The content of a file: bytes; an open descriptor, which the writer closes; (descriptor, offset), which stays open;
a range of a layer in the store; or a binary file, which the writer closes."""

LazyContent = Content | Callable[[], Content] | None
"""A content, or a function that returns it when the writer needs it; None for an entry without content."""

LAYER_XATTR = "security.capability"
"""The only extended attribute that containerd's differ puts into a layer."""


class LayerWriter:
    """Writes a layer into the store: byte for byte the tar that containerd's differ makes of the same entries.

    The caller adds the entries in the tar's order, including parents that belong to the layer. `epoch`, in seconds
    since 1970, is the latest modification time in the layer; later ones are cut to it. Use it as a context manager,
    from one thread: the layer exists once `finish` has returned, and a block that ends before leaves nothing behind.
    Memory does not grow with the size of files. `on_bytes` is called after each MiB with the size of the tar so far.
    Contents of `known` digests are not written again but referred to (see `Contents.find`). A layer without entries is
    written once.
    """

    def __init__(
        self,
        store: Store,
        epoch: int | None = None,
        cancel: Cancel | None = None,
        on_bytes: Callable[[int], object] | None = None,
        known: Mapping[bytes, Span] | None = None,
    ) -> None:
        self._store = store
        self._known = known or {}
        self._runs: list[Run] = []
        self._latest = None if epoch is None else epoch * NANOSECONDS
        self._cancel = cancel
        self._on_bytes = on_bytes
        self._files = LayerFiles(store.blobs)

    @cached_property
    def _sink(self) -> TarSink:
        return TarSink(self._store.blobs.ingest(), self._cancel, self._on_bytes)

    @cached_property
    def _index_blob(self) -> Ingest:
        return self._store.blobs.ingest()

    @cached_property
    def _index(self) -> IndexWriter:
        return IndexWriter(self._index_blob.write)

    @property
    def _begun(self) -> bool:
        return "_sink" in self.__dict__

    def add(self, entry: Entry, content: LazyContent = None) -> Entry:
        """Append an entry, and return it as it is in the layer, with the offset and the digest of its content.

        A regular file needs `content` of `entry.size` bytes, unless it is empty. If the entry has a digest, it is
        trusted and the content is not hashed. Times are cut to whole seconds, and `security.capability` is the only
        extended attribute that is kept. Raises StoreError when the content is too short, the disk is full, or the path
        is longer than Linux allows.
        """
        if len(entry.path) > _SHORT:
            _check_length(entry.path)
        xattrs = entry.xattrs
        if xattrs:
            xattrs = {LAYER_XATTR: xattrs[LAYER_XATTR]} if LAYER_XATTR in xattrs else NO_XATTRS
        mtime = entry.mtime
        if self._latest is not None and mtime > self._latest:
            mtime = self._latest
        type_ = entry.type
        is_file = type_ == FILE
        is_device = type_ in (CHAR, BLOCK, HARDLINK)  # a hardlink to a device has its numbers in the header
        size = entry.size if is_file else 0
        done = Entry(
            entry.path, type_, entry.mode & 0o7777, entry.uid, entry.gid, mtime - mtime % NANOSECONDS, size,
            entry.link if type_ in _LINKS else "", -1, b"", entry.devmajor if is_device else 0,
            entry.devminor if is_device else 0, xattrs,
        )  # fmt: skip
        sink = self._sink
        sink.write(tar_header(done))
        offset = sink.offset
        digest = self._copy(entry, content) if size else _EMPTY_DIGEST if is_file else b""
        done = placed(done, offset, digest)
        self._index.add(done)
        return done

    def _copy(self, entry: Entry, content: LazyContent) -> bytes:
        if self._cancel is not None:
            self._cancel.check()
        if entry.digest in self._known and self._refer(entry, self._known[entry.digest]):
            return entry.digest
        if callable(content):
            content = content()
        size = entry.size
        hasher = None if entry.digest else hashlib.sha256()
        if isinstance(content, int):
            try:
                rest = self._sink.read_fd(content, None, size, hasher)
            finally:
                os.close(content)
        elif isinstance(content, tuple):
            rest = self._sink.read_fd(content[0], content[1], size, hasher)
        elif isinstance(content, Span):
            fd, offset = self._files.at(content)
            rest = self._sink.read_fd(fd, offset, min(size, content.size), hasher)
            rest += size - min(size, content.size)
        elif isinstance(content, bytes | memoryview):
            self._sink.write(content[:size])
            if hasher is not None:
                hasher.update(content[:size])
            rest = max(0, size - len(content))
        elif content is not None:
            with content:
                rest = self._sink.read_file(content, size, hasher)
        else:
            rest = size
        if rest:
            raise StoreError(
                f'"{entry.path}" has {size - rest} bytes where {size} were expected: it changed while it was read.'
            )
        self._sink.write(_ZEROS[: padding(size)])
        return entry.digest if hasher is None else hasher.digest()

    def _refer(self, entry: Entry, span: Span) -> bool:
        """Append a content that another blob has, with the padding after it, so that the tar stays in whole blocks.

        Where the blob also has the same before it, back to the content that was referred to last, the run includes that
        too: nearly always a header.
        """
        fd, rest = self._files.fd(span.blob), padding(span.size)
        if span.size != entry.size or pread(fd, rest, span.offset + span.size) != _ZEROS[:rest]:
            return False
        sink, size = self._sink, span.size + rest
        run = Run(sink.offset, 0, span.blob, span.offset)
        last = self._runs.pop() if self._runs else Run(0, 0, span.blob, span.offset - sink.offset)
        end = last.offset + last.size
        gap = run.at - last.at - last.size
        if last.blob == span.blob and end + gap == span.offset and sink.refer_back(fd, end, gap):
            run = Run(last.at, last.size + gap, last.blob, last.offset)
        elif last.size:
            self._runs.append(last)
        self._runs.append(Run(run.at, run.size + size, run.blob, run.offset))
        if sink.refer(fd, span.offset, size):
            raise StoreError(f"The blob {span.blob} is too short.", hint="Run `%build fsck --repair`.")
        return True

    def finish(self) -> Layer:
        """Finish the tar, and publish the layer with its index."""
        if self._cancel is not None:
            self._cancel.check()
        if not self._begun and self._store.has_layer(EMPTY_LAYER):
            return self._store.layer(EMPTY_LAYER)
        self._sink.write(TRAILER)
        self._files.close()
        ingest = self._sink.finish()
        self._index.finish()
        pack = ingest.finish()
        if self._runs:
            recipe = make_recipe(self._sink.offset, pack.digest, self._runs)
            layer = self._store.add_layer_in_parts(self._sink.digest, recipe, pack, self._index_blob.finish())
        else:
            layer = self._store.add_layer(pack, self._index_blob.finish())
        ingest.close()
        self._index_blob.close()
        return layer

    def abort(self) -> None:
        """Remove what was written. Does nothing after `finish`."""
        self._files.close()
        if self._begun:
            self._sink.abort()
            self._index_blob.abort()

    def __enter__(self) -> LayerWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.abort()


_WHITEOUT = WHITEOUT_PREFIX.encode()
_SHORT = MAX_NAME // 4
"""The most characters of a path that cannot be too long in UTF-8, and need not be checked."""


def _check_length(path: str) -> None:
    data = path.encode("utf-8", "surrogateescape")
    longest = max(len(name.removeprefix(_WHITEOUT)) for name in data.split(b"/"))
    excerpt = f"/{path[:100]}…"
    if len(data) > MAX_PATH:
        raise StoreError(f"{excerpt} has a path of {len(data)} bytes, and images have at most {MAX_PATH}.")
    if longest > MAX_NAME:
        raise StoreError(f"A name in {excerpt} has {longest} bytes, and files have at most {MAX_NAME}.")


_LINKS = (HARDLINK, SYMLINK)
_ZEROS = bytes(512)
_EMPTY_DIGEST = hashlib.sha256().digest()


def write_layer(
    store: Store,
    entries: Iterable[tuple[Entry, LazyContent]],
    epoch: int | None = None,
    cancel: Cancel | None = None,
) -> Layer:
    """Write a layer of `entries` with their contents, and return it: `LayerWriter` in one call."""
    with LayerWriter(store, epoch, cancel) as writer:
        for entry, content in entries:
            writer.add(entry, content)
        return writer.finish()


def rewrite_timestamps(store: Store, layer: Layer, epoch: int, cancel: Cancel | None = None) -> Layer:
    """Return the layer with no modification time after `epoch`, in seconds since 1970, as for `rewrite-timestamp=true`.

    If it has no later time, that is the layer itself. Use this for layers that a LayerWriter wrote: BuildKit does not
    rewrite those of base images.
    """
    latest = epoch * NANOSECONDS
    if all(entry.mtime <= latest for entry in layer.index):
        return layer
    return write_layer(
        store,
        ((entry, layer.span(entry) if entry.size else None) for entry in layer.index),
        epoch,
        cancel,
    )
