"""One call of gRPC on a connection: its messages in both directions, and how far ahead the peer may send."""

from __future__ import annotations

import contextlib
import struct
import threading
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..wire import Buffer
from .frames import CANCEL, DATA, END_STREAM, FLOW_CONTROL_ERROR, ProtocolError, reset

if TYPE_CHECKING:
    from .http2 import Connection

STREAM_WINDOW = 4 << 20
"""The most bytes that may wait for a stream's handler: the memory that a slow disk costs."""
_PREFIX = 5
"""Bytes before each message, which say whether it is compressed, and its length."""
_DATA_END = struct.pack(">I", 0)[1:] + struct.pack(">BB", DATA, END_STREAM)


class CallCancelled(Exception):  # noqa: N818 - an outcome, not a fault
    """The peer has aborted the call, or the connection has ended."""


def prefixed(*buffers: Buffer) -> list[Buffer]:
    """Return one gRPC message: the five bytes of its prefix, then `buffers` in order as its content."""
    return [struct.pack(">BI", 0, sum(map(len, buffers))), *buffers]


class Call:
    """One call: a stream of messages in each direction."""

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
        """Whether the content of a message comes next, rather than a prefix."""
        self._unread = 0
        """Bytes that the handler has taken, but that have not been granted to the peer again."""
        self._ahead = 0
        """Bytes of the incoming message that were granted to the peer before the handler took them."""
        self._credit = STREAM_WINDOW
        """Bytes that the peer may still send."""
        self.ended = False
        """Whether the peer has sent its last message."""
        self.cancelled = False
        self.refused = False
        """Whether the peer has shut down before it began the call."""

    def receive(self, wait: float | None = None) -> bytes | None:
        """Return the next message; None after the last one.

        Raises CallCancelled, and TimeoutError after `wait` seconds.
        """
        with self._ready:
            if not self._ready.wait_for(lambda: self._messages or self.ended or self.cancelled, wait):
                raise TimeoutError
            # A peer may abort a call after its last message, so messages that arrived before still count.
            if not self._messages:
                if self.cancelled:
                    raise CallCancelled
                return None
            message = self._messages.popleft()
        self._consumed(len(message) + _PREFIX)
        return message

    def receive_all(self) -> list[bytes]:
        """Return the messages that have arrived, at least one; [] after the last one. Raises CallCancelled."""
        with self._ready:
            self._ready.wait_for(lambda: self._messages or self.ended or self.cancelled)
            if not self._messages and self.cancelled:
                raise CallCancelled
            messages = list(self._messages)
            self._messages.clear()
        self._consumed(sum(map(len, messages)) + _PREFIX * len(messages))
        return messages

    def waiting(self) -> bool:
        """Return whether `receive` would return at once."""
        return bool(self._messages) or self.ended or self.cancelled

    def send(self, buffers: Iterable[Buffer]) -> None:
        """Send messages made by `prefixed`, in order. Blocks while the peer accepts no more data.

        Raises CallCancelled.
        """
        self._connection.send_data(self, buffers)

    def finish(self) -> None:
        """Tell the peer that no more messages follow. Raises CallCancelled."""
        self._connection.write([_DATA_END + struct.pack(">I", self.stream)])

    def cancel(self) -> None:
        """Abort the call, here and at the peer, unless it has ended."""
        if not self.ended:
            self.end(cancelled=True)
            self._connection.forget(self)
            with contextlib.suppress(CallCancelled):
                self._connection.write([reset(self.stream, CANCEL)])

    def wait(self, seconds: float) -> bool:
        """Wait at most `seconds` for the call to end, and return whether it has."""
        with self._ready:
            return self._ready.wait_for(lambda: self.ended or self.cancelled, seconds)

    def _consumed(self, count: int) -> None:
        """Note that the handler has taken messages of `count` bytes."""
        with self._ready:
            known = min(count, self._ahead)
            self._ahead -= known
            credit = self._due(count - known) + self._grant_ahead()
            self._credit += credit
        if credit:
            self._connection.grant(self.stream, credit)

    def _due(self, count: int) -> int:
        """Return the grant for `count` more bytes that have been taken; 0 until it is worth a frame."""
        self._unread += count
        credit = self._unread if self._unread >= STREAM_WINDOW // 4 else 0
        self._unread -= credit
        return credit

    def _grant_ahead(self) -> int:
        """Return the grant for a message that is larger than the window; one at a time, when no other is waiting.

        The handler takes only whole messages, so the bytes that it takes would never make room for this one.
        """
        if not self._in_body or self._ahead or self._messages or self._need <= STREAM_WINDOW // 2:
            return 0
        self._ahead = self._need
        return self._need

    def take(self, data: memoryview) -> None:
        """Take bytes of the peer's messages as they arrive. Called by the connection's reader."""
        with self._ready:
            self._credit -= len(data)
            if self._credit < 0:
                raise ProtocolError("more data on a stream than it was granted", FLOW_CONTROL_ERROR)
            messages = self._cut(data)
            self._messages.extend(messages)
            credit = self._grant_ahead()
            self._credit += credit
            if messages:
                self._ready.notify_all()
        if credit:
            self._connection.grant(self.stream, credit)

    def _cut(self, data: memoryview) -> list[bytes]:
        """Return the messages that are complete with `data`."""
        messages: list[bytes] = []
        at, size = 0, len(data)
        while size - at + self._have >= self._need:
            end = at + self._need - self._have
            part = b"".join([*self._parts, data[at:end]])
            self._parts, self._have = [], 0
            at = end
            self._in_body = not self._in_body
            if self._in_body:
                self._need = _message_length(part, self._connection.max_message)
            else:
                messages.append(part)
                self._need = _PREFIX
        if at < size:
            self._parts.append(data[at:])
            self._have += size - at
        return messages

    def take_padding(self, count: int) -> None:
        """Give back bytes of the window that were padding. Called by the connection's reader."""
        with self._ready:
            credit = self._due(count)
            self._credit += credit - count
        if credit:
            self._connection.grant(self.stream, credit)

    def end(self, *, cancelled: bool) -> None:
        """Note that no more messages come. Called by the connection's reader."""
        with self._ready:
            self.ended = True
            self.cancelled = self.cancelled or cancelled
            self._ready.notify_all()


def _message_length(prefix: bytes, limit: int) -> int:
    compressed, length = struct.unpack(">BI", prefix)
    if compressed:
        raise ProtocolError("a message is compressed, which was not offered")
    if length > limit:
        raise ProtocolError(f"a message has {length} bytes, which is more than {limit}")
    return length
