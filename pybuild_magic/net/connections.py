"""urllib3's connections, extended to tell the request that uses them their socket, even before it is connected.

They are separate from `transport` so that importing `transport` does not import urllib3.
"""

from __future__ import annotations

import socket
from typing import Any

from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError

from .call import attach


def _connect(connection: HTTPConnection, host: str) -> socket.socket:
    """Return a connected socket; it can be shut down while it is still connecting."""
    failure = OSError("the name has no address")
    try:
        addresses = socket.getaddrinfo(host.strip("[]"), connection.port, 0, socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as error:
        cause = error if isinstance(error, socket.gaierror) else socket.gaierror(str(error))
        raise NameResolutionError(connection.host, connection, cause) from error
    for family, kind, protocol, _, address in addresses:
        sock = socket.socket(family, kind, protocol)
        try:
            for option in connection.socket_options or ():
                sock.setsockopt(*option)
            if isinstance(connection.timeout, int | float):
                sock.settimeout(connection.timeout)
            attach(sock)
            sock.connect(address)
            return sock
        except OSError as error:
            failure = error
            sock.close()
    if isinstance(failure, TimeoutError):
        raise ConnectTimeoutError(connection, f"{connection.host} timed out") from failure
    raise NewConnectionError(connection, str(failure)) from failure


class _Plain(HTTPConnection):
    def _new_conn(self) -> socket.socket:
        return _connect(self, self._dns_host)

    def request(self, *args: Any, **options: Any) -> None:
        if self.sock is not None:
            attach(self.sock)
        super().request(*args, **options)


class _TLS(_Plain, HTTPSConnection):
    """The same with TLS: here, `super()` in the methods of `_Plain` is HTTPSConnection."""


class _PlainPool(HTTPConnectionPool):
    ConnectionCls: Any = _Plain


class _TLSPool(HTTPSConnectionPool):
    ConnectionCls: Any = _TLS

    def _validate_conn(self, conn: Any) -> None:
        # As in urllib3, but without its warning: a connection is unverified only where the user asked for that.
        if conn.is_closed:
            conn.connect()


POOLS: dict[str, Any] = {"http": _PlainPool, "https": _TLSPool}
