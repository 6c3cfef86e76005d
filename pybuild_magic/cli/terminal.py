"""The user's terminal while a process uses it: raw, of the same size, and restored at every end."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from ..builders.embedded.sandbox import Hold

_FORWARDED = ("SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2")
_PATIENCE = 3
"""The number of interrupts after which a process that ignores them is killed, as by docker run."""

Handler = Callable[[int, FrameType | None], Any]


def size_of(fd: int) -> tuple[int, int]:
    """Return rows and columns of a terminal; 24 and 80 for anything else."""
    try:
        size = os.get_terminal_size(fd)
    except OSError:
        return 24, 80
    return (size.lines, size.columns) if size.lines and size.columns else (24, 80)


@contextmanager
def handed_over(hold: Hold, kill: Callable[[], None], *, raw: bool) -> Generator[None]:
    """Pass this process's signals and, with `raw`, the terminal to a process during the block."""
    interrupts = 0

    def forward(number: int, _frame: FrameType | None) -> None:
        nonlocal interrupts
        interrupts += number in (signal.SIGINT, signal.SIGTERM)
        if interrupts >= _PATIENCE:
            kill()
        elif number == signal.SIGHUP:
            hold.stop(number)  # whoever has closed the terminal will not end it later
        else:
            hold.signal(number)

    handlers: dict[int, Handler] = dict.fromkeys(
        (*(getattr(signal, name) for name in _FORWARDED), signal.SIGINT), forward
    )
    with _Raw(hold) if raw else _nothing() as handling:
        handlers |= handling
        before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


@contextmanager
def _nothing() -> Generator[dict[int, Handler]]:
    yield {}


class _Raw:
    """The terminal at standard input in raw mode: keys go to the process, Ctrl-C and Ctrl-Z too."""

    def __init__(self, hold: Hold) -> None:
        import termios  # Windows has neither
        import tty

        self._hold = hold
        self._termios, self._tty = termios, tty
        self._fd = sys.stdin.fileno()

    def __enter__(self) -> dict[int, Handler]:
        self._kept = self._termios.tcgetattr(self._fd)
        self._take()
        return {signal.SIGWINCH: self._resize, signal.SIGTSTP: self._suspend}

    def __exit__(self, *_: object) -> None:
        self._give_back()

    def _take(self) -> None:
        # In the background it stops here, until the shell brings it to the foreground.
        self._tty.setraw(self._fd, self._termios.TCSADRAIN)

    def _give_back(self) -> None:
        with suppress(self._termios.error):  # the terminal is gone
            self._termios.tcsetattr(self._fd, self._termios.TCSADRAIN, self._kept)

    def _resize(self, *_: object) -> None:
        self._hold.resize(*size_of(self._fd))

    def _suspend(self, *_: object) -> None:
        """Handle `kill -TSTP` from elsewhere: give the terminal to the shell, and take it back when we continue."""
        self._give_back()
        os.kill(os.getpid(), signal.SIGSTOP)
        self._take()
        self._resize()
