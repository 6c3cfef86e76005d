"""Stopping a build: one flag that long steps look at, and callbacks that wake those that cannot look."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager

from .errors import Interrupted


class Cancel:
    """Whether a build is to stop. Set once, from any thread; every worker of the build shares it."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._callbacks: dict[int, Callable[[], None]] = {}
        self._next = 0

    @property
    def cancelled(self) -> bool:
        """True from the first call of `cancel` on."""
        return self._event.is_set()

    def cancel(self) -> None:
        """Stop the build: set the flag, then call every callback once."""
        with self._lock:
            self._event.set()
            callbacks, self._callbacks = list(self._callbacks.values()), {}
        for callback in callbacks:
            callback()

    def check(self) -> None:
        """Raise `Interrupted` if the build is to stop."""
        if self._event.is_set():
            raise Interrupted("The build was interrupted.")

    def wait(self, seconds: float) -> bool:
        """Sleep, at most until the build is to stop; returns whether it is."""
        return self._event.wait(seconds)

    @contextmanager
    def on_cancel(self, callback: Callable[[], None]) -> Generator[None]:
        """While the block runs, `cancel` calls `callback` (at once, when it has been called already)."""
        with self._lock:
            key, self._next = self._next, self._next + 1
            late = self._event.is_set()
            if not late:
                self._callbacks[key] = callback
        if late:
            callback()
        try:
            yield
        finally:
            with self._lock:
                self._callbacks.pop(key, None)
