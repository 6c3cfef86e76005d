"""Records that the builder looks up by name: cache records by key, images by reference."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import msgspec

from ..errors import StoreError
from ..oci.descriptor import Descriptor
from ..untrusted.redaction import redact
from .blobfiles import now
from .database import Database

if TYPE_CHECKING:
    from .blobs import ContentStore
    from .uses import Uses

_ALIAS_LIMIT = 16
"""The longest chain of aliases that leads to a record."""


class CacheRecord(msgspec.Struct, frozen=True):
    """The remembered result of a vertex."""

    diff_ids: tuple[str, ...] = ()
    """The layers of the snapshot, bottom first."""
    meta: bytes = b""
    """Further data of the solver."""
    blobs: tuple[str, ...] = ()
    """The digests of further blobs that the record needs."""
    kind: str = "regular"
    """BuildKit's record type: regular, internal, frontend, source.local, source.git.checkout."""
    description: str = ""
    created: float = 0.0
    """Seconds since 1970. The store sets this field and the next two."""
    last_used: float = 0.0
    usage_count: int = 0


class Cache:
    """Cache records by key. A key is any text that always stands for the same result."""

    def __init__(self, db: Database, uses: Uses) -> None:
        self._db = db
        self._uses = uses

    def get(self, key: str) -> CacheRecord | None:
        """Return the record at `key`, following aliases, and mark it and its layers and blobs as used.

        Returns None when there is no record, or when a layer or blob of it is gone; such a record is dropped.
        """
        moment = now()
        with self._db.write() as connection:
            for _ in range(_ALIAS_LIMIT):
                target = connection.execute(
                    "UPDATE aliases SET last_used = ? WHERE key = ? RETURNING target", (moment, key)
                ).fetchone()
                if target is None:
                    break
                key = target[0]
            row = connection.execute(
                "UPDATE cache SET last_used = ?, usage_count = usage_count + 1 WHERE key = ? "
                "RETURNING diff_ids, meta, blobs, kind, description, created, last_used, usage_count",
                (moment, key),
            ).fetchone()
            if row is None:
                return None
            record = CacheRecord(tuple(row[0].split()), row[1], tuple(row[2].split()), *row[3:])
            parts = (("layers", "diff_id", record.diff_ids), ("blobs", "digest", record.blobs))
            whole = all(
                self._uses.mark(table, column, digest) is not None
                for table, column, digests in parts
                for digest in digests
            )
            if not whole:
                connection.execute("DELETE FROM cache WHERE key = ?", (key,))
                return None
            return record

    def put(self, key: str, record: CacheRecord) -> None:
        """Store `record` at `key`. Raises StoreError when a layer or blob of it is not in the store."""
        moment = now()
        with self._db.write() as connection:
            for table, column, digests in (("layers", "diff_id", record.diff_ids), ("blobs", "digest", record.blobs)):
                for digest in digests:
                    if not connection.execute(f"SELECT 1 FROM {table} WHERE {column} = ?", (digest,)).fetchone():  # noqa: S608
                        raise StoreError(f"A cache record cannot be kept: the store has no {digest}.")
            connection.execute(
                "INSERT OR REPLACE INTO cache VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    key,
                    " ".join(record.diff_ids),
                    " ".join(record.blobs),
                    record.meta,
                    record.kind,
                    redact(record.description),
                    moment,
                    moment,
                    1,
                ),
            )

    def alias(self, key: str, target: str) -> None:
        """Make `key` lead to the record at `target`."""
        if key != target:
            self._db.execute("INSERT OR REPLACE INTO aliases VALUES (?, ?, ?)", (key, target, now()))

    def remove(self, key: str) -> None:
        """Forget the record or alias at `key`."""
        with self._db.write() as connection:
            connection.execute("DELETE FROM cache WHERE key = ?", (key,))
            connection.execute("DELETE FROM aliases WHERE key = ?", (key,))

    def items(self) -> Iterable[tuple[str, CacheRecord]]:
        """Yield all records with their keys, the least recently used first, without marking them as used."""
        rows = self._db.read(
            "SELECT key, diff_ids, meta, blobs, kind, description, created, last_used, usage_count "
            "FROM cache ORDER BY last_used"
        )
        for row in rows:
            yield row[0], CacheRecord(tuple(row[1].split()), row[2], tuple(row[3].split()), *row[4:])


class ImageRecord(msgspec.Struct, frozen=True):
    """An image of the store: its normalised reference, and the descriptor of its index or manifest."""

    name: str
    descriptor: Descriptor
    created: float
    """When the name was given to this image, in seconds since 1970."""


class ImageStore:
    """The images of the store, which `-t NAME` adds and `FROM NAME` finds."""

    def __init__(self, db: Database, blobs: ContentStore) -> None:
        self._db = db
        self._blobs = blobs

    def get(self, name: str) -> ImageRecord | None:
        """Return the image with this name, or None. During a lease, its blobs then stay until it ends."""
        rows = self._db.execute(
            "UPDATE images SET last_used = ? WHERE name = ? RETURNING name, descriptor, created", (now(), name)
        )
        return _image(rows[0]) if rows else None

    def put(self, name: str, descriptor: Descriptor) -> None:
        """Give `name` to an image; `descriptor` is that of its manifest or index, which is a blob of the store."""
        if not self._blobs.has(descriptor.digest):
            raise StoreError(f'The image "{name}" cannot be kept: the store has no blob {descriptor.digest}.')
        moment = now()
        self._db.execute(
            "INSERT OR REPLACE INTO images VALUES (?, ?, ?, ?)",
            (name, msgspec.json.encode(descriptor), moment, moment),
        )

    def list(self) -> list[ImageRecord]:
        """Return all images, sorted by name."""
        rows = self._db.read("SELECT name, descriptor, created FROM images ORDER BY name")
        return [_image(row) for row in rows]

    def remove(self, name: str) -> bool:
        """Remove a name, and return whether there was one. The next collection deletes blobs that nothing needs."""
        return bool(self._db.execute("DELETE FROM images WHERE name = ? RETURNING 1", (name,)))


def _image(row: tuple[str, bytes, float]) -> ImageRecord:
    return ImageRecord(row[0], msgspec.json.decode(row[1], type=Descriptor), row[2])
