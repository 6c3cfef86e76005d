"""A byte stream to a daemon: a socket, plain or with TLS."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from typing import Protocol

from ..errors import UnsupportedError

Buffer = bytes | bytearray | memoryview

_READ = 1 << 18
_IOV_MAX = 1000


class Wire(Protocol):
    """Both directions of a connection. Only one thread may read, and only one at a time may write."""

    def read(self) -> bytes:
        """Return the bytes that have arrived, at least one; b"" at the end. Raises OSError if the connection breaks."""
        ...

    def write(self, buffers: list[Buffer]) -> None:
        """Send all of `buffers`, in order. Raises OSError when the connection breaks."""
        ...

    def shut(self) -> None:
        """End both directions, and wake the threads that are reading or writing."""
        ...

    def close(self) -> None:
        """Shut down the connection and free its resources, when no thread reads or writes any more."""
        ...


class _Connected:
    """The common part of wires: the socket, which the wire owns."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.first = b""
        """Bytes that were read from the socket already; `read` returns them first."""

    def shut(self) -> None:
        """See Wire."""
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """See Wire."""
        self.shut()
        self.sock.close()


class SocketWire(_Connected):
    """A wire over a connected socket, which it owns from now on."""

    def read(self) -> bytes:
        """See Wire."""
        if self.first:
            first, self.first = self.first, b""
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
            sent = self.sock.sendmsg(part)
            for index, buffer in enumerate(part):
                if sent < len(buffer):
                    self.sock.sendall(b"".join([memoryview(buffer)[sent:], *part[index + 1 :]]))
                    break
                sent -= len(buffer)


class TLSWire(_Connected):
    """TLS on a connected socket that one thread reads while another writes, which an SSLSocket does not support."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext, server_name: str) -> None:
        """Perform the handshake. Raises OSError, of which `ssl.SSLError` is a subclass."""
        super().__init__(sock)
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
        records: list[bytes] = []
        while True:
            try:
                with self._lock:
                    # Each call returns one record, of at most 16 KiB.
                    while record := self._tls.read(_READ):
                        records.append(record)
                return b"".join(records)
            except ssl.SSLWantReadError:
                if records:
                    return b"".join(records)
                self._flush()
                if not self._more():
                    return b""
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                return b"".join(records)

    def write(self, buffers: list[Buffer]) -> None:
        """See Wire."""
        with self._lock:
            self._tls.write(b"".join(buffers))
        self._flush()


def unix_socket(path: str, timeout: float) -> socket.socket:
    """Return a socket that is connected to the Unix socket at `path`.

    Raises OSError, and UnsupportedError on systems without Unix sockets.
    """
    if not hasattr(socket, "AF_UNIX"):
        raise UnsupportedError(
            f"{path} is a Unix socket, which Python does not support on this system.",
            hint="Use a daemon that listens on tcp://, or work in WSL.",
        )
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.settimeout(timeout)
        sock.connect(path)
    except OSError:
        sock.close()
        raise
    return sock


def tcp_socket(host: str, port: int, timeout: float) -> socket.socket:
    """Return a socket that is connected to a port and sends small frames at once. Raises OSError."""
    sock = socket.create_connection((host, port), timeout)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def reason(error: Exception) -> str:
    """Return the reason of an error in the words of the system or of OpenSSL, as the end of a sentence."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not valid ({error.verify_message})"
    if isinstance(error, ssl.SSLError):
        problem = (error.reason or "the connection was closed").lower().replace("_", " ")
        return f"TLS failed ({problem}); check the certificates, and that it speaks TLS"
    if isinstance(error, TimeoutError):
        return "it did not answer in time"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
