"""Blobs: files named by the digest of their content, written aside and renamed into place when they are whole."""

from __future__ import annotations

import errno
import hashlib
import os
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO, cast

import msgspec

from ..cancel import checkpoint
from ..errors import StoreError
from ..oci.digest import Hash, is_digest
from ..portable import CAN_RENAME_OPEN_FILES
from .locks import lock_file, remove_locked

if TYPE_CHECKING:
    from io import BufferedReader

    from .store import Store

_READ_SIZE = 1 << 20
_ZEROS = bytes(1 << 20)


class DigestMismatch(StoreError):  # noqa: N818 - what it is, as Interrupted
    """Content that does not have the digest, or the size, that it was announced with."""


class Blob(msgspec.Struct, frozen=True):
    """A finished file in `ingest/` that is about to become a blob."""

    path: Path
    digest: str
    size: int


@contextmanager
def disk_errors(home: Path, doing: str) -> Generator[None]:
    """Turn an OSError of the block into the StoreError that tells what to do about it."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise StoreError(
                f"No space is left for the store at {home} while {doing} ({error.strerror}).",
                hint="Free some space, run `%build prune`, or set PYBUILD_HOME to a larger disk.",
            ) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise StoreError(
                f"The store at {home} is not writable ({error.strerror}, while {doing}).",
                hint="Make it writable, or set PYBUILD_HOME to a directory that is.",
            ) from error
        raise StoreError(f"The store at {home} failed while {doing}: {error}.") from error


class Ingest:
    """A blob being written: bytes are hashed as they come, and nothing is visible before `commit`.

    Use as a context manager: what was not committed is thrown away at the end of the block, unless the ingest has
    a resume key and the block ended by an exception.
    """

    def __init__(self, store: Store, resume_key: str = "") -> None:
        self._store = store
        self._keep = bool(resume_key)
        self._hash = hashlib.sha256()
        self.size = 0
        """Bytes written so far; more than 0 at the start when an interrupted ingest was found again."""
        with disk_errors(store.root, "writing a blob"):
            self._fd, self.path = self._open(resume_key)
            while chunk := os.read(self._fd, _READ_SIZE):
                self._hash.update(chunk)
                self.size += len(chunk)

    def _open(self, resume_key: str) -> tuple[int, Path]:
        directory = self._store.root / "ingest"
        if resume_key:
            path = directory / f"partial-{hashlib.sha256(resume_key.encode()).hexdigest()}"
            if (fd := lock_file(path)) is not None:
                return fd, path
            self._keep = False
        while True:  # a collection may take a file between its making and its locking
            path = directory / f"{os.getpid()}-{os.urandom(8).hex()}"
            if (fd := lock_file(path)) is not None:
                return fd, path

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append `data`. Raises StoreError when the disk is full."""
        self._hash.update(data)
        try:
            written = os.write(self._fd, data)
            if written != len(data):
                view = memoryview(data)
                while written < len(data):
                    written += os.write(self._fd, view[written:])
        except OSError:
            with disk_errors(self._store.root, "writing a blob"):
                raise
        self.size += len(data)

    def hole(self, size: int) -> None:
        """Append `size` zero bytes, which take no room on the disk."""
        while size:
            checkpoint()
            part = min(size, len(_ZEROS))
            self._hash.update(memoryview(_ZEROS)[:part])
            self.size += part
            size -= part
        with disk_errors(self._store.root, "writing a blob"):
            os.lseek(self._fd, self.size, os.SEEK_SET)
            os.ftruncate(self._fd, self.size)

    def restart(self) -> None:
        """Throw away what was written, to begin again (a server that cannot resume)."""
        os.ftruncate(self._fd, 0)
        os.lseek(self._fd, 0, os.SEEK_SET)
        self._hash = hashlib.sha256()
        self.size = 0

    def hash(self) -> Hash:
        """What goes on with the digest of what was written so far."""
        return self._hash.copy()

    @property
    def digest(self) -> str:
        """The digest of what was written so far."""
        return "sha256:" + self._hash.hexdigest()

    def finish(self, expected: str | None = None, size: int | None = None) -> Blob:
        """Check the content and close the file; the store publishes the blob then. Raises DigestMismatch."""
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
        if not self._store.deferred_sync:
            with disk_errors(self._store.root, "writing a blob"):
                os.fsync(self._fd)
        if not CAN_RENAME_OPEN_FILES:
            self.close()
        return blob

    def digest_like(self, expected: str) -> str:
        """The digest, by the algorithm of `expected`; for another one than ours the file is read again."""
        if not is_digest(expected) or expected.startswith("sha256:"):
            return self.digest
        os.lseek(self._fd, 0, os.SEEK_SET)
        other = hashlib.new(expected.partition(":")[0])
        while chunk := os.read(self._fd, _READ_SIZE):
            other.update(chunk)
        return f"{other.name}:{other.hexdigest()}"

    def commit(self, expected: str | None = None, size: int | None = None) -> str:
        """Make it a blob, if it is what was `expected` (digest) and has `size` bytes; returns its digest."""
        blob = self.finish(expected, size)
        self._store.publish(blob)
        self.close()
        return blob.digest

    def close(self) -> None:
        """Let go of the file, as it is."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)

    def abort(self) -> None:
        """Throw the file away. Does nothing after `commit`."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            remove_locked(self.path, fd)

    def __enter__(self) -> Ingest:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None and self._keep:
            self.close()
        else:
            self.abort()


