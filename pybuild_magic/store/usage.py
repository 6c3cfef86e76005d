"""The room that things take in the store, and pruning: `docker buildx du` and `docker buildx prune`."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from ..errors import UsageError, nearest
from .blobfiles import now
from .collect import collect_garbage
from .records import CacheRecord
from .references import References, image_references
from .stopped import SHORT, StoppedRun

if TYPE_CHECKING:
    from .store import Store

REGULAR, CACHE_MOUNT, INTERNAL, FRONTEND = "regular", "exec.cachemount", "internal", "frontend"
STOPPED = "exec.stopped"
"""The type of stopped runs, which BuildKit does not have."""


class Usage(msgspec.Struct, frozen=True):
    """Something that takes room: a layer, a cache mount, or the store's own records."""

    id: str
    """A layer's diffID, a cache mount's directory name, a blob's digest, or another name."""
    type: str
    """BuildKit's record type: regular, source.local, source.git.checkout, exec.cachemount, frontend, internal; or that
    of a stopped run.
    """
    size: int
    """Bytes; those of a layer include its tar, index, compressed forms and extracted directory."""
    created: float
    """Seconds since 1970."""
    last_used: float
    usage_count: int
    in_use: bool
    """Whether a running build uses it."""
    shared: bool
    """Whether an image needs it, in which case pruning the cache does not free it."""
    description: str = ""
    is_layer: bool = False
    """Whether the id is that of a layer of the store, whose files can be looked at."""


class DiskUsage(msgspec.Struct, frozen=True):
    """The content of the store."""

    rows: tuple[Usage, ...]
    """The largest first."""
    total: int
    """Bytes."""
    reclaimable: int
    """Bytes that `prune` with `all` would free."""


class Pruned(msgspec.Struct, frozen=True):
    """The records that a prune deleted."""

    records: tuple[Usage, ...]
    reclaimed: int
    """Bytes."""


class _Item(msgspec.Struct):
    """A layer with all blobs that belong to it, or a blob that belongs to no layer."""

    size: int
    created: float
    last_used: float
    blobs: tuple[str, ...]
    kind: str
    keys: list[str] = []
    """The keys of the cache records whose result it is."""
    description: str = ""
    uses: int = 0
    references: int = 0
    """How many cache records need it."""


