"""Messages with descriptors between the builder and its helper."""

from __future__ import annotations

import errno
import struct
import time

from .light import socket

MAX_MESSAGE = 1 << 16
_MAX_FDS = 8
_FD = struct.Struct("i")


def send(sock: socket.socket, message: bytes, fds: list[int]) -> None:
    """Send a message with descriptors, waiting until earlier messages leave room for them."""
    ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack(f"{len(fds)}i", *fds))] if fds else []
    while True:
        try:
            sock.sendmsg([message], ancillary)
            return
        except OSError as error:
            if error.errno != errno.ETOOMANYREFS:
                raise
        time.sleep(0.002)


def receive(sock: socket.socket) -> tuple[bytes, list[int]]:
    """Return one message with its descriptors; b"" when the other side has closed the connection."""
    fds: list[int] = []
    try:
        message, ancillary, _, _ = sock.recvmsg(
            MAX_MESSAGE, socket.CMSG_SPACE(_MAX_FDS * _FD.size), socket.MSG_CMSG_CLOEXEC
        )
    except ConnectionResetError:  # it was killed before it had read all messages
        return b"", []
    for _, _, data in ancillary:
        fds += [fd for (fd,) in _FD.iter_unpack(data[: len(data) - len(data) % _FD.size])]
    return message, fds
