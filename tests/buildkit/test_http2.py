"""Our two sides of gRPC, each with another implementation of the other side: grpcio's client, and its server."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import grpc
import pytest

from pybuild_magic.net.grpc.frames import PREFACE, ProtocolError
from pybuild_magic.net.grpc.rpc import (
    CANCELLED,
    DEADLINE,
    NOT_FOUND,
    UNAVAILABLE,
    UNIMPLEMENTED,
    Client,
    GrpcError,
    Handler,
    Server,
)
from pybuild_magic.net.grpc.stream import Call, CallCancelled, prefixed
from pybuild_magic.net.wire import SocketWire


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


@pytest.mark.parametrize("size", [0, 1, 5, 16379, 16380, 100_000, 3 << 20, 4 << 20, 16 << 20, 64 << 20])
def test_messages_of_every_size_come_back(tmp_path: Path, size: int) -> None:
    with serving(tmp_path / "s", {"/t.T/Echo": echo}) as channel:
        sent = [bytes([i]) * size for i in range(3 if size < 64 << 20 else 1)]
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


class Peer(grpc.GenericRpcHandler):
    """Methods of a server of grpcio's; messages are bytes."""

    def __init__(self) -> None:
        self.given_up = threading.Event()

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        name = handler_call_details.method.rpartition("/")[2]
        method = getattr(self, name.lower(), None)
        return method and grpc.stream_stream_rpc_method_handler(method)

    def echo(self, requests: Iterator[bytes], _: grpc.ServicerContext) -> Iterator[bytes]:
        yield from requests

    def many(self, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        names = [value for key, value in context.invocation_metadata() if key == "name"]
        yield from (f"{number} {names}".encode() for number in range(int(next(requests))))

    def fail(self, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        context.set_trailing_metadata([("grpc-status-details-bin", b"\x08\x05\xff")])
        context.abort(grpc.StatusCode.NOT_FOUND, 'no "ünknown" here: 100%')
        yield b""

    def slow(self, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        yield b"begun"
        ended = threading.Event()  # of this call: an earlier one's end must not be taken for its own
        context.add_callback(ended.set)
        if ended.wait(30):
            self.given_up.set()


@pytest.fixture
def peer() -> Peer:
    return Peer()


@pytest.fixture
def client(peer: Peer, tmp_path: Path) -> Iterator[Client]:
    server = grpc.server(ThreadPoolExecutor(4), [peer], options=[("grpc.max_receive_message_length", -1)])
    server.add_insecure_port(f"unix:{tmp_path}/peer")
    server.start()
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(f"{tmp_path}/peer")
    connection = Client(SocketWire(sock))
    try:
        yield connection
    finally:
        connection.close()
        server.stop(None)


@pytest.mark.parametrize("size", [0, 1, 16379, 100_000, 3 << 20, 4 << 20, 16 << 20, 64 << 20])
def test_questions_of_every_size_are_answered(client: Client, size: int) -> None:
    assert client.call("/t.T/Echo").ask(bytes(size)).answer(30) == bytes(size)


def test_a_stream_of_answers_arrives_in_order_beside_others(client: Client) -> None:
    with ThreadPoolExecutor(4) as pool:
        answers = pool.map(
            lambda n: list(client.call("/t.T/Many", [("name", str(n))]).ask(b"3000").messages()), range(4)
        )
        for number, answer in enumerate(answers):
            assert answer == [f"{each} ['{number}']".encode() for each in range(3000)]


def test_the_peers_errors_have_their_code_message_and_details(client: Client) -> None:
    with pytest.raises(GrpcError) as caught:
        client.call("/t.T/Fail").ask(b"").answer(30)
    assert (caught.value.code, caught.value.message) == (NOT_FOUND, 'no "ünknown" here: 100%')
    assert caught.value.details == b"\x08\x05\xff"
    with pytest.raises(GrpcError) as caught:
        client.call("/t.T/Other").ask(b"").answer(30)
    assert caught.value.code == UNIMPLEMENTED


def test_a_call_that_takes_too_long_is_given_up_at_the_peer_too(client: Client, peer: Peer) -> None:
    with pytest.raises(GrpcError) as caught:
        client.call("/t.T/Slow").ask(b"").answer(0.2)
    assert caught.value.code == DEADLINE
    assert peer.given_up.wait(10)


def test_calls_end_when_they_are_cancelled_and_when_the_connection_does(client: Client) -> None:
    for end, code in ((lambda call: call.cancel(), CANCELLED), (lambda call: client.close(), UNAVAILABLE)):
        call = client.call("/t.T/Slow").ask(b"")
        answers = call.messages()
        assert next(answers) == b"begun"
        end(call)
        with pytest.raises(GrpcError) as caught:
            list(answers)
        assert caught.value.code == code
    with pytest.raises(GrpcError) as caught:
        client.call("/t.T/Echo")
    assert caught.value.code == UNAVAILABLE
