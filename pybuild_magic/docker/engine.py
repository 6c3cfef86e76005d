"""A Docker engine: connections to its API wherever it listens, upgraded to BuildKit's API, and a few plain requests."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Sequence
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import msgspec

from ..errors import DaemonError, UnsupportedError
from ..net.command import Command, CommandWire, ssh_command
from ..net.tls import TLS, tls_context
from ..net.wire import SocketWire, TLSWire, Wire, reason, tcp_socket, unix_socket
from ..untrusted.foreign import port_of, split_url
from .config import EngineAddress

CONNECT_TIMEOUT = 20.0
NO_PIPES = "Have the daemon listen on tcp:// (a setting of Docker Desktop) and set DOCKER_HOST to that, or work in WSL."
_REACHABLE = "unix://, tcp:// and ssh:// can" if hasattr(socket, "AF_UNIX") else "on this system only tcp:// can"
_MAX_HEAD = 1 << 16
_PORTS = {True: 2376, False: 2375}
_GIVE_UP = "Check that it is running, and check DOCKER_HOST or `docker context ls`."


class EngineInfo(msgspec.Struct, frozen=True):
    """An engine's description of itself."""

    version: str = ""
    containerd_store: bool = False
    """Whether it keeps images in containerd's store, and therefore accepts OCI archives with several platforms."""


class EngineConnection(HTTPConnection):
    """An HTTP connection to an engine, over a socket or through a command, which ends with the connection."""

    def __init__(self, wire: SocketWire | None, sock: socket.socket) -> None:
        super().__init__("docker")
        self.sock = sock
        self._wire = wire

    def connect(self) -> None:
        """Refuse to connect again: this object does not know the engine's address."""
        raise ConnectionResetError("the engine closed the connection")

    def close(self) -> None:
        """Close the socket, and end the command."""
        super().close()
        if self._wire is not None:
            self._wire.close()


class Engine:
    """A Docker engine. `timeout` applies to connecting and to each answer, in seconds."""

    def __init__(self, address: EngineAddress, timeout: float = CONNECT_TIMEOUT) -> None:
        self.address = address
        self._timeout = timeout

    def check(self) -> None:
        """Raise UnsupportedError, without connecting, for an engine that cannot exist on this system."""
        parts = split_url(self.address.host)
        if parts.scheme == "unix" and hasattr(socket, "AF_UNIX"):
            path = parts.netloc + parts.path
            if not Path(path).exists():
                raise UnsupportedError(f"{path} is missing.")
        elif parts.scheme == "npipe":
            raise UnsupportedError(
                f"The Docker engine is at {self.address.host}, a Windows named pipe, which is not supported.",
                hint=NO_PIPES,
            )
        elif parts.scheme not in ("tcp", "http", "https", "ssh") or not parts.hostname:
            raise UnsupportedError(f"An engine at {self.address.host} cannot be reached: {_REACHABLE}.", hint=_GIVE_UP)

    def upgrade(self, path: str, protocol: str, headers: Sequence[tuple[str, str]] = ()) -> Wire:
        """Return a connection that the engine has upgraded from HTTP, as for `POST /grpc` and `POST /session`.

        Raises DaemonError when the engine cannot be reached, and UnsupportedError when it refuses.
        """
        try:
            wire = self._connect()
        except OSError as error:
            raise self.unreachable(error) from error
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
            raise self.unreachable(error) from error
        head, _, rest = head.partition(b"\r\n\r\n")
        status = head.split(b"\r\n", 1)[0].decode("latin-1")
        if " 101 " not in f"{status} ":
            wire.close()
            raise UnsupportedError(
                f"The Docker engine at {self.address.host} does not offer BuildKit's API ({status}).",
                hint="Use Docker 18.09 or newer.",
            )
        # The time limit is only for the answer: a build may be silent for longer.
        wire.sock.settimeout(None)
        wire.first = rest
        return wire

    def info(self) -> EngineInfo:
        """Return its version and its kind of image store. Raises DaemonError."""
        version, info = self.get("/version"), self.get("/info")
        pairs: list[list[str]] = info.get("DriverStatus") or []
        return EngineInfo(
            str(version.get("Version", "")),
            any(pair[:2] == ["driver-type", "io.containerd.snapshotter.v1"] for pair in pairs),
        )

    def get(self, path: str) -> dict[str, Any]:
        """Return the answer to a GET request, parsed as JSON. Raises DaemonError."""
        try:
            with contextlib.closing(self.http()) as connection:
                connection.request("GET", path)
                response = connection.getresponse()
                body = response.read()
            answer = msgspec.json.decode(body, type=dict[str, Any])
        except (OSError, HTTPException, msgspec.MsgspecError) as error:
            raise self.unreachable(error) from error
        if response.status != 200:
            raise DaemonError(
                f"The Docker engine at {self.address.host} answers: {answer.get('message', response.status)}"
            )
        return answer

    def http(self) -> EngineConnection:
        """Return a connection for plain requests. Raises OSError and UnsupportedError."""
        if split_url(self.address.host).scheme == "ssh":
            wire = self._through_ssh()
            return EngineConnection(wire, wire.sock)
        sock = self._socket()
        context = self._tls()
        if context is None:
            return EngineConnection(None, sock)
        try:
            return EngineConnection(None, context.wrap_socket(sock, server_hostname=self._server_name()))
        except OSError:
            sock.close()
            raise

    def _connect(self) -> SocketWire | TLSWire:
        if split_url(self.address.host).scheme == "ssh":
            return self._through_ssh()
        sock = self._socket()
        context = self._tls()
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

    def _tls(self) -> ssl.SSLContext | None:
        scheme = split_url(self.address.host).scheme
        if scheme == "unix" or (self.address.tls is None and scheme != "https"):
            return None
        return tls_context(self.address.tls or TLS())

    def _socket(self) -> socket.socket:
        parts = split_url(self.address.host)
        if parts.scheme == "unix":
            return unix_socket(parts.netloc + parts.path, self._timeout)
        self.check()
        port = port_of(parts) or _PORTS[self.address.tls is not None]
        return tcp_socket(parts.hostname or "", port, self._timeout)

    def _through_ssh(self) -> CommandWire:
        wire = CommandWire(Command(ssh_command(self.address.host, ("docker", "system", "dial-stdio"))))
        wire.sock.settimeout(self._timeout)
        return wire

    def unreachable(self, error: Exception) -> DaemonError:
        """Return the error for an engine that does not answer."""
        return DaemonError(
            f"The Docker engine at {self.address.host} cannot be reached: {reason(error)}.", hint=_GIVE_UP
        )
