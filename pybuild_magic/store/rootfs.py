"""Directories of extracted layers, kept for the next RUN that needs them; each can be made again from its layer."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import StoreError
from ..oci.digest import is_digest
from .blobs import disk_errors, now
from .locks import lock_file, remove_locked

if TYPE_CHECKING:
    from .store import Store


class RootfsDirs:
    """Finished directories under `rootfs/`, and the working ones, that become such, under `work/`.

    A key is a digest: the layer's diffID, or its chain ID where what is extracted depends on the layers below.
    A working directory belongs to the process that made it, and is removed when that is gone.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._lock_fd = -1
        self._owner = ""
        self._pid = 0

    def get(self, key: str) -> Path | None:
        """The directory of `key`, or None; during a lease it stays until the end of it."""
        if self._store.use("rootfs", "key", key) is None:
            return None
        return self._path(key)

    def workdir(self) -> Path:
        """A new empty directory on the store's file system."""
        with disk_errors(self._store.root, "making a working directory"), self._lock:
            if self._pid != os.getpid():
                owner, fd = "", None
                while fd is None:  # a collection may look at it just now
                    owner = f"{os.getpid()}-{os.urandom(6).hex()}"
                    fd = lock_file(self._store.root / "work" / f"{owner}.lock")
                (self._store.root / "work" / owner).mkdir(mode=0o700)
                self._lock_fd, self._owner, self._pid = fd, owner, os.getpid()
            path = self._store.root / "work" / self._owner / os.urandom(8).hex()
            path.mkdir(mode=0o755)
            path.chmod(0o755)
            return path

    def close(self) -> None:
        """Give up the place of this process's working directories, if there are none any more."""
        with self._lock:
            place = self._store.root / "work" / self._owner
            if self._pid != os.getpid() or any(place.iterdir()):
                return
            place.rmdir()
            remove_locked(place.with_name(f"{self._owner}.lock"), self._lock_fd)
            self._owner, self._pid = "", 0

    def commit(self, key: str, path: Path, diff_id: str, size: int = 0) -> Path:
        """Make a working directory the directory of `key`; it goes when the layer `diff_id` goes.

        Returns where it is now. When another process was faster, its directory is returned and `path` removed.
        """
        target = self._path(key)
        moment = now()
        with disk_errors(self._store.root, "keeping a layer's directory"), self._store.db.write() as connection:
            won = not connection.execute("SELECT 1 FROM rootfs WHERE key = ?", (key,)).fetchone()
            if won and target.exists():
                target.rename(self._store.root / "trash" / os.urandom(8).hex())
            if won:
                path.rename(target)
                row = (key, diff_id, size, moment, moment)
                connection.execute("INSERT INTO rootfs VALUES (?, ?, ?, ?, ?)", row)
        if not won:
            self.discard(path)
            self._store.use("rootfs", "key", key)
        return target

    def discard(self, path: Path) -> None:
        """Remove a working directory."""
        if path.exists():
            self._store.remove_tree(path)

    def evict(self, key: str, *, unused: bool = False) -> bool:
        """Forget the directory of `key`, and remove it; with `unused`, only one that no running build uses.

        Returns whether it was forgotten.
        """
        target = self._path(key)
        trash = self._store.root / "trash" / os.urandom(8).hex()
        with self._store.db.write() as connection:
            before = self._store.leases.horizon() if unused else math.inf
            sql = "DELETE FROM rootfs WHERE key = ? AND last_used < ? RETURNING 1"
            if not connection.execute(sql, (key, before)).fetchall() and unused:
                return False
        with self._store.db.write() as connection:
            if not connection.execute("SELECT 1 FROM rootfs WHERE key = ?", (key,)).fetchone() and target.exists():
                target.rename(trash)
        if trash.exists():
            with suppress(OSError, StoreError):  # it is in nobody's way, and the next collection tries again
                self._store.remove_tree(trash)
        return True

    def _path(self, key: str) -> Path:
        if not is_digest(key):
            raise StoreError(f"{key!r} is not a digest: it has the form sha256:<64 hex digits>.")
        return self._store.root / "rootfs" / key.partition(":")[2]

    @contextmanager
    def dead_workdirs(self) -> Generator[list[Path]]:
        """Working directories whose processes are gone, which nobody else removes during the block."""
        work = self._store.root / "work"
        fds: list[int] = []
        locks: list[Path] = []
        dead: list[Path] = []
        for owner in {path.name.removesuffix(".lock") for path in work.iterdir()} - {self._owner}:
            lock = work / f"{owner}.lock"
            fd = lock_file(lock)
            if fd is not None:
                fds.append(fd)
                locks.append(lock)
                dead.append(work / owner)
        try:
            yield dead
        finally:
            for fd, lock in zip(fds, locks, strict=True):
                with suppress(OSError):
                    remove_locked(lock, fd)
