"""Deletion of a step's remains while the next step runs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from ....errors import StoreError


class Leftovers:
    """Directories that nobody needs any more, deleted in the background with `remove`. Safe to use from several
    threads.
    """

    def __init__(self, remove: Callable[[Path], None]) -> None:
        self._remove = remove
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []

    def add(self, path: Path) -> None:
        """Delete `path` in the background."""
        thread = threading.Thread(target=self._delete, args=(path,), name="pybuild-leftovers", daemon=True)
        with self._lock:
            self._threads = [other for other in self._threads if other.is_alive()]
            thread.start()
            self._threads.append(thread)

    def wait(self) -> None:
        """Wait until everything added is deleted."""
        with self._lock:
            threads, self._threads = self._threads, []
        for thread in threads:
            thread.join()

    def _delete(self, path: Path) -> None:
        with suppress(OSError, StoreError):  # it is in nobody's way, and the next garbage collection tries again
            self._remove(path)
