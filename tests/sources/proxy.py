"""A TCP proxy before a real server that does to chosen answers what networks do: cut, corrupt, delay, refuse."""

from __future__ import annotations

import re
import socket
import ssl
import threading
import time
from dataclasses import dataclass, field


@dataclass
class Fault:
    """What happens to the next `times` requests that `match` finds in the request line."""

    match: str
    cut: int | None = None
    """Close the connection after so many bytes of the answer's body."""
    cut_upload: int | None = None
    """Close the connection after so many bytes of the request's body."""
    corrupt: int | None = None
    """Flip a bit of the byte at this offset of the answer's body."""
    status: str = ""
    """Answer this instead of asking the server: `503 Service Unavailable`."""
    headers: str = ""
    delay: float = 0
    """Seconds before each block of the answer's body."""
    times: int = 1


@dataclass
class FaultProxy:
    """Listens on a free port; `host` is what clients use in place of the server's."""

    upstream: str
    tls: ssl.SSLContext | None = None
    faults: list[Fault] = field(default_factory=list[Fault])
    requests: list[str] = field(default_factory=list[str])
    """Heads of all requests so far."""
    open: int = 0
    """Connections that are being served."""

    def __enter__(self) -> FaultProxy:
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self._listener.getsockname()[1]}"

    def lines(self, pattern: str) -> list[str]:
        """The request lines that match."""
        return [line for head in self.requests if re.search(pattern, line := head.splitlines()[0])]

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with self._lock:
            self.open += 1
        try:
            with client:
                if self.tls:
                    client = self.tls.wrap_socket(client, server_side=True)
                self._exchange(client)
        except OSError:
            pass
        finally:
            with self._lock:
                self.open -= 1

    def _exchange(self, client: socket.socket) -> None:
        head, rest = _head(client)
        if not head:
            return
        self.requests.append(head.decode("latin-1"))
        fault = self._take(self.requests[-1].splitlines()[0])
        if fault.status:
            client.sendall(
                f"HTTP/1.1 {fault.status}\r\nContent-Length: 0\r\nConnection: close\r\n{fault.headers}\r\n".encode()
            )
            return
        host, _, port = self.upstream.partition(":")
        with socket.create_connection((host, int(port))) as server:
            server.sendall(re.sub(rb"(?i)\r\nconnection:[^\r]*", b"", head)[:-4] + b"\r\nConnection: close\r\n\r\n")
            length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
            left = int(length[1]) if length else 0
            sent = 0
            while left:
                data = rest or client.recv(65536)
                rest = b""
                if not data or (fault.cut_upload is not None and sent + len(data) > fault.cut_upload):
                    _reset(client)
                    return
                server.sendall(data)
                sent += len(data)
                left -= len(data)
            self._answer(client, server, fault)

    def _answer(self, client: socket.socket, server: socket.socket, fault: Fault) -> None:
        head, body = _head(server)
        client.sendall(head)
        offset = 0
        while body or (body := server.recv(65536)):
            if fault.delay:
                time.sleep(fault.delay)
            if fault.cut is not None and offset + len(body) > fault.cut:
                client.sendall(body[: fault.cut - offset])
                _reset(client)
                return
            if fault.corrupt is not None and offset <= fault.corrupt < offset + len(body):
                at = fault.corrupt - offset
                body = body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]
            client.sendall(body)
            offset += len(body)
            body = b""

    def _take(self, line: str) -> Fault:
        with self._lock:
            for fault in self.faults:
                if fault.times and re.search(fault.match, line):
                    fault.times -= 1
                    return fault
        return Fault("")


def _head(sock: socket.socket) -> tuple[bytes, bytes]:
    """(the head of a message with its empty line, what came of the body)."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = sock.recv(65536)
        if not more:
            return b"", b""
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    return head + b"\r\n\r\n", body


def _reset(sock: socket.socket) -> None:
    time.sleep(0.05)  # what was sent before shall arrive before the end does
    sock.shutdown(socket.SHUT_RDWR)
