"""Messages with descriptors, between the builder and its helper."""

from __future__ import annotations

import array
import errno
import socket
import time


def send(sock: socket.socket, message: bytes, fds: list[int]) -> None:
    """Send a message with descriptors, when other messages leave room for them."""
    ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    while True:
        try:
            sock.sendmsg([message], ancillary)
            return
        except OSError as error:
            if error.errno != errno.ETOOMANYREFS:
                raise
        time.sleep(0.002)
