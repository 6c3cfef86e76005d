"""Layers that are kept only packed: their tars were dropped, and are made again when somebody reads them.

A packed form always unpacks to the same tar, but packing the tar again need not give the same bytes, since a
registry's packer is not known. So a tar may be dropped while a packed form of it is in the store and synced to the
disk, and a packed form may be dropped while the tar is in the store and a registry has the packed form.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from sqlite3 import Connection
from typing import TYPE_CHECKING

from ..cancel import checkpoint
from ..errors import SourceError, StoreError
from ..status.report import at_work
from .decompress import decompress
from .tarsink import TarSink

if TYPE_CHECKING:
    from .blobfiles import BlobFiles
    from .database import Database
    from .uses import Uses

_BLOCK = 1 << 20
_LOCKS = [threading.Lock() for _ in range(64)]
_FORMS = (
    "SELECT packed.digest, layers.size FROM layers JOIN compressed ON compressed.diff_id = layers.diff_id "
    "JOIN blobs AS packed ON packed.digest = compressed.digest "
    "WHERE layers.diff_id = ? AND packed.digest != layers.diff_id AND compressed.compression IN ('gzip', 'zstd') "
)
_DROPPED = (
    "AND layers.diff_id NOT IN (SELECT digest FROM blobs) AND layers.diff_id NOT IN (SELECT digest FROM parts) "
    "ORDER BY packed.size"
)


class PackedLayers:
    """The tars that were dropped and can be made again."""

    def __init__(
        self, db: Database, files: BlobFiles, uses: Uses, lease: Callable[[], AbstractContextManager[None]]
    ) -> None:
        self._db = db
        self._files = files
        self._uses = uses
        self._lease = lease

    def size(self, diff_id: str) -> int | None:
        """Return the size of a dropped tar; None for any other digest."""
        rows = self._db.read(_FORMS + _DROPPED, (diff_id,))
        return rows[0][1] if rows else None

    def ensure(self, diff_ids: Iterable[str]) -> None:
        """Make the dropped tars among these layers again; during a lease, all then stay until it ends."""
        for diff_id in diff_ids:
            if self._uses.mark("blobs", "digest", diff_id) is None:
                self.unpack(diff_id)

    def unpack(self, diff_id: str) -> bool:
        """Make a tar again if it was dropped, and return whether it was.

        Raises StoreError when the packed form is broken.
        """
        with _LOCKS[hash(diff_id) % len(_LOCKS)]:
            rows = self._db.read(_FORMS + _DROPPED, (diff_id,))
            if not rows:
                return False
            packed, size = rows[0]
            try:
                self._unpack(diff_id, packed, size)
            except SourceError as error:
                raise StoreError(
                    f"The layer {diff_id} cannot be unpacked again: {error.message}",
                    hint="Run `%build fsck --repair`, and build again.",
                ) from error
            return True

    def _unpack(self, diff_id: str, packed: str, size: int) -> None:
        report, name = at_work(), f"extracting {packed}"
        with self._lease(), self._files.open(packed) as file:
            sink = TarSink(self._files.ingest())
            try:
                stream = decompress(file, name=f"The blob {packed}")
                while data := stream.read(_BLOCK):
                    checkpoint()
                    sink.write(data)
                    if sink.offset > size:
                        break
                    if report is not None:
                        report.status(name, name, min(sink.offset, size - 1), size)
                ingest = sink.finish()
                ingest.commit(diff_id, size)
            finally:
                sink.abort()
        if report is not None:
            report.status(name, name, size, size)


def kept_packed(connection: Connection, diff_id: str) -> bool:
    """Return whether a packed form of the layer is in the store."""
    return connection.execute(_FORMS, (diff_id,)).fetchone() is not None


def drop_tar(connection: Connection, diff_id: str, horizon: float) -> bool:
    """Forget a tar that can be made again, unless a build uses it or a layer refers to it.

    Returns whether it was forgotten.
    """
    deleted = connection.execute(
        "DELETE FROM blobs WHERE digest = ?1 AND last_used < ?2 "
        "AND EXISTS (SELECT 1 FROM layers WHERE diff_id = ?1 AND last_used < ?2) "
        "AND EXISTS (SELECT 1 FROM compressed JOIN blobs AS packed ON packed.digest = compressed.digest "
        "WHERE diff_id = ?1 AND packed.digest != ?1 AND boot = '' AND compression IN ('gzip', 'zstd')) "
        "AND NOT EXISTS (SELECT 1 FROM parts WHERE instr(blobs, ?1)) RETURNING 1",
        (diff_id, horizon),
    )
    return bool(deleted.fetchall())


def drop_packed(connection: Connection, digest: str, horizon: float) -> bool:
    """Forget a packed form, unless a build uses it or its layer has no other form; return whether it was forgotten."""
    deleted = connection.execute(
        "DELETE FROM blobs WHERE digest = ?1 AND last_used < ?2 AND NOT EXISTS (SELECT 1 FROM compressed "
        "JOIN layers ON layers.diff_id = compressed.diff_id WHERE compressed.digest = ?1 "
        "AND layers.diff_id NOT IN (SELECT digest FROM blobs UNION SELECT digest FROM parts)) RETURNING 1",
        (digest, horizon),
    )
    return bool(deleted.fetchall())
