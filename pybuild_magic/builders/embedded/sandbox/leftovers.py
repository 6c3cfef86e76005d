"""Deletion of a step's remains while the next step's process runs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from ....errors import StoreError


class Leftovers:
    """Directories that nobody needs any more, deleted with `remove`. Safe to use from several threads."""

    def __init__(self, remove: Callable[[Path], None]) -> None:
        self._remove = remove
        self._lock = threading.Lock()
        self._paths: list[Path] = []
        self._threads: list[threading.Thread] = []

    def add(self, path: Path) -> None:
        """Delete `path` when there is time for it."""
        with self._lock:
            self._paths.append(path)

    def start(self) -> None:
        """Delete everything added so far in the background, while this process has nothing else to do."""
        with self._lock:
            if not self._paths:
                return
            paths, self._paths = self._paths, []
            thread = threading.Thread(target=self._delete, args=(paths,), name="pybuild-leftovers", daemon=True)
            self._threads = [other for other in self._threads if other.is_alive()]
            thread.start()
            self._threads.append(thread)

    def wait(self) -> None:
        """Delete everything added, and wait until that is done."""
        self.start()
        with self._lock:
            threads, self._threads = self._threads, []
        for thread in threads:
            thread.join()

    def _delete(self, paths: list[Path]) -> None:
        for path in paths:
            with suppress(OSError, StoreError):  # it is in nobody's way, and the next garbage collection tries again
                self._remove(path)
