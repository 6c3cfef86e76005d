"""HTTP/2 as gRPC uses it, on one connection, made for streams of very many small messages and very large files.

BuildKit calls its client back over such a connection, and a context of 100,000 files is 300,000 messages on it.
grpcio needs a pass through its completion queue for each (measured: 190 µs on a busy machine, where 100,000
messages of 90 bytes took 19 s); here a handler sends as many messages as it has in one system call, in memory
flat in their size. The peer is always BuildKit's grpc-go; what it never sends (PUSH_PROMISE, priorities,
compressed messages) is ignored or ends the connection. Source: RFC 9113, RFC 7541, gRPC over HTTP/2.
"""

from __future__ import annotations

import contextlib
import struct
import threading
import time
from collections import deque
from collections.abc import Iterable

from hpack import Decoder, HPACKError

from .wire import Buffer, Wire

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PING, _GOAWAY, _WINDOW_UPDATE, _CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
_END_STREAM, _ACK, _END_HEADERS, _PADDED, _PRIORITY = 0x1, 0x1, 0x4, 0x8, 0x20
_SETTING_WINDOW, _SETTING_FRAME, _SETTING_STREAMS = 4, 5, 3

_FRAME = 16384
"""Bytes of a frame's payload, the smallest that everybody takes."""
_DEFAULT_WINDOW = 65535
_STREAM_WINDOW = 4 << 20
"""Bytes that a stream may have waiting for its handler: what a slow disk costs in memory."""
_CONNECTION_WINDOW = (1 << 31) - 1
_REFILL = 1 << 24
_AT_ONCE = 32
"""Frames in one write: 512 KiB."""
_PREFIX = 5
"""Bytes before each message: whether it is compressed, and its length."""
_MAX_MESSAGE = 64 << 20
_MAX_HEADERS = 16 << 20
_CANCEL = 8
"""The error code with which a caller gives its call up."""
_DATA_END = struct.pack(">I", 0)[1:] + struct.pack(">BB", _DATA, _END_STREAM)

Field = tuple[bytes, bytes]


class CallCancelled(Exception):  # noqa: N818 - an outcome, not a fault
    """The peer has given up the call, or the connection has ended."""


class ProtocolError(Exception):
    """Bytes that are no HTTP/2, or not what gRPC makes of it."""


def prefixed(*buffers: Buffer) -> list[Buffer]:
    """One gRPC message, whose content is `buffers` in a row, with the five bytes that go before it."""
    return [struct.pack(">BI", 0, sum(map(len, buffers))), *buffers]