class Survey:
    """The store's tables, read in one transaction."""

    def __init__(self, store: Store) -> None:
        with store.db.write() as connection:
            self.horizon = store.leases.horizon()
            blobs: dict[str, tuple[int, float, float]] = {
                row[0]: row[1:] for row in connection.execute("SELECT digest, size, created, last_used FROM blobs")
            }
            layers = connection.execute("SELECT diff_id, idx, extra, created, last_used FROM layers").fetchall()
            forms = connection.execute("SELECT diff_id, digest FROM compressed").fetchall()
            in_parts: dict[str, list[str]] = {
                digest: [recipe, *used.split()]
                for digest, recipe, used in connection.execute("SELECT digest, recipe, blobs FROM parts")
            }
            rootfs = connection.execute("SELECT diff_id, size, last_used FROM rootfs").fetchall()
            logs = connection.execute("SELECT log FROM history WHERE log != ''").fetchall()
            self.mounts: list[tuple[str, str, float, float, int]] = connection.execute(
                "SELECT directory, id, created, last_used, usage_count FROM cachemounts"
            ).fetchall()
            images = store.images.list()
            self.records = dict(store.cache.items())
        self._needed = References()
        self._needed.blobs.update(log for (log,) in logs)
        for image in images:
            image_references(store, image.descriptor.digest, self._needed)
        for run in store.stopped.list():
            self._needed.layers.update(run.diff_ids)
        compressed: dict[str, list[str]] = {}
        for diff_id, digest in forms:
            compressed.setdefault(diff_id, []).append(digest)
        self.items: dict[str, _Item] = {}
        self._layers = frozenset(row[0] for row in layers)
        self._freed: set[str] = set()
        owned: set[str] = set()
        for diff_id, idx, extra, created, last_used in layers:
            parts = dict.fromkeys((diff_id, idx, *extra.split(), *compressed.get(diff_id, ())))
            own = tuple(digest for digest in parts if digest in blobs and digest not in owned)
            owned.update(own)
            self.items[diff_id] = _Item(sum(blobs[digest][0] for digest in own), created, last_used, own, REGULAR)
        owners = {digest: id_ for id_, item in self.items.items() for digest in item.blobs}
        self._below: dict[str, set[str]] = {}
        """For each layer that refers to contents of other layers: those other layers."""
        for id_, used in in_parts.items():
            if item := self.items.get(id_):
                self._below[id_] = {owners[digest] for digest in used if digest in owners} - {id_}
                own = tuple(digest for digest in used if digest in blobs and digest not in owners)
                owners.update(dict.fromkeys(own, id_))
                item.blobs += own
                item.size += sum(blobs[digest][0] for digest in own)
                owned.update(own)
        for diff_id, size, last_used in rootfs:
            if item := self.items.get(diff_id):
                item.size += size
                item.last_used = max(item.last_used, last_used)
        for id_ in [id_ for id_ in self._below if id_ in self._needed.layers]:
            self._needed.layers.update(self._below[id_])
        for digest, (size, created, last_used) in blobs.items():
            if digest not in owned:
                self.items[digest] = _Item(size, created, last_used, (digest,), INTERNAL)
        for key, record in self.records.items():
            self._count(key, record)

    def _count(self, key: str, record: CacheRecord) -> None:
        for digest in self._needs(record):
            if item := self.items.get(digest):
                item.references += 1
        result = (*record.blobs, *record.diff_ids)[-1:]
        if result and (item := self.items.get(result[0])):
            item.keys.append(key)
            item.uses += record.usage_count
            item.kind = record.kind
            item.description = record.description or item.description
            item.last_used = max(item.last_used, record.last_used)

    def _needs(self, record: CacheRecord) -> set[str]:
        """Return the items that a record needs: its layers and blobs, and the layers that these refer to."""
        needs = {*record.diff_ids, *record.blobs}
        return needs.union(*(self._below.get(id_, ()) for id_ in needs))

    def shared(self, id_: str) -> bool:
        """Return whether an image or the history needs the item."""
        blobs = self.items[id_].blobs
        return id_ in self._needed.layers or any(digest in self._needed.blobs for digest in blobs)

    def release(self, id_: str, *, for_room: bool = False) -> int:
        """Count the records whose result this is as dropped, and return the bytes that nothing then needs.

        With `for_room`, they are not dropped if that frees nothing, for example because a later result needs this one.
        """
        item = self.items[id_]
        if not item.references and id_ not in self._freed and not self.shared(id_):
            self._freed.add(id_)
            return item.size
        counts = Counter(
            digest for key in item.keys for digest in self._needs(self.records[key]) if digest in self.items
        )
        freed = [
            digest
            for digest, count in counts.items()
            if self.items[digest].references == count and digest not in self._freed and not self.shared(digest)
        ]
        if freed or not for_room:
            for digest, count in counts.items():
                self.items[digest].references -= count
            self._freed.update(freed)
        return sum(self.items[digest].size for digest in freed)

    def rows(self) -> list[Usage]:
        """Return a row for each layer, and for each blob that belongs to no layer."""
        return [
            Usage(
                id=id_,
                type=item.kind,
                size=item.size,
                created=item.created,
                last_used=item.last_used,
                usage_count=item.uses,
                in_use=item.last_used >= self.horizon,
                shared=self.shared(id_),
                description=item.description,
                is_layer=id_ in self._layers,
            )
            for id_, item in self.items.items()
        ]


def disk_usage(store: Store) -> DiskUsage:
    """Return the room that each thing takes. The rows add up to the total."""
    survey = Survey(store)
    rows = survey.rows() + [mount_row(store, *mount) for mount in survey.mounts]
    rows += [_stopped_row(run) for run in store.stopped.list()]
    database = sum(path.stat().st_size for name in ("store.db*", "reserve") for path in store.root.glob(name))
    rows.append(Usage("store.db", INTERNAL, database, 0.0, now(), 0, True, False, "records of the store"))
    rows.sort(key=lambda row: row.size, reverse=True)
    return DiskUsage(
        rows=tuple(rows),
        total=sum(row.size for row in rows),
        reclaimable=sum(row.size for row in rows if not row.in_use and not row.shared),
    )


def mount_row(store: Store, directory: str, id_: str, created: float, last_used: float, uses: int) -> Usage:
    """Return the row of a cache mount."""
    size = directory_size(store.root / "cachemounts" / directory)
    in_use = store.cachemounts.in_use(directory)
    return Usage(directory, CACHE_MOUNT, size, created, last_used, uses, in_use, False, f"cache mount {id_}")


def _stopped_row(run: StoppedRun) -> Usage:
    """Return the row of a stopped run, which no pruning removes."""
    return Usage(run.id[:SHORT], STOPPED, run.size, run.created, run.created, 0, True, False, run.description)


