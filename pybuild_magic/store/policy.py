"""The policy of collection when the store is too large: BuildKit's, applied to this store.

Source of the rules: buildkit, `cmd/buildkitd/config/gcpolicy.go`. Things that are quickly made or fetched again go
first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import msgspec

from .blobfiles import now
from .layer import is_elsewhere
from .usage import CACHE_MOUNT, FRONTEND, INTERNAL, Survey, Usage, mount_row

if TYPE_CHECKING:
    from .store import Store

DIRECTORY, TAR, COMPRESSED, MOUNT, RECORD = "directory", "tar", "compressed", "cache mount", "cache"
"""The kinds of steps: the extracted form of a layer, a tar whose packed form is in the store, a packed form that a
registry has, a cache mount, and cache records."""

_EASY = frozenset({"source.local", "source.git.checkout", CACHE_MOUNT})
EASY_MOST = 512_000_000
_EASY_SECONDS = 48 * 3600.0
"""BuildKit's first rule: records of these types that were unused for two days may have EASY_MOST bytes in all."""

_SPARE_SHARE = 0.2
"""The room for further forms of layers, as a share of the largest form of each."""
_SPARE_LEAST = 100_000_000
"""An excess below this many bytes is not worth the work; from 1 GB on, it is less than another tenth."""
_SETTLED_SECONDS = 3600.0
"""How long an unused form is kept when it is not known what the last build used."""


class Step(msgspec.Struct, frozen=True):
    """A thing to delete."""

    kind: str
    id: str
    """The key of a directory, the digest of a blob, the directory of a cache mount, or a layer's diffID."""
    size: int
    """Bytes that it frees."""
    last_used: float
    """Seconds since 1970."""
    description: str = ""
    keys: tuple[str, ...] = ()
    """The cache records to forget."""


class CollectionPlan(msgspec.Struct, frozen=True):
    """The steps, in order, that bring the store down to `limit` bytes."""

    steps: tuple[Step, ...]
    total: int
    """Bytes that the store takes before the first step."""
    limit: int
    horizon: float
    """Things used at or after this time count as in use."""

    @property
    def freed(self) -> int:
        """Bytes that all steps free."""
        return sum(step.size for step in self.steps)


def spare(store: Store) -> int:
    """Return the bytes by which further forms of layers (tar, packed, extracted) exceed their room."""
    largest = dict[str, int](
        store.db.read("SELECT diff_id, size FROM layers WHERE diff_id NOT IN (SELECT digest FROM parts)")
    )
    total = 0
    for sql in (
        "SELECT digest, size FROM blobs WHERE digest IN (SELECT diff_id FROM layers)",
        "SELECT diff_id, size FROM rootfs WHERE diff_id NOT IN (SELECT digest FROM parts)",
        "SELECT DISTINCT diff_id, blobs.size, blobs.digest FROM compressed JOIN blobs ON blobs.digest = "
        "compressed.digest WHERE compressed.digest != diff_id",
    ):
        for id_, size, *_ in store.db.read(sql):
            total += size
            largest[id_] = max(largest.get(id_, 0), size)
    # The files of a directory of a layer in parts are in the tars of other layers already.
    ((again,),) = store.db.read("SELECT coalesce(sum(size), 0) FROM rootfs WHERE diff_id IN (SELECT digest FROM parts)")
    total += again
    over = total - int((1 + _SPARE_SHARE) * sum(largest.values()))
    return over if over > _SPARE_LEAST else 0


def plan(store: Store, limit: int, *, quick: bool = False) -> CollectionPlan:
    """Plan how to bring the store down to `limit` bytes, sparing what an image or a running build needs.

    If what is made of layers can refer to their tars, full directories are `quick` to replace by what does. They are
    dropped as further forms even when recently used; those that do refer to tars take no room, and stay.
    """
    planner = _Planner(store, limit, quick=quick)
    return CollectionPlan(tuple(planner.steps()), planner.before, limit, planner.survey.horizon)


