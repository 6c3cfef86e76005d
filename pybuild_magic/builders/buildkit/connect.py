"""Connections to a daemon's gRPC API, wherever the daemon is, and the sessions beside them."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from pathlib import Path
from typing import Protocol, Self, TypeVar

from ...docker.config import EngineAddress
from ...docker.engine import Engine
from ...errors import DaemonError, UnsupportedError
from ...net.command import Command, CommandWire
from ...net.grpc.rpc import DEADLINE, UNIMPLEMENTED, Client, ClientCall, GrpcError
from ...net.grpc.stream import CallCancelled, prefixed
from ...net.tls import tls_context
from ...net.wire import (
    Buffer,
    SocketWire,
    TLSWire,
    Wire,
    reason,
    tcp_socket,
    unix_socket,
)
from ..failures import message_of
from ..proto import control_pb2 as pb
from .address import Address, Tcp, UnixSocket
from .session.fsutil import bytes_of, varint

_CONTROL = "/moby.buildkit.v1.Control/"


class _Message(Protocol):
    def SerializeToString(self) -> bytes: ...  # noqa: N802 - protobuf's name


class _Parsed(_Message, Protocol):
    @classmethod
    def FromString(cls, s: bytes) -> Self: ...  # noqa: N802


M = TypeVar("M", bound=_Parsed)


class Connection:
    """An open connection. Any number of threads may make calls at once; `close` ends all of them."""

    def __init__(self, address: Address, connect_timeout: float) -> None:
        """Connect, and ask the daemon for its version. Raises DaemonError, UnsupportedError and UsageError."""
        self.address = address
        self._timeout = connect_timeout
        self._command: CommandWire | None = None
        self._engine: Engine | None = None
        secure = isinstance(address.target, Tcp) and address.target.tls is not None
        self._client = Client(self._open(), "https" if secure else "http")
        try:
            self.version = self._hello()
            self.workers = list(self.unary("ListWorkers", pb.ListWorkersRequest(), pb.ListWorkersResponse).record)
        except GrpcError as error:
            refused = self.describe(error)
            self.close()
            raise refused from error
        except BaseException:
            self.close()
            raise

    def _open(self) -> Wire:
        target = self.address.target
        if isinstance(target, Command):
            self._command = CommandWire(target)
            return self._command
        if isinstance(target, EngineAddress):
            self._engine = Engine(target, self._timeout)
            return self._engine.upgrade("/grpc", "h2c")
        if isinstance(target, UnixSocket) and not Path(target.path).is_socket():
            raise DaemonError(
                f"The builder {self.address.shown} cannot be reached: {target.path} is not a socket.",
                hint="Check that buildkitd is running, and which socket it listens on.",
            )
        try:
            if isinstance(target, UnixSocket):
                wire = SocketWire(unix_socket(target.path, self._timeout))
            else:
                wire = _tcp(target, self._timeout)
            # The time limit is only for connecting: a build may be silent for longer.
            wire.sock.settimeout(None)
            return wire
        except OSError as error:
            raise self._unreachable(reason(error)) from error

    def _hello(self) -> str:
        """Return BuildKit's version; "" for a daemon too old to report one."""
        try:
            answer = self.unary("Info", pb.InfoRequest(), pb.InfoResponse)
        except GrpcError as error:
            if error.code == UNIMPLEMENTED:
                return ""
            raise
        return answer.buildkitVersion.version

    def unary(
        self,
        method: str,
        request: _Message,
        answer: type[M],
        timeout: float | None = None,
        metadata: Iterable[tuple[str, str]] = (),
    ) -> M:
        """Make a call (of the Control API by default) that must be answered within `timeout` seconds.

        Raises GrpcError.
        """
        return answer.FromString(self.start(method, request, metadata).answer(timeout or self._timeout))

    def start(self, method: str, request: _Message, metadata: Iterable[tuple[str, str]] = ()) -> ClientCall:
        """Start a call, and return it without waiting for an answer. Raises GrpcError."""
        path = method if method.startswith("/") else _CONTROL + method
        return self._client.call(path, metadata).ask(request.SerializeToString())

    def stream(self, method: str, request: _Message, answer: type[M], timeout: float | None = None) -> Iterator[M]:
        """Make a call that is answered by a stream of messages. Raises GrpcError."""
        return map(answer.FromString, self.start(method, request).messages(timeout))

    def session(self, metadata: Iterable[tuple[str, str]]) -> Wire:
        """Return a connection on which the daemon calls the client. Raises DaemonError and GrpcError."""
        if self._engine is not None:
            # The engine's own endpoint: it takes the bytes as they are, without messages around them.
            return self._engine.upgrade("/session", "h2c", list(metadata))
        return _CallWire(self._client.call(f"{_CONTROL}Session", metadata))

    def describe(self, error: GrpcError) -> DaemonError | UnsupportedError:
        """Return the error for users when a call got no answer."""
        name = self.address.shown
        if error.code == UNIMPLEMENTED:
            return UnsupportedError(f"The builder {name} is not BuildKit, or is too old: {message_of(error)}.")
        if error.code == DEADLINE:
            return DaemonError(
                f"The builder {name} did not answer within {self._timeout:g} seconds.",
                hint="Check that it is running, or raise the setting connect_timeout.",
            )
        self.close()
        return self._unreachable((self._command.complaint if self._command else "") or message_of(error).rstrip("."))

    def _unreachable(self, reason: str) -> DaemonError:
        return DaemonError(
            f"The builder {self.address.shown} cannot be reached: {reason}.",
            hint="Check its address and that it is running; %build builders lists the builders that answer.",
        )

    def close(self) -> None:
        """End all calls and the connection."""
        self._client.close()


