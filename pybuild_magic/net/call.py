"""A running request, seen by a thread that may have to stop it: the socket that it uses."""

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
        """Note that the request uses this socket from now on."""
        # A duplicate, because TLS takes the descriptor over from the socket object. Shutting down an SSLSocket while
        # another thread reads it is not safe; shutting down the same connection through another descriptor is.
        duplicate = socket.socket(sock.family, sock.type, sock.proto, fileno=socket.dup(sock.fileno()))
        with self._lock:
            if self._handle is not None:
                self._handle.close()
            self._handle = duplicate
            if self._aborted:
                self._shutdown()

    @property
    def aborted(self) -> bool:
        """Whether the request was stopped."""
        return self._aborted

    def abort(self) -> None:
        """Shut down the socket, and every later one that the request uses."""
        with self._lock:
            self._aborted = True
            self._shutdown()

    def close(self) -> None:
        """Release the socket, which the pool may use for other requests."""
        with self._lock:
            if self._handle is not None:
                self._handle.close()
            self._handle = None

    def _shutdown(self) -> None:
        if self._handle is not None:
            with suppress(OSError):
                self._handle.shutdown(socket.SHUT_RDWR)


current = threading.local()
"""Its attribute `call` is the request that the thread is making."""


def attach(sock: socket.socket) -> None:
    """Tell the request that this thread is making which socket it uses. The connections call this."""
    call: Call | None = getattr(current, "call", None)
    if call is not None:
        call.use(sock)
