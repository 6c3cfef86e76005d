"""The import of tars that others made: layers of images into the store, archives of ADD as entries with contents."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Collection, Generator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..cancel import Cancel
from ..errors import SourceError
from ..oci.digest import new_hash
from .blobfiles import Blob, Ingest
from .decompress import ARCHIVES, LAYERS, Readable, decompress, head
from .entry import FILE, Entry, placed
from .header import BLOCK_SIZE
from .index import IndexWriter
from .layer import Layer
from .tarread import Member, TarFeed, is_header, members
from .tarsink import TarSink

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

    from .store import Store

_EMPTY_DIGEST = hashlib.sha256().digest()
_NAMELESS = (".wh.", ".wh..", ".wh...")
_ZEROS = bytes(1 << 20)

MAX_UNPACKED = 16 << 30
MAX_RATIO = 1100
"""An archive may unpack to MAX_UNPACKED bytes, or to this many times its size: gzip reaches 1,032 at most."""


class CheckedStream:
    """A compressed stream, hashed and counted as it is read."""

    def __init__(
        self,
        stream: Readable,
        digest: str | None = None,
        cancel: Cancel | None = None,
        on_progress: Callable[[int], object] | None = None,
    ) -> None:
        self._stream = stream
        self._hash = new_hash(digest) if digest else None
        self._cancel = cancel
        self._on_progress = on_progress
        self.size = 0

    def read(self, size: int, /) -> bytes:
        """See Readable."""
        if self._cancel is not None:
            self._cancel.check()
        data = self._stream.read(size)
        if self._hash is not None:
            self._hash.update(data)
        self.size += len(data)
        if self._on_progress is not None:
            self._on_progress(self.size)
        return data

    def finish(self, digest: str | None, subject: str) -> None:
        """Read the rest, which the decompressor did not need, and compare digests."""
        while self.read(1 << 20):
            pass
        if self._hash is not None and digest is not None:
            actual = f"{digest.partition(':')[0]}:{self._hash.hexdigest()}"
            if actual != digest:
                raise SourceError(f"{subject} has the digest {actual} where {digest} was announced.")


class Unpacked:
    """An unpacked stream, with a bound in proportion to the bytes that `packed` has counted."""

    def __init__(self, stream: Readable, packed: CheckedStream) -> None:
        self._stream = stream
        self._packed = packed
        self._size = 0

    def read(self, size: int, /) -> bytes:
        """See Readable. Raises SourceError when the stream unpacks to too much."""
        data = self._stream.read(size)
        self._size += len(data)
        if self._size > MAX_UNPACKED and self._size > MAX_RATIO * self._packed.size:
            raise SourceError(f"{self._packed.size} bytes of it unpack to more than {MAX_UNPACKED}")
        return data


def import_tar(
    store: Store,
    stream: Readable,
    *,
    diff_id: str | None = None,
    digest: str | None = None,
    name: str = "The layer",
    packed: Collection[str] = LAYERS,
    cancel: Cancel | None = None,
    on_progress: Callable[[int], object] | None = None,
) -> Layer:
    """Store a layer that someone else made, byte for byte, and index it, in one pass over `stream`.

    `stream` may have any of the compressions `packed`. If given, `digest` must be the digest of the stream as it is,
    and `diff_id` that of the uncompressed tar, under which it is then stored, even if it is not SHA-256. `on_progress`
    is called with the number of bytes read from the stream. Raises SourceError, in which the layer is called `name`,
    for a stream that is corrupt, truncated or hostile or has another digest, and StoreError when the disk is full.
    """
    checked = CheckedStream(stream, digest, cancel, on_progress)
    sink, index_blob = TarSink(store.blobs.ingest()), store.blobs.ingest()
    extra: list[tuple[Ingest, Blob]] = []
    try:
        with about(name):
            feed = TarFeed(Unpacked(decompress(checked, packed, name), checked), sink.write)
            index = IndexWriter(index_blob.write)
            for member in members(feed):
                index.add(_index(store, feed, member, extra))
            index.finish()
            feed.drain()
            checked.finish(digest, name)
        ingest = sink.finish()
        if diff_id is not None and (actual := ingest.digest_like(diff_id)) != diff_id:
            raise SourceError(f"{name} has the diffID {actual} where {diff_id} was announced.")
        return store.add_layer(ingest.finish(diff_id), index_blob.finish(), [blob for _, blob in extra])
    finally:
        sink.abort()
        index_blob.abort()
        for expanded, _ in extra:
            expanded.abort()


@contextmanager
def about(name: str) -> Generator[None]:
    """Turn the fragments of sentences that reading a tar raises into sentences about `name`."""
    try:
        yield
    except SourceError as error:
        if error.message.endswith("."):
            raise
        raise SourceError(f"{name} is not a valid tar: {error.message}.") from error


def _index(store: Store, feed: TarFeed, member: Member, extra: list[tuple[Ingest, Blob]]) -> Entry:
    """Read past the content of a member, and return its entry with the digest."""
    entry = member.entry
    if entry.path.endswith(_NAMELESS) and entry.path.rpartition("/")[2] in _NAMELESS:
        raise SourceError(f"the whiteout {entry.path!r} names nothing")
    if entry.type != FILE:
        return entry
    if not entry.size:
        return placed(entry, entry.offset, _EMPTY_DIGEST)
    if member.sparse is not None:
        return _expand(store, feed, member, extra)
    hasher = hashlib.sha256()
    for piece in feed.pieces(member.stored):
        hasher.update(piece)
    return placed(entry, entry.offset, hasher.digest())


def _expand(store: Store, feed: TarFeed, member: Member, extra: list[tuple[Ingest, Blob]]) -> Entry:
    """Store the content of a sparse file, which the tar has in parts, as a separate blob (see `Layer.span`)."""
    ingest = store.blobs.ingest()
    try:
        at = 0
        for offset, length in (*(member.sparse or ()), (member.entry.size, 0)):
            ingest.hole(offset - at)
            for piece in feed.pieces(length):
                ingest.write(piece)
            at = offset + length
        blob = ingest.finish()
    except BaseException:
        ingest.abort()
        raise
    extra.append((ingest, blob))
    return placed(member.entry, -2 - member.entry.offset, bytes.fromhex(blob.digest.partition(":")[2]))


def content_pieces(feed: TarFeed, member: Member) -> Iterator[bytes | memoryview]:
    """Yield the content of the member that comes next in `feed`, including the holes of a sparse file."""
    if member.sparse is None:
        yield from feed.pieces(member.stored)
        return
    at = 0
    for offset, length in (*member.sparse, (member.entry.size, 0)):
        while at < offset:
            zeros = min(offset - at, len(_ZEROS))
            yield memoryview(_ZEROS)[:zeros]
            at += zeros
        yield from feed.pieces(length)
        at += length


class MemberContent(io.RawIOBase):
    """The content of a member of a tar stream; it can be read until the next member is asked for."""

    def __init__(self, pieces: Iterator[bytes | memoryview]) -> None:
        self._pieces = pieces
        self._rest: bytes | memoryview = b""

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Fill `buffer` with the next bytes, and return their number; 0 at the end."""
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._rest = piece
        view = memoryview(buffer).cast("B")
        size = min(len(view), len(self._rest))
        view[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size


def is_tar(stream: Readable) -> bool:
    """Return whether a stream, compressed or not, begins with the header of a tar's member of any kind."""
    return is_header(head(stream, BLOCK_SIZE))


def _named(name: str, pieces: Iterator[bytes | memoryview]) -> Iterator[bytes | memoryview]:
    """Yield pieces that are read outside of `read_tar`, with the same errors as inside."""
    with about(name):
        yield from pieces


def read_tar(stream: Readable, name: str = "The archive") -> Iterator[tuple[Entry, MemberContent]]:
    """Yield the entries of an archive, compressed or not, with their contents, each readable until the next one.

    The checks and errors are those of `import_tar`; entries have no digests and no offsets.
    """
    with about(name):
        checked = CheckedStream(stream)
        feed = TarFeed(Unpacked(decompress(checked, ARCHIVES, name), checked))
        for member in members(feed):
            pieces = _named(name, content_pieces(feed, member))
            yield placed(member.entry, -1, b""), MemberContent(pieces)
            for _ in pieces:
                pass
        feed.drain()
