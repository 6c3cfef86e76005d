"""Durability after a power cut: blobs are synced to the disk after the build, and checked if that did not happen."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from ..errors import StoreError
from .database import Database
from .packed import kept_packed

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Durability:
    """Syncs blobs in the background.

    The row of a blob that is not known to be on the disk has the boot ID of the machine. When a store is opened under
    another boot ID, the machine went down in between: those blobs are compared with their digests, and broken ones
    dropped. The death of a process alone loses nothing. Without a boot ID (off Linux), every blob is synced before it
    is published.
    """

    def __init__(self, db: Database, path: Callable[[str], Path]) -> None:
        self._db = db
        self._path = path
        self._pending: list[str] = []
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self.boot = _boot_id()

    @property
    def deferred(self) -> bool:
        """Whether syncing may wait."""
        return bool(self.boot)

    def add(self, digest: str) -> None:
        """Remember a blob to be synced."""
        if self.boot:
            self._pending.append(digest)

    def start(self) -> None:
        """Sync pending blobs on a separate thread."""
        with self._lock:
            if self._pending and (self._thread is None or not self._thread.is_alive()):
                self._thread = threading.Thread(target=self._quietly, name="pybuild-sync", daemon=True)
                self._thread.start()

    def flush(self) -> None:
        """Sync pending blobs, and return when that is done."""
        with self._lock:
            thread = self._thread  # taken under the lock, so that it is started: no other can be waited for
        if thread is not None:
            thread.join()
        self._sync()

    def _quietly(self) -> None:
        with suppress(StoreError, OSError):
            self._sync()

    def _sync(self) -> None:
        with self._lock:
            digests, self._pending = self._pending, []
        done: list[str] = []
        for digest in digests:
            with suppress(OSError):
                fd = os.open(self._path(digest), os.O_RDONLY)
                try:
                    os.fsync(fd)
                finally:
                    os.close(fd)
                done.append(digest)
        if done:
            with suppress(OSError):
                for directory in {self._path(digest).parent for digest in done}:
                    _sync_directory(directory)
            self._db.execute_many("UPDATE blobs SET boot = '' WHERE digest = ?", [(digest,) for digest in done])

    def recover(self, verify: Callable[[str], str]) -> None:
        """Drop the blobs that did not reach the disk before a power cut: those in which `verify` finds a fault."""
        rows = self._db.read("SELECT digest FROM blobs WHERE boot NOT IN ('', ?)", (self.boot,))
        for (digest,) in rows:
            if verify(digest):
                drop_blob(self._db, digest, self._path(digest))
            else:
                self._db.execute("UPDATE blobs SET boot = ? WHERE digest = ?", (self.boot, digest))
                self.add(digest)


def drop_blob(db: Database, digest: str, path: Path) -> None:
    """Forget a broken blob and the layers that need it, whose cache records then no longer count.

    A layer whose tar is broken stays if the store has a packed form of it.
    """
    with db.write() as connection:
        packed = connection.execute("SELECT diff_id FROM compressed WHERE digest = ?", (digest,)).fetchall()
        connection.execute("DELETE FROM blobs WHERE digest = ?", (digest,))
        sql = "SELECT digest FROM parts WHERE recipe = ? OR instr(blobs, ?)"
        for (broken,) in [(digest,), *connection.execute(sql, (digest, digest)).fetchall()]:
            connection.execute("DELETE FROM layers WHERE idx = ?", (broken,))
            if not kept_packed(connection, broken):
                connection.execute("DELETE FROM layers WHERE diff_id = ?", (broken,))
            connection.execute("DELETE FROM compressed WHERE digest = ?", (broken,))
            connection.execute("DELETE FROM parts WHERE digest = ?", (broken,))
        for (diff_id,) in packed:
            if not kept_packed(connection, diff_id):
                connection.execute(
                    "DELETE FROM layers WHERE diff_id = ? "
                    "AND diff_id NOT IN (SELECT digest FROM blobs UNION SELECT digest FROM parts)",
                    (diff_id,),
                )
        connection.execute("DELETE FROM holders WHERE blob = ?", (digest,))
        connection.execute("DELETE FROM contents WHERE holder NOT IN (SELECT id FROM holders)")
        path.unlink(missing_ok=True)


def _boot_id() -> str:
    try:
        return _BOOT_ID.read_text("utf-8").strip()
    except OSError:
        return ""


def _sync_directory(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
