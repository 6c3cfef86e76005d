"""How slow a server may be: a minimum throughput, a time limit for a whole transfer, and an alarm for a silent call.

A socket's timeout starts again with every byte, so a server that sends one byte a minute could hold a reader for ever.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager

import msgspec

from ..errors import UsageError
from ..untrusted.foreign import number

FLOOR_VARIABLE = "PYBUILD_NETWORK_FLOOR"
LIMIT_VARIABLE = "PYBUILD_NETWORK_LIMIT"
_LARGEST = 10**9


class Pace(msgspec.Struct, frozen=True):
    """The limits of a transfer; 0 stands for no floor, or no limit."""

    floor: int = 1024
    """Bytes a second, measured over `window`. The time that the reader spends on other work does not count."""
    window: float = 60.0
    """Seconds."""
    limit: float = 6 * 3600.0
    """Seconds that one transfer may take in all."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Pace:
        """Return the limits in PYBUILD_NETWORK_FLOOR (bytes a second) and PYBUILD_NETWORK_LIMIT (seconds).

        Raises UsageError.
        """
        variables = os.environ if environment is None else environment
        limits = cls()
        for variable, field in ((FLOOR_VARIABLE, "floor"), (LIMIT_VARIABLE, "limit")):
            if text := variables.get(variable, ""):
                value = number(text, _LARGEST)
                if value is None:
                    raise UsageError(f"{variable} is {text[:40]!r}.", hint="Use a whole number; 0 means no limit.")
                limits = msgspec.structs.replace(limits, **{field: value})
        return limits

    def seconds_for(self, size: int) -> float:
        """Return the seconds within which `size` bytes must have been transferred."""
        return self.window + (size / self.floor if self.floor else _LARGEST)


class Meter:
    """A count of the bytes of one transfer, which is compared with a Pace."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._began = time.monotonic()
        self._waited = 0.0
        self._count = 0

    def add(self, count: int, seconds: float) -> str:
        """Count bytes, and the seconds that were spent waiting for them.

        Return why the transfer has to be stopped, as the end of a sentence; "" while it goes well.
        """
        pace = self._pace
        self._waited += seconds
        self._count += count
        if pace.limit and time.monotonic() - self._began > pace.limit:
            return f"took longer than {pace.limit:g} seconds ({LIMIT_VARIABLE})"
        if self._waited < pace.window:
            return ""
        slow = self._count < pace.floor * self._waited
        self._waited, self._count = 0.0, 0
        return f"sent less than {pace.floor} bytes a second ({FLOOR_VARIABLE})" if slow else ""


class Alarm:
    """Calls back when a block has not ended in time. One thread watches all blocks, while there are any."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._due: dict[int, tuple[float, Callable[[], None]]] = {}
        self._next = 0
        self._running = False

    @contextmanager
    def within(self, seconds: float, callback: Callable[[], None]) -> Generator[Callable[[float], None]]:
        """Call `callback` unless the block ends within `seconds`; yield a function that starts the time again."""
        with self._changed:
            key, self._next = self._next, self._next + 1
            self._due[key] = time.monotonic() + seconds, callback
            if not self._running:
                self._running = True
                threading.Thread(target=self._watch, name="pybuild-alarm", daemon=True).start()

        def again(seconds: float) -> None:
            with self._changed:
                if key in self._due:
                    self._due[key] = time.monotonic() + seconds, callback

        try:
            yield again
        finally:
            with self._changed:
                self._due.pop(key, None)

    def _watch(self) -> None:
        idle = 0
        while True:
            with self._changed:
                self._changed.wait(_TICK)
                late = [key for key, (due, _) in self._due.items() if due < time.monotonic()]
                callbacks = [self._due.pop(key)[1] for key in late]
                idle = 0 if self._due else idle + 1
                if idle > _IDLE_TICKS:
                    self._running = False
                    return
            for callback in callbacks:
                callback()


_TICK = 0.5
"""Seconds between two checks."""
_IDLE_TICKS = 4
"""Checks with nothing to watch after which the thread ends."""
ALARM = Alarm()
"""The alarm of this process."""
