"""Leases: a building process keeps a file locked, and collections spare what it has made or used since."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from .locks import lock_file, remove_locked


class Leases:
    """The leases of a store's directory. A process has at most one, however many builds it runs.

    The lease is a file that the process keeps locked, so it ends with the process, however that dies.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock = threading.Lock()
        self._count = 0
        self._fd = -1
        self._path = directory
        self._used: dict[tuple[str, str], int] = {}
        self.began = 0.0
        """When this process's last lease began, in seconds since 1970."""

    @property
    def held(self) -> bool:
        """Whether this process has a lease now."""
        return self._count > 0

    def enter(self) -> None:
        """Begin a lease, or join that of this process."""
        with self._lock:
            if self._count == 0:
                self._used = {}
                self.began = time.time()
                path, fd = self._path, None
                while fd is None:  # a collection may be looking at it right now
                    path = self._directory / f"{time.time_ns()}-{os.getpid()}-{os.urandom(4).hex()}"
                    fd = lock_file(path)
                self._fd, self._path = fd, path
            self._count += 1

    def leave(self) -> None:
        """Undo an `enter`; the last one gives the lease up."""
        with self._lock:
            self._count -= 1
            if self._count == 0:
                self._used = {}
                remove_locked(self._path, self._fd)

    def used(self, table: str, key: str) -> int | None:
        """Return the size of a row if it was marked as used during this lease, else None."""
        return self._used.get((table, key))

    def mark(self, table: str, key: str, size: int) -> None:
        """Remember that a row is marked as used, so that it need not be marked again during this lease."""
        if self._count:
            self._used[table, key] = size

    def any_held(self) -> bool:
        """Return whether any process has a lease."""
        return any(self._living())

    def horizon(self) -> float:
        """Return when the oldest lease of any process began, in seconds since 1970; the present if there is none.

        Whatever was used at or after that time is in use. Files of processes that are gone are removed.
        """
        return min([time.time(), *self._living()])

    def _living(self) -> Iterator[float]:
        """Yield the time when each lease began."""
        for path in self._directory.iterdir():
            if not path.name.partition("-")[0].isdigit():
                continue
            if path != self._path or not self._count:
                fd = lock_file(path)
                if fd is not None:
                    remove_locked(path, fd)
                    continue
            yield int(path.name.partition("-")[0]) / 1e9
