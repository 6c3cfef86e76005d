"""Taking in tars that others made: layers of images into the store, archives of ADD as entries with contents."""

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
from .writer import TarSink

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

    from .store import Store

_EMPTY_DIGEST = hashlib.sha256().digest()
_NAMELESS = (".wh.", ".wh..", ".wh...")
_ZEROS = bytes(1 << 20)

MAX_UNPACKED = 16 << 30
MAX_RATIO = 1100
"""An archive unpacks to so many bytes, or to so many times what it is packed: gzip cannot do more than 1,032 times."""


class CheckedStream:
    """A compressed stream that is hashed and counted while it is read."""

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

    def finish(self, digest: str | None, what: str) -> None:
        """Read what the decompressor left, and compare digests."""
        while self.read(1 << 20):
            pass
        if self._hash is not None and digest is not None:
            actual = f"{digest.partition(':')[0]}:{self._hash.hexdigest()}"
            if actual != digest:
                raise SourceError(f"{what} has the digest {actual} where {digest} was announced.")


class Unpacked:
    """Unpack a stream, whose bytes `packed` counts, as long as that is not absurdly much."""

    def __init__(self, stream: Readable, packed: CheckedStream) -> None:
        self._stream = stream
        self._packed = packed
        self._size = 0

    def read(self, size: int, /) -> bytes:
        """See Readable. Raises SourceError for what unpacks to too much."""
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

    `stream` may be compressed in one of the ways `packed`. `digest` is what the stream as it is, `diff_id` what the
    uncompressed tar must have, which it is then stored as, SHA-256 or not; `on_progress` hears how many bytes of
    the stream were read. Raises SourceError, which calls the layer `name`, for what is corrupt, truncated, hostile
    or of another digest; StoreError when the disk is full.
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
    """Make what reading a tar says about it a sentence about `name`."""
    try:
        yield
    except SourceError as error:
        if error.message.endswith("."):
            raise
        raise SourceError(f"{name} is not a valid tar: {error.message}.") from error


def _index(store: Store, feed: TarFeed, member: Member, extra: list[tuple[Ingest, Blob]]) -> Entry:
    """Let the content of a member pass, and give its entry the digest."""
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
    """Keep the content of a sparse file, which the tar has in parts, as a blob beside it (see `Layer.span`)."""
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
    """Yield the content of a member that stands next in `feed`, with the holes of a sparse file."""
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
    """The content of one member of a tar that is passing by; good until the next member."""

    def __init__(self, pieces: Iterator[bytes | memoryview]) -> None:
        self._pieces = pieces
        self._rest: bytes | memoryview = b""

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Fill `buffer` with what comes next; 0 at the end."""
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
    """Return whether a stream, compressed or not, begins with the header of a tar's member, whatever that says."""
    return is_header(head(stream, BLOCK_SIZE))


def _named(name: str, pieces: Iterator[bytes | memoryview]) -> Iterator[bytes | memoryview]:
    """Pieces that are read outside of `read_tar`, with its errors."""
    with about(name):
        yield from pieces


def read_tar(stream: Readable, name: str = "The archive") -> Iterator[tuple[Entry, MemberContent]]:
    """Yield the entries of an archive, compressed or not, with their contents, which can be read until the next one.

    What `import_tar` checks is checked here too, with the same errors; entries have no digests and no offsets.
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
