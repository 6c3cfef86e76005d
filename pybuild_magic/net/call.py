"""A request under way, as the one who may stop it knows it: by the socket that it is on."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress


class Call:
    """The socket that one request is using, so that another thread can shut it down."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._handle: socket.socket | None = None
        self._aborted = False

    def use(self, sock: socket.socket) -> None:
        """The request is on this socket now."""
        # A duplicate: TLS takes the descriptor over from the socket object, and shutting down an SSLSocket
        # under its reader is not safe, while shutting down the same connection by another descriptor is.
        duplicate = socket.socket(sock.family, sock.type, sock.proto, fileno=socket.dup(sock.fileno()))
        with self._lock:
            if self._handle is not None:
                self._handle.close()
            self._handle = duplicate
            if self._aborted:
                self._shutdown()

    @property
    def aborted(self) -> bool:
        """Whether it was stopped."""
        return self._aborted

    def abort(self) -> None:
        """Shut the socket down, and every one that comes after it."""
        with self._lock:
            self._aborted = True
            self._shutdown()

    def close(self) -> None:
        """Let go of the socket, which the pool may use for other requests."""
        with self._lock:
            if self._handle is not None:
                self._handle.close()
            self._handle = None

    def _shutdown(self) -> None:
        if self._handle is not None:
            with suppress(OSError):
                self._handle.shutdown(socket.SHUT_RDWR)


current = threading.local()
"""`call`: the request that a thread is making."""


def attach(sock: socket.socket) -> None:
    """Tell the request that this thread is making which socket it uses (called by the connections)."""
    call: Call | None = getattr(current, "call", None)
    if call is not None:
        call.use(sock)
