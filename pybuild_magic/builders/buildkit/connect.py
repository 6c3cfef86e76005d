"""A connection to a daemon's gRPC API: a channel of grpcio's wherever the daemon is, and sessions beside it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import grpc

from ...errors import UnsupportedError
from .address import Address, Command, Tcp, UnixSocket
from .bridge import Bridge, CommandRunner, attach_wire
from .dockerd import Dockerd
from .failures import DaemonError, is_unimplemented, message_of
from .proto import control_pb2 as pb
from .wire import StreamWire, Wire

if TYPE_CHECKING:
    import socket

_CONTROL = "/moby.buildkit.v1.Control/"
_MAX_MESSAGE = 256 << 20
"""Bytes: a status message carries what many steps have printed at once."""
_OPTIONS: list[tuple[str, Any]] = [
    ("grpc.max_receive_message_length", _MAX_MESSAGE),
    ("grpc.max_send_message_length", _MAX_MESSAGE),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_http_proxy", 0),
    ("grpc.default_authority", "localhost"),
    ("grpc.http2.lookahead_bytes", 1 << 22),
]


class _Message(Protocol):
    def SerializeToString(self) -> bytes: ...  # noqa: N802 - protobuf's name


M = TypeVar("M")


class Connection:
    """An open connection. Any number of threads may call at once; `close` ends everything that runs on it."""

    def __init__(self, address: Address, connect_timeout: float) -> None:
        """Connects, and asks the daemon who it is. Raises DaemonError, UnsupportedError and UsageError."""
        self.address = address
        self._timeout = connect_timeout
        self._bridge: Bridge | None = None
        self._runner: CommandRunner | None = None
        self._dockerd: Dockerd | None = None
        self._channel = self._open()
        try:
            self.version = self._hello()
            self.workers = list(self.unary("ListWorkers", pb.ListWorkersRequest(), pb.ListWorkersResponse).record)
        except grpc.RpcError as error:
            refused = self.describe(error)
            self.close()
            raise refused from error
        except BaseException:
            self.close()
            raise

    def _open(self) -> grpc.Channel:
        target = self.address.target
        if isinstance(target, UnixSocket):
            if not Path(target.path).is_socket():
                raise DaemonError(
                    f"The builder {self.address.shown} cannot be reached: {target.path} is no socket.",
                    hint="Check that buildkitd runs, and where it listens.",
                )
            return grpc.insecure_channel(f"unix:{target.path}", _OPTIONS)
        if isinstance(target, Tcp):
            return self._tcp(target)
        if isinstance(target, Command):
            self._runner = CommandRunner(target)
            self._runner.check()
            self._bridge = Bridge(self._runner.attach)
        else:
            self._dockerd = Dockerd(target, self._timeout)
            self._bridge = Bridge(_upgrading(self._dockerd))
        return grpc.insecure_channel(f"unix:{self._bridge.path}", _OPTIONS)

    def _tcp(self, target: Tcp) -> grpc.Channel:
        where = f"[{target.host}]:{target.port}" if ":" in target.host else f"{target.host}:{target.port}"
        options = [option for option in _OPTIONS if option[0] != "grpc.default_authority"]
        if target.tls is None:
            return grpc.insecure_channel(where, options)
        if target.tls.server_name:
            options.append(("grpc.ssl_target_name_override", target.tls.server_name))
        try:
            ca, key, cert = (
                Path(name).expanduser().read_bytes() if name else None
                for name in (target.tls.ca, target.tls.key, target.tls.cert)
            )
        except OSError as error:
            raise UnsupportedError(f"The TLS file {error.filename} cannot be read: {error.strerror}.") from error
        return grpc.secure_channel(where, grpc.ssl_channel_credentials(ca, key, cert), options)

    def _hello(self) -> str:
        """BuildKit's version; "" for one so old that it has no name for it."""
        try:
            answer = self.unary("Info", pb.InfoRequest(), pb.InfoResponse)
        except grpc.RpcError as error:
            if is_unimplemented(error):
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
        """One call, of the Control API when no other is named, to be answered within `timeout` seconds.

        Raises grpc.RpcError.
        """
        call = self._channel.unary_unary(_path(method), _serialize, _parser(answer))
        return call(request, timeout=timeout or self._timeout, metadata=tuple(metadata))

    def start(self, method: str, request: _Message, answer: type[M]) -> Any:
        """As `unary`, without a limit of time; the call is under way when this returns."""
        return self._channel.unary_unary(_CONTROL + method, _serialize, _parser(answer)).future(request)

    def stream(self, method: str, request: _Message, answer: type[M], timeout: float | None = None) -> Any:
        """A call that is answered by a stream of messages: iterable, with `cancel`."""
        return self._channel.unary_stream(_path(method), _serialize, _parser(answer))(request, timeout=timeout)

    def session(self, metadata: Iterable[tuple[str, str]]) -> Wire:
        """A connection on which the daemon calls back. Raises DaemonError."""
        if self._dockerd is not None:
            # The engine's own way in: bytes go to its socket as they are, without messages around them.
            return self._dockerd.upgrade("/session", "h2c", list(metadata))
        stream = self._channel.stream_stream(f"{_CONTROL}Session", _serialize, pb.BytesMessage.FromString)

        def open_stream(outgoing: Iterator[bytes]) -> tuple[Iterable[bytes], Callable[[], object]]:
            call = stream((pb.BytesMessage(data=data) for data in outgoing), metadata=tuple(metadata))
            return _received(call), call.cancel

        return StreamWire(open_stream)

    def describe(self, error: grpc.RpcError) -> DaemonError | UnsupportedError:
        """Why a call got no answer, as users are told."""
        name = self.address.shown
        if is_unimplemented(error):
            return UnsupportedError(f"The builder {name} is too old, or is no BuildKit: {message_of(error)}.")
        code = error.code().name if isinstance(error, grpc.Call) else ""
        if code == "DEADLINE_EXCEEDED":
            return DaemonError(
                f"The builder {name} did not answer within {self._timeout:g} seconds.",
                hint="Check that it runs; connect_timeout is a setting.",
            )
        complaint = self._runner.complaint() if self._runner else ""
        if not complaint and self._dockerd is not None:
            try:
                self._dockerd.upgrade("/grpc", "h2c").close()
            except (DaemonError, UnsupportedError) as refused:
                return refused
        return DaemonError(
            f"The builder {name} cannot be reached: {complaint or _transport_reason(message_of(error))}.",
            hint="Check its address and that it runs; %build builders lists what can be reached.",
        )

    def close(self) -> None:
        """End all calls and the connection."""
        with contextlib.suppress(AttributeError):
            self._channel.close()
        if self._bridge is not None:
            self._bridge.close()


