"""Frames of HTTP/2: their types, making them, and rejecting malformed ones (RFC 9113, sections 4 to 7)."""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterable

from ..wire import Buffer

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

DATA, HEADERS, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 5, 6, 7, 8, 9
END_STREAM, ACK, END_HEADERS, PADDED, PRIORITY = 0x1, 0x1, 0x4, 0x8, 0x20
SETTING_PUSH, SETTING_STREAMS, SETTING_WINDOW, SETTING_HEADERS = 2, 3, 4, 6
PROTOCOL_ERROR, FLOW_CONTROL_ERROR, FRAME_SIZE_ERROR, CANCEL, COMPRESSION_ERROR = 1, 3, 6, 8, 9

FRAME_SIZE = 16384
"""The most bytes in the payload of a frame that every peer has to accept."""
MAX_WINDOW = (1 << 31) - 1

Field = tuple[bytes, bytes]


class ProtocolError(Exception):
    """Bytes that are not valid HTTP/2, or not as gRPC uses it; `code` is sent to the peer in GOAWAY."""

    def __init__(self, message: str, code: int = PROTOCOL_ERROR) -> None:
        super().__init__(message)
        self.code = code


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """Return one frame."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def reset(stream: int, code: int) -> bytes:
    """Return the frame that aborts a stream."""
    return frame(RST_STREAM, 0, stream, struct.pack(">I", code))


def data_frames(stream: int, parts: deque[memoryview], count: int) -> list[Buffer]:
    """Return frames with the next `count` bytes of `parts`, and remove these bytes from `parts`."""
    full = struct.pack(">I", FRAME_SIZE)[1:] + struct.pack(">BBI", DATA, 0, stream)
    frames: list[Buffer] = []
    while count:
        length = min(count, FRAME_SIZE)
        frames.append(full if length == FRAME_SIZE else _frame_head(stream, length))
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
    return struct.pack(">I", length)[1:] + struct.pack(">BBI", DATA, 0, stream)


def headers(stream: int, fields: Iterable[Field], *, end: bool = False) -> bytes:
    """Return HEADERS with literal fields, which the peer does not store in its table."""
    block = b""
    for name, value in fields:
        block += b"\x00" + _length(len(name)) + name + _length(len(value)) + value
    frames: list[bytes] = []
    kind, flags = HEADERS, END_STREAM if end else 0
    for at in range(0, len(block) or 1, FRAME_SIZE):
        last = at + FRAME_SIZE >= len(block)
        frames.append(frame(kind, flags | (END_HEADERS if last else 0), stream, block[at : at + FRAME_SIZE]))
        kind, flags = CONTINUATION, 0
    return b"".join(frames)


def number(payload: memoryview) -> int:
    """Return the number of 32 bits that is the content of a frame. Raises ProtocolError."""
    if len(payload) != 4:
        raise ProtocolError(f"a number of {len(payload)} bytes", FRAME_SIZE_ERROR)
    return int.from_bytes(payload, "big")


def widened(window: int, count: int) -> int:
    """Return a window with `count` bytes more; it may still be negative (section 6.9.2). Raises ProtocolError."""
    if window + count > MAX_WINDOW:
        raise ProtocolError("a window of more than 2 GiB", FLOW_CONTROL_ERROR)
    return window + count


def _length(value: int) -> bytes:
    """Return an HPACK integer with a prefix of seven bits."""
    if value < 127:
        return bytes([value])
    out, value = bytearray([127]), value - 127
    while value >= 128:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def unpadded(flags: int, payload: memoryview) -> memoryview:
    """Return the payload of a frame of DATA or HEADERS without its padding and its priority. Raises ProtocolError."""
    if flags & PADDED:
        if not payload or payload[0] >= len(payload):
            raise ProtocolError("a frame that is all padding and more")
        payload = payload[1 : len(payload) - payload[0]]
    return payload[5:] if flags & PRIORITY else payload
