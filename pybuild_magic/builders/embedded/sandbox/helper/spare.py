"""A process that is forked in advance, so that a job need not wait for it."""

from __future__ import annotations

import os

from .light import signal, socket
from .messages import send


class Spare:
    """A process that waits on a socket for the kind and the descriptors of a job."""

    def __init__(self, name: str, pid: int, sock: socket.socket) -> None:
        self.name = name
        self.pid = pid
        self.sock = sock

    def take(self, kind: str, fds: list[int]) -> bool:
        """Give it a job; return False when it is dead."""
        try:
            send(self.sock, kind.encode(), fds)
        except OSError:
            self.end()
            return False
        self.sock.close()
        return True

    def end(self) -> None:
        """Kill the process."""
        self.sock.close()
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