def _upgrading(dockerd: Dockerd) -> Callable[[socket.socket], Callable[[], None]]:
    return lambda accepted: attach_wire(accepted, dockerd.upgrade("/grpc", "h2c"))


def _path(method: str) -> str:
    return method if method.startswith("/") else _CONTROL + method


def _received(call: Iterable[pb.BytesMessage]) -> Iterator[bytes]:
    try:
        for message in call:
            yield message.data
    except grpc.RpcError as error:
        raise ConnectionResetError(message_of(error)) from error


def _serialize(message: _Message) -> bytes:
    return message.SerializeToString()


def _parser(answer: Any) -> Callable[[bytes], Any]:
    return answer.FromString


def _transport_reason(text: str) -> str:
    """Grpc's account of a failed connection, without its addresses and repetitions."""
    if "CERTIFICATE_VERIFY_FAILED" in text:
        detail = text.partition("CERTIFICATE_VERIFY_FAILED: ")[2].partition(":")[0].partition("]")[0]
        return f"its certificate is not valid ({detail or 'verification failed'})"
    if "SSL" in text or "handshake" in text.lower():
        return "the TLS handshake failed; check the certificates, and that it speaks TLS"
    for known in ("Connection refused", "No such file or directory", "Name or service not known", "Connection reset"):
        if known in text:
            return known.lower()
    return text.rstrip(".")


class _Shared:
    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.users = 0


class Pool:
    """One connection for all that is done at the same time; it is closed when nobody needs it any more."""

    def __init__(self, open: Callable[[], Connection]) -> None:  # noqa: A002
        self._open = open
        self._lock = threading.Lock()
        self._shared: _Shared | None = None

    @contextlib.contextmanager
    def connection(self) -> Generator[Connection]:
        """The connection, opened when there is none. Raises as `Connection`."""
        with self._lock:
            shared = self._shared = self._shared or _Shared(self._open())
            shared.users += 1
        try:
            yield shared.connection
        except DaemonError:
            # Whoever comes next gets a new one.
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
