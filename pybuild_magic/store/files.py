"""Contents of files, read from the tars of layers."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING

from ..portable import pread
from .entry import Span
from .parts import Parts, located

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

    from .blobs import ContentStore


class LayerFiles:
    """The open tars of layers, each opened once; a context manager that closes them."""

    def __init__(self, blobs: ContentStore) -> None:
        self._blobs = blobs
        self._fds: dict[str, int] = {}
        self._parts: dict[str, Parts | None] = {}

    def at(self, span: Span) -> tuple[int, int]:
        """Return a descriptor and an offset for `os.pread` of a range; this object closes the descriptor."""
        if span.blob not in self._parts:
            self._parts[span.blob] = self._blobs.parts.get(span.blob)
        if (parts := self._parts[span.blob]) is not None and span.size:
            span = located(parts, span)
        return self.fd(span.blob), span.offset

    def fd(self, digest: str) -> int:
        """Return a descriptor of a blob that is a file; this object closes it."""
        fd = self._fds.get(digest)
        if fd is None:
            fd = self._fds[digest] = self._blobs.descriptor(digest)
        return fd

    def read(self, span: Span) -> bytes:
        """Return the bytes of a range."""
        fd, offset = self.at(span)
        with SpanReader(fd, Span(span.blob, offset, span.size), close_fd=False) as reader:
            return reader.readall()

    def close(self) -> None:
        """Close all tars; the next use opens them again."""
        fds, self._fds = list(self._fds.values()), {}
        for fd in fds:
            os.close(fd)

    def __enter__(self) -> LayerFiles:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class SpanReader(io.RawIOBase):
    """A range of a layer's tar as a file."""

    def __init__(self, fd: int, span: Span, *, close_fd: bool = True) -> None:
        self._fd = fd
        self._span = span
        self._close_fd = close_fd
        self._at = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move within the range."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._span.size}[whence]
        self._at = max(0, start + offset)
        return self._at

    def tell(self) -> int:
        """Return the position within the range."""
        return self._at

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Fill `buffer` from the position on, and return the number of bytes; 0 at the end of the range."""
        view = memoryview(buffer).cast("B")
        count = min(len(view), self._span.size - self._at)
        if count <= 0:
            return 0
        data = pread(self._fd, count, self._span.offset + self._at)
        view[: len(data)] = data
        self._at += len(data)
        return len(data)

    def close(self) -> None:
        """Close the file."""
        if not self.closed and self._close_fd:
            os.close(self._fd)
        super().close()
