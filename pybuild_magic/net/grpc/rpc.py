"""gRPC's two sides on an HTTP/2 connection: calling methods of a daemon, and answering the calls that it makes."""

from __future__ import annotations

import base64
import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from urllib.parse import quote, unquote

from ..wire import Buffer, Wire, reason
from .frames import PREFACE, Field, ProtocolError, headers, reset
from .http2 import Connection
from .stream import Call, CallCancelled, prefixed

OK, CANCELLED, UNKNOWN, INVALID, DEADLINE, NOT_FOUND, ALREADY_EXISTS = range(7)
PERMISSION_DENIED, EXHAUSTED, OUT_OF_RANGE, UNIMPLEMENTED, INTERNAL, UNAVAILABLE = 7, 8, 11, 12, 13, 14
UNAUTHENTICATED = 16

_STATUS, _MESSAGE, _DETAILS = "grpc-status", "grpc-message", "grpc-status-details-bin"
_SAFE = " !#$&'()*+,/:;=?@[]<>\""
_MAX_STREAM = (1 << 31) - 1


class GrpcError(Exception):
    """The answer of a call without a result: a status code of gRPC and its message."""

    def __init__(self, code: int, message: str, details: bytes = b"") -> None:
        """`details` is a `google.rpc.Status`."""
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = details


Handler = Callable[[Call], None]
"""Answers one call. An exception that it raises becomes the call's status."""


class Server(Connection):
    """Serves `handlers`, by path (`/package.Service/Method`), on a wire while `run` runs."""

    expected = PREFACE

    def is_ours(self, stream: int) -> bool:
        """See Connection."""
        return not stream % 2

    def __init__(
        self,
        wire: Wire,
        handlers: Mapping[str, Handler],
        failed: Callable[[Exception], None] | None = None,
        *,
        max_message: int = Connection.max_message,
        max_calls: int = Connection.max_calls,
    ) -> None:
        """Serve `handlers`; `failed` gets the exceptions of handlers other than GrpcError and CallCancelled.

        A message of more than `max_message` bytes ends the connection, and so do more than `max_calls` calls at once.
        """
        super().__init__(wire)
        self.max_message = max_message
        self.max_calls = max_calls
        self._handlers = handlers
        self._failed = failed
        self._threads: set[threading.Thread] = set()

    def run(self) -> None:
        """See Connection."""
        with contextlib.suppress(CallCancelled):  # `run` meets the same error
            self.greet()
        super().run()

    def close(self) -> None:
        """End the connection and all its calls, and wait a little for their handlers."""
        super().close()
        for thread in list(self._threads):
            if thread is not threading.current_thread():
                thread.join(5)

    def take_headers(self, stream: int, metadata: dict[str, list[str]], *, ended: bool) -> None:
        """Begin a call. See Connection."""
        call = Call(self, stream)
        call.metadata = metadata
        if ended:
            call.end(cancelled=False)
        if len(self._calls) >= self.max_calls:
            raise ProtocolError("more calls at once than are allowed")
        if not stream % 2 or not self.add(call):
            return
        path = metadata.get(":path", [""])[0]
        name = f"pybuild-session {path.rpartition('.')[2]}"
        thread = threading.Thread(target=self._handle, args=(call, path), name=name, daemon=True)
        self._threads.add(thread)
        thread.start()

    def _handle(self, call: Call, path: str) -> None:
        code, message = OK, ""
        try:
            self.write([headers(call.stream, [(b":status", b"200"), (b"content-type", b"application/grpc")])])
            handler = self._handlers.get(path)
            if handler is None:
                raise GrpcError(UNIMPLEMENTED, f"there is no {path}")
            handler(call)
        except GrpcError as error:
            code, message = error.code, error.message
        except CallCancelled:
            code, message = CANCELLED, "cancelled"
        except Exception as error:
            code, message = UNKNOWN, str(error)
            if self._failed:
                self._failed(error)
        finally:
            self.forget(call)
            trailers: list[Field] = [(_STATUS.encode(), str(code).encode())]
            if message:
                trailers.append((_MESSAGE.encode(), quote(message[:4000], safe=_SAFE).encode()))
            frames: list[Buffer] = [headers(call.stream, trailers, end=True)]
            if not call.ended:
                # The peer need not send the rest of the stream.
                frames.append(reset(call.stream, 0))
            with contextlib.suppress(CallCancelled):
                self.write(frames)
            self._threads.discard(threading.current_thread())


