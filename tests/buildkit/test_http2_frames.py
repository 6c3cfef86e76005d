"""Our side of HTTP/2 against raw frames: all that a peer may legally send, and what it may not."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from hpack import Encoder

from pybuild_magic.net.grpc import frames
from pybuild_magic.net.grpc.frames import PREFACE, ProtocolError, frame
from pybuild_magic.net.grpc.rpc import EXHAUSTED, UNAVAILABLE, Client, GrpcError, Handler, Server
from pybuild_magic.net.grpc.stream import Call, CallCancelled, prefixed
from pybuild_magic.net.wire import SocketWire

OK_FIELDS = [(":status", "200"), ("content-type", "application/grpc")]
TRAILERS = [("grpc-status", "0")]
REQUEST = [(":method", "POST"), (":path", "/t.T/Call"), (":scheme", "http"), ("te", "trailers")]
FLOW_CONTROL, FRAME_SIZE, PROTOCOL, COMPRESSION = 3, 6, 1, 9


class Raw:
    """The other end of a connection, frame by frame."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.file = sock.makefile("rb")
        sock.settimeout(20)

    def send(self, kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> None:
        self.sock.sendall(frame(kind, flags, stream, payload))

    def fields(self, stream: int, fields: list[tuple[str, str]], *, end: bool = False) -> None:
        flags = frames.END_HEADERS | (frames.END_STREAM if end else 0)
        self.send(frames.HEADERS, flags, stream, Encoder().encode(fields))

    def read(self) -> tuple[int, int, int, bytes]:
        head = self.file.read(9)
        assert len(head) == 9, "the connection has ended"
        length = int.from_bytes(head[:3], "big")
        return head[3], head[4], int.from_bytes(head[5:], "big"), self.file.read(length)

    def until(self, kind: int, wanted: Callable[[int, int, bytes], bool] = lambda *_: True) -> tuple[int, bytes]:
        """The flags and payload of the next frame of `kind` that is wanted; others are passed over."""
        while True:
            got, flags, stream, payload = self.read()
            if got == kind and wanted(flags, stream, payload):
                return flags, payload

    def settings(self, *pairs: tuple[int, int]) -> None:
        self.send(frames.SETTINGS, 0, 0, b"".join(struct.pack(">HI", *pair) for pair in pairs))


@pytest.fixture
def client() -> Iterator[tuple[Client, Raw]]:
    """A client of ours, and the raw server that it talks to."""
    ours, theirs = socket.socketpair()
    connection = Client(SocketWire(ours))
    raw = Raw(theirs)
    assert raw.file.read(len(PREFACE)) == PREFACE
    raw.settings()
    try:
        yield connection, raw
    finally:
        theirs.close()
        connection.close()


@pytest.fixture
def serve() -> Iterator[Callable[[Handler], Raw]]:
    """Starts a server of ours, and returns the raw client that talks to it."""
    ours, theirs = socket.socketpair()
    threads: list[threading.Thread] = []

    def start(handler: Handler) -> Raw:
        def run() -> None:
            with contextlib.suppress(ProtocolError, OSError):
                Server(SocketWire(ours), {"/t.T/Call": handler}).run()

        threads.append(threading.Thread(target=run))
        threads[0].start()
        theirs.sendall(PREFACE)
        raw = Raw(theirs)
        raw.settings()
        return raw

    yield start
    theirs.close()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()


def message(data: bytes) -> bytes:
    return b"".join(bytes(part) for part in prefixed(data))


def echo(call: Call) -> None:
    while (data := call.receive()) is not None:
        call.send(prefixed(data))


def test_after_goaway_calls_that_were_begun_go_on_and_others_fail_at_once(client: tuple[Client, Raw]) -> None:
    connection, raw = client
    begun, unseen = connection.call("/t.T/A").ask(b""), connection.call("/t.T/B").ask(b"")
    raw.send(frames.GOAWAY, 0, 0, struct.pack(">II", begun.stream, 0))
    with pytest.raises(GrpcError) as caught:
        unseen.answer(20)
    assert (caught.value.code, caught.value.message) == (UNAVAILABLE, "the daemon is shutting down")
    with pytest.raises(GrpcError) as caught:
        connection.call("/t.T/C")
    assert caught.value.code == UNAVAILABLE
    raw.fields(begun.stream, OK_FIELDS)
    raw.send(frames.DATA, 0, begun.stream, message(b"still here"))
    raw.fields(begun.stream, TRAILERS, end=True)
    assert begun.answer(20) == b"still here"


def test_a_call_waits_until_the_peer_takes_one_more(client: tuple[Client, Raw]) -> None:
    connection, raw = client
    raw.settings((frames.SETTING_STREAMS, 1))
    raw.until(frames.SETTINGS, lambda flags, _stream, _payload: bool(flags & frames.ACK))
    raw.until(frames.SETTINGS, lambda flags, _stream, _payload: bool(flags & frames.ACK))
    first = connection.call("/t.T/A").ask(b"")
    with ThreadPoolExecutor(1) as pool:
        second = pool.submit(lambda: connection.call("/t.T/B").ask(b"").answer(20))
        raw.until(frames.DATA, lambda flags, stream, _payload: stream == first.stream and bool(flags & 1))
        assert not second.done()
        raw.fields(first.stream, OK_FIELDS)
        raw.fields(first.stream, TRAILERS, end=True)
        raw.until(frames.HEADERS, lambda _flags, stream, _payload: stream == first.stream + 2)
        raw.fields(first.stream + 2, OK_FIELDS)
        raw.send(frames.DATA, 0, first.stream + 2, message(b"2"))
        raw.fields(first.stream + 2, TRAILERS, end=True)
        assert second.result(20) == b"2"


def test_padding_is_no_content_and_the_peer_gets_its_window_back(client: tuple[Client, Raw]) -> None:
    connection, raw = client
    call = connection.call("/t.T/A").ask(b"")
    raw.fields(call.stream, OK_FIELDS)
    granted, answers = 4 << 20, call.messages(60)
    padded = bytes([255]) + message(b"x") + bytes(255)
    for _ in range(40_000):  # 10 MiB, of which 0.2 MiB are content
        while granted < len(padded):
            _, payload = raw.until(frames.WINDOW_UPDATE, lambda _flags, stream, _payload: stream == call.stream)
            granted += int.from_bytes(payload, "big")
        raw.send(frames.DATA, frames.PADDED, call.stream, padded)
        granted -= len(padded)
        assert next(answers) == b"x"
    raw.fields(call.stream, TRAILERS, end=True)
    assert list(answers) == []


def test_padded_headers_with_a_priority_in_three_parts_are_read(client: tuple[Client, Raw]) -> None:
    connection, raw = client
    call = connection.call("/t.T/A").ask(b"")
    block = Encoder().encode([*OK_FIELDS, ("long", "x" * 40_000)], huffman=False)
    first = bytes([7]) + struct.pack(">IB", 0, 16) + block[:100] + bytes(7)
    raw.send(frames.HEADERS, frames.PADDED | frames.PRIORITY, call.stream, first)
    raw.send(frames.CONTINUATION, 0, call.stream, block[100:16_000])
    raw.send(frames.CONTINUATION, 0, call.stream, b"")
    raw.send(frames.CONTINUATION, 0, call.stream, block[16_000:32_000])
    raw.send(frames.CONTINUATION, frames.END_HEADERS, call.stream, block[32_000:])
    raw.send(frames.DATA, 0, call.stream, message(b"read"))
    raw.fields(call.stream, TRAILERS, end=True)
    assert call.answer(20) == b"read"
    assert call.metadata["long"] == ["x" * 40_000]


def test_a_list_of_headers_may_have_16_mib(client: tuple[Client, Raw]) -> None:
    connection, raw = client
    call = connection.call("/t.T/A").ask(b"")
    raw.send(frames.HEADERS, frames.END_HEADERS, call.stream, Encoder().encode(OK_FIELDS) + repeated(4100))
    raw.send(frames.DATA, 0, call.stream, message(b"read"))
    raw.fields(call.stream, TRAILERS, end=True)
    assert call.answer(20) == b"read"
    assert len(call.metadata["a"]) == 4101


def test_headers_of_ours_larger_than_two_frames_are_whole(client: tuple[Client, Raw]) -> None:
    connection, raw = client
    connection.call("/t.T/A", [("long", "y" * 50_000)])
    got = raw.until(frames.HEADERS)
    parts = [got]
    while not parts[-1][0] & frames.END_HEADERS:
        parts.append(raw.until(frames.CONTINUATION))
    assert all(len(payload) <= 16384 for _, payload in parts)
    assert b"y" * 50_000 in b"".join(payload for _, payload in parts)


def test_a_ping_is_answered_with_its_content(client: tuple[Client, Raw]) -> None:
    _, raw = client
    raw.send(frames.PING, 0, 0, b"12345678")
    assert raw.until(frames.PING) == (frames.ACK, b"12345678")
    raw.send(frames.PING, frames.ACK, 0, b"87654321")  # an answer to nothing: ignored
    raw.send(frames.PING, 0, 0, b"abcdefgh")
    assert raw.until(frames.PING) == (frames.ACK, b"abcdefgh")


def test_a_reset_in_the_middle_of_a_message_ends_the_call_and_no_other(client: tuple[Client, Raw]) -> None:
    connection, raw = client
    broken, other = connection.call("/t.T/A").ask(b""), connection.call("/t.T/B").ask(b"")
    raw.fields(broken.stream, OK_FIELDS)
    raw.send(frames.DATA, 0, broken.stream, message(bytes(1000))[:500])
    raw.send(frames.RST_STREAM, 0, broken.stream, struct.pack(">I", 2))
    raw.send(frames.DATA, 0, broken.stream, bytes(100))  # may still be on its way
    with pytest.raises(GrpcError):
        broken.answer(20)
    raw.fields(other.stream, OK_FIELDS)
    raw.send(frames.DATA, 0, other.stream, message(b"fine"))
    raw.fields(other.stream, TRAILERS, end=True)
    assert other.answer(20) == b"fine"


def test_unknown_frames_settings_and_flags_are_ignored(client: tuple[Client, Raw]) -> None:
    connection, raw = client
    raw.send(0xEE, 0xFF, 0, b"anything")
    raw.settings((0xABCD, 1), (frames.SETTING_WINDOW, 70_000))
    call = connection.call("/t.T/A").ask(b"")
    raw.fields(call.stream, OK_FIELDS)
    raw.send(frames.DATA, 0xF6, call.stream, message(b"read"))
    raw.fields(call.stream, TRAILERS, end=True)
    assert call.answer(20) == b"read"


def test_a_window_of_less_than_nothing_holds_data_back_until_it_has_grown(
    serve: Callable[[Handler], Raw],
) -> None:
    raw = serve(lambda call: call.send(prefixed(bytes(200_000))))
    raw.send(frames.WINDOW_UPDATE, 0, 0, struct.pack(">I", 1 << 20))
    raw.fields(1, REQUEST, end=True)
    got = 0
    while got < 65_535:
        got += len(raw.until(frames.DATA)[1])
    assert got == 65_535
    raw.settings((frames.SETTING_WINDOW, 0))  # the stream's window is -65535 now
    raw.until(frames.SETTINGS, lambda flags, _stream, _payload: bool(flags & frames.ACK))
    raw.send(frames.WINDOW_UPDATE, 0, 1, struct.pack(">I", 65_535 + 10))
    assert len(raw.until(frames.DATA)[1]) == 10
    raw.send(frames.WINDOW_UPDATE, 0, 1, struct.pack(">I", 200_000))
    while got < 200_005 - 10:
        got += len(raw.until(frames.DATA)[1])
    raw.until(frames.HEADERS, lambda flags, _stream, _payload: bool(flags & frames.END_STREAM))


def test_metadata_that_the_peer_would_not_take_are_not_sent(client: tuple[Client, Raw]) -> None:
    connection, raw = client
    raw.settings((frames.SETTING_HEADERS, 4000))
    raw.until(frames.SETTINGS, lambda flags, _stream, _payload: bool(flags & frames.ACK))
    raw.until(frames.SETTINGS, lambda flags, _stream, _payload: bool(flags & frames.ACK))
    with pytest.raises(GrpcError) as caught:
        connection.call("/t.T/A", [("long", "x" * 4000)])
    assert caught.value.code == EXHAUSTED
    connection.call("/t.T/A", [("short", "x")])
    raw.until(frames.HEADERS)


def test_a_peer_that_sends_more_than_it_was_granted_is_told_so(serve: Callable[[Handler], Raw]) -> None:
    go_on = threading.Event()

    def wait(call: Call) -> None:
        go_on.wait(20)
        with pytest.raises(CallCancelled):
            while call.receive() is not None:
                pass

    raw = serve(wait)
    raw.fields(1, REQUEST)
    try:
        for _ in range(300):  # 300 × 16 KiB, where 4 MiB are granted
            raw.send(frames.DATA, 0, 1, message(bytes(16379)))
    except OSError:
        pass  # it has hung up before we were through
    _, payload = raw.until(frames.GOAWAY)
    assert int.from_bytes(payload[4:8], "big") == FLOW_CONTROL
    go_on.set()


def repeated(times: int) -> bytes:
    """A block of 4,000 bytes and `times` more, which is a list of headers of 4,033 bytes each (RFC 7541, 4.1)."""
    newest = b"\xbe"  # the header that was put into the table last
    return Encoder().encode([("a", "x" * 4000)], huffman=False) + newest * times


ILLEGAL: dict[str, tuple[list[tuple[int, int, int, bytes]], int]] = {
    "padding longer than its frame": ([(frames.DATA, frames.PADDED, 1, b"\x09123")], PROTOCOL),
    "padding of an empty frame": ([(frames.DATA, frames.PADDED, 1, b"")], PROTOCOL),
    "padding longer than its headers": ([(frames.HEADERS, frames.PADDED | 4, 3, b"\xff1")], PROTOCOL),
    "headers interrupted": ([(frames.HEADERS, 0, 3, b""), (frames.PING, 0, 0, bytes(8))], PROTOCOL),
    "headers continued elsewhere": ([(frames.HEADERS, 0, 3, b""), (frames.CONTINUATION, 4, 5, b"")], PROTOCOL),
    "a continuation without headers": ([(frames.CONTINUATION, frames.END_HEADERS, 1, b"")], PROTOCOL),
    "a short ping": ([(frames.PING, 0, 0, b"1234")], FRAME_SIZE),
    "half a setting": ([(frames.SETTINGS, 0, 0, bytes(5))], FRAME_SIZE),
    "a short reset": ([(frames.RST_STREAM, 0, 1, b"12")], FRAME_SIZE),
    "a short window": ([(frames.WINDOW_UPDATE, 0, 0, b"12")], FRAME_SIZE),
    "a short goaway": ([(frames.GOAWAY, 0, 0, b"12")], FRAME_SIZE),
    "a frame too large": ([(frames.DATA, 0, 1, bytes(16385))], FRAME_SIZE),
    "a window that grows by nothing": ([(frames.WINDOW_UPDATE, 0, 0, bytes(4))], PROTOCOL),
    "a window of more than 2 GiB": ([(frames.WINDOW_UPDATE, 0, 0, b"\x7f\xff\xff\xff")] * 2, FLOW_CONTROL),
    "a stream's window of more": ([(frames.WINDOW_UPDATE, 0, 1, b"\x7f\xff\xff\xff")] * 2, FLOW_CONTROL),
    "a setting of a window of more": ([(frames.SETTINGS, 0, 0, struct.pack(">HI", 4, 1 << 31))], FLOW_CONTROL),
    "something pushed": ([(frames.PUSH_PROMISE, frames.END_HEADERS, 1, bytes(4))], PROTOCOL),
    "headers that are none": ([(frames.HEADERS, frames.END_HEADERS, 3, b"\xff\xff\xff\xff\xff")], COMPRESSION),
    "headers without an end": (
        [(frames.HEADERS, 0, 3, bytes(16384)), *[(frames.CONTINUATION, 0, 3, bytes(16384))] * 1024],
        PROTOCOL,
    ),
    "a header list too large": ([(frames.HEADERS, frames.END_HEADERS, 3, repeated(4200))], COMPRESSION),
    "a compressed message": ([(frames.DATA, 0, 1, b"\x01\0\0\0\x01x")], PROTOCOL),
    "a message of 4 GiB": ([(frames.DATA, 0, 1, b"\0\xff\xff\xff\xff")], PROTOCOL),
}


@pytest.mark.parametrize("name", ILLEGAL)
def test_what_a_peer_may_not_send_ends_the_connection_with_goaway(serve: Callable[[Handler], Raw], name: str) -> None:
    sent, code = ILLEGAL[name]
    raw = serve(echo)
    raw.fields(1, REQUEST)
    for each in sent:
        raw.send(*each)
    _, payload = raw.until(frames.GOAWAY)
    assert int.from_bytes(payload[4:8], "big") == code
    with pytest.raises(AssertionError, match="has ended"):
        while True:
            raw.read()
