"""The transfer of a layer's entries to the builder, with open files for their contents."""

from __future__ import annotations

import errno
import marshal
import os

from .messages import send

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket

    from .changes import Row

_ROWS, _FILES, _BYTES = 1000, 32, 64 << 10
"""The most that one message may carry: each file is a descriptor, of which a user has few."""


class Sender:
    """Sends the entries of a layer in messages of bounded size, each with the files that its entries need.

    A message with files waits for a byte from the pipe `credit`: descriptors in flight count against an unprivileged
    user's limit of open files, for all builds together.
    """

    def __init__(self, channel: socket.socket, credit: int) -> None:
        self.channel = channel
        self.credit = credit
        self.rows: list[tuple[Row | None, bool]] = []
        self.fds: list[int] = []
        self.bytes = 0

    def add(self, row: Row, content: bytes) -> None:
        """Add an entry; `content` is the path of its file, b"" when it has none."""
        self.rows.append((row, bool(content)))
        self.bytes += 100 + len(row[0]) * 2 + len(row[7]) * 2 + (len(row[10]) * 100 if row[10] else 0)
        if content:
            self.fds.append(os.open(content, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC))
        self.flush_full()

    def send(self, fd: int) -> None:
        """Send a file alone, and close it afterwards."""
        self.rows.append((None, True))
        self.fds.append(fd)
        self.flush_full()

    def flush_full(self) -> None:
        """Send the pending entries, if the message is full."""
        if len(self.rows) >= _ROWS or len(self.fds) >= _FILES or self.bytes >= _BYTES:
            self.flush()

    def flush(self) -> None:
        """Send the pending entries."""
        if not self.rows:
            return
        if self.fds and not os.read(self.credit, 1):
            raise BrokenPipeError(errno.EPIPE, "nobody takes the files")
        send(self.channel, marshal.dumps(("entries", self.rows)), self.fds)
        for fd in self.fds:
            os.close(fd)
        self.rows, self.fds, self.bytes = [], [], 0
