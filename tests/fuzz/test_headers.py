"""What servers say: every field of a head and every body of a refusal. Nothing but BuildError comes out."""
# ruff: noqa: E501 - the values are read better in rows

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pybuild_magic.cancel import Cancel
from pybuild_magic.errors import BuildError
from pybuild_magic.oci import reference
from pybuild_magic.oci.remote.auth import parse_challenges
from pybuild_magic.oci.remote.registry import Registry
from pybuild_magic.session import Session
from pybuild_magic.store import Store
from pybuild_magic.untrusted.foreign import (
    header_number,
    http_date,
    integer,
    join_url,
    moment,
    number,
    port_of,
    split_url,
)
from pybuild_magic.untrusted.redaction import redact, redact_data, redact_url, split_credentials
from tests.sources.conftest import Build

bounded = settings(
    max_examples=60, deadline=10_000, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
pure = settings(bounded, max_examples=150)
LONG = "9" * 6000
VALUES = st.one_of(
    st.sampled_from(
        [
            *("", " ", "²", "0", "-1", "1e9", "0x10", LONG, "1,2", "bytes 0-", f"bytes {LONG}-", "W/", 'W/"a"', '"a\tb"'),
            *("Fri, 31 Dec 9999 23:59:59 -2359", "Mon, 01 Jan 0001 00:00:00 +2359", f"1 Jan {LONG} 00:00:00 GMT"),
            *("Thu, 01 Jan 1970 00:00:00 +99999999999999", "Sun, 06 Nov 1994 08:49:37 GMT", "x" * 9000),
            *("http://[::/", "//", "http://a\uff0fb/", "/ü", "ftp://x/", "http://127.0.0.1:99999/", "\x01", "http://h:²/"),
            *('Bearer realm="', 'Bearer realm="http://[::"', "Bearer " * 300, 'Basic a="\\', ",,,,", 'Bearer realm="http://127.0.0.1:1/"'),
            *("attachment; filename=../x", "attachment; filename*=utf-8''%ff%zz", "attachment; filename*=²''x", "gzip", "br"),
            *("application/json; charset=²", "sha256:" + "0" * 64, "sha512:x", "<x>; rel=next", "identity, gzip", "zstd"),
        ]
    ),
    st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=60),
)  # fmt: skip
FIELDS = [
    *("Content-Length", "Content-Type", "Content-Encoding", "Content-Range", "Content-Disposition", "ETag", "Date"),
    *("Last-Modified", "Location", "Retry-After", "WWW-Authenticate", "Docker-Content-Digest", "Link", "Transfer-Encoding"),
]  # fmt: skip
HEADS = st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=4)
BODIES = st.one_of(
    st.binary(max_size=60),
    st.sampled_from(
        [
            b'{"errors": 5}',
            b'{"errors": [{"code": 1, "message": null}]}',
            b'{"errors": [' + b"[" * 50_000,
            b'{"token": "a\\nb", "expires_in": ' + LONG.encode() + b"}",
            b'{"expires_in": 1e400, "token": "a"}',
            b'{"tags": ["\\ud800"]}',
            b"\x1f\x8b\x08",
        ]
    ),
)


@dataclass
class Server:
    """Answers every request with the same bytes, and ends the connection."""

    port: int
    answer: bytes = b""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        served = Server(listener.getsockname()[1])

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection, contextlib.suppress(OSError):
                    connection.settimeout(5)
                    connection.recv(1 << 16)
                    connection.sendall(served.answer)

        threading.Thread(target=serve, daemon=True).start()
        yield served


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Build]:
    with Store(tmp_path_factory.mktemp("fuzz") / "store") as store:
        yield Build(store, Session())


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pybuild_magic.net.transport.backoff", lambda _: 0.0)
    monkeypatch.setattr("pybuild_magic.net.transport._MAX_DELAY", 0.0)
    monkeypatch.setattr("pybuild_magic.oci.remote.download.backoff", lambda _: 0.0)


def answer(status: int, head: dict[str, str], body: bytes) -> bytes:
    fields = {"Content-Length": str(len(body)), **head}
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status} X\r\n{lines}\r\n".encode("utf-8", "replace") + body


STATUSES = st.sampled_from([200, 200, 200, 206, 301, 304, 307, 400, 401, 403, 404, 416, 429, 500])


@given(STATUSES, HEADS, BODIES)
@bounded
@example(429, {"Retry-After": "²"}, b"")
@example(429, {"Retry-After": "Thu, 01 Jan 1970 00:00:00 +99999999999999"}, b"")
@example(200, {"Content-Length": LONG}, b"")
@example(200, {"Last-Modified": "Fri, 31 Dec 9999 23:59:59 -2359", "Date": "Fri, 31 Dec 9999 23:59:59 GMT"}, b"x")
@example(200, {"ETag": '"a\r\n b"'}, b"x")
@example(301, {"Location": "http://[::/"}, b"")
def test_a_download(server: Server, build: Build, status: int, head: dict[str, str], body: bytes) -> None:
    server.answer = answer(status, head, body)
    for _ in range(2):  # the second asks with what the first was told
        with contextlib.suppress(BuildError):
            build.open(f"http://127.0.0.1:{server.port}/x").files()


@given(STATUSES, HEADS, BODIES)
@bounded
@example(401, {"WWW-Authenticate": 'Bearer realm="http://[::"'}, b"")
@example(200, {"Content-Length": LONG, "Docker-Content-Digest": "sha256:" + "0" * 64}, b"")
@example(403, {}, b'{"errors": [' + b"[" * 50_000)
def test_a_registry(server: Server, status: int, head: dict[str, str], body: bytes) -> None:
    server.answer = answer(status, head, body)
    ref = reference.parse(f"127.0.0.1:{server.port}/a:1")
    with Registry() as client:
        for ask in (client.resolve, client.manifest, client.tags):
            with contextlib.suppress(BuildError):
                ask(ref, Cancel())


@given(st.one_of(VALUES, st.text(max_size=300)))
@pure
@example("9" * 5000)
@example('Bearer a="' + '\\"' * 5000)
@example("a" * 60_000)
@example(" ," * 30_000)
@example("a =" * 20_000)
def test_what_reads_them_never_raises(text: str) -> None:
    for found in (number(text), integer(text), header_number(text)):
        assert found is None or abs(found) <= 1 << 63
    seconds = http_date(text)
    assert seconds is None or moment(seconds) is not None
    port = port_of(split_url(text))
    assert port is None or port < 65536
    parse_challenges(text)
    for url in (text, f"http://{text}", f"//{text}/"):
        join_url("http://h/x", url)
        split_credentials(url)
        redact(url)
        redact_url(url)
        redact_data({"context": url, "x_proxy": [url]})


@given(st.integers(), st.integers())
@pure
@example(10**30, 0)
@example(253_402_300_799, 10**12)
@example(-62_135_596_800, -5)
def test_a_moment_never_raises(seconds: int, nanoseconds: int) -> None:
    found = moment(seconds, nanoseconds)
    assert found is None or found.year in range(1, 10_000)