class _Planner:
    def __init__(self, store: Store, limit: int, *, quick: bool) -> None:
        self._store = store
        self._quick = quick
        self._limit = limit
        self.survey = Survey(store)
        self._mounts = [mount_row(store, *mount) for mount in self.survey.mounts]
        database = sum(path.stat().st_size for path in store.root.glob("store.db*"))
        self._total = database + sum(row.size for row in (*self._mounts, *self.survey.rows()))
        self.before = self._total
        self._gone: set[tuple[str, str]] = set()
        """The kinds and IDs of the things that the steps delete."""

    def steps(self) -> Iterator[Step]:
        yield from self._easy()
        yield from self._spare()
        for owner, step in (*self._directories(), *self._doubles()):
            if self._total <= self._limit:
                return
            yield self._drop(owner, step)
        for kinds in (frozenset({INTERNAL, FRONTEND}), frozenset[str]()):
            yield from self._unused(kinds)

    def _easy(self) -> Iterator[Step]:
        rows = [row for row in (*self._mounts, *self.survey.rows()) if row.type in _EASY]
        over = sum(row.size for row in rows) - EASY_MOST
        old = now() - _EASY_SECONDS
        for row in _oldest(rows):
            if over > 0 and row.last_used < old and (step := self._take(row)):
                over -= step.size
                yield step

    def _spare(self) -> Iterator[Step]:
        """Drop further forms of layers if they exceed their room, but none that is in use or small."""
        over = spare(self._store)
        if not over:
            return
        threshold = max(now() - _SETTLED_SECONDS, self._store.leases.began, self._store.history.last())
        sizes = dict[str, int](self._store.db.read("SELECT diff_id, size FROM layers"))
        for find in (self._extracted_tars, self._directories, self._doubles):
            for owner, step in find():
                stays = step.last_used >= threshold
                if self._quick and step.kind == DIRECTORY:
                    stays = step.size * 2 < sizes.get(owner, 0)  # its contents are in the tar
                if over > 0 and not stays:
                    over -= step.size
                    yield self._drop(owner, step)

    def _drop(self, owner: str, step: Step) -> Step:
        """Count a form of a layer as deleted."""
        self._gone.add((step.kind, step.id))
        self._total -= step.size
        if item := self.survey.items.get(owner):
            item.size -= step.size
        return step

    def _directories(self) -> list[tuple[str, Step]]:
        """Return the extracted layers, each with its owner's diffID, the longest unused first."""
        rows = self._store.db.read("SELECT key, diff_id, size, last_used FROM rootfs ORDER BY last_used")
        return [
            (diff_id, Step(DIRECTORY, key, size, last_used, f"extracted {diff_id}"))
            for key, diff_id, size, last_used in rows
            if last_used < self.survey.horizon and (DIRECTORY, key) not in self._gone and diff_id in self.survey.items
        ]

    def _extracted_tars(self) -> list[tuple[str, Step]]:
        """Return the tars of layers that are also packed and extracted, if extracted forms do not refer to tars."""
        if self._quick:
            return []
        extracted = {diff_id for (diff_id,) in self._store.db.read("SELECT diff_id FROM rootfs")}
        return [(id_, step) for id_, step in self._doubles(tars=True) if step.kind == TAR and id_ in extracted]

    def _doubles(self, *, tars: bool = False) -> list[tuple[str, Step]]:
        """Return the form to drop of each layer that is there both as a tar and packed, the longest unused first.

        That is the packed form if a registry has it; otherwise, or with `tars`, it is the tar.
        """
        horizon = self.survey.horizon
        used = {digest for (blobs,) in self._store.db.read("SELECT blobs FROM parts") for digest in blobs.split()}
        rows = self._store.db.read(
            "SELECT layers.diff_id, layers.last_used, coalesce(tar.size, -1), coalesce(tar.last_used, 0), "
            "packed.digest, packed.size, packed.last_used, packed.boot, compression, annotations FROM compressed "
            "JOIN layers ON layers.diff_id = compressed.diff_id JOIN blobs AS packed ON packed.digest = "
            "compressed.digest LEFT JOIN blobs AS tar ON tar.digest = layers.diff_id "
            "WHERE compressed.digest != layers.diff_id "
            "AND (tar.digest IS NOT NULL OR layers.diff_id IN (SELECT digest FROM parts)) ORDER BY packed.last_used"
        )
        choices: dict[str, tuple[str, Step]] = {}
        for id_, touched, size, unpacked, digest, small, last_used, boot, kind, known in rows:
            is_gone = (TAR, id_) in self._gone or (COMPRESSED, digest) in self._gone
            if is_gone or id_ in choices or id_ not in self.survey.items:
                continue
            elsewhere = is_elsewhere(msgspec.json.decode(known, type=dict[str, str]))
            safe = size >= 0 and not boot and kind in ("gzip", "zstd") and id_ not in used
            if safe and max(touched, unpacked) < horizon and (tars or not elsewhere):
                choices[id_] = id_, Step(TAR, id_, size, unpacked, f"unpacked {id_}")
            elif elsewhere and last_used < horizon:
                choices[id_] = id_, Step(COMPRESSED, digest, small, last_used, f"packed {id_}")
        return sorted(choices.values(), key=lambda form: form[1].last_used)

    def _unused(self, exempt: frozenset[str]) -> Iterator[Step]:
        """Drop records and cache mounts, the longest unused first.

        Repeat until nothing more goes, since a record may need the result of an older one.
        """
        before = -1
        while before != len(self._gone):
            before = len(self._gone)
            for row in _oldest([*self.survey.rows(), *self._mounts]):
                if self._total <= self._limit:
                    return
                if row.type not in exempt and (step := self._take(row)):
                    yield step

    def _take(self, row: Usage) -> Step | None:
        mount = row.type == CACHE_MOUNT
        kind = MOUNT if mount else RECORD
        if row.in_use or (kind, row.id) in self._gone:
            return None
        size = row.size if mount else self.survey.release(row.id, for_room=True)
        if not size:
            return None
        self._gone.add((kind, row.id))
        self._total -= size
        keys = () if mount else tuple(self.survey.items[row.id].keys)
        return Step(kind, row.id, size, row.last_used, row.description, keys)


def _oldest(rows: Iterable[Usage]) -> list[Usage]:
    return sorted(rows, key=lambda row: row.last_used)
