"""Python's collector of cyclic garbage, and the work in which it would find none."""

from __future__ import annotations

import functools
import gc
import threading
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class _Pause:
    """Stops the collector from the first `begin` to the last `end` of all threads, unless somebody else has."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running = 0
        self._resumes = False

    def begin(self) -> None:
        with self._lock:
            if not self._running:
                self._resumes = gc.isenabled()
                gc.disable()
            self._running += 1

    def end(self) -> None:
        with self._lock:
            self._running -= 1
            if not self._running and self._resumes:
                gc.enable()


_pause = _Pause()


def uncollected(function: Callable[P, R]) -> Callable[P, R]:
    """Decorate a function that makes an object for each of many files, none of them garbage.

    For every few hundred of them, the collector would look at all of these again, and now and then at every object of
    the process, which takes longer in a kernel with much in it than the function itself.
    """

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        _pause.begin()
        try:
            return function(*args, **kwargs)
        finally:
            _pause.end()

    return run
