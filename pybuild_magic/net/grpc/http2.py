"""HTTP/2 as gRPC uses it, on one connection, built for streams of very many small messages and of very large files.

BuildKit calls its client back over such a connection, and a context of 100,000 files is 300,000 messages on it. grpcio
needs a pass through its completion queue for each (measured: 190 µs on a busy machine, where 100,000 messages of 90
bytes took 19 s). Here, a handler sends all the messages that it has in one system call, and memory does not grow with
their size. Everything that a peer may legally send is accepted; anything else ends the connection with GOAWAY.
Compressed messages, which gRPC sends only to peers that ask for them, are refused. Source: RFC 9113, RFC 7541, gRPC
over HTTP/2.
"""

from __future__ import annotations

import contextlib
import struct
import threading
import time
from collections import deque
from collections.abc import Iterable

from hpack import Decoder, HPACKError

from ..wire import Buffer, Wire
from .frames import (
    ACK,
    COMPRESSION_ERROR,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    FLOW_CONTROL_ERROR,
    FRAME_SIZE,
    FRAME_SIZE_ERROR,
    GOAWAY,
    HEADERS,
    MAX_WINDOW,
    PADDED,
    PING,
    PUSH_PROMISE,
    RST_STREAM,
    SETTING_HEADERS,
    SETTING_PUSH,
    SETTING_STREAMS,
    SETTING_WINDOW,
    SETTINGS,
    WINDOW_UPDATE,
    Field,
    ProtocolError,
    data_frames,
    frame,
    number,
    unpadded,
    widened,
)
from .stream import STREAM_WINDOW, Call, CallCancelled

_DEFAULT_WINDOW = 65535
_REFILL = 1 << 24
_AT_ONCE = 32
"""The most frames in one write: 512 KiB."""
_MAX_HEADERS = 16 << 20


