"""A stream of bytes to a file, a socket or a file object; ranges of the store's files are copied by the kernel.

Bytes from files are moved with copy_file_range (which shares blocks where the file system can) or sendfile; only
headers and small files pass through this process.
"""

from __future__ import annotations

import errno
import io
import os
import socket
import stat
from collections.abc import Callable
from typing import BinaryIO

from ..cancel import Cancel
from ..portable import pread
from ..store.parts import pieces_of

_BUFFER = 1 << 20
_AT_ONCE = 16 << 20
"""Bytes copied by each kernel call: few enough to stop soon after a cancel."""
_SMALL = 128 << 10
"""Contents up to this size are read and joined with their headers, to write many of them at once."""
CANNOT = frozenset(
    {errno.EXDEV, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL, errno.EBADF, errno.EPERM}
    | {errno.ENOTSOCK}  # sendfile of macOS to a file
)

Copy = Callable[[int, int, int], int]
"""(source fd, offset, count) -> bytes copied."""


class OutputWriter:
    """Writes in order. Call `close` at the end, which flushes and leaves the target open."""

    def __init__(
        self,
        target: BinaryIO | socket.socket,
        cancel: Cancel,
        on_progress: Callable[[int], None] | None = None,
    ) -> None:
        self.written = 0
        """The bytes so far, including buffered ones."""
        self._target = target
        self._cancel = cancel
        self._on_progress = on_progress
        self._buffer = bytearray()
        self._fd = _descriptor(target)
        self._methods = self._ways()

    def write(self, data: bytes) -> None:
        """Add `data`."""
        self._buffer += data
        self.written += len(data)
        if len(self._buffer) >= _BUFFER:
            self._flush()

    def copy(self, source: int, offset: int, size: int) -> None:
        """Add `size` bytes of the file `source` from `offset` on."""
        if size <= _SMALL:
            data = pread(source, size, offset)
            _whole(len(data) == size)
            self.write(data)
            return
        self._flush()
        end = offset + size
        while offset < end:
            self._cancel.check()
            count = self._move(source, offset, min(_AT_ONCE, end - offset))
            _whole(count > 0)
            offset += count
            self.written += count
            self._tell()

    def copy_blob(self, source: BinaryIO, size: int) -> None:
        """Add a blob of `size` bytes that the store opened."""
        for fd, offset, count in pieces_of(source, size):
            self.copy(fd, offset, count)

    def close(self) -> None:
        """Write buffered bytes, and update a file object's position."""
        self._flush()
        if self._fd is not None and not isinstance(self._target, socket.socket) and self._target.seekable():
            self._target.seek(os.lseek(self._fd, 0, os.SEEK_CUR))

    def _flush(self) -> None:
        self._cancel.check()
        self._put(self._buffer)
        self._buffer = bytearray()
        self._tell()

    def _tell(self) -> None:
        if self._on_progress:
            self._on_progress(self.written)

    def _put(self, data: bytes | bytearray) -> None:
        if isinstance(self._target, socket.socket):  # its descriptor may not be usable with os.write: Windows
            self._target.sendall(data)
            return
        if self._fd is None:
            self._target.write(data)
            return
        with memoryview(data) as view:
            done = 0
            while done < len(view):
                done += os.write(self._fd, view[done:])

    def _ways(self) -> list[Copy]:
        """Return the methods of moving a range of a file, best first."""
        ways: list[Copy] = []
        if (fd := self._fd) is not None:
            if hasattr(os, "copy_file_range") and stat.S_ISREG(os.fstat(fd).st_mode):
                ways.append(lambda source, offset, count: os.copy_file_range(source, fd, count, offset))
            if hasattr(os, "sendfile"):
                ways.append(lambda source, offset, count: os.sendfile(fd, source, offset, count))
        return [*ways, self._read_and_put]

    def _move(self, source: int, offset: int, count: int) -> int:
        while True:
            try:
                return self._methods[0](source, offset, count)
            except OSError as error:
                if error.errno not in CANNOT or len(self._methods) == 1:
                    raise
                del self._methods[0]

    def _read_and_put(self, source: int, offset: int, count: int) -> int:
        data = pread(source, min(count, _BUFFER), offset)
        self._put(data)
        return len(data)


def _whole(whole: bool) -> None:
    if not whole:
        raise OSError(errno.EIO, "a file of the store is shorter than its record says")


def _descriptor(target: BinaryIO | socket.socket) -> int | None:
    """Return the fd to write to directly; None for a target that transforms its input."""
    if isinstance(target, socket.socket):
        # A TLS socket has an fd too, but data must be encrypted first.
        return target.fileno() if type(target) is socket.socket else None
    if isinstance(target, io.BufferedWriter | io.BufferedRandom | io.FileIO):
        target.flush()
        return target.fileno()
    return None
