"""A tar archive of the disk, in any compression, whose files are read in place."""

from __future__ import annotations

import io
import os
import select
import stat
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from ..cancel import checkpoint
from ..errors import SourceError
from ..temporary import temporary_file
from .decompress import ARCHIVES, MAGIC_SIZE, compression_of, decompress
from .entry import Span
from .files import SpanReader
from .importer import CheckedStream, MemberContent, Unpacked, about, content_pieces
from .tarread import Member, TarFeed, members

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_BLOCK = 1 << 20
_BUFFER = 1 << 18
_TICK = 100
"""Milliseconds between two looks at whether the user wants to stop waiting for a pipe."""


class OpenTar:
    """An archive that is open for reading; several threads may read it.

    `source` is its path, or a file that the caller closes. `name` is for messages. Raises SourceError if the archive is
    corrupt or unpacks to absurdly much, and OSError if the path cannot be opened.
    """

    def __init__(self, source: Path | BinaryIO, name: str = "The archive") -> None:
        self._name = name
        with ExitStack() as stack:
            raw = stack.enter_context(_opened(source)) if isinstance(source, Path) else source
            self._file = raw if _is_plain(raw) else _unpacked(raw, name)
            self._closing = stack.pop_all()
            if self._file is not raw:
                self._closing.close()
                self._closing.callback(self._file.close)

    def members(self) -> Iterator[Member]:
        """Yield the members of the archive in order. Raises SourceError for an empty file."""
        with about(self._name):
            self._file.seek(0)
            feed = TarFeed(self._file, seek=self._file.seek)
            yield from members(feed)
            if not feed.offset:
                raise SourceError("it is empty")

    def open(self, member: Member) -> BinaryIO:
        """Open the content of a regular file, including the holes of a sparse one."""
        span = SpanReader(os.dup(self._file.fileno()), Span("", member.entry.offset, member.stored))
        stored = cast("BinaryIO", io.BufferedReader(span, min(_BUFFER, max(512, member.stored))))
        if member.sparse is None:
            return stored
        return cast("BinaryIO", io.BufferedReader(MemberContent(content_pieces(TarFeed(stored), member))))

    def close(self) -> None:
        """Close the files that this object has opened."""
        self._closing.close()

    def __enter__(self) -> OpenTar:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Pipe(io.RawIOBase):
    """A named pipe that is open for reading. Waiting for a writer, or for what it writes, ends with the build."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        self._poll = select.poll()
        self._poll.register(self._fd, select.POLLIN)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int | None:
        while not self._poll.poll(_TICK):
            checkpoint()
        return os.readv(self._fd, [buffer])

    def close(self) -> None:
        if not self.closed:
            os.close(self._fd)
        super().close()


def _opened(path: Path) -> BinaryIO:
    if stat.S_ISFIFO(path.stat().st_mode):
        return io.BufferedReader(_Pipe(path))
    return path.open("rb")


def _is_plain(raw: BinaryIO) -> bool:
    """Return whether this is a file of the disk without compression."""
    if not raw.seekable() or type(raw) not in (io.BufferedReader, io.BufferedRandom, io.FileIO):
        return False
    start = raw.read(MAGIC_SIZE)
    raw.seek(-len(start), os.SEEK_CUR)
    return compression_of(start) not in ARCHIVES


def _unpacked(raw: BinaryIO, name: str) -> BinaryIO:
    """Return a temporary file with the unpacked content of `raw`."""
    spool = cast("BinaryIO", temporary_file())
    try:
        with about(name):
            packed = CheckedStream(raw)
            stream = Unpacked(decompress(packed, ARCHIVES, name), packed)
            while data := stream.read(_BLOCK):
                spool.write(data)
    except OSError as error:
        spool.close()
        raise SourceError(f"{name} cannot be unpacked: {error.strerror or error}.") from error
    except BaseException:
        spool.close()
        raise
    return spool
