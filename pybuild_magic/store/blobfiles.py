"""Blobs as files: named by the digest of their content, written aside and renamed into place when complete."""

from __future__ import annotations

import errno
import hashlib
import os
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from sqlite3 import Connection
from typing import BinaryIO

import msgspec

from ..cancel import checkpoint
from ..errors import FULL, StoreError
from ..oci.digest import Hash, is_digest
from ..portable import CAN_RENAME_OPEN_FILES
from .database import Database
from .durability import Durability
from .locks import lock_file, remove_locked
from .uses import Uses

_OPEN_FLAGS = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_READ_SIZE = 1 << 20
_ZEROS = bytes(1 << 20)


class DigestMismatch(StoreError):  # noqa: N818 - named for what happened, like Interrupted
    """Content does not have the digest or the size that was announced for it."""


class Blob(msgspec.Struct, frozen=True):
    """A finished file in `ingest/` that is about to become a blob."""

    path: Path
    digest: str
    size: int


@contextmanager
def disk_errors(home: Path, doing: str) -> Generator[None]:
    """Turn an OSError of the block into a StoreError whose hint says what to do about it."""
    try:
        yield
    except OSError as error:
        if error.errno in (*FULL, errno.EFBIG):
            raise StoreError(
                f"No space is left for the store at {home} while {doing} ({error.strerror}).",
                hint="Free some space, run `%build prune`, or set PYBUILD_HOME to a larger disk.",
            ) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise StoreError(
                f"The store at {home} is not writable ({error.strerror}, while {doing}).",
                hint="Make it writable, or set PYBUILD_HOME to a directory that is.",
            ) from error
        hint = ""
        if error.errno in (errno.ENOENT, errno.ESTALE):
            hint = "Something else has removed a part of it: restart the kernel."
        elif error.errno in (errno.EMFILE, errno.ENFILE):
            hint = "Too many files are open: close some, or raise the limit (ulimit -n)."
        raise StoreError(f"The store at {home} failed while {doing}: {error}.", hint=hint) from error


