"""Digests of local files that were hashed before, so that a cached build only has to walk its context."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from .database import Database

KnownFiles = dict[bytes, tuple[int, int, int, int, bytes]]
"""By the bytes of a file's name: the rest of its `FileKey`, and its digest of 32 bytes."""
_DECODER = msgspec.msgpack.Decoder(KnownFiles)
_ENCODER = msgspec.msgpack.Encoder()

_SETTLED_NS = 50_000_000
"""A file that changed less than this ago may change again with the same time stamp, so its digest is not kept."""
_SETTLED_COARSE_NS = 2_100_000_000
"""The same for file systems with time stamps of one second, or of two as in FAT."""
_SECOND = 1_000_000_000


class FileKey(NamedTuple):
    """A file in one state: as long as all five fields are the same, so is the content."""

    path: str
    """The absolute path, or any other unique name of a file of this machine."""
    ino: int
    size: int
    mtime_ns: int
    ctime_ns: int


class FileDigests:
    """Remembered SHA-256 digests of files, by directory."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def known_in(self, directory: str) -> KnownFiles:
        """Return the remembered digests of the files of a directory, which is given by its absolute path."""
        return self._load(directory.encode("utf-8", "surrogateescape"))

    def put(self, items: Iterable[tuple[FileKey, bytes]]) -> None:
        """Remember digests, except of files that changed just now: these could change again unnoticed."""
        moment = time.time_ns()
        fresh: dict[bytes, KnownFiles] = {}
        for (path, ino, size, mtime, ctime), digest in items:
            coarse = ctime % _SECOND == 0 and mtime % _SECOND == 0
            if max(ctime, mtime) + (_SETTLED_COARSE_NS if coarse else _SETTLED_NS) > moment:
                continue
            directory, _, name = path.encode("utf-8", "surrogateescape").rpartition(b"/")
            fresh.setdefault(directory, {})[name] = (ino, size, mtime, ctime, digest)
        if not fresh:
            return
        with self._db.write() as connection:
            for directory, files in fresh.items():
                merged = {**self._load(directory), **files}
                connection.execute(
                    "INSERT OR REPLACE INTO digests VALUES (?, ?, ?)",
                    (directory, _ENCODER.encode(merged), moment / _SECOND),
                )

    def _load(self, directory: bytes) -> KnownFiles:
        rows = self._db.read("SELECT files FROM digests WHERE directory = ?", (directory,))
        if not rows:
            return {}
        try:
            return _DECODER.decode(rows[0][0])
        except msgspec.MsgspecError:
            return {}
