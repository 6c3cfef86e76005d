"""Blobs in any form: as files, composed of parts of others, or packed and unpacked again on demand."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from ..errors import StoreError
from .blobfiles import BlobFiles, Ingest
from .packed import PackedLayers
from .parts import BlobParts
from .uses import Uses

if TYPE_CHECKING:
    from io import BufferedReader


class ContentStore:
    """The content store."""

    def __init__(self, files: BlobFiles, parts: BlobParts, packed: PackedLayers, uses: Uses) -> None:
        self._files = files
        self._uses = uses
        self.parts = parts
        self.packed = packed

    def path(self, digest: str) -> Path:
        """Return the path that a blob's file has, or would have; a blob in parts has no file.

        Raises StoreError for an invalid digest.
        """
        return self._files.path(digest)

    def has(self, digest: str) -> bool:
        """Return whether the blob is there; during a lease, it then stays until the lease ends."""
        return self._size(digest) is not None

    def size(self, digest: str) -> int:
        """Return the blob's size in bytes. Raises StoreError when it is not there."""
        size = self._size(digest)
        if size is None:
            raise StoreError(f"The store has no blob {digest}.")
        return size

    def _size(self, digest: str) -> int | None:
        size = self._files.size(digest)
        size = self._uses.mark("parts", "digest", digest) if size is None else size
        return self.packed.size(digest) if size is None else size

    def file(self, digest: str) -> Path:
        """Return the path of a blob that is not in parts; a tar that was dropped is first unpacked again.

        During a lease, the file stays until it ends. Raises StoreError when the blob is not there.
        """
        self.packed.ensure((digest,))
        return self.path(digest)

    def descriptor(self, digest: str) -> int:
        """Open the `file` of a blob for reading, and return its descriptor."""
        self.packed.ensure((digest,))
        return self._files.descriptor(digest)

    def open(self, digest: str) -> BinaryIO:
        """Open a blob for reading. Raises StoreError when it is not there."""
        self.size(digest)
        if (parts := self.parts.open(digest)) is not None:
            return parts
        self.packed.ensure((digest,))
        return self._files.open(digest)

    def read(self, digest: str) -> bytes:
        """Return the content of a blob."""
        with self.open(digest) as file:
            return file.read()

    def ingest(self) -> Ingest:
        """Start to write a blob."""
        return self._files.ingest()

    def put(self, data: bytes) -> str:
        """Store `data` as a blob, and return its digest."""
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        if self.has(digest):
            return digest
        with self.ingest() as ingest:
            ingest.write(data)
            return ingest.commit()

    def verify(self, digest: str) -> str:
        """Compare a blob with its digest, and return what is wrong with it, or ""."""
        try:
            self.packed.unpack(digest)
            with self.parts.open(digest) or self.path(digest).open("rb") as file:
                actual = hashlib.file_digest(cast("BufferedReader", file), digest.partition(":")[0])
        except OSError as error:
            return f"it cannot be read: {error.strerror}"
        except StoreError as error:
            return f"it cannot be read: {error.message.removesuffix('.')}"
        if actual.hexdigest() != digest.partition(":")[2]:
            return f"its content has the digest {actual.name}:{actual.hexdigest()}"
        return ""