def directory_size(path: Path) -> int:
    """Return the bytes of a directory on the disk; parts that cannot be read do not count."""
    total = 0
    todo = [os.fspath(path)]
    while todo:
        try:
            with os.scandir(todo.pop()) as entries:
                for entry in entries:
                    status = entry.stat(follow_symlinks=False)
                    total += getattr(status, "st_blocks", 0) * 512 or status.st_size
                    if entry.is_dir(follow_symlinks=False):
                        todo.append(entry.path)
        except OSError:
            continue
    return total


def prune(
    store: Store,
    *,
    all: bool = False,  # noqa: A002 - the flag's name
    until: float | None = None,
    keep_storage: int | None = None,
    filters: Sequence[str] = (),
) -> Pruned:
    """Delete cache records and cache mounts, then all that nothing needs any more.

    `all` includes internal records. `until` selects what was not used for so many seconds. With `keep_storage`, the
    least recently used go first, until the store is down to so many bytes. `filters` are those of `docker buildx
    prune --filter` (`id=…`, `type=…`, `description~=…`, `inuse`, `shared`, …).
    """
    matches = _filter(filters)
    total = disk_usage(store).total if keep_storage is not None else 0
    with store.db.reserve.spent():
        survey = Survey(store)
        before = now() - until if until is not None else None
        mounts = [mount_row(store, *mount) for mount in survey.mounts]
        removed: list[Usage] = []
        reclaimed = 0
        for row in sorted([*survey.rows(), *mounts], key=lambda row: row.last_used):
            if keep_storage is not None and total <= keep_storage:
                break
            internal = row.type in (INTERNAL, FRONTEND)
            if row.in_use or (internal and not all) or not matches(row):
                continue
            if before is not None and row.last_used > before:
                continue
            if row.type == CACHE_MOUNT:
                if not store.cachemounts.remove(row.id):
                    continue
                freed = row.size
                reclaimed += freed
            else:
                freed = survey.release(row.id)
                drop_records(store, survey, row.id)
                if not freed:
                    continue
            removed.append(row)
            total -= freed
        if all and not filters and until is None and keep_storage is None:
            store.db.execute("DELETE FROM digests")
        return Pruned(tuple(removed), reclaimed + collect_garbage(store))


def drop_records(store: Store, survey: Survey, id_: str) -> None:
    """Forget the cache records whose result this is, unless they have been used since the survey."""
    store.db.execute_many(
        "DELETE FROM cache WHERE key = ? AND last_used < ?",
        [(key, survey.horizon) for key in survey.items[id_].keys],
    )


_FIELDS: dict[str, Callable[[Usage], str]] = {
    "id": lambda row: row.id,
    "type": lambda row: row.type,
    "description": lambda row: row.description,
    "inuse": lambda row: str(row.in_use).lower(),
    "shared": lambda row: str(row.shared).lower(),
    "private": lambda row: str(not row.shared).lower(),
    "mutable": lambda row: str(row.type == CACHE_MOUNT).lower(),
    "immutable": lambda row: str(row.type != CACHE_MOUNT).lower(),
}
_FILTER = re.compile(r"([a-z]+)(?:(==?|!=|~=)(.*))?", re.DOTALL)


def _filter(filters: Iterable[str]) -> Callable[[Usage], bool]:
    """Return a test that a row passes all `filters`: `field`, `field=value`, `field!=value`, `field~=regexp`."""
    tests: list[Callable[[Usage], bool]] = []
    for text in filters:
        match = _FILTER.fullmatch(text)
        field = match[1] if match else text
        if match is None or field not in _FIELDS:
            hint = nearest(field, list(_FIELDS))
            raise UsageError(
                f'"{text}" is not a filter.', hint=f"Did you mean {hint}?" if hint else f"Fields: {', '.join(_FIELDS)}."
            )
        tests.append(_test(_FIELDS[field], match[2] or "=", match[3] if match[2] else "true", text))
    return lambda row: all(test(row) for test in tests)


def _test(value: Callable[[Usage], str], operator: str, operand: str, text: str) -> Callable[[Usage], bool]:
    if operator == "~=":
        try:
            pattern = re.compile(operand)
        except re.error as error:
            raise UsageError(f'The filter "{text}" has no valid regular expression: {error}.') from error
        return lambda row: pattern.search(value(row)) is not None
    if operator == "!=":
        return lambda row: value(row) != operand
    return lambda row: value(row) == operand
