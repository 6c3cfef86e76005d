"""What goes when the store is too large, and in which order: BuildKit's policy, on what this store keeps.

Source of the rules: buildkit, `cmd/buildkitd/config/gcpolicy.go`. What is quickly made or fetched again goes first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import msgspec

from .blobs import now
from .layer import is_elsewhere
from .usage import CACHE_MOUNT, FRONTEND, INTERNAL, Survey, Usage, mount_row

if TYPE_CHECKING:
    from .store import Store

DIRECTORY, COMPRESSED, MOUNT, RECORD = "directory", "compressed", "cache mount", "cache"
"""Kinds of steps: the extracted form of a layer, a packed one that a registry has, a cache mount, cache records."""

_EASY = frozenset({"source.local", "source.git.checkout", CACHE_MOUNT})
EASY_MOST = 512_000_000
_EASY_SECONDS = 48 * 3600.0
"""BuildKit's first rule: of these types no more than so many bytes are kept for longer than two days unused."""

_SPARE_SHARE = 0.3
"""What the further forms of layers may take, as a part of the largest form of each."""
_SPARE_LEAST = 100_000_000
"""Bytes more than that which are not worth the work."""
_SETTLED_SECONDS = 3600.0
"""How long a form is left that somebody works with: to make it again may take a while."""


class Step(msgspec.Struct, frozen=True):
    """One thing to delete."""

    kind: str
    id: str
    """The key of a directory, the digest of a blob, the directory of a cache mount, or a layer's diffID."""
    size: int
    """Bytes that are free then."""
    last_used: float
    """Seconds since 1970."""
    description: str = ""
    keys: tuple[str, ...] = ()
    """The cache records to forget."""


class Plan(msgspec.Struct, frozen=True):
    """What to delete, in this order, so that the store is no larger than `limit`."""

    steps: tuple[Step, ...]
    total: int
    """Bytes that the store takes before."""
    limit: int
    horizon: float
    """What was used at or after that time is in use."""

    @property
    def freed(self) -> int:
        """Bytes."""
        return sum(step.size for step in self.steps)


def spare(store: Store) -> int:
    """Bytes by which layers that are there in several forms (tar, packed, extracted) take more than they may."""
    forms: dict[str, list[int]] = {}
    for sql in (
        "SELECT digest, size FROM blobs WHERE digest IN (SELECT diff_id FROM layers)",
        "SELECT diff_id, size FROM rootfs",
        "SELECT DISTINCT diff_id, blobs.size, blobs.digest FROM compressed JOIN blobs ON blobs.digest = "
        "compressed.digest WHERE compressed.digest != diff_id",
    ):
        for row in store.db.read(sql):
            forms.setdefault(row[0], []).append(row[1])
    most = sum(map(max, forms.values()))
    over = sum(map(sum, forms.values())) - int((1 + _SPARE_SHARE) * most)
    return over if over > _SPARE_LEAST else 0


def plan(store: Store, limit: int, *, quick: bool = False) -> Plan:
    """What goes for the store to take at most `limit` bytes, as far as no image and no running build needs it.

    Where directories of layers are `quick` to make again (as images), they need not have been unused for a while
    to go for being a second form of their layers.
    """
    planner = _Planner(store, limit, quick=quick)
    return Plan(tuple(planner.steps()), planner.before, limit, planner.survey.horizon)


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
        self._gone: set[str] = set()
        self._owner: dict[str, str] = {}
        """Of the forms that are no tars: their layers."""

    def steps(self) -> Iterator[Step]:
        yield from self._easy()
        yield from self._spare()
        for step in (*self._directories(), *self._forms()):
            if self._total <= self._limit:
                return
            if step.id not in self._gone:
                self._total -= step.size
                yield step
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
        """Further forms of layers, where there are too many of them."""
        over = spare(self._store)
        settled = now() - _SETTLED_SECONDS
        for step in (*self._directories(every=True), *self._forms(every=True)) if over else ():
            recent = step.last_used >= settled and not (self._quick and step.kind == DIRECTORY)
            if over > 0 and not recent:
                self.survey.items[self._owner[step.id]].size -= step.size
                over -= step.size
                self._total -= step.size
                self._gone.add(step.id)
                yield step

    def _directories(self, *, every: bool = False) -> list[Step]:
        found: list[Step] = []
        rows = self._store.db.read("SELECT key, diff_id, size, last_used FROM rootfs ORDER BY last_used")
        for key, diff_id, size, last_used in rows:
            self._owner[key] = diff_id
            if last_used < self.survey.horizon and key not in self._gone and self._deduct(diff_id, size, every):
                found.append(Step(DIRECTORY, key, size, last_used, f"extracted {diff_id}"))
        return found

    def _forms(self, *, every: bool = False) -> list[Step]:
        owners = {digest: id_ for id_, item in self.survey.items.items() for digest in item.blobs if digest != id_}
        rows = self._store.db.read(
            "SELECT DISTINCT blobs.digest, blobs.size, blobs.last_used, annotations FROM compressed "
            "JOIN blobs ON blobs.digest = compressed.digest ORDER BY blobs.last_used"
        )
        found: list[Step] = []
        for digest, size, last_used, known in rows:
            elsewhere = is_elsewhere(msgspec.json.decode(known, type=dict[str, str])) and digest not in self._gone
            owner = owners.pop(digest, "") if elsewhere and last_used < self.survey.horizon else ""
            self._owner[digest] = owner or self._owner.get(digest, "")
            if owner and self._deduct(owner, size, every):
                found.append(Step(COMPRESSED, digest, size, last_used, f"packed {owner}"))
        return found

    def _deduct(self, id_: str, size: int, every: bool = False) -> bool:
        """Whether bytes of an item go alone; they are no more counted to it then, unless `every` such is asked for."""
        item = self.survey.items.get(id_)
        if item is None or (self._total <= self._limit and not every):
            return False
        if not every:
            item.size -= size
        return True

    def _unused(self, spared: frozenset[str]) -> Iterator[Step]:
        """Records and cache mounts, the longest unused first; again, as one may keep what an older one has made."""
        before = -1
        while before != len(self._gone):
            before = len(self._gone)
            for row in _oldest([*self.survey.rows(), *self._mounts]):
                if self._total <= self._limit:
                    return
                if row.type not in spared and (step := self._take(row)):
                    yield step

    def _take(self, row: Usage) -> Step | None:
        if row.in_use or row.id in self._gone:
            return None
        mount = row.type == CACHE_MOUNT
        size = row.size if mount else self.survey.release(row.id, for_room=True)
        if not size:
            return None
        self._gone.add(row.id)
        self._total -= size
        keys = () if mount else tuple(self.survey.items[row.id].keys)
        return Step(MOUNT if mount else RECORD, row.id, size, row.last_used, row.description, keys)


def _oldest(rows: Iterable[Usage]) -> list[Usage]:
    return sorted(rows, key=lambda row: row.last_used)
