"""Which contents of files the store has, and where, so that no layer has to store one again."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from ..errors import StoreError
from .entry import FILE, Span
from .index import Index

if TYPE_CHECKING:
    from .database import Database
    from .layer import Layer
    from .parts import BlobParts
    from .uses import Uses

SMALLEST = 4096
"""Bytes of a content from which on it is looked for: below that, a row about it costs too much of what it saves."""
_LAYER_SMALLEST = 1 << 20
"""Bytes of a layer whose contents are worth knowing."""
_MOST_BLOBS = 16
"""Blobs that one layer refers to: each is a file to open, and a device of an image that is mounted."""
_SHARE = 4
"""Only a blob is referred to of which at least one part in so many is wanted: all of it stays for that."""
_AT_ONCE = 500
_FIND = (
    "SELECT contents.digest, holders.blob, contents.offset FROM contents "
    "JOIN holders ON holders.id = contents.holder WHERE contents.digest IN ({})"
)


class Contents:
    """The contents of the layers of a store by their SHA-256.

    Layers are taken in when somebody looks for contents the first time after they came: a build that copies little
    does nothing for it.
    """

    def __init__(self, db: Database, uses: Uses, parts: BlobParts, layer: Callable[[str], Layer]) -> None:
        self._db = db
        self._uses = uses
        self._parts = parts
        self._layer = layer

    def find(self, wanted: Mapping[bytes, int]) -> dict[bytes, Span]:
        """Return where those of the `wanted` contents (size by digest) are that are worth referring to.

        They are ranges of blobs that are files, which stay to the end of the lease. Contents that lie in a blob of
        which little is wanted are left out.
        """
        digests = [digest for digest, size in wanted.items() if size >= SMALLEST and digest]
        if not digests:
            return {}
        self._take_in(_SHARE * sum(wanted.values()))
        by_holder: dict[str, list[tuple[bytes, int]]] = {}
        for start in range(0, len(digests), _AT_ONCE):
            some = digests[start : start + _AT_ONCE]
            for digest, blob, offset in self._db.read(_FIND.format(",".join("?" * len(some))), some):
                by_holder.setdefault(blob, []).append((digest, offset))
        shares = {blob: sum(wanted[digest] for digest, _ in places) for blob, places in by_holder.items()}
        spans: dict[bytes, Span] = {}
        kept = 0
        for blob in sorted(by_holder, key=shares.__getitem__, reverse=True):
            if kept == _MOST_BLOBS:
                break
            size = self._uses.mark("blobs", "digest", blob)
            if size is not None and shares[blob] * _SHARE >= size:
                kept += 1
                spans.update((digest, Span(blob, offset, wanted[digest])) for digest, offset in by_holder[blob])
        return spans

    def likely(self, sizes: Sequence[int]) -> frozenset[int]:
        """Return those of the sizes of a layer's files that are worth finding the digests of, to look for these.

        They are sizes of contents of a blob that, should all be the same ones, is worth referring to.
        """
        counts = Counter(size for size in sizes if size >= SMALLEST)
        most = _SHARE * sum(size * count for size, count in counts.items())
        self._take_in(most)
        likely: set[int] = set()
        sql = "SELECT sizes, size FROM holders JOIN blobs ON digest = blob WHERE size <= ?"
        for column, room in self._db.read(sql, (most,)):
            common = counts.keys() & array("q", column)
            if _SHARE * sum(size * counts[size] for size in common) >= room:
                likely |= common
        return frozenset(likely)

    def _take_in(self, most: int) -> None:
        """Take in layers that are new; those of more than `most` bytes cannot be worth referring to."""
        rows = self._db.read(
            "SELECT diff_id FROM layers WHERE size BETWEEN ? AND ? AND diff_id NOT IN (SELECT diff_id FROM holders) "
            "AND diff_id IN (SELECT digest FROM blobs UNION SELECT digest FROM parts)",
            (_LAYER_SMALLEST, most),
        )
        for (diff_id,) in rows:
            try:
                self._add(diff_id, self._layer(diff_id).index)
            except StoreError:
                continue  # it is gone again, or broken, which is fsck's to tell

    def _add(self, diff_id: str, index: Index) -> None:
        """Remember the contents that lie in the layer's own tar, or pack; it refers to others for the rest."""
        parts = self._parts.get(diff_id)
        own = diff_id if parts is None else parts.blobs[0]
        places: list[tuple[bytes, int]] = []
        sizes: set[int] = set()
        for entry in index:
            if entry.type == FILE and entry.size >= SMALLEST and entry.digest and entry.offset >= 0:
                offset = entry.offset
                if parts is not None:
                    number, offset, _ = next(parts.pieces(entry.offset, entry.offset + 1))
                    if number:
                        continue
                places.append((entry.digest, offset))
                sizes.add(entry.size)
        with self._db.write() as connection:
            row = connection.execute(
                "INSERT OR IGNORE INTO holders (blob, diff_id, sizes) VALUES (?, ?, ?) RETURNING id",
                (own, diff_id, array("q", sorted(sizes)).tobytes()),
            ).fetchone()
            if row is not None:
                connection.executemany(
                    "INSERT OR IGNORE INTO contents VALUES (?, ?, ?)",
                    [(digest, row[0], offset) for digest, offset in places],
                )