class Client(Connection):
    """Calls methods of the peer, from any number of threads, until it is closed."""

    greeting = PREFACE

    def is_ours(self, stream: int) -> bool:
        """See Connection."""
        return bool(stream % 2)

    def __init__(self, wire: Wire, scheme: str = "http", authority: str = "localhost") -> None:
        super().__init__(wire)
        self._fields: list[Field] = [
            (b":method", b"POST"),
            (b":scheme", scheme.encode()),
            (b":authority", authority.encode()),
        ]
        self._next = 1
        self._opening = threading.Lock()
        with contextlib.suppress(CallCancelled):  # `run` meets the same error
            self.greet()
        self._thread = threading.Thread(target=self._read, name="pybuild-grpc", daemon=True)
        self._thread.start()

    def _read(self) -> None:
        with contextlib.suppress(OSError, ProtocolError):  # calls raise this error
            self.run()

    def close(self) -> None:
        """End the connection and all its calls."""
        super().close()
        if self._thread is not threading.current_thread():
            self._thread.join(5)

    @property
    def lost(self) -> GrpcError:
        """The error of calls after the connection has ended."""
        if self.broken:
            return GrpcError(UNAVAILABLE, reason(self.broken))
        going = "the daemon is shutting down" if self._going else "the connection was closed"
        return GrpcError(UNAVAILABLE, going)

    def call(self, path: str, metadata: Iterable[tuple[str, str]] = ()) -> ClientCall:
        """Begin a call. Raises GrpcError when the connection has ended."""
        fields = [
            *self._fields,
            (b":path", path.encode()),
            (b"te", b"trailers"),
            (b"content-type", b"application/grpc"),
            *((name.encode(), value.encode("utf-8", "surrogateescape")) for name, value in metadata),
        ]
        if not self.fits(fields):
            raise GrpcError(EXHAUSTED, "the request's metadata are larger than the daemon takes")
        with self._opening:
            call = ClientCall(self, self._next)
            self._next += 2
            if self._next > _MAX_STREAM or not self.add(call):
                raise self.lost
            try:
                self.write([headers(call.stream, fields)])
            except CallCancelled as error:
                raise self.lost from error
        return call

    def take_headers(self, stream: int, metadata: dict[str, list[str]], *, ended: bool) -> None:
        """Begin or end an answer. See Connection."""
        call = self.get(stream)
        if call is None:
            return
        call.metadata |= metadata
        if ended:
            self.forget(call)
            call.end(cancelled=False)


class ClientCall(Call):
    """A call that this side makes."""

    def __init__(self, client: Client, stream: int) -> None:
        super().__init__(client, stream)
        self._client = client

    def ask(self, request: bytes) -> ClientCall:
        """Send the only message of the request. Raises GrpcError."""
        try:
            self.send(prefixed(request))
            self.finish()
        except CallCancelled as error:
            # The peer may have answered with an error before it read the whole request.
            self.check(error)
        return self

    def messages(self, timeout: float | None = None) -> Iterator[bytes]:
        """Yield the messages of the answer, which must be complete within `timeout` seconds. Raises GrpcError."""
        until = None if timeout is None else time.monotonic() + timeout
        try:
            while True:
                message = self.receive(None if until is None else max(0, until - time.monotonic()))
                if message is None:
                    break
                yield message
        except TimeoutError as error:
            self.cancel()
            raise GrpcError(DEADLINE, f"no answer within {timeout:g} seconds") from error
        except CallCancelled as error:
            self.check(error)
        self.check()

    def answer(self, timeout: float | None = None) -> bytes:
        """Return the only message of the answer. Raises GrpcError."""
        answers = list(self.messages(timeout))
        if len(answers) != 1:
            raise GrpcError(INTERNAL, f"the answer has {len(answers)} messages")
        return answers[0]

    def check(self, cancelled: CallCancelled | None = None) -> None:
        """Raise GrpcError unless the call has succeeded."""
        status = self.metadata.get(_STATUS, [""])[-1]
        if status == "0" and not cancelled:
            return
        if status.isdigit() and status != "0":
            details = self.metadata.get(_DETAILS, [""])[-1]
            message = unquote(self.metadata.get(_MESSAGE, [""])[-1])
            raise GrpcError(int(status), message, base64.b64decode(details + "=" * (-len(details) % 4)))
        if self._client.ended or self.refused:
            raise self._client.lost from cancelled
        if cancelled:
            raise GrpcError(CANCELLED, "the call was cancelled") from cancelled
        http = self.metadata.get(":status", [""])[0]
        raise GrpcError(UNAVAILABLE, f"the answer is not gRPC (HTTP status {http or 'missing'})")
