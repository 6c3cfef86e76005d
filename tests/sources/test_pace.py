"""Servers that send a byte now and then do not hold a build: bodies, heads, uploads, layers, git."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from pybuild_magic.cancel import Cancel
from pybuild_magic.errors import Interrupted, SourceError, UsageError
from pybuild_magic.net.pace import Meter, Pace
from pybuild_magic.net.transport import Transport, TransportError
from pybuild_magic.oci import reference
from pybuild_magic.oci.descriptor import Descriptor
from pybuild_magic.oci.remote.registry import Registry

from .conftest import Build
from .images import digest
from .servers import HTTPServer, Reply

QUICK = Pace(floor=1000, window=0.3)


@contextmanager
def raw_server(talk: Callable[[socket.socket], None]) -> Iterator[str]:
    """The URL of a server that does what `talk` does with each connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

        def serve(connection: socket.socket) -> None:
            with connection, suppress(OSError):
                talk(connection)

        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def drip(connection: socket.socket, start: bytes, byte: bytes) -> None:
    connection.recv(1 << 16)
    connection.sendall(start)
    while True:
        time.sleep(0.02)
        connection.sendall(byte)


@pytest.mark.parametrize(
    "start",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffff\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;",
        b"HTTP/1.1 200 OK\r\nX: ",
        b"HTTP/1.1 ",
        b"",
    ],
    ids=["body", "chunk", "chunk's head", "field", "status line", "nothing"],
)
def test_a_trickle_ends_in_a_sentence(start: bytes) -> None:
    with raw_server(lambda connection: drip(connection, start, b"1")) as url:
        transport = Transport(pace=QUICK)
        with pytest.raises(TransportError) as caught:
            transport.request("GET", f"{url}/x", Cancel(), retry=False).read(1 << 20)
            with transport.request("GET", f"{url}/x", Cancel(), retry=False) as response:
                while response.read(1 << 20):
                    pass
        assert caught.value.kind == "timeout"
        transport.close()


def test_an_upload_that_nobody_takes_ends_in_a_sentence() -> None:
    block = bytes(1 << 20)
    with raw_server(lambda connection: time.sleep(60)) as url:
        transport = Transport(pace=Pace(floor=10 << 20, window=0.2))
        with pytest.raises(TransportError) as caught:
            transport.request(
                "PUT", f"{url}/x", Cancel(), body=lambda: iter([block] * 64), length=64 << 20, retry=False
            )
        assert caught.value.kind == "timeout"


def test_a_transfer_has_an_end() -> None:
    with raw_server(
        lambda connection: drip(connection, b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n", bytes(5000))
    ) as url:
        transport = Transport(pace=Pace(floor=10, window=60, limit=0.4))
        with (
            transport.request("GET", f"{url}/x", Cancel(), retry=False) as response,
            pytest.raises(TransportError, match=r"took longer than 0.4 seconds \(PYBUILD_NETWORK_LIMIT\)"),
        ):
            while response.read(1 << 20):
                pass


def test_a_blob_that_trickles_in_through_every_resumption_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Pace, "from_environment", lambda *_: QUICK)
    monkeypatch.setattr("pybuild_magic.oci.remote.download.backoff", lambda _: 0.0)
    with raw_server(
        lambda connection: drip(connection, b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", b"1")
    ) as url:
        ref = reference.parse(f"{url.removeprefix('http://')}/a:1")
        blob = Descriptor("x/y", digest(b""), 1_000_000)
        with (
            Registry() as client,
            client.blob(ref, blob, Cancel()) as reader,
            pytest.raises(SourceError, match="sent less than 1000 bytes a second"),
        ):
            while reader.read(1 << 20):
                pass


def test_cancel_ends_a_trickle_at_once(build: Build) -> None:
    with HTTPServer() as server:
        server.on("/x", Reply(bytes(1000), drip=0.05))
        threading.Timer(0.3, build.cancel.cancel).start()
        began = time.monotonic()
        with pytest.raises(Interrupted):
            build.open(f"{server.url}/x").files()
        assert time.monotonic() - began < 5


@pytest.mark.parametrize("status", [429, 503])
def test_a_server_that_asks_to_wait_long_is_not_waited_for(build: Build, status: int) -> None:
    with HTTPServer() as server:
        server.on("/x", Reply(b"", status, {"Retry-After": "86400"}), forever=True)
        began = time.monotonic()
        with pytest.raises(SourceError, match=f"status {status}"):
            build.open(f"{server.url}/x").files()
        assert time.monotonic() - began < 30
        assert len(server.requests) == 1


def test_cancel_wakes_who_waits_because_a_server_asked_for_it(build: Build) -> None:
    with HTTPServer() as server:
        server.on("/x", Reply(b"", 429, {"Retry-After": "50"}), forever=True)
        threading.Timer(0.3, build.cancel.cancel).start()
        began = time.monotonic()
        with pytest.raises(Interrupted):
            build.open(f"{server.url}/x").files()
        assert time.monotonic() - began < 20


def test_git_over_http_has_the_same_floor_and_limit(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    start = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 1000000\r\n\r\n"
    with raw_server(lambda connection: drip(connection, start, b"1")) as url:
        for pace, words in (
            (Pace(floor=1000, window=1), "could not be read"),
            (Pace(floor=0, limit=1), "NETWORK_LIMIT"),
        ):
            monkeypatch.setattr(Pace, "from_environment", lambda *_, pace=pace: pace)
            attrs = {"git.fullurl": f"{url}/x.git"}
            with pytest.raises(SourceError, match=words):
                build.open(f"git://{url.removeprefix('http://')}/x.git", attrs).key()


def test_the_time_of_the_reader_does_not_count() -> None:
    meter = Meter(Pace(floor=1000, window=1))
    assert meter.add(10, 0.9) == ""
    assert meter.add(2000, 0.2) == ""
    assert meter.add(10, 0.9) == ""
    assert "less than 1000 bytes a second" in meter.add(10, 0.2)


def test_the_environment_sets_the_pace() -> None:
    assert Pace.from_environment({}) == Pace()
    found = Pace.from_environment({"PYBUILD_NETWORK_FLOOR": "0", "PYBUILD_NETWORK_LIMIT": "60"})
    assert (found.floor, found.limit) == (0, 60)
    for bad in ("-1", "1.5", "lots", "²", "9" * 5000):
        with pytest.raises(UsageError, match="PYBUILD_NETWORK_FLOOR"):
            Pace.from_environment({"PYBUILD_NETWORK_FLOOR": bad})
