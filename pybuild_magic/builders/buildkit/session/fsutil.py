"""fsutil's transfer protocol: its packets, and the metadata of the calls that carry it.

Source: fsutil's `send.go` and `receive.go`. The sender describes its files in order (STAT, an empty one last); the
receiver requests contents by their position in that order (REQ), and they come in blocks (DATA, an empty one last); FIN
from both sides ends the transfer, ERR aborts it.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import unquote_plus

from ....golang.parsebool import parse_bool
from ....net.grpc.stream import prefixed
from ....net.wire import Buffer
from ...proto.session_pb2 import Bytes

STAT, REQ, DATA, FIN, ERR = range(5)


def varint(value: int) -> bytes:
    """Encode a non-negative number as a protobuf varint."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def bytes_of(message: bytes) -> Buffer:
    """Return the content of a message with the single field `bytes data = 1`, without copying: services send very many
    of them.
    """
    length, at, shift = 0, 1, 0
    while at < len(message):
        byte = message[at]
        length |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            break
    if message[:1] == b"\x0a" and at + length == len(message):
        return memoryview(message)[at:]
    return Bytes.FromString(message).data


def data_packet(number: int, data: Buffer) -> list[Buffer]:
    """Return a DATA packet as a gRPC message, without copying the content. Empty content marks the end of the file."""
    head = b"\x08\x02" + (b"\x18" + varint(number) if number else b"")
    if not data:
        return prefixed(head)
    return prefixed(head + b"\x22" + varint(len(data)), data)


def options(metadata: Mapping[str, list[str]], name: str) -> list[str]:
    """Return the values of an option in a call's metadata, which are quoted where they are not ASCII."""
    values = metadata.get(name, [])
    if parse_bool(metadata.get(f"{name}-encoded", [""])[0]):
        return [unquote_plus(value) for value in values]
    return list(values)
