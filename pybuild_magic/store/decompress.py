"""Decompression of layers and archives as streams; the compression is known by the first bytes.

Layers may have fewer compressions than archives of ADD: only gzip and zstd, as in containerd. A tar begins with a
file's name, so an uncompressed layer could begin with the bytes that mark any other compression.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable, Collection, Generator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, BinaryIO, Protocol, cast

from ..errors import SourceError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_MAGIC = (
    (b"\x1f\x8b\x08", "gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    *((bytes([0x50 + number, 0x2A, 0x4D, 0x18]), "zstd") for number in range(16)),  # a frame to be skipped
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\x00", "xz"),
)
ARCHIVES = frozenset({"gzip", "zstd", "bzip2", "xz"})
LAYERS = frozenset({"gzip", "zstd"})
MAGIC_SIZE = 6
"""How many bytes `compression_of` needs."""


class Readable(Protocol):
    """A source of bytes."""

    def read(self, size: int, /) -> bytes:
        """Return at most `size` bytes; b"" at the end."""
        ...


def compression_of(start: bytes) -> str:
    """Return gzip, zstd, bzip2, xz or uncompressed, by the first bytes of a stream."""
    for magic, name in _MAGIC:
        if start.startswith(magic):
            return name
    return "uncompressed"


class _Prefixed(io.RawIOBase):
    """A stream whose first bytes have already been read."""

    def __init__(self, start: bytes, rest: Readable) -> None:
        self._start = start
        self._rest = rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        view = memoryview(buffer).cast("B")
        data = self._start[: len(view)] or self._rest.read(len(view))
        self._start = self._start[len(data) :]
        view[: len(data)] = data
        return len(data)

    def read(self, size: int = -1, /) -> bytes:
        if self._start or size < 0:
            return super().read(size) or b""
        return self._rest.read(size)


class _Decompressed:
    """The bytes of a decompressor, whose errors about bad data become sentences."""

    def __init__(self, stream: Readable, name: str) -> None:
        self._stream = stream
        self._name = name

    def read(self, size: int, /) -> bytes:
        with _sentences(self._name):
            return self._stream.read(size)


def decompress(stream: Readable, known: Collection[str] = LAYERS, name: str = "The stream") -> Readable:
    """Return `stream` without its compression, which may be any of `known`.

    Streams of several gzip members or zstd frames are read to their end. Reading raises SourceError for bad data, in
    which the stream is called `name`; errors of reading `stream` itself are passed on.
    """
    start = b""
    while len(start) < MAGIC_SIZE and (block := stream.read(MAGIC_SIZE - len(start))):
        start += block
    source = cast("BinaryIO", _Prefixed(start, stream))
    kind = compression_of(start)
    return _Decompressed(_OPENERS[kind](source), name) if kind in known and kind in _OPENERS else source


def _gzip(source: BinaryIO) -> Readable:
    from isal import igzip

    return igzip.IGzipFile(fileobj=source, mode="rb")


def _zstd(source: BinaryIO) -> Readable:
    import zstandard

    return zstandard.ZstdDecompressor().stream_reader(source, read_across_frames=True)


def _bzip2(source: BinaryIO) -> Readable:
    import bz2

    return bz2.BZ2File(source)


def _xz(source: BinaryIO) -> Readable:
    import lzma

    return lzma.LZMAFile(source)


_OPENERS: dict[str, Callable[[BinaryIO], Readable]] = {"gzip": _gzip, "zstd": _zstd, "bzip2": _bzip2, "xz": _xz}


def head(stream: Readable, size: int) -> bytes:
    """Return the first `size` bytes of `stream`, uncompressed; fewer if it ends or is broken before."""
    data = stream.read(_BLOCK)
    feed = _feed(compression_of(data))
    start = b""
    with suppress(SourceError), _sentences("The stream"):
        while data and len(start) < size:
            start += feed(data, size - len(start))
            data = stream.read(_BLOCK)
    return start[:size]


def _feed(compression: str) -> Callable[[bytes, int], bytes]:
    """Return a function that takes a piece of a stream and uncompresses it to at most so many bytes."""
    match compression:
        case "gzip":
            return zlib.decompressobj(31).decompress
        case "zstd":
            import zstandard

            zstd = zstandard.ZstdDecompressor().decompressobj()
            return lambda data, _: zstd.decompress(data)
        case "bzip2":
            import bz2

            return bz2.BZ2Decompressor().decompress
        case "xz":
            import lzma

            return lzma.LZMADecompressor().decompress
        case _:
            return lambda data, _: data


_BLOCK = 1 << 16


@contextmanager
def _sentences(subject: str) -> Generator[None]:
    """Turn the errors of decompressors about bad data into a SourceError about `subject`."""
    try:
        yield
    except EOFError as error:
        raise SourceError(f"{subject} is incomplete: its compressed data ends too early.") from error
    except Exception as error:
        plain = isinstance(error, OSError) and error.errno is None
        if plain or isinstance(error, zlib.error) or type(error).__name__ in _DATA_ERRORS:
            raise SourceError(f"{subject} is corrupt: {error}.") from error
        raise


_DATA_ERRORS = {"IsalError", "LZMAError", "ZstdError"}
"""By name, so that no decompressor is imported before it is needed; gzip and bzip2 raise OSError without errno."""