class Connection:
    """One side of a connection on a wire: the common part of a server and a client."""

    greeting = b""
    """The bytes that this side sends first."""
    expected = b""
    """The bytes that the peer has to send first."""
    max_message = 64 << 20
    """The most bytes of a message from the peer."""
    max_calls = 1000
    """The most calls that the peer may make at once."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._decoder = Decoder(_MAX_HEADERS)
        self._writing = threading.Lock()
        self._flow = threading.Condition()
        self._window = _DEFAULT_WINDOW
        self._initial = _DEFAULT_WINDOW
        self._received = 0
        self._calls: dict[int, Call] = {}
        self._last = 0
        """The newest stream that the peer opened."""
        self._going = False
        """Whether the peer accepts no new calls."""
        self._streams = MAX_WINDOW
        """The most calls that the peer accepts at once."""
        self._header_bytes = MAX_WINDOW
        """The most bytes of headers that the peer accepts, as `fits` counts them."""
        self._buffer = bytearray()
        self._headers: tuple[int, int, bytearray] | None = None
        self._closed = False
        self.broken: Exception | None = None
        """The error that ended the connection; None unless it ended by itself."""
        self.heard = time.monotonic()
        """The time of `time.monotonic` at which the peer last sent anything."""

    def greet(self) -> None:
        """Send the greeting and our settings. Raises CallCancelled when the connection has ended."""
        values = ((SETTING_PUSH, 0), (SETTING_WINDOW, STREAM_WINDOW), (SETTING_STREAMS, self.max_calls))
        settings = b"".join(struct.pack(">HI", name, value) for name, value in values)
        grant = struct.pack(">I", MAX_WINDOW - _DEFAULT_WINDOW)
        self.write([self.greeting, frame(SETTINGS, 0, 0, settings), frame(WINDOW_UPDATE, 0, 0, grant)])

    def run(self) -> None:
        """Read until the connection ends or `close` is called. Raises OSError and ProtocolError."""
        try:
            self._expect()
            while data := self._wire.read():
                self.heard = time.monotonic()
                self._feed(data)
        except ProtocolError as error:
            self.broken = self.broken or error
            with contextlib.suppress(CallCancelled):
                self.write([frame(GOAWAY, 0, 0, struct.pack(">II", self._last, error.code))])
            if not self._closed:
                raise
        except OSError as error:
            self.broken = self.broken or error
            if not self._closed:
                raise
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
        """Send `buffers` as DATA frames, waiting whenever the window of the call or the connection is used up."""
        parts = deque(buffer if isinstance(buffer, memoryview) else memoryview(buffer) for buffer in buffers)
        remaining = sum(map(len, parts))
        while remaining:
            allowed = self._allowance(call, min(remaining, _AT_ONCE * FRAME_SIZE))
            remaining -= allowed
            self.write(data_frames(call.stream, parts, allowed))

    def _allowance(self, call: Call, size: int) -> int:
        with self._flow:
            self._flow.wait_for(lambda: (self._window > 0 and call.window > 0) or call.cancelled or self._closed)
            if call.cancelled or self._closed:
                raise CallCancelled
            allowed = min(size, self._window, call.window)
            self._window -= allowed
            call.window -= allowed
            return allowed

    def grant(self, stream: int, count: int) -> None:
        """Let the peer send `count` bytes more on a stream."""
        with contextlib.suppress(CallCancelled):
            self.write([frame(WINDOW_UPDATE, 0, stream, struct.pack(">I", count))])

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
            raise ProtocolError("the other side does not speak HTTP/2")
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
            if length > FRAME_SIZE:
                raise ProtocolError(f"what it sends is not HTTP/2 (a frame of {length} bytes)", FRAME_SIZE_ERROR)
            end = at + 9 + length
            if end > size:
                break
            stream = int.from_bytes(data[at + 5 : at + 9], "big") & 0x7FFFFFFF
            self._take(data[at + 3], data[at + 4], stream, view[at + 9 : end])
            at = end
        self._buffer[:] = data[at:]

    def _take(self, kind: int, flags: int, stream: int, payload: memoryview) -> None:
        if self._headers is not None and (kind != CONTINUATION or stream != self._headers[0]):
            raise ProtocolError("headers that another frame interrupts")
        if kind == DATA:
            self._take_data(flags, stream, payload)
        elif kind == HEADERS:
            self._headers = (stream, flags, bytearray(unpadded(flags, payload)))
            self._finish_headers(flags)
        elif kind == CONTINUATION:
            if self._headers is None:
                raise ProtocolError("a continuation without headers")
            self._headers[2].extend(payload)
            if len(self._headers[2]) > _MAX_HEADERS:
                raise ProtocolError("headers without an end")
            self._finish_headers(flags)
        elif kind == WINDOW_UPDATE:
            self._take_window(stream, number(payload) & MAX_WINDOW)
        elif kind == SETTINGS:
            if not flags & ACK:
                self._take_settings(payload)
        elif kind == PING:
            if len(payload) != 8:
                raise ProtocolError(f"a ping of {len(payload)} bytes", FRAME_SIZE_ERROR)
            if not flags & ACK:
                self._answer([frame(PING, ACK, 0, bytes(payload))])
        elif kind == GOAWAY:
            self._take_goaway(payload)
        elif kind == RST_STREAM:
            number(payload)
            if call := self._calls.get(stream):
                self.forget(call)
                call.end(cancelled=True)
        elif kind == PUSH_PROMISE:
            raise ProtocolError("it pushes, although pushing is disabled")

    def _take_window(self, stream: int, count: int) -> None:
        with self._flow:
            call = self._calls.get(stream)
            if not count:
                raise ProtocolError("a window that grows by nothing")
            if stream == 0:
                self._window = widened(self._window, count)
            elif call is not None:
                call.window = widened(call.window, count)
            self._flow.notify_all()

    def _take_goaway(self, payload: memoryview) -> None:
        """Note that the peer accepts no more calls: end those that it has not begun; the others go on."""
        last = number(payload[:4]) & MAX_WINDOW
        with self._flow:
            self._going = True
            # Calls that the peer made are numbered separately, and go on.
            ignored = [call for number, call in self._calls.items() if number > last and self.is_ours(number)]
            self._flow.notify_all()
        for call in ignored:
            call.refused = True
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
        content = unpadded(flags & PADDED, payload)
        if content:
            call.take(content)
        if len(payload) > len(content):
            call.take_padding(len(payload) - len(content))
        if flags & END_STREAM:
            call.end(cancelled=False)

    def _take_settings(self, payload: memoryview) -> None:
        if len(payload) % 6:
            raise ProtocolError(f"settings of {len(payload)} bytes", FRAME_SIZE_ERROR)
        with self._flow:
            for at in range(0, len(payload), 6):
                name, value = struct.unpack_from(">HI", payload, at)
                if name == SETTING_WINDOW:
                    if value > MAX_WINDOW:
                        raise ProtocolError(f"a window of {value} bytes", FLOW_CONTROL_ERROR)
                    for call in self._calls.values():  # a window may become negative: RFC 9113, section 6.9.2
                        call.window = widened(call.window, value - self._initial)
                    self._initial = value
                elif name == SETTING_STREAMS:
                    self._streams = value
                elif name == SETTING_HEADERS:
                    self._header_bytes = value
            self._flow.notify_all()
        self._answer([frame(SETTINGS, ACK, 0, b"")])

    def _finish_headers(self, flags: int) -> None:
        if not flags & END_HEADERS:
            return
        assert self._headers is not None
        stream, first, block = self._headers
        self._headers = None
        try:
            fields = self._decoder.decode(bytes(block), raw=True)
        except HPACKError as error:
            raise ProtocolError(f"headers that cannot be read: {error}", COMPRESSION_ERROR) from error
        metadata: dict[str, list[str]] = {}
        for name, value in fields:
            text = bytes(value).decode("utf-8", "surrogateescape")
            metadata.setdefault(bytes(name).decode("ascii", "replace"), []).append(text)
        self.take_headers(stream, metadata, ended=bool(first & END_STREAM))

    def take_headers(self, stream: int, metadata: dict[str, list[str]], *, ended: bool) -> None:
        """Take headers from the peer; `ended` when nothing follows them. Called by the connection's reader."""
        raise NotImplementedError

    def is_ours(self, stream: int) -> bool:
        """Return whether a stream is a call that this side makes."""
        raise NotImplementedError

    @property
    def ended(self) -> bool:
        """Whether the connection has ended."""
        return self._closed

    def get(self, stream: int) -> Call | None:
        """Return the call on a stream; None when there is none, or it has ended."""
        return self._calls.get(stream)

    def add(self, call: Call) -> bool:
        """Add a call; wait with one of ours until the peer accepts one more. Return False when no more calls are
        accepted.
        """
        with self._flow:
            if self.is_ours(call.stream):
                self._flow.wait_for(lambda: len(self._calls) < self._streams or self._closed or self._going)
                if self._going:
                    return False
            else:
                self._last = max(self._last, call.stream)
            if not self._closed:
                call.window = self._initial
                self._calls[call.stream] = call
            return not self._closed

    def fits(self, fields: Iterable[Field]) -> bool:
        """Return whether the peer takes headers of this size (RFC 9113, section 6.5.2)."""
        return sum(len(name) + len(value) + 32 for name, value in fields) <= self._header_bytes

    def forget(self, call: Call) -> None:
        """Remove a call that has ended, and wake threads that wait to send."""
        with self._flow:
            self._calls.pop(call.stream, None)
            self._flow.notify_all()