class Call:
    """One request of the peer: a stream of messages each way."""

    def __init__(self, connection: Connection, stream: int) -> None:
        self._connection = connection
        self.stream = stream
        self.metadata: dict[str, list[str]] = {}
        """The peer's headers, by lower-case name."""
        self.window = 0
        """Bytes that may still be sent; guarded by the connection's condition."""
        self._ready = threading.Condition()
        self._messages: deque[bytes] = deque()
        self._parts: list[memoryview] = []
        self._have = 0
        self._need = _PREFIX
        self._in_body = False
        """Whether what is to come next is a message's content, rather than its prefix."""
        self._unread = 0
        self.ended = False
        """Whether the peer has sent its last message."""
        self.cancelled = False

    def receive(self, wait: float | None = None) -> bytes | None:
        """The next message; None at the end of them. Raises CallCancelled, and TimeoutError after `wait` seconds."""
        with self._ready:
            if not self._ready.wait_for(lambda: self._messages or self.ended or self.cancelled, wait):
                raise TimeoutError
            # A peer that is done gives its call up: what it sent before that still counts.
            if not self._messages:
                if self.cancelled:
                    raise CallCancelled
                return None
            message = self._messages.popleft()
        self._consumed(len(message) + 5)
        return message

    def receive_all(self) -> list[bytes]:
        """The messages that are there, at least one; none at the end of them. Raises CallCancelled."""
        with self._ready:
            self._ready.wait_for(lambda: self._messages or self.ended or self.cancelled)
            if not self._messages and self.cancelled:
                raise CallCancelled
            messages = list(self._messages)
            self._messages.clear()
        self._consumed(sum(map(len, messages)) + 5 * len(messages))
        return messages

    def waiting(self) -> bool:
        """Whether `receive` would return at once."""
        return bool(self._messages) or self.ended or self.cancelled

    def send(self, buffers: Iterable[Buffer]) -> None:
        """Send messages that `prefixed` has made, in a row. Blocks while the peer takes no more.

        Raises CallCancelled.
        """
        self._connection.send_data(self, buffers)

    def finish(self) -> None:
        """Say that no more messages are sent. Raises CallCancelled."""
        self._connection.write([_DATA_END + struct.pack(">I", self.stream)])

    def cancel(self) -> None:
        """Give the call up, here and at the peer; nothing happens to one that has ended."""
        if not self.ended:
            self.end(cancelled=True)
            self._connection.forget(self)
            with contextlib.suppress(CallCancelled):
                self._connection.write([reset(self.stream, _CANCEL)])

    def wait(self, seconds: float) -> bool:
        """Whether the call has ended; waits for that at most so long."""
        with self._ready:
            return self._ready.wait_for(lambda: self.ended or self.cancelled, seconds)

    def _consumed(self, count: int) -> None:
        self._unread += count
        if self._unread >= _STREAM_WINDOW // 4:
            self._connection.grant(self.stream, self._unread)
            self._unread = 0

    def take(self, data: memoryview) -> None:
        """Bytes of the peer's messages, as they arrive (for the connection's reader)."""
        made: list[bytes] = []
        at, size = 0, len(data)
        while size - at + self._have >= self._need:
            end = at + self._need - self._have
            part = b"".join([*self._parts, data[at:end]])
            self._parts, self._have = [], 0
            at = end
            self._in_body = not self._in_body
            if self._in_body:
                self._need = _message_length(part)
            else:
                made.append(part)
                self._need = _PREFIX
        if at < size:
            self._parts.append(data[at:])
            self._have += size - at
        if made:
            with self._ready:
                self._messages.extend(made)
                self._ready.notify_all()

    def end(self, *, cancelled: bool) -> None:
        """No more messages come (for the connection's reader)."""
        with self._ready:
            self.ended = True
            self.cancelled = self.cancelled or cancelled
            self._ready.notify_all()


def _message_length(prefix: bytes) -> int:
    compressed, length = struct.unpack(">BI", prefix)
    if compressed or length > _MAX_MESSAGE:
        raise ProtocolError(f"a message of {length} bytes, or a compressed one")
    return length


