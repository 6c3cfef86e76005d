"""Stopping a build: a flag that long steps check, and callbacks that wake steps that are blocked and cannot check
it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager

from .errors import Interrupted

_thread = threading.local()


def checkpoint() -> None:
    """Raise `Interrupted` if the build of this thread is to stop. For code that is not given a `Cancel`."""
    cancel: Cancel | None = getattr(_thread, "cancel", None)
    if cancel is not None:
        cancel.check()


class Cancel:
    """The stop flag of a build. It is set once, from any thread, and shared by every worker of the build."""

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
        """Sleep until the timeout or until the build is to stop. Return whether it is to stop."""
        return self._event.wait(seconds)

    def bind(self) -> None:
        """Make `checkpoint` in this thread check this flag from now on."""
        _thread.cancel = self

    @contextmanager
    def bound(self) -> Generator[None]:
        """Make `checkpoint` in this thread check this flag during the block."""
        before = getattr(_thread, "cancel", None)
        _thread.cancel = self
        try:
            yield
        finally:
            _thread.cancel = before

    @contextmanager
    def on_cancel(self, callback: Callable[[], None]) -> Generator[None]:
        """Have `callback` called when the build is cancelled during the block, or at once if it already is."""
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
