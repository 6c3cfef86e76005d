"""URLs as sources: one file in a layer, asked for again only when it changed."""

from __future__ import annotations

import base64
import gzip
import os
import threading
import time
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path

import pytest

from pybuild_magic.errors import Interrupted, SourceError
from pybuild_magic.session import SecretSource, SecretStore, Session
from pybuild_magic.store import Store
from pybuild_magic.store.fsck import fsck

from .conftest import Build
from .images import digest
from .servers import HTTPServer, Reply

OLD = "Wed, 01 Jan 2020 00:00:00 GMT"
OLD_NS = 1577836800 * 10**9


@pytest.fixture
def server() -> Iterator[HTTPServer]:
    with HTTPServer() as running:
        yield running


def entry(build: Build, url: str, attrs: dict[str, str] | None = None):
    """The one entry of the URL's layer."""
    (found,) = build.store.tree(build.open(url, attrs).snapshot()).walk()
    return found


def test_a_url_is_one_file_as_buildkit_makes_it(build: Build, server: HTTPServer) -> None:
    server.on("/dir/file.bin", Reply(b"content", headers={"Last-Modified": OLD}), forever=True)
    found = entry(build, f"{server.url}/dir/file.bin?x=1")
    assert (found.path, found.mode, found.uid, found.gid, found.mtime) == ("file.bin", 0o600, 0, 0, OLD_NS)
    attrs = {"http.filename": "name", "http.perm": "0644", "http.uid": "5", "http.gid": "6"}
    found = entry(build, f"{server.url}/dir/file.bin", attrs)
    assert (found.path, found.mode, found.uid, found.gid) == ("name", 0o644, 5, 6)
    assert build.open(f"{server.url}/dir/file.bin").files() == {"file.bin": b"content"}


def test_without_last_modified_the_time_is_1970(build: Build, server: HTTPServer) -> None:
    server.on("/f", Reply(b""))
    assert entry(build, f"{server.url}/f").mtime == 0


@pytest.mark.parametrize(
    ("path", "disposition", "name"),
    [
        ("/a/b.tgz", "", "b.tgz"),
        ("/a/b%20c", "", "b c"),
        ("/a/", "", "a"),
        ("/", "", "download"),
        ("/a", 'attachment; filename="real.txt"', "real.txt"),
        ("/a", "attachment; filename*=UTF-8''na%C3%AFve.txt", "naïve.txt"),
        ("/a", 'attachment; filename="../../etc/passwd"', "passwd"),
        ("/a", 'attachment; filename=".."', "download"),
        ("/a", 'attachment; filename=".wh..wh..opq"', "download"),
        ("/a/.wh.x", "", "download"),
        ("/a/x%00y", "", "download"),
    ],
)
def test_the_name_is_the_servers_or_the_urls_and_never_leaves_the_root(
    build: Build, server: HTTPServer, path: str, disposition: str, name: str
) -> None:
    server.on(path, Reply(b"1", headers={"Content-Disposition": disposition} if disposition else {}))
    assert entry(build, server.url + path).path == name


@pytest.mark.parametrize("answer", ["304", "304 without ETag", "200 with the same ETag"])
def test_a_second_build_takes_what_the_etag_says_is_the_same(store: Store, server: HTTPServer, answer: str) -> None:
    tag = {"ETag": '"v1"', "Last-Modified": OLD}
    first, second = Build(store, Session()), Build(store, Session())
    server.on("/f", Reply(b"content", headers=tag))
    key, snapshot = first.open(f"{server.url}/f").key(), first.open(f"{server.url}/f")
    server.on(
        "/f",
        {
            "304": Reply(b"", 304, tag),
            "304 without ETag": Reply(b"", 304),
            "200 with the same ETag": Reply(b"content", headers={"ETag": 'W/"v1"'}),
        }[answer],
        forever=True,
    )
    again = second.open(f"{server.url}/f")
    assert again.key() == key
    assert again.snapshot() == snapshot.snapshot()
    assert server.requests[-1].headers["If-None-Match"] == '"v1"'


def test_a_change_is_noticed(store: Store, server: HTTPServer) -> None:
    server.on("/f", Reply(b"one", headers={"ETag": '"1"'}), Reply(b"two", headers={"ETag": '"2"'}))
    one, two = (Build(store, Session()).open(f"{server.url}/f") for _ in range(2))
    assert one.key() != two.key()
    assert (one.files(), two.files()) == ({"f": b"one"}, {"f": b"two"})
    assert len(server.requests) == 2


def test_last_modified_serves_where_there_is_no_etag(store: Store, server: HTTPServer) -> None:
    server.on("/old", Reply(b"x", headers={"Last-Modified": OLD}), Reply(b"", 304))
    for _ in range(2):
        Build(store, Session()).open(f"{server.url}/old").key()
    assert server.requests[-1].headers["If-Modified-Since"] == OLD
    # What changed within the last minute may change again within the same second.
    server.on("/new", Reply(b"x", headers={"Last-Modified": formatdate(time.time() - 5, usegmt=True)}), forever=True)
    for _ in range(2):
        Build(store, Session()).open(f"{server.url}/new").key()
    assert "If-Modified-Since" not in server.requests[-1].headers


def test_same_content_under_another_time_has_another_key(store: Store, server: HTTPServer) -> None:
    server.on("/f", Reply(b"x"), Reply(b"x", headers={"Last-Modified": OLD}), Reply(b"x"))
    keys = [Build(store, Session()).open(f"{server.url}/f").key() for _ in range(3)]
    assert keys[0] == keys[2] != keys[1]


