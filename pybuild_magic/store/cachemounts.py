"""Cache mounts: directories that outlive builds, named by an ID, and shared as `RUN --mount=type=cache` says."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..cancel import Cancel
from ..errors import StoreError
from .blobfiles import disk_errors, now
from .database import Database
from .locks import lock_file, remove_locked

_POLL_SECONDS = 0.05


class CacheMounts:
    """The cache mounts of a store."""

    def __init__(self, root: Path, db: Database, remove_tree: Callable[[Path], None]) -> None:
        self._root = root
        self._db = db
        self._remove_tree = remove_tree

    @contextmanager
    def acquire(self, id: str, sharing: str = "shared", cancel: Cancel | None = None) -> Generator[Path]:  # noqa: A002 - BuildKit's word
        """Hold the directory of the cache mount `id` during the block.

        `sharing` is as in BuildKit: `shared` lets others use it too, `locked` waits until nobody else does, and
        `private` takes another directory when the first is in use. Raises Interrupted when cancelled while waiting.
        """
        name = hashlib.sha256(id.encode("utf-8", "surrogateescape")).hexdigest()
        slot = 0
        while True:
            directory = f"{name}-{slot}" if slot else name
            lock = self._root / "cachemounts" / f"{directory}.lock"
            with disk_errors(self._root, "locking a cache mount"):
                fd = lock_file(lock, shared=sharing == "shared")
            if fd is not None:
                break
            if sharing == "private":
                slot += 1
            elif cancel is not None:
                cancel.wait(_POLL_SECONDS)
                cancel.check()
            else:
                time.sleep(_POLL_SECONDS)
        try:
            yield self._open(id, directory)
        finally:
            os.close(fd)

    def _open(self, id_: str, directory: str) -> Path:
        path = self._root / "cachemounts" / directory
        moment = now()
        with disk_errors(self._root, "making a cache mount"), self._db.write() as connection:
            if not path.exists():
                path.mkdir(mode=0o755)
                path.chmod(0o755)
            connection.execute(
                "INSERT INTO cachemounts VALUES (?, ?, ?, ?, 1) ON CONFLICT DO UPDATE "
                "SET last_used = excluded.last_used, usage_count = usage_count + 1",
                (directory, id_, moment, moment),
            )
        return path

    def in_use(self, directory: str) -> bool:
        """Return whether anyone holds the cache mount in `directory`, a name under `cachemounts/`."""
        fd = lock_file(self._root / "cachemounts" / f"{directory}.lock")
        if fd is None:
            return True
        os.close(fd)
        return False

    def remove(self, directory: str) -> bool:
        """Remove a cache mount unless someone holds it, and return whether it was removed."""
        root = self._root / "cachemounts"
        fd = lock_file(root / f"{directory}.lock")
        if fd is None:
            return False
        try:
            self._db.execute("DELETE FROM cachemounts WHERE directory = ?", (directory,))
            (root / f"{directory}.owners").unlink(missing_ok=True)  # kept by a sandbox with a single user ID
            if (root / directory).exists():
                trash = self._root / "trash" / os.urandom(8).hex()
                (root / directory).rename(trash)
                with suppress(OSError, StoreError):  # the next collection tries again
                    self._remove_tree(trash)
        finally:
            remove_locked(root / f"{directory}.lock", fd)
        return True
