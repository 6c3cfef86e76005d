"""The result of a vertex, and the cache record in which it is remembered."""

from __future__ import annotations

import msgspec

from ...store import CacheRecord
from .snapshot import Snapshot


class Provenance(msgspec.Struct, frozen=True, array_like=True):
    """The origin of a layer, for the history of an image."""

    at: int = 0
    """Nanoseconds since 1970."""
    by: str = ""
    """The name of its vertex, or `pulled from REFERENCE`."""


class VertexResult(msgspec.Struct, frozen=True):
    """The result of a vertex: a snapshot for each output, and the origin of its layers.

    A local directory has no result: it is read as a tree.
    """

    snapshots: tuple[Snapshot, ...]
    created: dict[str, Provenance] = {}

    @property
    def layers(self) -> Snapshot:
        """Return the layers of all outputs' snapshots, one after the other."""
        return tuple(layer for snapshot in self.snapshots for layer in snapshot)


class _Meta(msgspec.Struct, frozen=True, array_like=True):
    """The fields of a cache record besides its layers."""

    key: str
    outputs: tuple[int, ...]
    """The number of layers of each output's snapshot; the record has them one after the other."""
    created: dict[str, Provenance]


def to_record(solved: VertexResult, key: str, description: str) -> CacheRecord:
    """Return the record of a result whose readers know it by `key`."""
    meta = _Meta(key, tuple(map(len, solved.snapshots)), solved.created)
    return CacheRecord(solved.layers, msgspec.msgpack.encode(meta), description=description)


def from_record(record: CacheRecord) -> tuple[str, VertexResult] | None:
    """Return the key and the result passed to `to_record`; None for a record written by another version."""
    try:
        meta = msgspec.msgpack.decode(record.meta, type=_Meta)
    except msgspec.DecodeError:
        return None
    snapshots: list[Snapshot] = []
    start = 0
    for count in meta.outputs:
        snapshots.append(record.diff_ids[start : start + count])
        start += count
    return meta.key, VertexResult(tuple(snapshots), meta.created)