def _tcp(target: Tcp, timeout: float) -> SocketWire | TLSWire:
    context = None
    if target.tls is not None:
        context = tls_context(target.tls)
        context.set_alpn_protocols(["h2"])
    sock = tcp_socket(target.host, target.port, timeout)
    try:
        if context is None or target.tls is None:
            return SocketWire(sock)
        return TLSWire(sock, context, target.tls.server_name or target.host)
    except OSError:
        sock.close()
        raise


class _CallWire:
    """The bytes inside the `BytesMessage`s of a call such as `Control/Session`, as a Wire."""

    def __init__(self, call: ClientCall) -> None:
        self._call = call

    def read(self) -> bytes:
        """See Wire."""
        try:
            messages = self._call.receive_all()
            if not messages:
                self._call.check()
        except CallCancelled as error:
            raise ConnectionResetError("the session was ended") from error
        except GrpcError as error:
            raise ConnectionResetError(message_of(error)) from error
        return b"".join(map(bytes_of, messages))

    def write(self, buffers: list[Buffer]) -> None:
        """See Wire."""
        try:
            self._call.send(prefixed(b"\x0a" + varint(sum(map(len, buffers))), *buffers))
        except CallCancelled as error:
            raise ConnectionResetError("the session was ended") from error

    def shut(self) -> None:
        """See Wire."""
        self._call.cancel()

    def close(self) -> None:
        """See Wire."""
        self.shut()


class _Shared:
    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.users = 0


class Pool:
    """A connection shared by everything that needs one at the same time; it is closed when nothing uses it any more."""

    def __init__(self, open: Callable[[], Connection]) -> None:  # noqa: A002
        self._open = open
        self._lock = threading.Lock()
        self._shared: _Shared | None = None

    @contextlib.contextmanager
    def connection(self) -> Generator[Connection]:
        """Return the shared connection, opened if necessary. Raises the same errors as `Connection`."""
        with self._lock:
            shared = self._shared = self._shared or _Shared(self._open())
            shared.users += 1
        try:
            yield shared.connection
        except DaemonError:
            # The next caller gets a new one.
            self._forget(shared)
            raise
        finally:
            with self._lock:
                shared.users -= 1
                last = not shared.users
            if last:
                self._forget(shared)
                shared.connection.close()

    def _forget(self, shared: _Shared) -> None:
        with self._lock:
            if self._shared is shared:
                self._shared = None
