"""References: the blobs and layers that images, cache records, stopped runs, history and running builds need."""

from __future__ import annotations

from collections.abc import Iterable
from sqlite3 import Connection
from typing import TYPE_CHECKING

import msgspec

from ..oci.digest import is_digest

if TYPE_CHECKING:
    from .store import Store

_MAX_DOCUMENT = 16 << 20
"""A larger blob is neither a manifest nor a config."""


class _Child(msgspec.Struct, frozen=True):
    digest: str = ""


class _RootFS(msgspec.Struct, frozen=True):
    diff_ids: tuple[str, ...] | None = ()


class _Document(msgspec.Struct, frozen=True):
    """The members of an index, a manifest or a config that lead to other blobs. A config's own `config` has no digest.

    Lists may be null, as Go writes them for an image without layers.
    """

    manifests: tuple[_Child, ...] | None = ()
    config: _Child | None = None
    layers: tuple[_Child, ...] | None = ()
    rootfs: _RootFS | None = None


class References:
    """The digests of needed blobs, and the diffIDs of needed layers."""

    def __init__(self) -> None:
        self.blobs: set[str] = set()
        self.layers: set[str] = set()


def image_references(store: Store, digest: str, references: References) -> None:
    """Add what an image needs: its documents, from the index or manifest down, and the layers that they name."""
    todo = [digest]
    while todo:
        digest = todo.pop()
        if digest in references.blobs or not is_digest(digest):
            continue
        references.blobs.add(digest)
        document = _document(store, digest)
        todo += _present(store, [child.digest for child in document.manifests or ()])
        todo += [document.config.digest] if document.config else []
        references.blobs.update(child.digest for child in document.layers or ())
        if document.rootfs:
            references.layers.update(document.rootfs.diff_ids or ())


def _present(store: Store, digests: list[str]) -> list[str]:
    """Return the manifests of an index that are in the store, or all if none is.

    An image may have been loaded for some of its platforms only.
    """
    there = [digest for digest in digests if is_digest(digest) and store.blobs.path(digest).exists()]
    return there or digests


def _document(store: Store, digest: str) -> _Document:
    path = store.blobs.path(digest)
    try:
        if path.stat().st_size <= _MAX_DOCUMENT:
            return msgspec.json.decode(path.read_bytes(), type=_Document)
    except (OSError, msgspec.MsgspecError, RecursionError, UnicodeError):
        pass
    return _Document()


def references(store: Store, connection: Connection, horizon: float) -> References:
    """Return all that is needed, which includes all that was used at or after `horizon`, in seconds since 1970."""
    needed = References()
    for (descriptor,) in connection.execute("SELECT descriptor FROM images"):
        image_references(store, msgspec.json.decode(descriptor, type=_Child).digest, needed)
    for diff_ids, blobs in connection.execute("SELECT diff_ids, blobs FROM cache"):
        needed.layers.update(diff_ids.split())
        needed.blobs.update(blobs.split())
    for run in store.stopped.list():
        needed.layers.update(run.diff_ids)
    needed.blobs.update(log for (log,) in connection.execute("SELECT log FROM history WHERE log != ''"))
    needed.layers.update(_first(connection.execute("SELECT diff_id FROM layers WHERE last_used >= ?", (horizon,))))
    needed.blobs.update(_first(connection.execute("SELECT digest FROM blobs WHERE last_used >= ?", (horizon,))))
    for diff_id, idx, extra in connection.execute("SELECT diff_id, idx, extra FROM layers"):
        if diff_id in needed.layers:
            needed.blobs.update((diff_id, idx, *extra.split()))
    for diff_id, digest in connection.execute("SELECT diff_id, digest FROM compressed"):
        if diff_id in needed.layers:
            needed.blobs.add(digest)
    for digest, recipe, blobs, last_used in connection.execute("SELECT digest, recipe, blobs, last_used FROM parts"):
        if digest in needed.blobs or last_used >= horizon:
            needed.blobs.update((digest, recipe, *blobs.split()))
    return needed


def _first(rows: Iterable[tuple[str]]) -> Iterable[str]:
    return (row[0] for row in rows)
