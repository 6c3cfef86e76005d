"""The session's own gRPC server, called by another implementation of gRPC: grpcio's client."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import grpc
import pytest

from pybuild_magic.builders.buildkit.http2 import PREFACE, Call, CallCancelled, ProtocolError, prefixed
from pybuild_magic.builders.buildkit.rpc import NOT_FOUND, GrpcError, Handler, Server
from pybuild_magic.builders.buildkit.wire import SocketWire


@contextmanager
def serving(path: Path, handlers: dict[str, Handler]) -> Iterator[grpc.Channel]:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen(1)
    connections: list[Server] = []

    def accept() -> None:
        accepted, _ = listener.accept()
        connections.append(Server(SocketWire(accepted), handlers))
        connections[0].run()

    thread = threading.Thread(target=accept)
    thread.start()
    channel = grpc.insecure_channel(f"unix:{path}", [("grpc.max_receive_message_length", -1)])
    try:
        yield channel
    finally:
        channel.close()
        for connection in connections:
            connection.close()
        listener.close()
        thread.join(10)
        assert not thread.is_alive()


def echo(call: Call) -> None:
    while (message := call.receive()) is not None:
        call.send(prefixed(message))


@pytest.mark.parametrize("size", [0, 1, 5, 16379, 16380, 100_000, 3 << 20])
def test_messages_of_every_size_come_back(tmp_path: Path, size: int) -> None:
    with serving(tmp_path / "s", {"/t.T/Echo": echo}) as channel:
        sent = [bytes([i]) * size for i in range(3)]
        assert list(channel.stream_stream("/t.T/Echo")(iter(sent))) == sent


def test_many_messages_in_one_write_arrive_in_order(tmp_path: Path) -> None:
    def many(call: Call) -> None:
        call.send([part for number in range(20_000) for part in prefixed(b"%d" % number)])

    with serving(tmp_path / "s", {"/t.T/Many": many}) as channel:
        answers = list(channel.stream_stream("/t.T/Many")(iter([b""])))
    assert answers == [b"%d" % number for number in range(20_000)]


def test_calls_run_beside_each_other(tmp_path: Path) -> None:
    together = threading.Barrier(5, timeout=10)

    def wait(call: Call) -> None:
        together.wait()
        echo(call)

    with serving(tmp_path / "s", {"/t.T/Wait": wait}) as channel:
        calls = [channel.unary_unary("/t.T/Wait").future(b"%d" % number) for number in range(5)]
        assert [call.result() for call in calls] == [b"%d" % number for number in range(5)]


def test_metadata_and_errors_are_carried(tmp_path: Path) -> None:
    seen: list[list[str]] = []

    def fail(call: Call) -> None:
        seen.append(call.metadata["name"])
        raise GrpcError(NOT_FOUND, 'no "ünknown" here: 100%\nreally')

    with serving(tmp_path / "s", {"/t.T/Fail": fail}) as channel:
        with pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary("/t.T/Fail")(b"", metadata=[("name", "a" * 40_000), ("name", "b")])
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
        assert caught.value.details() == 'no "ünknown" here: 100%\nreally'
        with pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary("/t.T/Other")(b"")
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert seen == [["a" * 40_000, "b"]]


def test_a_call_that_is_given_up_ends_its_handler(tmp_path: Path) -> None:
    ended = threading.Event()

    def forever(call: Call) -> None:
        try:
            while True:
                call.send(prefixed(bytes(100_000)))
        except CallCancelled:
            ended.set()
            raise

    with serving(tmp_path / "s", {"/t.T/Forever": forever}) as channel:
        call = channel.stream_stream("/t.T/Forever")(iter([b""]))
        next(iter(call))
        call.cancel()
        assert ended.wait(10)


def test_a_slow_handler_makes_the_peer_wait_rather_than_memory_grow(tmp_path: Path) -> None:
    sent: list[int] = []
    go_on = threading.Event()

    def slow(call: Call) -> None:
        assert go_on.wait(30)
        count = 0
        while call.receive() is not None:
            count += 1
        call.send(prefixed(b"%d" % count))

    def requests() -> Iterator[bytes]:
        for number in range(200):
            sent.append(number)
            yield bytes(1 << 20)

    with serving(tmp_path / "s", {"/t.T/Slow": slow}) as channel:
        call = channel.stream_unary("/t.T/Slow").future(requests())
        threading.Event().wait(1)
        waiting = len(sent)
        go_on.set()
        assert call.result(30) == b"200"
    assert waiting < 20


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n" + bytes(30),
        PREFACE + b"\xff\xff\xff\x00\x00\x00\x00\x00\x01",
        PREFACE + b"\x00\x00\x05\x01\x05\x00\x00\x00\x01\xff\xff\xff\xff\xff",
        PREFACE + b"\x00\x00\x01\x00\x08\x00\x00\x00\x01",
    ],
)
def test_what_is_no_http2_ends_the_connection(data: bytes) -> None:
    ours, theirs = socket.socketpair()
    connection = Server(SocketWire(ours), {})
    theirs.sendall(data)
    theirs.shutdown(socket.SHUT_WR)
    with suppress(ProtocolError):
        connection.run()
    theirs.close()
