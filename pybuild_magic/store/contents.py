"""The contents of files in the store and their places, so that no layer has to store a content again."""

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
"""The least bytes of a content that is looked for: a row for a smaller one costs too much of what it saves."""
_LAYER_SMALLEST = 1 << 20
"""The least bytes of a layer whose contents are recorded."""
_MOST_BLOBS = 16
"""The most blobs that a layer refers to: each is a file to open, and a device of a mounted image."""
_SHARE = 4
"""A blob is referred to only if at least 1/_SHARE of it is wanted, since all of it is then kept."""
_AT_ONCE = 500
_FIND = (
    "SELECT contents.digest, holders.blob, contents.offset FROM contents "
    "JOIN holders ON holders.id = contents.holder WHERE contents.digest IN ({})"
)


class Contents:
    """The contents of the layers of a store, by their SHA-256.

    New layers are recorded when contents are next looked for, so that a build that copies little need not wait for it.
    """

    def __init__(self, db: Database, uses: Uses, parts: BlobParts, layer: Callable[[str], Layer]) -> None:
        self._db = db
        self._uses = uses
        self._parts = parts
        self._layer = layer

    def find(self, sizes: Mapping[bytes, int]) -> dict[bytes, Span]:
        """Return the places of those contents (`sizes` by digest) that are worth referring to.

        Places are ranges of blobs that are files, which stay to the end of the lease. A content is left out if too
        little of its blob is wanted.
        """
        digests = [digest for digest, size in sizes.items() if size >= SMALLEST and digest]
        if not digests:
            return {}
        self._take_in(_SHARE * sum(sizes.values()))
        by_holder: dict[str, list[tuple[bytes, int]]] = {}
        for start in range(0, len(digests), _AT_ONCE):
            some = digests[start : start + _AT_ONCE]
            for digest, blob, offset in self._db.read(_FIND.format(",".join("?" * len(some))), some):
                by_holder.setdefault(blob, []).append((digest, offset))
        shares = {blob: sum(sizes[digest] for digest, _ in places) for blob, places in by_holder.items()}
        spans: dict[bytes, Span] = {}
        count = 0
        for blob in sorted(by_holder, key=shares.__getitem__, reverse=True):
            if count == _MOST_BLOBS:
                break
            size = self._uses.mark("blobs", "digest", blob)
            if size is not None and shares[blob] * _SHARE >= size:
                count += 1
                spans.update((digest, Span(blob, offset, sizes[digest])) for digest, offset in by_holder[blob])
        return spans

    def likely(self, sizes: Sequence[int]) -> frozenset[int]:
        """Return those sizes of a layer's files for which it is worth computing digests and looking for these.

        They are the sizes in a blob that would be worth referring to if all contents of the same size were the same.
        """
        counts = Counter(size for size in sizes if size >= SMALLEST)
        budget = _SHARE * sum(size * count for size, count in counts.items())
        self._take_in(budget)
        likely: set[int] = set()
        sql = "SELECT sizes, size FROM holders JOIN blobs ON digest = blob WHERE size <= ?"
        for column, room in self._db.read(sql, (budget,)):
            common = counts.keys() & array("q", column)
            if _SHARE * sum(size * counts[size] for size in common) >= room:
                likely |= common
        return frozenset(likely)

    def _take_in(self, budget: int) -> None:
        """Record the contents of new layers, except those of more than `budget` bytes, which cannot be worth it."""
        rows = self._db.read(
            "SELECT diff_id FROM layers WHERE size BETWEEN ? AND ? AND diff_id NOT IN (SELECT diff_id FROM holders) "
            "AND diff_id IN (SELECT digest FROM blobs UNION SELECT digest FROM parts)",
            (_LAYER_SMALLEST, budget),
        )
        for (diff_id,) in rows:
            try:
                self._add(diff_id, self._layer(diff_id).index)
            except StoreError:
                continue  # it is gone again, or broken, which fsck reports

    def _add(self, diff_id: str, index: Index) -> None:
        """Record the contents that are in the layer's own tar or pack, not those that it refers to in other layers."""
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
