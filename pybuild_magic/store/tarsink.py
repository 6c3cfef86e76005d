"""The tar of a layer on its way to the disk: bytes in large buffers that one thread hashes and another writes."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, BinaryIO

from ..cancel import Cancel
from ..oci.digest import Hash
from ..portable import pread, read_into

if TYPE_CHECKING:
    from .blobfiles import Ingest

_FIRST_BUFFER = 1 << 16
_BUFFER_SIZE = 1 << 20
_BUFFERS = 4

_Item = tuple[bytearray, int, list[tuple[int, int]]]
"""A buffer, how many bytes of it are filled, and the ranges of these that another file keeps."""
_Queue = queue.SimpleQueue[_Item | None]


class TarSink:
    """Collects bytes in large buffers, which go through two threads: the first hashes them, the second writes them."""

    def __init__(
        self, ingest: Ingest, cancel: Cancel | None = None, on_bytes: Callable[[int], object] | None = None
    ) -> None:
        self._ingest = ingest
        self._cancel = cancel
        self._on_bytes = on_bytes
        self._full: _Queue = queue.SimpleQueue()
        self._hashed: _Queue = queue.SimpleQueue()
        self._free: queue.SimpleQueue[bytearray] = queue.SimpleQueue()
        self._made = 0
        self._room = _FIRST_BUFFER
        self._buffer = bytearray(self._room)
        self._view = memoryview(self._buffer)
        self._fill = 0
        self._flushed = 0
        self._referred: list[tuple[int, int]] = []
        """Ranges of the buffer that are hashed but not written."""
        self._whole: Hash | None = None
        """The hash of all bytes, needed once some are not written."""
        self._threads: list[threading.Thread] = []
        self._error: BaseException | None = None

    @property
    def offset(self) -> int:
        """Bytes taken so far."""
        return self._flushed + self._fill

    def write(self, data: bytes | memoryview) -> None:
        """Append `data`."""
        size = len(data)
        fill = self._fill
        if fill + size < self._room:
            self._buffer[fill : fill + size] = data
            self._fill = fill + size
            return
        view = memoryview(data)
        at = 0
        while at < size:
            part = min(size - at, self._room - self._fill)
            self._view[self._fill : self._fill + part] = view[at : at + part]
            self._fill += part
            at += part
            if self._fill == self._room:
                self._flush()

    def read_fd(self, fd: int, offset: int | None, size: int, hasher: Hash | None) -> int:
        """Append `size` bytes from a descriptor, at its position or at `offset`; return how many were missing."""
        while size:
            if self._fill == self._room:
                self._flush()
            target = self._view[self._fill : self._fill + min(size, self._room - self._fill)]
            count = read_into(fd, target, offset)
            if count == 0:
                break
            if hasher is not None:
                hasher.update(target[:count])
            if offset is not None:
                offset += count
            self._fill += count
            size -= count
        return size

    def refer(self, fd: int, offset: int, size: int) -> int:
        """Append `size` bytes that another file keeps: hash but do not write them; return how many were missing."""
        while size:
            if self._fill == self._room:
                self._flush()
            start = self._fill
            missing = self.read_fd(fd, offset, count := min(size, self._room - start), None)
            self._keep_out(start)
            if missing:
                return size - count + missing
            offset += count
            size -= count
        return 0

    def refer_back(self, fd: int, offset: int, size: int) -> bool:
        """Leave the last `size` bytes to another file, if it has the same at `offset` and they are in the buffer still.

        Returns whether that is so.
        """
        start = self._fill - size
        if start < 0 or offset < 0 or pread(fd, size, offset) != bytes(self._view[start : self._fill]):
            return False
        if size:
            self._keep_out(start)
        return True

    def _keep_out(self, start: int) -> None:
        """Have the bytes of the buffer from `start` on hashed, but not written."""
        if self._referred and self._referred[-1][1] == start:
            start, _ = self._referred.pop()
        self._referred.append((start, self._fill))

    @property
    def digest(self) -> str:
        """The digest of all bytes appended, once finished."""
        return self._ingest.digest if self._whole is None else f"sha256:{self._whole.hexdigest()}"

    def read_file(self, file: BinaryIO, size: int, hasher: Hash | None) -> int:
        """Append `size` bytes from a binary file, and return how many were missing."""
        while size:
            chunk = file.read(min(size, _BUFFER_SIZE))
            if not chunk:
                break
            self.write(chunk)
            if hasher is not None:
                hasher.update(chunk)
            size -= len(chunk)
        return size

    def _flush(self) -> None:
        if self._cancel is not None:
            self._cancel.check()
        if self._error is not None:
            raise self._error
        if not self._threads:
            self._start(self._hash, "pybuild-layer-hash")
            self._start(self._write, "pybuild-layer-write")
        self._full.put((self._buffer, self._fill, self._referred))
        self._referred = []
        self._flushed += self._fill
        self._fill = 0
        if self._on_bytes is not None:
            self._on_bytes(self._flushed)
        if self._made < _BUFFERS and self._free.empty():
            self._made += 1
            self._buffer = bytearray(_BUFFER_SIZE)
        else:
            self._buffer = self._free.get()
        self._view = memoryview(self._buffer)
        self._room = _BUFFER_SIZE

    def _start(self, work: Callable[[], None], name: str) -> None:
        thread = threading.Thread(target=work, name=name, daemon=True)
        thread.start()
        self._threads.append(thread)

    def _hash(self) -> None:
        while (item := self._full.get()) is not None:
            if self._error is None:
                try:
                    self._add_to_hashes(item)
                except BaseException as error:
                    self._error = error
            self._hashed.put(item)
        self._hashed.put(None)

    def _write(self) -> None:
        while (item := self._hashed.get()) is not None:
            if self._error is None:
                try:
                    self._add_to_file(item)
                except BaseException as error:
                    self._error = error
            if len(item[0]) == _BUFFER_SIZE:
                self._free.put(item[0])

    def _add_to_hashes(self, item: _Item) -> None:
        buffer, size, ranges = item
        if ranges and self._whole is None:
            self._whole = self._ingest.hash()
        if self._whole is not None:
            self._whole.update(memoryview(buffer)[:size])
        for piece in _unreferred(item):
            self._ingest.update(piece)

    def _add_to_file(self, item: _Item) -> None:
        for piece in _unreferred(item):
            self._ingest.append(piece)

    def _join(self) -> None:
        if self._threads:
            self._full.put(None)
        while self._threads:
            self._threads.pop().join()

    def finish(self) -> Ingest:
        """Write the remaining bytes, and return the ingest, which then has everything."""
        self._join()
        if self._error is not None:
            raise self._error
        rest = self._buffer, self._fill, self._referred
        self._add_to_hashes(rest)
        self._add_to_file(rest)
        return self._ingest

    def abort(self) -> None:
        """Stop, and abort the ingest unless it was committed."""
        self._join()
        self._ingest.abort()


def _unreferred(item: _Item) -> Iterator[memoryview]:
    """Yield the pieces of a buffer that no other file keeps."""
    buffer, size, ranges = item
    view = memoryview(buffer)
    at = 0
    for start, end in (*ranges, (size, size)):
        if start > at:
            yield view[at:start]
        at = end
