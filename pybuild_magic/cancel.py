"""Stopping a build: one flag that long steps look at, and callbacks that wake those that cannot look."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager

from .errors import Interrupted

_thread = threading.local()


def checkpoint() -> None:
    """Raise `Interrupted` if the build that this thread works for is to stop: for work that knows of no build."""
    cancel: Cancel | None = getattr(_thread, "cancel", None)
    if cancel is not None:
        cancel.check()


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

    def bind(self) -> None:
        """From now on, `checkpoint` in this thread looks at this flag."""
        _thread.cancel = self

    @contextmanager
    def bound(self) -> Generator[None]:
        """During the block, `checkpoint` in this thread looks at this flag."""
        before = getattr(_thread, "cancel", None)
        _thread.cancel = self
        try:
            yield
        finally:
            _thread.cancel = before

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
