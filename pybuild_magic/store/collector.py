"""Automatic collection: after a build, in the background, and giving way to builds, so that the store stays small."""

from __future__ import annotations

import os
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from ..errors import BuildError
from .blobfiles import disk_errors
from .collect import collect_garbage
from .limit import Limit, is_short, limit_of
from .locks import lock_file
from .packed import drop_packed, drop_tar
from .policy import COMPRESSED, DIRECTORY, EASY_MOST, MOUNT, TAR, CollectionPlan, Step, plan, spare
from .usage import directory_size

if TYPE_CHECKING:
    from .store import Store

_DELAY_SECONDS = 0.5
"""The delay after a build: displaying its result, and perhaps the next build, comes first."""
_POLL_SECONDS = 0.1
_PATIENCE_SECONDS = 30.0
"""How long to wait for builds of other processes; after that, collect beside them: leases keep what they need."""


class Collected(msgspec.Struct, frozen=True):
    """The result of a collection."""

    freed: int
    """Bytes."""
    remaining: int
    """Bytes that the store takes after the collection."""
    limit: int
    counts: dict[str, int]
    """How many things of each kind (`policy.DIRECTORY`, …) were deleted."""


class Collector:
    """Keeps a store below its limit. `setting` returns the user's limit in bytes, or None for no collection.

    It may be killed at any moment and leaves the store intact: each step is a transaction, and files go after records.
    """

    def __init__(
        self, store: Store, setting: Callable[[], int | None], quick: Callable[[], bool] = lambda: False
    ) -> None:
        self._store = store
        self._quick = quick
        """Whether images or directories of layers are quickly made again, since their contents are in the tars."""
        self._setting = setting
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        """Held until the thread is started, since nobody can wait for a thread before that."""
        self._stop = threading.Event()
        self._at_once = threading.Event()
        self._making_room = threading.Lock()
        self._rounds = 0
        """How often room was made on a full disk."""
        self._mounts: dict[str, tuple[float, int]] = {}
        """For each cache mount, the time of its last use and its size measured after that."""
        self.tell: Callable[[Collected], object] = lambda _: None
        """Called on the collector's thread when something was deleted."""

    def start(self) -> None:
        """Check on a separate thread whether the store is too large, and if so collect."""
        with self._starting:
            if self._thread is None or not self._thread.is_alive():
                self._stop.clear()
                self._at_once.clear()
                self._thread = threading.Thread(target=self._work, name="pybuild-collect", daemon=True)
                self._thread.start()

    def stop(self) -> None:
        """End a running collection at its next step, and wait for that; a later collection does the rest."""
        self._stop.set()
        self._at_once.set()
        self.wait()

    def finish(self) -> None:
        """Let a pending collection begin at once, and wait for it; it is left to other processes if these build."""
        self._at_once.set()
        self.wait()

    def make_way(self) -> None:
        """Before a build, carry out a pending collection if the disk has less room than the store may take.

        Builds that follow each other at once leave no time for it, until the disk is full. Raises UsageError for an
        invalid setting, with which there would be none.
        """
        setting = self._setting()
        with self._starting:
            thread = self._thread
        if setting is None or thread is None or not thread.is_alive() or self._store.leases.any_held():
            return
        with suppress(OSError):
            if is_short(self._store.root, limit_of(self._store.root, setting).size):
                self.finish()

    def make_room(self) -> bool:
        """Bring the store below its limit beside the builds that run, since the disk is full.

        Returns whether that has freed anything.
        """
        rounds = self._rounds
        with self._making_room, suppress(BuildError, OSError):
            if rounds != self._rounds:
                return True  # for another thread
            limit = self.limit()
            if limit is None or (before := self.size()) <= limit.size:
                return False
            done = self._carry_out(self._plan(limit.size), lambda: None)
            if done.remaining < before:
                self._rounds += 1
                self.tell(done)
                return True
        return False

    def wait(self) -> None:
        """Wait for the end of a collection that was started."""
        with self._starting:
            thread = self._thread
        if thread is not None:
            thread.join()

    def limit(self) -> Limit | None:
        """Return the limit of the store; None if it may have any size. Raises UsageError for an invalid setting."""
        setting = self._setting()
        return None if setting is None else limit_of(self._store.root, setting)

    def plan(self, keep: int | None = None) -> CollectionPlan:
        """Plan a collection down to the limit, or to `keep` bytes."""
        if keep is None and (limit := self.limit()):
            keep = limit.size
        return CollectionPlan((), self.size(), sys.maxsize, 0.0) if keep is None else self._plan(keep)

    def _plan(self, keep: int) -> CollectionPlan:
        return plan(self._store, keep, quick=self._quick())

    def run(self, keep: int | None = None) -> Collected:
        """Stop a collection in the background, and collect now."""
        self.stop()
        return self._carry_out(self.plan(keep), lambda: None)

    def size(self) -> int:
        """Return the bytes of the store, from its records; cache mounts are measured only after they were used."""
        ((blobs,),) = self._store.db.read("SELECT coalesce(sum(size), 0) FROM blobs")
        ((directories,),) = self._store.db.read("SELECT coalesce(sum(size), 0) FROM rootfs")
        return blobs + directories + self._size_of_mounts()

    def _size_of_mounts(self) -> int:
        rows = self._store.db.read("SELECT directory, last_used FROM cachemounts")
        for directory, last_used in rows:
            if self._mounts.get(directory, (0.0, 0))[0] != last_used:
                self._mounts[directory] = (last_used, directory_size(self._store.root / "cachemounts" / directory))
        return sum(self._mounts[directory][1] for directory, _ in rows)

    def _work(self) -> None:
        with suppress(BuildError, OSError, _StoppedError):
            _be_nice()
            ends = self._at_once.wait(_DELAY_SECONDS)
            if ends and self._store.leases.any_held():
                return
            pause = _Pause(self._store, self._stop, 0.0 if ends else _PATIENCE_SECONDS)
            pause()
            limit = self.limit()
            if limit is None:
                return
            small = self.size() <= limit.size and self._size_of_mounts() <= EASY_MOST
            if small and not spare(self._store):
                return
            fd = lock_file(self._store.root / "collect.lock")
            if fd is None:
                return  # another process is collecting
            try:
                done = self._carry_out(self._plan(limit.size), pause)
            finally:
                os.close(fd)
            if done.freed:
                self.tell(done)

    def _carry_out(self, plan: CollectionPlan, pause: Callable[[], None]) -> Collected:
        done: list[Step] = []
        try:
            for step in plan.steps:
                pause()
                with self._store.db.reserve.spent():
                    if self._delete(step):
                        done.append(step)
        finally:
            if done or plan.total > plan.limit:
                collect_garbage(self._store)
        return Collected(sum(step.size for step in done), self.size(), plan.limit, _count(done))

    def _delete(self, step: Step) -> bool:
        """Delete the thing of a step, unless a build has begun to use it meanwhile; return whether it was deleted."""
        store = self._store
        if step.kind == DIRECTORY:
            with disk_errors(store.root, "collecting garbage"):
                return store.rootfs.evict(step.id, unused=True)
        if step.kind == MOUNT:
            return store.cachemounts.remove(step.id)
        with store.db.write() as connection:
            horizon = store.leases.horizon()
            if step.kind == COMPRESSED:
                return drop_packed(connection, step.id, horizon)
            if step.kind == TAR:
                return drop_tar(connection, step.id, horizon)
            sql = "DELETE FROM cache WHERE key = ? AND last_used < ? RETURNING 1"
            deleted = [bool(connection.execute(sql, (key, horizon)).fetchall()) for key in step.keys]
            return all(deleted)


class _StoppedError(Exception):
    pass


class _Pause:
    """Waits while builds run: for this process's until they end, for those of others for a limited time in all."""

    def __init__(self, store: Store, stop: threading.Event, patience: float) -> None:
        self._store = store
        self._stop = stop
        self._patience = patience

    def __call__(self) -> None:
        while self._store.leases.held or (self._patience > 0 and self._store.leases.any_held()):
            if not self._store.leases.held:
                self._patience -= _POLL_SECONDS
            if self._stop.wait(_POLL_SECONDS):
                break
        if self._stop.is_set():
            raise _StoppedError


def _count(steps: Iterable[Step]) -> dict[str, int]:
    return dict(Counter(step.kind for step in steps))


def _be_nice() -> None:
    """Give this thread the lowest priority; only Linux has priorities of threads."""
    if sys.platform.startswith("linux"):
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)