class Blobs:
    """The content store: what has a row in the database and a file under `blobs/`, or is put together of such."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def path(self, digest: str) -> Path:
        """Where the file of a blob is, or would be; one in parts has none. Raises StoreError for what is no digest."""
        if not is_digest(digest):
            raise StoreError(f"{digest!r} is not a digest: it has the form sha256:<64 hex digits>.")
        algorithm, _, encoded = digest.partition(":")
        return self._store.root / "blobs" / algorithm / encoded

    def has(self, digest: str) -> bool:
        """Whether the blob is there; during a lease it then stays until the end of it."""
        return self._size(digest) is not None

    def size(self, digest: str) -> int:
        """The blob's size in bytes. Raises StoreError when it is not there."""
        size = self._size(digest)
        if size is None:
            raise StoreError(f"The store has no blob {digest}.")
        return size

    def _size(self, digest: str) -> int | None:
        size = self._store.use("blobs", "digest", digest)
        size = self._store.use("parts", "digest", digest) if size is None else size
        return self._store.packed.size(digest) if size is None else size

    def file(self, digest: str) -> Path:
        """The file of a blob that is not in parts; a tar that was dropped is made again.

        Raises StoreError when the blob is not there; during a lease the file stays until the end of it.
        """
        self._store.packed.ensure((digest,))
        return self.path(digest)

    def open(self, digest: str) -> BinaryIO:
        """The blob, opened for reading. Raises StoreError when it is not there."""
        self.size(digest)
        if (parts := self._store.parts.open(digest)) is not None:
            return parts
        try:
            return self.file(digest).open("rb")
        except OSError as error:
            raise StoreError(
                f"The blob {digest} cannot be read: {error.strerror}.", hint="Run `%build fsck --repair`."
            ) from error

    def read(self, digest: str) -> bytes:
        """All of a blob."""
        with self.open(digest) as file:
            return file.read()

    def ingest(self, resume_key: str = "") -> Ingest:
        """Begin to write a blob. With a `resume_key`, what an interrupted ingest of that key wrote is kept."""
        return Ingest(self._store, resume_key)

    def put(self, data: bytes) -> str:
        """Store `data`; its digest."""
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        if self.has(digest):
            return digest
        with self.ingest() as ingest:
            ingest.write(data)
            return ingest.commit()

    def verify(self, digest: str) -> str:
        """Read a blob and compare it with its digest: "" when it is right, else what is wrong with it."""
        try:
            self._store.packed.unpack(digest)
            with self._store.parts.open(digest) or self.path(digest).open("rb") as file:
                actual = hashlib.file_digest(cast("BufferedReader", file), digest.partition(":")[0])
        except OSError as error:
            return f"it cannot be read: {error.strerror}"
        except StoreError as error:
            return f"it cannot be read: {error.message.removesuffix('.')}"
        if actual.hexdigest() != digest.partition(":")[2]:
            return f"its content has the digest {actual.name}:{actual.hexdigest()}"
        return ""


def now() -> float:
    """The time that records carry: seconds since 1970."""
    return time.time()