def test_a_checksum_names_the_content_without_asking(build: Build, server: HTTPServer) -> None:
    right = build.open(f"{server.url}/f", {"http.checksum": digest(b"content")})
    right.key()
    assert not server.requests
    server.on("/f", Reply(b"content"), Reply(b"other"))
    assert right.files() == {"f": b"content"}
    wrong = build.open(f"{server.url}/f", {"http.checksum": digest(b"content")})
    with pytest.raises(SourceError, match=rf"has the digest {digest(b'other')}, not {digest(b'content')}"):
        wrong.snapshot()
    with pytest.raises(SourceError, match="is not a digest"):
        build.open(f"{server.url}/f", {"http.checksum": "sha256:12"}).key()


def test_other_algorithms_check_too(build: Build, server: HTTPServer) -> None:
    import hashlib

    server.on("/f", Reply(b"content"), forever=True)
    good = "sha512:" + hashlib.sha512(b"content").hexdigest()
    assert build.open(f"{server.url}/f", {"http.checksum": good}).files() == {"f": b"content"}
    bad = "sha512:" + hashlib.sha512(b"x").hexdigest()
    with pytest.raises(SourceError, match="has the digest sha512:"):
        build.open(f"{server.url}/f", {"http.checksum": bad}).snapshot()


@pytest.mark.parametrize("length", [True, False])
@pytest.mark.parametrize("encoded", [True, False])
def test_bodies_come_in_every_shape(build: Build, server: HTTPServer, length: bool, encoded: bool) -> None:
    data = os.urandom(3 << 20)
    headers = {"Content-Encoding": "gzip"} if encoded else {}
    server.on("/f", Reply(gzip.compress(data, 1) if encoded else data, headers=headers, length=length))
    assert build.open(f"{server.url}/f").files() == {"f": data}


def test_a_download_that_breaks_begins_again(build: Build, server: HTTPServer) -> None:
    data = os.urandom(2 << 20)
    server.on("/f", Reply(data, cut=1 << 20), Reply(b"busy", 503), Reply(data))
    assert build.open(f"{server.url}/f").files() == {"f": data}
    server.on("/g", Reply(data, cut=1 << 20), forever=True)
    with pytest.raises(SourceError, match=r"/g could not be downloaded: the connection to .* broke"):
        build.open(f"{server.url}/g").snapshot()
    assert fsck(build.store) == []
    assert not list((build.store.root / "ingest").iterdir())


def test_failures_are_sentences(build: Build, server: HTTPServer) -> None:
    with pytest.raises(SourceError, match=rf"{server.url}/nowhere answered with HTTP status 404"):
        build.open(f"{server.url}/nowhere?signature=secret").snapshot()
    with pytest.raises(SourceError, match="refused"):
        build.open("http://127.0.0.1:1/x").snapshot()
    server.on("/f", Reply(b"", 302, {"Location": "file:///etc/passwd"}))
    with pytest.raises(SourceError, match="not http or https"):
        build.open(f"{server.url}/f").snapshot()


def test_redirects_are_followed_and_the_url_still_names_the_file(build: Build, server: HTTPServer) -> None:
    server.on("/f", Reply(b"", 302, {"Location": "/elsewhere/other"}))
    server.on("/elsewhere/other", Reply(b"content"))
    assert build.open(f"{server.url}/f").files() == {"f": b"content"}


def test_secrets_authorize_and_stay_with_the_host(
    store: Store, server: HTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN", "s3cret")
    secrets = SecretStore((SecretSource("HTTP_AUTH_TOKEN_127.0.0.1", env="TOKEN"),))
    with HTTPServer() as other:
        server.on("/f", Reply(b"", 302, {"Location": f"{other.url}/g"}))
        other.on("/g", Reply(b"content"))
        build = Build(store, Session(secrets=secrets))
        assert build.open(f"{server.url}/f").files() == {"f": b"content"}
        assert server.requests[-1].headers["Authorization"] == "Bearer s3cret"
        assert "Authorization" not in other.requests[-1].headers
    with pytest.raises(SourceError, match="The secret MISSING"):
        build.open(f"{server.url}/f", {"http.authheadersecret": "MISSING"}).snapshot()


@pytest.mark.parametrize(("given", "sent"), [("me:pa%20ss", b"me:pa ss"), ("TOKEN", b"TOKEN:")])
def test_credentials_of_a_url_authorize_and_stay_with_the_host(
    build: Build, server: HTTPServer, given: str, sent: bytes
) -> None:
    with HTTPServer() as other:
        server.on("/f", Reply(b"", 302, {"Location": f"{other.url}/g"}))
        other.on("/g", Reply(b"x"))
        assert build.open(f"http://{given}@{server.host}/f").files() == {"f": b"x"}
        assert server.requests[0].headers["Authorization"] == "Basic " + base64.b64encode(sent).decode()
        assert other.requests[0].headers["Authorization"] is None


def test_a_proxy_of_the_environment_is_used(build: Build, server: HTTPServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", server.url)
    server.on("http://files.example/f", Reply(b"by proxy"))
    assert build.open("http://files.example/f").files() == {"f": b"by proxy"}
    monkeypatch.setenv("no_proxy", "files.invalid")
    with pytest.raises(SourceError, match=r'no host "files.invalid"'):
        build.open("http://files.invalid/f").snapshot()


def test_interrupting_a_download_is_immediate(build: Build, server: HTTPServer) -> None:
    server.on("/f", Reply(b"x", delay=5))
    threading.Timer(0.3, build.cancel.cancel).start()
    began = time.monotonic()
    with pytest.raises(Interrupted):
        build.open(f"{server.url}/f").snapshot()
    assert time.monotonic() - began < 4


def test_progress_is_in_bytes(build: Build, server: HTTPServer, tmp_path: Path) -> None:
    server.on("/f", Reply(b"x" * 5000))
    build.open(f"{server.url}/f").snapshot()
    assert build.statuses["f"] == (5000, 5000)
