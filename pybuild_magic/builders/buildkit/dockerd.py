"""A Docker engine: connections to its API wherever it listens, upgraded to BuildKit's, and a few plain requests."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Sequence
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import msgspec

from ...errors import UnsupportedError
from ...untrusted.foreign import port_of, split_url
from ..settings import TLS
from .address import NO_PIPES, Command, EngineAddress, ssh_command
from .failures import DaemonError
from .grpc.bridge import CommandWire
from .grpc.wire import SocketWire, TLSWire, Wire, reason, tcp_socket, unix_socket

_MAX_HEAD = 1 << 16
_PORTS = {True: 2376, False: 2375}
_GIVE_UP = "Check that it runs, and DOCKER_HOST or `docker context ls`."


class EngineInfo(msgspec.Struct, frozen=True):
    """What an engine says of itself."""

    version: str = ""
    containerd_store: bool = False
    """Whether it keeps images in containerd's store, and so takes OCI archives with several platforms."""


class Dockerd:
    """One engine. `timeout` is for connecting and for each answer, in seconds."""

    def __init__(self, address: EngineAddress, timeout: float) -> None:
        self.address = address
        self._timeout = timeout

    def upgrade(self, path: str, protocol: str, headers: Sequence[tuple[str, str]] = ()) -> Wire:
        """A connection that the engine has taken off HTTP, as `POST /grpc` and `POST /session` do.

        Raises DaemonError when the engine cannot be reached, and UnsupportedError when it refuses.
        """
        try:
            wire = self._connect()
        except OSError as error:
            raise self._unreachable(error) from error
        lines = [
            f"POST {path} HTTP/1.1",
            "Host: docker",
            "Connection: Upgrade",
            f"Upgrade: {protocol}",
            "Content-Length: 0",
            *(f"{name}: {value}" for name, value in headers),
        ]
        try:
            wire.write(["\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape")])
            head = b""
            while b"\r\n\r\n" not in head:
                data = wire.read()
                if not data or len(head) > _MAX_HEAD:
                    raise ConnectionResetError("it closed the connection")
                head += data
        except OSError as error:
            wire.close()
            raise self._unreachable(error) from error
        head, _, rest = head.partition(b"\r\n\r\n")
        status = head.split(b"\r\n", 1)[0].decode("latin-1")
        if " 101 " not in f"{status} ":
            wire.close()
            raise UnsupportedError(
                f"The Docker engine at {self.address.host} does not offer BuildKit's API ({status}).",
                hint="It takes Docker 18.09 or newer.",
            )
        # The time limit was for the answer: a build may be silent for longer.
        wire.sock.settimeout(None)
        wire.first = rest
        return wire

    def info(self) -> EngineInfo:
        """Its version and kind of image store. Raises DaemonError."""
        version, info = self.get("/version"), self.get("/info")
        pairs: list[list[str]] = info.get("DriverStatus") or []
        return EngineInfo(
            str(version.get("Version", "")),
            any(pair[:2] == ["driver-type", "io.containerd.snapshotter.v1"] for pair in pairs),
        )

    def get(self, path: str) -> dict[str, Any]:
        """The answer to a plain GET, which is JSON. Raises DaemonError."""
        try:
            with contextlib.closing(self.http()) as connection:
                connection.request("GET", path)
                response = connection.getresponse()
                body = response.read()
            answer = msgspec.json.decode(body, type=dict[str, Any])
        except (OSError, HTTPException, msgspec.MsgspecError) as error:
            raise self._unreachable(error) from error
        if response.status != 200:
            raise DaemonError(
                f"The Docker engine at {self.address.host} says: {answer.get('message', response.status)}"
            )
        return answer

    def http(self) -> HTTPConnection:
        """A connection for plain requests. Raises OSError and UnsupportedError."""
        connection = HTTPConnection("docker")
        sock = self._socket()
        context = self._context()
        connection.sock = context.wrap_socket(sock, server_hostname=self._server_name()) if context else sock
        return connection

    def _connect(self) -> SocketWire | TLSWire:
        if split_url(self.address.host).scheme == "ssh":
            return self._through_ssh()
        sock = self._socket()
        context = self._context()
        if context is None:
            return SocketWire(sock)
        try:
            return TLSWire(sock, context, self._server_name())
        except OSError:
            sock.close()
            raise

    def _server_name(self) -> str:
        tls = self.address.tls
        return (tls.server_name if tls else "") or split_url(self.address.host).hostname or "docker"

    def _context(self) -> ssl.SSLContext | None:
        scheme = split_url(self.address.host).scheme
        if scheme in ("unix", "ssh") or (self.address.tls is None and scheme != "https"):
            return None
        return tls_context(self.address.tls or TLS())

    def _socket(self) -> socket.socket:
        parts = split_url(self.address.host)
        if parts.scheme == "unix":
            return unix_socket(parts.netloc + parts.path, self._timeout)
        if parts.scheme in ("tcp", "http", "https") and parts.hostname:
            port = port_of(parts) or _PORTS[self.address.tls is not None]
            return tcp_socket(parts.hostname, port, self._timeout)
        if parts.scheme == "ssh":
            return self._through_ssh().sock
        if parts.scheme == "npipe":
            raise UnsupportedError(
                f"The Docker engine is at {self.address.host}, a named pipe of Windows, which cannot be spoken to.",
                hint=NO_PIPES,
            )
        raise UnsupportedError(
            f"An engine at {self.address.host} cannot be reached: unix://, tcp:// and ssh:// can.", hint=_GIVE_UP
        )

    def _through_ssh(self) -> CommandWire:
        wire = CommandWire(Command(ssh_command(self.address.host, ("docker", "system", "dial-stdio"))))
        wire.sock.settimeout(self._timeout)
        return wire

    def _unreachable(self, error: Exception) -> DaemonError:
        return DaemonError(
            f"The Docker engine at {self.address.host} cannot be reached: {reason(error)}.", hint=_GIVE_UP
        )


def tls_context(tls: TLS) -> ssl.SSLContext:
    """The TLS settings as Python's. Raises UnsupportedError for files that cannot be read."""
    try:
        context = ssl.create_default_context(cafile=str(Path(tls.ca).expanduser()) if tls.ca else None)
        if tls.cert:
            context.load_cert_chain(Path(tls.cert).expanduser(), Path(tls.key).expanduser())
    except (OSError, ssl.SSLError) as error:
        raise UnsupportedError(f"The TLS files of the builder cannot be read: {reason(error)}.") from error
    return context
