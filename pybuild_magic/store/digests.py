"""Digests of local files that were hashed before, so that a cached build only has to walk its context."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from .database import Database

KnownFiles = dict[bytes, tuple[int, int, int, int, bytes]]
"""By the bytes of a file's name: its inode, size, mtime and ctime in nanoseconds, and its digest of 32 bytes. As long
as the first four are the same, so is the content.
"""
_DECODER = msgspec.msgpack.Decoder(KnownFiles)
_ENCODER = msgspec.msgpack.Encoder()

_SETTLED_NS = 50_000_000
"""A file that changed less than this ago may change again with the same time stamp, so its digest is not kept."""
_SETTLED_COARSE_NS = 2_100_000_000
"""The same for file systems with time stamps of one second, or of two as in FAT."""
_SECOND = 1_000_000_000


class FileDigests:
    """Remembered SHA-256 digests of files, by directory."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def known_in(self, directory: str) -> KnownFiles:
        """Return the remembered digests of the files of a directory, which is given by its absolute path."""
        return self._load(directory.encode("utf-8", "surrogateescape"))

    def put(self, directories: Mapping[str, KnownFiles], moment: int) -> None:
        """Remember digests of files, by the absolute path of the directory.

        `moment`, in nanoseconds since 1970, is when they were looked at, before they were hashed. Files that had
        changed just then are left out: these could change again unnoticed.
        """
        settled = {path: files for path, there in directories.items() if (files := _settled(there, moment))}
        if not settled:
            return
        with self._db.write() as connection:
            for directory, files in settled.items():
                path = directory.encode("utf-8", "surrogateescape")
                connection.execute(
                    "INSERT OR REPLACE INTO digests VALUES (?, ?, ?)",
                    (path, _ENCODER.encode(self._load(path) | files), moment / _SECOND),
                )

    def _load(self, directory: bytes) -> KnownFiles:
        rows = self._db.read("SELECT files FROM digests WHERE directory = ?", (directory,))
        if not rows:
            return {}
        try:
            return _DECODER.decode(rows[0][0])
        except msgspec.MsgspecError:
            return {}


def _settled(files: KnownFiles, moment: int) -> KnownFiles:
    """Return the files whose last change is long before `moment`."""
    settled: KnownFiles = {}
    for name, row in files.items():
        _, _, mtime, ctime, _ = row
        coarse = ctime % _SECOND == 0 and mtime % _SECOND == 0
        if max(ctime, mtime) + (_SETTLED_COARSE_NS if coarse else _SETTLED_NS) <= moment:
            settled[name] = row
    return settled
