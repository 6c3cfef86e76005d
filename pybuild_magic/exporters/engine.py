"""Loading an image into Docker's engine: `docker load`, over the engine's API at DOCKER_HOST."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
from collections.abc import Callable, Mapping
from http.client import HTTPConnection, HTTPException, HTTPResponse
from pathlib import Path

import msgspec

from ..errors import ExportError, UnsupportedError
from ..untrusted.foreign import split_url
from . import ExportContext

_DEFAULT = "unix:///var/run/docker.sock"
_HINT = "Write a file with dest=FILE, or set DOCKER_HOST to the engine's address."
_CONNECT_SECONDS = 10.0


class _Message(msgspec.Struct, rename="camel"):
    error: str = ""


class Engine(msgspec.Struct, frozen=True):
    """Where an engine listens: a Unix socket's path, or host and port, with TLS when `certs` is set."""

    address: str
    path: str = ""
    host: str = ""
    port: int = 0
    certs: str | None = None

    def connect(self) -> HTTPConnection:
        """A connection; raises OSError."""
        connection = HTTPConnection(self.host or "localhost", self.port or None)
        connection.sock = self._socket()
        return connection

    def _socket(self) -> socket.socket:
        if self.path:
            plain = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                plain.connect(self.path)
            except OSError:
                plain.close()
                raise
            return plain
        plain = socket.create_connection((self.host, self.port), timeout=_CONNECT_SECONDS)
        plain.settimeout(None)
        if self.certs is None:
            return plain
        certs = Path(self.certs)
        tls = ssl.create_default_context(cafile=str(certs / "ca.pem"))
        tls.load_cert_chain(certs / "cert.pem", certs / "key.pem")
        return tls.wrap_socket(plain, server_hostname=self.host)


def find_engine(environ: Mapping[str, str] | None = None) -> Engine:
    """The engine at DOCKER_HOST, or at its usual socket. Raises UnsupportedError when there is none."""
    variables = os.environ if environ is None else environ
    address = variables.get("DOCKER_HOST") or _DEFAULT
    parts = split_url(address)
    if parts.scheme == "unix" and hasattr(socket, "AF_UNIX"):
        path = parts.path or parts.netloc
        if not Path(path).exists():
            where = f"DOCKER_HOST is {address}, and" if variables.get("DOCKER_HOST") else "DOCKER_HOST is not set, and"
            raise UnsupportedError(
                f"There is no Docker engine to load the image into: {where} {path} is missing.", hint=_HINT
            )
        return Engine(address, path=path)
    try:
        port = parts.port
    except ValueError:
        port = None
    if parts.scheme in ("tcp", "http", "https") and parts.hostname:
        tls = parts.scheme == "https" or bool(variables.get("DOCKER_TLS_VERIFY"))
        certs = variables.get("DOCKER_CERT_PATH") or str(Path("~/.docker").expanduser())
        return Engine(address, host=parts.hostname, port=port or (2376 if tls else 2375), certs=certs if tls else None)
    raise UnsupportedError(
        f"An engine at {address} cannot be reached: only unix:// and tcp:// can, on Windows only tcp://.", hint=_HINT
    )


def load(size: int, write: Callable[[socket.socket], None], context: ExportContext) -> None:
    """Send an archive of `size` bytes, which `write` writes to the socket, to the engine.

    Raises ExportError with what the engine says, Interrupted when the build is stopped meanwhile.
    """
    engine = find_engine()
    try:
        connection = engine.connect()
    except (OSError, ssl.SSLError) as error:
        raise ExportError(f"The Docker engine at {engine.address} cannot be reached: {error}.", hint=_HINT) from error
    sock = connection.sock
    try:
        with context.cancel.on_cancel(lambda: _shut(sock)):
            connection.putrequest("POST", "/images/load?quiet=1")
            connection.putheader("Content-Type", "application/x-tar")
            connection.putheader("Content-Length", str(size))
            connection.endheaders()
            broken = _send(write, sock)
            _check(connection.getresponse(), engine)
            if broken is not None:
                raise broken
    except (OSError, HTTPException) as error:
        context.cancel.check()
        raise ExportError(f"The Docker engine at {engine.address} broke off the load: {error}.") from error
    finally:
        connection.close()


def _send(write: Callable[[socket.socket], None], sock: socket.socket) -> OSError | None:
    """An engine that refuses the image may close its side early: what it said is worth more than the error."""
    try:
        write(sock)
    except (BrokenPipeError, ConnectionResetError) as error:
        return error
    return None


def _check(response: HTTPResponse, engine: Engine) -> None:
    body = response.read(1 << 20)
    if response.status != 200:
        try:
            said = msgspec.json.decode(body, type=dict[str, str]).get("message", "")
        except msgspec.DecodeError:
            said = body[:200].decode("utf-8", "replace")
        raise ExportError(f"The Docker engine at {engine.address} refused the image: {said} ({response.status}).")
    for line in body.splitlines():
        try:
            message = msgspec.json.decode(line, type=_Message)
        except msgspec.DecodeError:
            continue
        if message.error:
            raise ExportError(f"The Docker engine at {engine.address} could not load the image: {message.error}.")


def _shut(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
