"""The end of a step's remains, beside the next step: files are deleted, and images unmounted."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from ....errors import StoreError
from .process import close_all


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
            self._begin(lambda: self._delete(paths))

    def close(self, fds: list[int]) -> None:
        """Close the last descriptors of images in the background: Linux forgets the image, file by file.

        It begins at once, beside the rest of the commit; with the deletions, 30 RUNs take 2 to 13 % longer.
        """
        if fds:
            with self._lock:
                self._begin(lambda: close_all(fds))

    def wait(self) -> None:
        """Delete everything added, and wait until that is done, and descriptors are closed."""
        self.start()
        with self._lock:
            threads, self._threads = self._threads, []
        for thread in threads:
            thread.join()

    def _begin(self, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, name="pybuild-leftovers", daemon=True)
        self._threads = [other for other in self._threads if other.is_alive()]
        thread.start()
        self._threads.append(thread)

    def _delete(self, paths: list[Path]) -> None:
        for path in paths:
            with suppress(OSError, StoreError):  # it is in nobody's way, and the next garbage collection tries again
                self._remove(path)