class Ingest:
    """A blob being written: bytes are hashed as they come, and nothing is visible before `commit`.

    Use it as a context manager: without `commit`, the file is removed at the end of the block.
    """

    def __init__(self, files: BlobFiles) -> None:
        self._files = files
        self._root = files.root
        self._hash = hashlib.sha256()
        self.size = 0
        """Bytes written so far."""
        with disk_errors(self._root, "writing a blob"):
            self._fd, self.path = self._open()

    def _open(self) -> tuple[int, Path]:
        while True:  # a collection may remove the file after it is created and before it is locked
            path = self._root / "ingest" / f"{os.getpid()}-{os.urandom(8).hex()}"
            if (fd := lock_file(path)) is not None:
                return fd, path

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append `data`. Raises StoreError when the disk is full."""
        self.update(data)
        self.append(data)

    def update(self, data: bytes | bytearray | memoryview) -> None:
        """Hash `data`, which `append` is yet to write: two threads may do one of them each."""
        self._hash.update(data)

    def append(self, data: bytes | bytearray | memoryview) -> None:
        """Write `data`, which `update` hashes. Raises StoreError when the disk is full, and nothing makes room."""
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self._fd, view) :]
            except OSError as error:
                if error.errno in FULL and self._files.make_room():
                    continue
                with disk_errors(self._root, "writing a blob"):
                    raise
        self.size += len(data)

    def hole(self, size: int) -> None:
        """Append a hole of `size` bytes: zeros that take no room on the disk."""
        while size:
            checkpoint()
            part = min(size, len(_ZEROS))
            self._hash.update(memoryview(_ZEROS)[:part])
            self.size += part
            size -= part
        with disk_errors(self._root, "writing a blob"):
            os.lseek(self._fd, self.size, os.SEEK_SET)
            os.ftruncate(self._fd, self.size)

    def hash(self) -> Hash:
        """Return a hash of the bytes written so far, which can be continued."""
        return self._hash.copy()

    @property
    def digest(self) -> str:
        """The digest of the bytes written so far."""
        return "sha256:" + self._hash.hexdigest()

    def finish(self, expected: str | None = None, size: int | None = None) -> Blob:
        """Check the content and close the file, which can then be published. Raises DigestMismatch."""
        digest = self.digest
        if size is not None and size != self.size:
            self.abort()
            raise DigestMismatch(f"{expected or 'A blob'} has {self.size} bytes where {size} were announced.")
        if expected is not None and expected != digest:
            digest = self.digest_like(expected)
            if digest != expected:
                self.abort()
                raise DigestMismatch(f"Content has the digest {digest} where {expected} was announced.")
        blob = Blob(self.path, digest, self.size)
        if not self._files.durability.deferred:
            with disk_errors(self._root, "writing a blob"):
                os.fsync(self._fd)
        if not CAN_RENAME_OPEN_FILES:
            self.close()
        return blob

    def digest_like(self, expected: str) -> str:
        """Return the digest by the algorithm of `expected`; for any but SHA-256, the file is read again."""
        if not is_digest(expected) or expected.startswith("sha256:"):
            return self.digest
        os.lseek(self._fd, 0, os.SEEK_SET)
        other = hashlib.new(expected.partition(":")[0])
        while chunk := os.read(self._fd, _READ_SIZE):
            other.update(chunk)
        return f"{other.name}:{other.hexdigest()}"

    def commit(self, expected: str | None = None, size: int | None = None) -> str:
        """Publish the blob, and return its digest. Raises DigestMismatch unless it has the given digest and size."""
        blob = self.finish(expected, size)
        self._files.publish(blob)
        self.close()
        return blob.digest

    def close(self) -> None:
        """Close the file, and leave it as it is."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)

    def abort(self) -> None:
        """Remove the file. Does nothing after `commit`."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            remove_locked(self.path, fd)

    def __enter__(self) -> Ingest:
        return self

    def __exit__(self, *_: object) -> None:
        self.abort()


class BlobFiles:
    """The blobs that are stored as files: each has a row in the database and a file under `blobs/`."""

    def __init__(
        self, root: Path, db: Database, uses: Uses, durability: Durability, make_room: Callable[[], bool]
    ) -> None:
        self.root = root
        self.durability = durability
        self.make_room = make_room
        """Called when the disk is full; returns whether it has freed anything."""
        self._db = db
        self._uses = uses

    def path(self, digest: str) -> Path:
        """Return the path that a blob's file has, or would have. Raises StoreError for an invalid digest."""
        return blob_path(self.root, digest)

    def size(self, digest: str) -> int | None:
        """Return the size of a blob that is a file, else None; during a lease, the file then stays until it ends."""
        return self._uses.mark("blobs", "digest", digest)

    def descriptor(self, digest: str) -> int:
        """Open the file of a blob for reading, and return its descriptor. Raises StoreError when that fails."""
        try:
            return os.open(self.path(digest), _OPEN_FLAGS)
        except OSError as error:
            raise StoreError(
                f"The blob {digest} cannot be read: {error.strerror}.", hint="Run `%build fsck --repair`."
            ) from error

    def open(self, digest: str) -> BinaryIO:
        """Open the file of a blob for reading. Raises StoreError when it cannot be opened."""
        return os.fdopen(self.descriptor(digest), "rb")

    def ingest(self) -> Ingest:
        """Start to write a blob."""
        return Ingest(self)

    def publish(self, *blobs: Blob, also: Callable[[Connection], object] | None = None) -> None:
        """Rename finished files into place and record them, in one transaction with what `also` records."""
        moment = now()
        boot = self.durability.boot
        with disk_errors(self.root, "publishing a blob"), self._db.write() as connection:
            for blob in blobs:
                target = self.path(blob.digest)
                known = connection.execute("SELECT size FROM blobs WHERE digest = ?", (blob.digest,)).fetchone()
                parts = connection.execute("UPDATE parts SET last_used = ? WHERE digest = ?", (moment, blob.digest))
                if parts.rowcount or (known and target.exists()):
                    blob.path.unlink()
                    connection.execute("UPDATE blobs SET last_used = ? WHERE digest = ?", (moment, blob.digest))
                    continue
                blob.path.replace(target)
                connection.execute(
                    "INSERT OR REPLACE INTO blobs VALUES (?, ?, ?, ?, ?)",
                    (blob.digest, blob.size, moment, moment, boot),
                )
                self.durability.add(blob.digest)
            if also is not None:
                also(connection)


def blob_path(root: Path, digest: str) -> Path:
    """Return the path of a blob's file in the store at `root`. Raises StoreError for an invalid digest."""
    if not is_digest(digest):
        raise StoreError(f"{digest!r} is not a digest: it has the form sha256:<64 hex digits>.")
    algorithm, _, encoded = digest.partition(":")
    return root / "blobs" / algorithm / encoded


def now() -> float:
    """Return the current time as records carry it: in seconds since 1970."""
    return time.time()
