"""The check of the store: the blobs of all records are there and intact, and there are no files without a record."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import msgspec

from ..errors import StoreError
from .collect import collect_garbage
from .durability import drop_blob
from .index import Index
from .references import References, image_references

if TYPE_CHECKING:
    from .store import Store


class Problem(msgspec.Struct, frozen=True):
    """A fault of the store."""

    kind: str
    """database, blob, layer, cache, image, history, rootfs or orphan."""
    id: str
    message: str
    repaired: bool = False


def fsck(store: Store, *, repair: bool = False) -> list[Problem]:
    """Return all faults of the store.

    `repair` drops broken records, so that what they describe is built or pulled again.

    Files that a running build of another process is about to publish, and those that a killed build left for the next
    collection, are not faults.
    """
    problems = [*_database(store), *_blobs(store), *_parts(store)]
    blobs = _column(store, "SELECT digest FROM blobs UNION SELECT digest FROM parts") - {
        problem.id for problem in problems
    }
    problems += _layers(store, blobs)
    layers = _column(store, "SELECT diff_id FROM layers") - {
        problem.id for problem in problems if problem.kind == "layer"
    }
    problems += [
        *_cache(store, blobs, layers),
        *_images(store, blobs, layers),
        *_history(store, blobs),
        *_rootfs(store),
    ]
    if not repair:
        return problems
    with store.db.reserve.spent():
        for problem in problems:
            _repair(store, problem)
        collect_garbage(store)
    problems = [msgspec.structs.replace(problem, repaired=problem.kind != "database") for problem in problems]
    return [*problems, *_trash(store)]


def _database(store: Store) -> Iterator[Problem]:
    for (message,) in store.db.read("PRAGMA quick_check"):
        if message != "ok":
            yield Problem("database", str(store.root / "store.db"), message)


def _blobs(store: Store) -> Iterator[Problem]:
    for digest, size in store.db.read("SELECT digest, size FROM blobs"):
        wrong = store.blobs.verify(digest)
        if not wrong and store.blobs.path(digest).stat().st_size != size:
            wrong = "its size is not the one in its record"
        if wrong and store.db.read("SELECT 1 FROM blobs WHERE digest = ?", (digest,)):
            yield Problem("blob", digest, f"The blob {digest} is broken: {wrong}.")


def _parts(store: Store) -> Iterator[Problem]:
    for (digest,) in store.db.read("SELECT digest FROM parts"):
        wrong = store.blobs.verify(digest)
        if wrong and store.db.read("SELECT 1 FROM parts WHERE digest = ?", (digest,)):
            yield Problem("blob", digest, f"The blob {digest}, which is stored in parts, is broken: {wrong}.")


def _column(store: Store, sql: str) -> set[str]:
    return {row[0] for row in store.db.read(sql)}


def _layers(store: Store, blobs: set[str]) -> Iterator[Problem]:
    packed = {
        diff_id
        for diff_id, digest in store.db.read(
            "SELECT diff_id, digest FROM compressed WHERE digest != diff_id AND compression IN ('gzip', 'zstd')"
        )
        if digest in blobs
    }
    for diff_id, idx, extra in store.db.read("SELECT diff_id, idx, extra FROM layers"):
        needed = (*(() if diff_id in packed else (diff_id,)), idx, *extra.split())
        missing = [digest for digest in needed if digest not in blobs]
        if missing:
            yield Problem("layer", diff_id, f"The layer {diff_id} lacks {', '.join(missing)}.")
            continue
        try:
            with store.blobs.path(idx).open("rb") as file:
                Index.decode(file)
        except (StoreError, OSError) as error:
            yield Problem("layer", diff_id, f"The layer {diff_id} has no readable index: {error}")


def _cache(store: Store, blobs: set[str], layers: set[str]) -> Iterator[Problem]:
    for key, record in store.cache.items():
        missing = [digest for digest in record.diff_ids if digest not in layers]
        missing += [digest for digest in record.blobs if digest not in blobs]
        if missing:
            yield Problem("cache", key, f"The cache record {key} lacks {', '.join(missing)}.")


def _images(store: Store, blobs: set[str], layers: set[str]) -> Iterator[Problem]:
    for image in store.images.list():
        references = References()
        image_references(store, image.descriptor.digest, references)
        if image.descriptor.digest not in blobs:
            message = f'The image "{image.name}" lacks its manifest {image.descriptor.digest}.'
            yield Problem("image", image.name, message)
            continue
        for digest in sorted(references.blobs - blobs):
            forms = store.db.read("SELECT diff_id FROM compressed WHERE digest = ?", (digest,))
            if layers.isdisjoint(diff_id for (diff_id,) in forms):
                yield Problem("image", image.name, f'The image "{image.name}" lacks the blob {digest}.')


def _history(store: Store, blobs: set[str]) -> Iterator[Problem]:
    for ref, log in store.db.read("SELECT ref, log FROM history WHERE log != ''"):
        if log not in blobs:
            yield Problem("history", ref, f"The build {ref} lacks its log {log}.")


def _rootfs(store: Store) -> Iterator[Problem]:
    for key, diff_id in store.db.read("SELECT key, diff_id FROM rootfs"):
        if wrong := store.rootfs.damage(key, diff_id):
            yield Problem("rootfs", key, f"The extracted directory of {key} {wrong}.")


def _trash(store: Store) -> Iterator[Problem]:
    """Yield the files that a collection could not delete."""
    for path in (store.root / "trash").iterdir():
        yield Problem("orphan", path.name, f"{path} cannot be deleted.")


def _repair(store: Store, problem: Problem) -> None:
    match problem.kind:
        case "blob":
            drop_blob(store.db, problem.id, store.blobs.path(problem.id))
        case "layer":
            store.db.execute("DELETE FROM layers WHERE diff_id = ?", (problem.id,))
        case "cache":
            store.cache.remove(problem.id)
        case "image":
            store.images.remove(problem.id)
        case "history":
            store.db.execute("UPDATE history SET log = '' WHERE ref = ?", (problem.id,))
        case "rootfs":
            store.rootfs.evict(problem.id)
        case _:
            pass
