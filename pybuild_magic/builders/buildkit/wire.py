"""A byte stream to a daemon: a socket, or the messages of a gRPC stream that carries bytes."""

from __future__ import annotations

import contextlib
import os
import queue
import socket
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

Buffer = bytes | bytearray | memoryview

_READ = 1 << 18
_IOV_MAX = 1000
_MESSAGE = 1 << 20
"""Bytes in a message of a stream: far below the 4 MiB that gRPC takes."""
_QUEUED = 4
"""Messages that wait to be sent; a full queue makes the writer wait."""


class Wire(Protocol):
    """Both directions of a connection. One thread reads; writers take turns by a lock of their own."""

    def read(self) -> bytes:
        """The bytes that are there, at least one; b"" at the end. Raises OSError when the connection breaks."""
        ...

    def write(self, buffers: list[Buffer]) -> None:
        """Send all of `buffers`, in order. Raises OSError when the connection breaks."""
        ...

    def shut(self) -> None:
        """End both directions; whoever reads or writes is woken."""
        ...

    def close(self) -> None:
        """As `shut`, and let go of what it holds, when nobody reads or writes any more."""
        ...


class SocketWire:
    """A connected socket; it is this object's from now on."""

    def __init__(self, sock: socket.socket, first: bytes = b"") -> None:
        """`first` are bytes that were read from the socket already."""
        self.sock = sock
        self._first = first

    def read(self) -> bytes:
        """See Wire."""
        if self._first:
            first, self._first = self._first, b""
            return first
        return self.sock.recv(_READ)

    def write(self, buffers: list[Buffer]) -> None:
        """See Wire."""
        if not hasattr(self.sock, "sendmsg"):
            self.sock.sendall(b"".join(buffers))
            return
        start = 0
        while start < len(buffers):
            part = buffers[start : start + _IOV_MAX]
            start += len(part)
            left = self.sock.sendmsg(part)
            for index, buffer in enumerate(part):
                if left < len(buffer):
                    self.sock.sendall(b"".join([memoryview(buffer)[left:], *part[index + 1 :]]))
                    break
                left -= len(buffer)

    def pass_on(self, target: SocketWire) -> None:
        """Carry everything from here to `target` until the end, inside the kernel. Raises OSError."""
        if self._first:
            target.write([self.read()])
        source, sink = self.sock.fileno(), target.sock.fileno()
        read_end, write_end = os.pipe2(os.O_CLOEXEC)
        try:
            while count := os.splice(source, write_end, _READ):
                while count:
                    count -= os.splice(read_end, sink, count)
        finally:
            os.close(read_end)
            os.close(write_end)

    def shut(self) -> None:
        """See Wire."""
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """See Wire."""
        self.shut()
        self.sock.close()


class StreamWire:
    """The bytes inside a bidirectional gRPC stream of `BytesMessage`s, as `Control/Session` has it.

    `open` starts the call with an iterator of outgoing byte strings, and returns the incoming ones and a
    function that cancels the call. What it raises is turned into OSError by `open` itself.
    """

    def __init__(self, open: Callable[[Iterator[bytes]], tuple[Iterable[bytes], Callable[[], object]]]) -> None:  # noqa: A002
        self._outgoing: queue.Queue[bytes | None] = queue.Queue(_QUEUED)
        self._closed = False
        incoming, self._cancel = open(self._messages())
        self._incoming = iter(incoming)

    def _messages(self) -> Iterator[bytes]:
        while (message := self._outgoing.get()) is not None:
            yield message

    def read(self) -> bytes:
        """See Wire."""
        for message in self._incoming:
            if message:
                return message
        return b""

    def write(self, buffers: list[Buffer]) -> None:
        """See Wire."""
        data = memoryview(b"".join(buffers))
        for start in range(0, len(data), _MESSAGE):
            self._put(bytes(data[start : start + _MESSAGE]))

    def _put(self, message: bytes) -> None:
        while not self._closed:
            with contextlib.suppress(queue.Full):
                self._outgoing.put(message, timeout=0.5)
                return
        raise ConnectionResetError("the session is closed")

    def close(self) -> None:
        """See Wire."""
        self.shut()

    def shut(self) -> None:
        """See Wire."""
        self._closed = True
        self._cancel()
        # The thread of the call that waits for the next message has to see the end of them.
        while True:
            with contextlib.suppress(queue.Full):
                self._outgoing.put_nowait(None)
                return
            with contextlib.suppress(queue.Empty):
                self._outgoing.get_nowait()


class TLSWire:
    """TLS on a connected socket, read by one thread while another writes, which an SSLSocket is not made for."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext, server_name: str) -> None:
        """Shakes hands. Raises OSError, which `ssl.SSLError` is."""
        self.sock = sock
        self.first = b""
        """Bytes that were read already."""
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out, server_hostname=server_name)
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        while True:
            try:
                self._tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                self._flush()
                self._more()
        self._flush()

    def _flush(self) -> None:
        with self._writing:
            with self._lock:
                data = self._out.read()
            if data:
                self.sock.sendall(data)

    def _more(self) -> bool:
        data = self.sock.recv(_READ)
        with self._lock:
            if data:
                self._in.write(data)
            else:
                self._in.write_eof()
        return bool(data)

    def read(self) -> bytes:
        """See Wire."""
        if self.first:
            first, self.first = self.first, b""
            return first
        while True:
            try:
                with self._lock:
                    return self._tls.read(_READ)
            except ssl.SSLWantReadError:
                self._flush()
                if not self._more():
                    return b""
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                return b""

    def write(self, buffers: list[Buffer]) -> None:
        """See Wire."""
        with self._lock:
            self._tls.write(b"".join(buffers))
        self._flush()

    def shut(self) -> None:
        """See Wire."""
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """See Wire."""
        self.shut()
        self.sock.close()