class Connection:
    """One side of a connection on a wire; what a server's and a client's have in common."""

    greeting = b""
    """What this side sends first."""
    expected = b""
    """What the peer has to send first."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._decoder = Decoder(_MAX_HEADERS)
        self._writing = threading.Lock()
        self._flow = threading.Condition()
        self._window = _DEFAULT_WINDOW
        self._initial = _DEFAULT_WINDOW
        self._received = 0
        self._calls: dict[int, Call] = {}
        self._buffer = bytearray()
        self._headers: tuple[int, int, bytearray] | None = None
        self._closed = False
        self.broken: Exception | None = None
        """Why the connection ended, when it did by itself."""
        self.heard = time.monotonic()
        """When the peer has last sent anything, in the time of `time.monotonic`."""

    def greet(self) -> None:
        """Send what comes before all else. Raises CallCancelled when the connection has ended."""
        settings = struct.pack(">HIHI", _SETTING_WINDOW, _STREAM_WINDOW, _SETTING_STREAMS, 1000)
        grant = struct.pack(">I", _CONNECTION_WINDOW - _DEFAULT_WINDOW)
        self.write([self.greeting, frame(_SETTINGS, 0, 0, settings), frame(_WINDOW_UPDATE, 0, 0, grant)])

    def run(self) -> None:
        """Read until the connection ends or `close` is called. Raises OSError and ProtocolError."""
        try:
            self._expect()
            while data := self._wire.read():
                self.heard = time.monotonic()
                self._feed(data)
        except (OSError, ProtocolError) as error:
            self.broken = self.broken or error
            if not self._closed:
                raise
        except (struct.error, IndexError, ValueError) as error:
            self.broken = ProtocolError(str(error))
            raise self.broken from error
        finally:
            self.close()
            self._wire.close()

    def close(self) -> None:
        """End the connection and all its calls."""
        with self._flow:
            self._closed = True
            calls = list(self._calls.values())
            self._flow.notify_all()
        self._wire.shut()
        for call in calls:
            call.end(cancelled=True)

    def send_data(self, call: Call, buffers: Iterable[Buffer]) -> None:
        """Send `buffers` as DATA frames, as far as both windows allow, and wait for more."""
        parts = deque(buffer if isinstance(buffer, memoryview) else memoryview(buffer) for buffer in buffers)
        left = sum(map(len, parts))
        while left:
            allowed = self._allowance(call, min(left, _AT_ONCE * _FRAME))
            left -= allowed
            self.write(_data_frames(call.stream, parts, allowed))

    def _allowance(self, call: Call, wanted: int) -> int:
        with self._flow:
            self._flow.wait_for(lambda: (self._window > 0 and call.window > 0) or call.cancelled or self._closed)
            if call.cancelled or self._closed:
                raise CallCancelled
            allowed = min(wanted, self._window, call.window)
            self._window -= allowed
            call.window -= allowed
            return allowed

    def grant(self, stream: int, count: int) -> None:
        """Let the peer send `count` bytes more on a stream."""
        with contextlib.suppress(CallCancelled):
            self.write([frame(_WINDOW_UPDATE, 0, stream, struct.pack(">I", count))])

    def write(self, buffers: list[Buffer]) -> None:
        """Send frames. Raises CallCancelled when the connection has ended."""
        try:
            with self._writing:
                self._wire.write(buffers)
        except OSError as error:
            self.broken = self.broken or error
            raise CallCancelled from error

    def _expect(self) -> None:
        while len(self._buffer) < len(self.expected):
            data = self._wire.read()
            if not data:
                return
            self._buffer += data
        if not self._buffer.startswith(self.expected):
            raise ProtocolError("the daemon does not speak HTTP/2 on the session")
        rest = bytes(self._buffer[len(self.expected) :])
        self._buffer.clear()
        self._feed(rest)

    def _feed(self, data: bytes) -> None:
        if self._buffer:
            self._buffer += data
            data = bytes(self._buffer)
        at, size, view = 0, len(data), memoryview(data)
        while size - at >= 9:
            length = int.from_bytes(data[at : at + 3], "big")
            if length > _FRAME:
                raise ProtocolError(f"what it sends is no HTTP/2 (a frame of {length} bytes)")
            end = at + 9 + length
            if end > size:
                break
            stream = int.from_bytes(data[at + 5 : at + 9], "big") & 0x7FFFFFFF
            self._take(data[at + 3], data[at + 4], stream, view[at + 9 : end])
            at = end
        self._buffer[:] = data[at:]

    def _take(self, kind: int, flags: int, stream: int, payload: memoryview) -> None:
        if kind == _DATA:
            self._take_data(flags, stream, payload)
        elif kind == _HEADERS:
            self._headers = (stream, flags, bytearray(_unpadded(flags, payload)))
            self._finish_headers(flags)
        elif kind == _CONTINUATION and self._headers is not None and self._headers[0] == stream:
            self._headers[2].extend(payload)
            if len(self._headers[2]) > _MAX_HEADERS:
                raise ProtocolError("headers without an end")
            self._finish_headers(flags)
        elif kind == _WINDOW_UPDATE:
            with self._flow:
                count = int.from_bytes(payload, "big") & 0x7FFFFFFF
                if stream == 0:
                    self._window += count
                elif call := self._calls.get(stream):
                    call.window += count
                self._flow.notify_all()
        elif kind == _SETTINGS and not flags & _ACK:
            self._take_settings(payload)
        elif kind == _PING and not flags & _ACK:
            self._answer([frame(_PING, _ACK, 0, bytes(payload))])
        elif kind == _RST_STREAM and (call := self._calls.get(stream)):
            self.forget(call)
            call.end(cancelled=True)

    def _answer(self, buffers: list[Buffer]) -> None:
        try:
            self.write(buffers)
        except CallCancelled as error:
            raise ConnectionResetError("the connection broke") from error

    def _take_data(self, flags: int, stream: int, payload: memoryview) -> None:
        self._received += len(payload)
        if self._received >= _REFILL:
            self.grant(0, self._received)
            self._received = 0
        call = self._calls.get(stream)
        if call is None:
            return
        if flags & _PADDED:
            payload = payload[1 : len(payload) - payload[0]]
        if payload:
            call.take(payload)
        if flags & _END_STREAM:
            call.end(cancelled=False)

    def _take_settings(self, payload: memoryview) -> None:
        with self._flow:
            for at in range(0, len(payload), 6):
                name, value = struct.unpack_from(">HI", payload, at)
                if name == _SETTING_WINDOW:
                    for call in self._calls.values():
                        call.window += value - self._initial
                    self._initial = value
            self._flow.notify_all()
        self._answer([frame(_SETTINGS, _ACK, 0, b"")])

    def _finish_headers(self, flags: int) -> None:
        if not flags & _END_HEADERS:
            return
        assert self._headers is not None
        stream, first, block = self._headers
        self._headers = None
        try:
            fields = self._decoder.decode(bytes(block), raw=True)
        except HPACKError as error:
            raise ProtocolError(f"headers that cannot be read: {error}") from error
        metadata: dict[str, list[str]] = {}
        for name, value in fields:
            text = bytes(value).decode("utf-8", "surrogateescape")
            metadata.setdefault(bytes(name).decode("ascii", "replace"), []).append(text)
        self.take_headers(stream, metadata, ended=bool(first & _END_STREAM))

    def take_headers(self, stream: int, metadata: dict[str, list[str]], *, ended: bool) -> None:
        """Headers of the peer have arrived; `ended` when nothing follows them (for the connection's reader)."""
        raise NotImplementedError

    @property
    def ended(self) -> bool:
        """Whether the connection has ended."""
        return self._closed

    def get(self, stream: int) -> Call | None:
        """The call on a stream that has not ended."""
        return self._calls.get(stream)

    def add(self, call: Call) -> bool:
        """Take a call in; False when the connection has ended."""
        with self._flow:
            if not self._closed:
                call.window = self._initial
                self._calls[call.stream] = call
            return not self._closed

    def forget(self, call: Call) -> None:
        """The call has ended; whoever waits to send on it is woken."""
        with self._flow:
            self._calls.pop(call.stream, None)
            self._flow.notify_all()


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """One frame."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def reset(stream: int, code: int) -> bytes:
    """The frame that gives a stream up."""
    return frame(_RST_STREAM, 0, stream, struct.pack(">I", code))


def _data_frames(stream: int, parts: deque[memoryview], count: int) -> list[Buffer]:
    """Frames with the next `count` bytes of `parts`, which are taken out of it."""
    full = struct.pack(">I", _FRAME)[1:] + struct.pack(">BBI", _DATA, 0, stream)
    frames: list[Buffer] = []
    while count:
        length = min(count, _FRAME)
        frames.append(full if length == _FRAME else _frame_head(stream, length))
        count -= length
        while length:
            part = parts[0]
            if len(part) <= length:
                frames.append(part)
                length -= len(part)
                parts.popleft()
            else:
                frames.append(part[:length])
                parts[0] = part[length:]
                length = 0
    return frames


def _frame_head(stream: int, length: int) -> bytes:
    return struct.pack(">I", length)[1:] + struct.pack(">BBI", _DATA, 0, stream)


def headers(stream: int, fields: Iterable[Field], *, end: bool = False) -> bytes:
    """HEADERS of literal fields, which no table of the peer remembers."""
    block = b""
    for name, value in fields:
        block += b"\x00" + _length(len(name)) + name + _length(len(value)) + value
    flags = _END_HEADERS | (_END_STREAM if end else 0)
    if len(block) <= _FRAME:
        return frame(_HEADERS, flags, stream, block)
    head = frame(_HEADERS, flags & ~_END_HEADERS, stream, block[:_FRAME])
    return head + frame(_CONTINUATION, _END_HEADERS, stream, block[_FRAME:])


def _length(value: int) -> bytes:
    """An HPACK integer with a prefix of seven bits."""
    if value < 127:
        return bytes([value])
    out, value = bytearray([127]), value - 127
    while value >= 128:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _unpadded(flags: int, payload: memoryview) -> memoryview:
    if flags & _PADDED:
        payload = payload[1 : len(payload) - payload[0]]
    if flags & _PRIORITY:
        payload = payload[5:]
    return payload
