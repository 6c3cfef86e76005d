"""A pseudo-terminal, for tests of the command in one."""

from __future__ import annotations

import array
import fcntl
import os
import pty
import select
import signal
import subprocess
import termios
import time
from pathlib import Path

PATIENCE = 60.0


class Terminal:
    """A pseudo-terminal with a program at its other end; `seen` is all that it has shown."""

    def __init__(self, words: list[str], environ: dict[str, str], cwd: Path) -> None:
        self.master, slave = pty.openpty()
        self.resize(30, 100, tell=False)
        self.before = termios.tcgetattr(slave)
        self.process = subprocess.Popen(
            words, stdin=slave, stdout=slave, stderr=slave, env=environ, cwd=cwd, preexec_fn=_own_session
        )
        self.slave = slave
        self.seen = ""

    def resize(self, rows: int, columns: int, *, tell: bool = True) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, array.array("H", (rows, columns, 0, 0)))
        if tell:
            os.kill(self.process.pid, signal.SIGWINCH)

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def until(self, text: str) -> str:
        """Read until `text` is shown; return what was shown before it, and forget that."""
        deadline = time.monotonic() + PATIENCE
        while text not in self.seen:
            assert time.monotonic() < deadline, f"{text!r} did not come after {self.seen!r}"
            if select.select([self.master], [], [], 0.1)[0]:
                try:
                    self.seen += os.read(self.master, 65536).decode("utf-8", "replace")
                except OSError:
                    raise AssertionError(f"{text!r} did not come after {self.seen!r}") from None
        before, _, self.seen = self.seen.partition(text)
        return before

    def until_size(self, size: str) -> None:
        """Ask a shell for the size of its terminal until it is `size`: a command passes it on in its own time."""
        deadline, seen = time.monotonic() + PATIENCE, ""
        while seen != size:
            assert time.monotonic() < deadline, f"the size is {seen}"
            self.type('echo si""ze=$(stty size)\r')
            self.until("size=")
            seen = self.until("\r\n")

    def rest(self) -> str:
        """Read until the program has ended, and return what it has shown since the last text that was awaited."""
        deadline = time.monotonic() + PATIENCE
        while self.process.poll() is None or select.select([self.master], [], [], 0)[0]:
            assert time.monotonic() < deadline, f"it did not end after {self.seen!r}"
            if select.select([self.master], [], [], 0.05)[0]:
                self.seen += os.read(self.master, 65536).decode("utf-8", "replace")
        return self.seen

    def end(self) -> int:
        return self.process.wait(PATIENCE)

    def until_foreground(self, group: int) -> None:
        """Wait until a process group gets what is typed: a shell names what it brings back before it does so."""
        deadline = time.monotonic() + PATIENCE
        while os.tcgetpgrp(self.master) != group:
            assert time.monotonic() < deadline, f"{group} did not come back after {self.seen!r}"
            time.sleep(0.01)

    @property
    def restored(self) -> bool:
        return termios.tcgetattr(self.slave) == self.before

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.hang_up()

    def hang_up(self) -> None:
        """Close it, as a window or a server does that ends."""
        for fd in {self.slave, self.master} - {-1}:
            os.close(fd)
        self.slave = self.master = -1


def _own_session() -> None:
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGTSTP):
        signal.signal(number, signal.SIG_DFL)
