"""The output of a run in the background, kept on the disk: its last part, by stream, readable while more comes."""

from __future__ import annotations

import os
import struct
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, NamedTuple

LIMIT = 16 << 20
"""The most bytes that are kept, in two files: when the second is full, the first is removed."""
_NAME, _OLDER = "output", "output.1"
_HEAD = struct.Struct("<BId")
"""The head of a piece: its stream, 1 (stdout) or 2 (stderr), its length, and when it came."""
_NUMBER = struct.Struct("<Q")
_PIECE = 1 << 16
_TICK = 0.05


class Piece(NamedTuple):
    """Output of a process, as it was written, or one line of it."""

    stream: int
    """1 (stdout) or 2 (stderr)."""
    data: bytes
    time: float
    """When it came, or, for a line, when its end did: seconds since 1970."""


class LogWriter:
    """Writes the log of a run into its directory."""

    def __init__(self, directory: Path, limit: int = LIMIT) -> None:
        self._directory = directory
        self._half = limit // 2
        self._number = 0
        self._begin()

    def write(self, stream: int, data: bytes) -> None:
        """Append output; it is lost when the disk is full."""
        now = time.time()
        for start in range(0, len(data), _PIECE):
            part = data[start : start + _PIECE]
            if self._size + len(part) > self._half:
                self._turn()
            with suppress(OSError):
                self._size += self._file.write(_HEAD.pack(stream, len(part), now) + part)

    def _begin(self) -> None:
        """Begin a new file, which starts with its number."""
        self._number += 1
        self._file = (self._directory / _NAME).open("wb", buffering=0)
        self._file.write(_NUMBER.pack(self._number))
        self._size = 0

    def _turn(self) -> None:
        self._file.close()
        (self._directory / _NAME).rename(self._directory / _OLDER)
        self._begin()

    def close(self) -> None:
        """Close the file; nothing more is written."""
        self._file.close()


def read_log(directory: Path, running: Callable[[], bool] | None = None, tail: int | None = None) -> Iterator[Piece]:
    """Yield the pieces of the log in a directory; with `tail`, begin with so many of the last lines.

    With `running`, go on until it returns false. A reader that is slower than the writer misses the pieces that are
    removed meanwhile.
    """
    pieces = _all_pieces(directory, running)
    if tail is not None:
        yield from last_lines(_until_read(pieces), tail)
    yield from (piece for piece in pieces if piece is not None)


def _until_read(pieces: Iterator[Piece | None]) -> Iterator[Piece]:
    for piece in pieces:
        if piece is None:
            return
        yield piece


def _all_pieces(directory: Path, running: Callable[[], bool] | None) -> Iterator[Piece | None]:
    """Yield the pieces of both files, and None each time that all of them are read."""
    seen = 0
    while True:
        going_on = running is not None and running()
        for name in (_OLDER, _NAME):
            with suppress(FileNotFoundError), (directory / name).open("rb") as file:
                head = file.read(_NUMBER.size)
                number = _NUMBER.unpack(head)[0] if len(head) == _NUMBER.size else 0
                if number > seen:
                    seen = number
                    yield from _pieces(file, running if name == _NAME else None, directory / _NAME)
        if not going_on:
            return
        yield None
        time.sleep(_TICK)


def _pieces(file: BinaryIO, running: Callable[[], bool] | None, path: Path) -> Iterator[Piece | None]:
    """Yield the pieces of a file; with `running`, also those to come, until another file is at `path`."""
    rest = b""
    while True:
        # Ask before reading the file, so that nothing written in between is missed.
        ends = running is None or not running() or _turned(file, path)
        rest += file.read()
        at = 0
        while at + _HEAD.size <= len(rest):
            stream, length, came = _HEAD.unpack_from(rest, at)
            if at + _HEAD.size + length > len(rest):
                break
            yield Piece(stream, rest[at + _HEAD.size : at + _HEAD.size + length], came)
            at += _HEAD.size + length
        rest = rest[at:]
        if ends:
            return
        yield None
        time.sleep(_TICK)


def _turned(file: BinaryIO, path: Path) -> bool:
    try:
        return path.stat().st_ino != os.fstat(file.fileno()).st_ino
    except FileNotFoundError:
        return True


def last_lines(pieces: Iterable[Piece], count: int) -> list[Piece]:
    """Return the last `count` lines."""
    return list(deque(lines_of(pieces), maxlen=count))


def lines_of(pieces: Iterable[Piece]) -> Iterator[Piece]:
    """Yield the lines of each stream, when their ends have come; the last need not have one."""
    open_lines: dict[int, Piece] = {}
    for stream, data, came in pieces:
        begun = open_lines.pop(stream, None)
        *whole, rest = ((begun.data if begun else b"") + data).split(b"\n")
        yield from (Piece(stream, line + b"\n", came) for line in whole)
        if rest:
            open_lines[stream] = Piece(stream, rest, came)
    yield from open_lines.values()
