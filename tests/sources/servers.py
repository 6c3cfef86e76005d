"""Small HTTP servers whose every answer a test decides, and certificates for them."""

from __future__ import annotations

import datetime
import ipaddress
import socket
import ssl
import tempfile
import threading
import time
from collections import defaultdict
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Reply:
    """One answer."""

    body: bytes
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict[str, str])
    cut: int | None = None
    """Break the connection after so many bytes of the body."""
    delay: float = 0
    drip: float = 0
    """Seconds before each byte of the body."""
    length: bool = True
    """Whether to say the length; otherwise the connection's end is the body's."""


@dataclass
class Asked:
    method: str
    path: str
    headers: Message


class HTTPServer:
    """A server on loopback that answers each path with the replies it was given, the last one forever on request."""

    def __init__(self) -> None:
        self.requests: list[Asked] = []
        self._replies: dict[str, list[Reply]] = defaultdict(list)
        self._forever: dict[str, Reply] = {}

    def on(self, path: str, *replies: Reply, forever: bool = False) -> None:
        self._replies[path] += replies
        if forever:
            self._forever[path] = replies[-1]

    def __enter__(self) -> HTTPServer:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self._server.server_address[1]}"

    @property
    def url(self) -> str:
        return f"http://{self.host}"

    def take(self, path: str) -> Reply:
        path = path.partition("?")[0]
        waiting = self._replies[path]
        if waiting:
            return waiting.pop(0)
        return self._forever.get(path, Reply(b"not here", 404))


def _handler(server: HTTPServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            server.requests.append(Asked(self.command, self.path, self.headers))
            reply = server.take(self.path)
            time.sleep(reply.delay)
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            if reply.length:
                self.send_header("Content-Length", str(len(reply.body)))
            else:
                self.send_header("Connection", "close")
            self.end_headers()
            if self.command == "HEAD":
                return
            if reply.cut is not None:
                self.wfile.write(reply.body[: reply.cut])
                self.wfile.flush()
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            for at in range(len(reply.body) if reply.drip else 0):
                time.sleep(reply.drip)
                self.wfile.write(reply.body[at : at + 1])
            if not reply.drip:
                self.wfile.write(reply.body)

        do_HEAD = do_GET  # noqa: N815
        do_POST = do_GET  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    return Handler


def self_signed(address: str) -> tuple[ssl.SSLContext, bytes]:
    """(a server's TLS context for an IP address, the certificate to trust it by, PEM)."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, address)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile() as file:
        file.write(private + pem)
        file.flush()
        context.load_cert_chain(file.name)
    return context, pem
