"""The end of a step's remains, beside the next step: files are deleted, and images unmounted."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from ....errors import StoreError
from .process import close_all

_Todo = queue.SimpleQueue[Callable[[], None] | None]


class _Lane:
    """A thread that does work in its order, from the first work until somebody waits for the end of it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._todo: _Todo = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def put(self, work: Callable[[], None]) -> None:
        """Have `work`, which raises nothing, done."""
        with self._lock:
            if self._thread is None or not self._thread.is_alive():  # after a fork, it is not
                self._todo = queue.SimpleQueue()
                self._thread = threading.Thread(target=_do, args=[self._todo], name="pybuild-leftovers", daemon=True)
                self._thread.start()
            self._todo.put(work)

    def wait(self) -> None:
        """Wait until everything is done, and end the thread."""
        with self._lock:
            thread, self._thread = self._thread, None
            if thread is not None:
                self._todo.put(None)
        if thread is not None:
            thread.join()


def _do(todo: _Todo) -> None:
    while (work := todo.get()) is not None:
        work()


class Leftovers:
    """Directories that nobody needs any more, deleted with `remove`. Safe to use from several threads."""

    def __init__(self, remove: Callable[[Path], None]) -> None:
        self._remove = remove
        self._lock = threading.Lock()
        self._paths: list[Path] = []
        # Deletions wait for the disk, and Linux forgets an image file by file: in one thread, 30 RUNs take 2 to 13 %
        # longer.
        self._deletions, self._closings = _Lane(), _Lane()

    def add(self, path: Path) -> None:
        """Delete `path` when there is time for it."""
        with self._lock:
            self._paths.append(path)

    def start(self) -> None:
        """Delete everything added so far in the background, while this process has nothing else to do."""
        with self._lock:
            paths, self._paths = self._paths, []
        if paths:
            self._deletions.put(lambda: self._delete(paths))

    def close(self, fds: list[int]) -> None:
        """Close the last descriptors of images in the background, at once, beside the rest of the commit."""
        if fds:
            self._closings.put(lambda: close_all(fds))

    def wait(self) -> None:
        """Delete everything added, and wait until that is done, and descriptors are closed."""
        self.start()
        self._deletions.wait()
        self._closings.wait()

    def _delete(self, paths: list[Path]) -> None:
        for path in paths:
            with suppress(OSError, StoreError):  # it is in nobody's way, and the next garbage collection tries again
                self._remove(path)
