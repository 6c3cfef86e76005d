"""The registry client against a real registry, directly and behind a network that misbehaves."""

from __future__ import annotations

import hashlib
import io
import json
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pybuild_magic.cancel import Cancel
from pybuild_magic.errors import ExportError, Interrupted, SourceError, UsageError
from pybuild_magic.oci import reference
from pybuild_magic.oci.descriptor import Descriptor
from pybuild_magic.oci.mediatype import OCI_LAYER, OCI_LAYER_GZIP
from pybuild_magic.oci.reference import Reference
from pybuild_magic.oci.remote.hosts import RegistrySettings
from pybuild_magic.oci.remote.registry import Registry
from pybuild_magic.oci.remote.upload import Upload
from pybuild_magic.session.auth import DockerAuth
from tests.services.registry import Registry as Service

from .images import Made, digest, make, make_index, skopeo, upload, write_layout
from .proxy import Fault, FaultProxy
from .servers import HTTPServer, Reply, self_signed

CANCEL = Cancel()
BIG = os.urandom(3 << 20)


def blob_of(data: bytes, media_type: str = OCI_LAYER) -> Descriptor:
    return Descriptor(media_type, digest(data), len(data))


def push(client: Registry, ref: Reference, image: Made) -> None:
    """Push everything of an image with the client under test."""
    for data in (image.config, *image.layers):
        client.push_blob(ref, blob_of(data), lambda data=data: io.BytesIO(data), CANCEL)
    manifest = Descriptor(image.media_type, image.digest, len(image.manifest))
    client.push_manifest(ref, manifest, image.manifest, CANCEL)


def read(client: Registry, ref: Reference, descriptor: Descriptor, cancel: Cancel = CANCEL) -> bytes:
    with client.blob(ref, descriptor, cancel) as reader:
        return b"".join(iter(lambda: reader.read(1 << 16), b""))


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A repository that no other test uses."""
    return "t/" + hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:16]


@pytest.fixture
def ref(registry: Service, name: str) -> Reference:
    return reference.parse(f"{registry.host}/{name}:1")


@pytest.fixture
def proxy(registry: Service) -> Iterator[FaultProxy]:
    with FaultProxy(registry.host) as running:
        yield running


@pytest.fixture
def proxied(proxy: FaultProxy, name: str) -> Reference:
    return reference.parse(f"{proxy.host}/{name}:1")


@pytest.mark.parametrize("docker", [False, True], ids=["oci", "docker"])
def test_what_is_pushed_is_pulled_again_and_verified_by_skopeo(ref: Reference, tmp_path: Path, docker: bool) -> None:
    arm, amd = make({"a": b"arm"}, docker=docker, architecture="arm64"), make({"a": b"amd"}, docker=docker)
    index, media_type = make_index(arm, amd, docker=docker)
    client = Registry()
    for image in (arm, amd):
        push(client, Reference(ref.domain, ref.path), image)
    client.push_manifest(ref, Descriptor(media_type, digest(index), len(index)), index, CANCEL)

    assert client.resolve(ref, CANCEL) == Descriptor(media_type, digest(index), len(index))
    assert client.manifest(ref, CANCEL).data == index
    by_digest = client.manifest(ref.with_digest(amd.digest), CANCEL)
    assert (by_digest.data, by_digest.descriptor.media_type) == (amd.manifest, amd.media_type)
    assert read(client, ref, blob_of(amd.layers[0])) == amd.layers[0]
    assert client.read_blob(ref, blob_of(amd.config), CANCEL) == amd.config
    skopeo("copy", "--all", "--src-tls-verify=false", f"docker://{ref}", f"dir:{tmp_path}")
    assert json.loads((tmp_path / "manifest.json").read_bytes()) == json.loads(index)


def test_a_blob_that_is_there_is_not_sent_again(ref: Reference, registry: Service) -> None:
    client, seen = Registry(), list[int]()
    assert client.push_blob(ref, blob_of(BIG), lambda: io.BytesIO(BIG), CANCEL, seen.append) is Upload.UPLOADED
    assert seen == sorted(seen)
    assert seen[-1] == len(BIG)
    before = len(registry.requests())
    assert client.push_blob(ref, blob_of(BIG), lambda: io.BytesIO(BIG), CANCEL) is Upload.EXISTS
    assert [request.method for request in registry.requests()[before:]] == ["HEAD"]


def test_a_blob_of_another_repository_is_mounted(ref: Reference, registry: Service) -> None:
    client, data = Registry(), os.urandom(1 << 16)
    other = Reference(ref.domain, f"{ref.path}-other")
    client.push_blob(ref, blob_of(data), lambda: io.BytesIO(data), CANCEL)
    before = len(registry.requests())
    pushed = client.push_blob(other, blob_of(data), lambda: io.BytesIO(data), CANCEL, mount_from=[ref])
    assert pushed is Upload.MOUNTED
    assert "PUT" not in {request.method for request in registry.requests()[before:]}
    assert read(client, other, blob_of(data)) == data


def test_a_blob_that_cannot_be_mounted_is_uploaded(ref: Reference) -> None:
    data = os.urandom(1 << 16)
    empty = Reference(ref.domain, f"{ref.path}-empty")
    client = Registry()
    assert client.push_blob(ref, blob_of(data), lambda: io.BytesIO(data), CANCEL, mount_from=[empty]) is Upload.UPLOADED
    assert read(client, ref, blob_of(data)) == data


@pytest.mark.parametrize("chunk", [1 << 20, 3 << 20, 1000_000])
def test_a_blob_is_uploaded_in_chunks(ref: Reference, registry: Service, chunk: int) -> None:
    data = os.urandom(3 << 20)
    client = Registry()
    client.push_blob(ref, blob_of(data), lambda: io.BytesIO(data), CANCEL, chunk=chunk)
    assert read(client, ref, blob_of(data)) == data
    assert any(request.method == "PATCH" for request in registry.requests())


def test_an_upload_that_breaks_goes_on(proxied: Reference, proxy: FaultProxy) -> None:
    data = os.urandom(3 << 20)
    proxy.faults = [Fault("^PUT .*digest=", cut_upload=1 << 20), Fault("^PATCH", cut_upload=1 << 18)]
    client = Registry()
    client.push_blob(proxied, blob_of(data), lambda: io.BytesIO(data), CANCEL)
    assert not proxy.faults[0].times
    other = Reference(proxied.domain, f"{proxied.path}-chunked")
    client.push_blob(other, blob_of(data), lambda: io.BytesIO(data), CANCEL, chunk=1 << 20)
    assert not proxy.faults[1].times
    assert read(client, other, blob_of(data)) == data


def test_a_registry_that_takes_no_large_bodies_gets_chunks(proxied: Reference, proxy: FaultProxy) -> None:
    proxy.faults = [Fault("^PUT", status="413 Request Entity Too Large")]
    client, data = Registry(), os.urandom(1 << 20)
    assert client.push_blob(proxied, blob_of(data), lambda: io.BytesIO(data), CANCEL) is Upload.UPLOADED
    assert proxy.lines("^PATCH")


def test_content_that_is_not_what_its_digest_says_is_refused_by_the_registry(ref: Reference) -> None:
    wrong = Descriptor(OCI_LAYER, digest(b"something else"), 4)
    with pytest.raises(ExportError, match=r"could not be pushed: .* HTTP 400 \(DIGEST_INVALID"):
        Registry().push_blob(ref, wrong, lambda: io.BytesIO(b"data"), CANCEL)


def test_a_blob_goes_on_from_where_the_connection_broke(proxied: Reference, proxy: FaultProxy) -> None:
    client = Registry()
    client.push_blob(proxied, blob_of(BIG), lambda: io.BytesIO(BIG), CANCEL)
    proxy.faults = [Fault("^GET .*/blobs/", cut=1 << 20), Fault("^GET .*/blobs/", cut=1 << 20)]
    assert read(client, proxied, blob_of(BIG)) == BIG
    ranges = [line for head in proxy.requests for line in head.splitlines() if line.startswith("Range:")]
    assert ranges == ["Range: bytes=1048576-", "Range: bytes=2097152-"]


def test_a_server_that_ignores_ranges_is_read_from_the_start(name: str) -> None:
    with HTTPServer() as server:
        data = BIG[: 1 << 20]
        replies = [Reply(data, cut=1000), Reply(data)]
        server.on(f"/v2/{name}/blobs/{digest(data)}", *replies)
        assert read(Registry(), reference.parse(f"{server.host}/{name}"), blob_of(data)) == data


def test_a_blob_that_never_comes_whole_fails(proxied: Reference, proxy: FaultProxy) -> None:
    client, data = Registry(), os.urandom(1000)
    client.push_blob(proxied, blob_of(data), lambda: io.BytesIO(data), CANCEL)
    proxy.faults = [Fault("^GET .*/blobs/", cut=0, times=99)]
    with pytest.raises(SourceError, match=r"Blob sha256:\w+ of .* stopped after 0 of 1000 bytes"):
        read(client, proxied, blob_of(data))


def test_corrupted_bytes_are_never_taken_for_the_blob(proxied: Reference, proxy: FaultProxy) -> None:
    client = Registry()
    client.push_blob(proxied, blob_of(BIG), lambda: io.BytesIO(BIG), CANCEL)
    proxy.faults = [Fault("^GET .*/blobs/", corrupt=2_000_000)]
    with pytest.raises(SourceError, match=r"sent content of digest sha256:\w+ for blob sha256:\w+ .* discarded"):
        read(client, proxied, blob_of(BIG))


def test_corrupted_manifests_are_refused(proxied: Reference, proxy: FaultProxy) -> None:
    client, image = Registry(), make({"f": b"x"})
    push(client, proxied, image)
    proxy.faults = [Fault("^GET .*/manifests/", corrupt=5, times=2)]
    with pytest.raises(SourceError, match=f"content of digest sha256:.*, not {image.digest}"):
        client.manifest(proxied.with_digest(image.digest), CANCEL)
    with pytest.raises(SourceError, match="content of digest"):
        client.manifest(proxied, CANCEL)


@pytest.mark.parametrize(
    "fault",
    [
        Fault("^GET", status="503 Service Unavailable"),
        Fault("^GET", status="500 Internal Server Error", times=2),
        Fault("^GET", status="429 Too Many Requests", headers="Retry-After: 1\r\n"),
    ],
    ids=lambda fault: fault.status[:3],
)
def test_a_server_that_is_busy_is_asked_again(proxied: Reference, proxy: FaultProxy, fault: Fault) -> None:
    client, image = Registry(), make({"f": b"x"})
    push(client, proxied, image)
    proxy.faults = [Fault(fault.match, status=fault.status, headers=fault.headers, times=fault.times)]
    began = time.monotonic()
    assert client.manifest(proxied, CANCEL).data == image.manifest
    assert time.monotonic() - began >= ("Retry-After" in fault.headers)


def test_a_server_that_stays_busy_is_named(proxied: Reference, proxy: FaultProxy) -> None:
    proxy.faults = [Fault("^HEAD", status="503 Service Unavailable", headers="Retry-After: 0\r\n", times=99)]
    with pytest.raises(SourceError, match=rf"could not be pulled: {proxy.host} answered HTTP 503"):
        Registry().resolve(proxied, CANCEL)


def test_an_unknown_tag_names_the_nearest(ref: Reference) -> None:
    client = Registry()
    push(client, ref.with_tag("3.11-slim"), make({"f": b"x"}))
    with pytest.raises(SourceError, match=r'has no tag "3.11-slin" .* Did you mean "3.11-slim"\?'):
        client.resolve(ref.with_tag("3.11-slin"), CANCEL)
    assert client.tags(ref, CANCEL) == ["3.11-slim"]


def test_what_is_not_there_is_said_to_be_missing(ref: Reference) -> None:
    with pytest.raises(SourceError, match=r'was not found: .* has no tag "1" of'):
        Registry().resolve(ref, CANCEL)
    with pytest.raises(SourceError, match=r"was not found: .*MANIFEST_UNKNOWN"):
        Registry().manifest(ref.with_digest(digest(b"")), CANCEL)


def test_a_registry_that_is_down_is_named_soon() -> None:
    began = time.monotonic()
    with pytest.raises(SourceError, match=r"127.0.0.1:1/x:latest could not be pulled: 127.0.0.1:1 .*refused"):
        Registry().resolve(reference.parse("127.0.0.1:1/x"), CANCEL)
    with pytest.raises(SourceError, match=r'there is no host "nowhere.invalid"'):
        Registry().resolve(reference.parse("nowhere.invalid/x"), CANCEL)
    assert time.monotonic() - began < 5


def test_interrupting_closes_the_connection_at_once(proxied: Reference, proxy: FaultProxy) -> None:
    client = Registry()
    client.push_blob(proxied, blob_of(BIG), lambda: io.BytesIO(BIG), CANCEL)
    proxy.faults = [Fault("^GET .*/blobs/", delay=5)]
    cancel = Cancel()
    threading.Timer(0.3, cancel.cancel).start()
    began = time.monotonic()
    with pytest.raises(Interrupted):
        read(client, proxied, blob_of(BIG), cancel)
    assert time.monotonic() - began < 4


def test_interrupting_wakes_a_client_that_waits_for_an_answer_or_a_retry(proxied: Reference, proxy: FaultProxy) -> None:
    for fault in (Fault("^HEAD", status="429 Busy", headers="Retry-After: 30\r\n"), None):
        cancel = Cancel()
        threading.Timer(0.3, cancel.cancel).start()
        began = time.monotonic()
        if fault:
            proxy.faults = [fault]
            with pytest.raises(Interrupted):
                Registry().resolve(proxied, cancel)
        else:
            with HTTPServer() as server, pytest.raises(Interrupted):
                server.on("/v2/x/manifests/latest", Reply(b"", delay=10))
                Registry().resolve(reference.parse(f"{server.host}/x"), cancel)
        assert time.monotonic() - began < 8


def test_several_blobs_are_read_at_once_by_one_client(ref: Reference) -> None:
    client = Registry()
    datas = [os.urandom(1 << 20) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda d: client.push_blob(ref, blob_of(d), lambda: io.BytesIO(d), CANCEL), datas))
        assert list(pool.map(lambda d: read(client, ref, blob_of(d)), datas)) == datas


def login(path: Path, host: str, entry: dict[str, str]) -> DockerAuth:
    path.mkdir(exist_ok=True)
    (path / "config.json").write_text(json.dumps({"auths": {host: entry}}))
    return DockerAuth({"DOCKER_CONFIG": str(path)})


@pytest.mark.parametrize("kind", ["basic", "token"])
def test_credentials_are_needed_and_used(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    service: Service = request.getfixturevalue(f"{kind}_registry")
    ref, image = reference.parse(f"{service.host}/private/x:1"), make({"f": b"x"})
    user, _, password = (service.credentials or "").partition(":")
    client = Registry(login(tmp_path, service.host, {"username": user, "password": password}))
    push(client, ref, image)
    assert client.manifest(ref, CANCEL).data == image.manifest

    for nobody in (Registry(), Registry(DockerAuth({"DOCKER_CONFIG": "/nowhere"}))):
        with pytest.raises(SourceError, match=r"Access to .*/private/x:1 was denied: .*HTTP 401.*docker login"):
            nobody.manifest(ref, CANCEL)
    with pytest.raises(ExportError, match=r"Pushing .* was denied: .* no credentials are in /nowhere/config.json"):
        nobody.push_blob(ref, blob_of(b"1"), lambda: io.BytesIO(b"1"), CANCEL)
    wrong = Registry(login(tmp_path, service.host, {"username": user, "password": "wr0ng-secret"}))
    with pytest.raises(SourceError, match=rf'credentials \(user "{user}"\) were found in {tmp_path}') as caught:
        wrong.manifest(ref, CANCEL)
    assert "wr0ng-secret" not in str(caught.value)


def test_one_token_serves_all_threads(token_registry: Service, tmp_path: Path) -> None:
    user, _, password = (token_registry.credentials or "").partition(":")
    auth = login(tmp_path, token_registry.host, {"username": user, "password": password})
    ref, datas = reference.parse(f"{token_registry.host}/a/b:1"), [os.urandom(1 << 18) for _ in range(6)]
    tokens = token_registry.tokens
    assert tokens
    for data in datas:
        Registry(auth).push_blob(ref, blob_of(data), lambda data=data: io.BytesIO(data), CANCEL)
    before = len(tokens.granted)
    client = Registry(auth)
    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(lambda d: read(client, ref, blob_of(d)), datas)) == datas
    assert len(tokens.granted) == before + 1
    assert tokens.granted[-1] == [{"type": "repository", "name": "a/b", "actions": ["pull"]}]


def test_an_identity_token_is_exchanged(token_registry: Service, tmp_path: Path) -> None:
    tokens = token_registry.tokens
    assert tokens
    auth = login(tmp_path, token_registry.host, {"identitytoken": tokens.refresh_token})
    data = os.urandom(100)
    ref = reference.parse(f"{token_registry.host}/a/b:1")
    assert Registry(auth).push_blob(ref, blob_of(data), lambda: io.BytesIO(data), CANCEL) is Upload.UPLOADED


def test_mounting_asks_for_a_token_for_both_repositories(token_registry: Service, tmp_path: Path) -> None:
    user, _, password = (token_registry.credentials or "").partition(":")
    client = Registry(login(tmp_path, token_registry.host, {"username": user, "password": password}))
    one, two = (reference.parse(f"{token_registry.host}/m/{which}:1") for which in ("one", "two"))
    data = os.urandom(1000)
    client.push_blob(one, blob_of(data), lambda: io.BytesIO(data), CANCEL)
    assert client.push_blob(two, blob_of(data), lambda: io.BytesIO(data), CANCEL, mount_from=[one]) is Upload.MOUNTED


def test_authorization_never_goes_to_another_host(tmp_path: Path) -> None:
    data = b"content"
    with HTTPServer() as storage, HTTPServer() as server:
        storage.on("/there", Reply(data))
        server.on(
            f"/v2/x/blobs/{digest(data)}",
            Reply(b"", 401, {"WWW-Authenticate": 'Basic realm="x"'}),
            Reply(b"", 307, {"Location": f"http://{storage.host}/there"}),
        )
        client = Registry(login(tmp_path, server.host, {"username": "u", "password": "p"}))
        assert read(client, reference.parse(f"{server.host}/x"), blob_of(data)) == data
        assert server.requests[-1].headers["Authorization"].startswith("Basic ")
        assert "Authorization" not in storage.requests[-1].headers


def test_a_challenge_of_a_redirect_target_gets_no_credentials(tmp_path: Path) -> None:
    with HTTPServer() as thief, HTTPServer() as server:
        thief.on("/take", Reply(b"", 401, {"WWW-Authenticate": 'Basic realm="x"'}))
        server.on("/v2/x/manifests/latest", Reply(b"", 302, {"Location": f"http://{thief.host}/take"}))
        client = Registry(login(tmp_path, server.host, {"username": "u", "password": "p"}))
        with pytest.raises(SourceError, match="denied"):
            client.manifest(reference.parse(f"{server.host}/x"), CANCEL)
        assert all("Authorization" not in request.headers for request in thief.requests)


def test_hostile_answers_are_refused(tmp_path: Path) -> None:
    manifest = json.loads(make({"f": b"x"}).manifest)
    both = json.dumps(manifest | {"manifests": []}).encode()
    with HTTPServer() as server:
        ref = reference.parse(f"{server.host}/x")
        cases = {
            "more than 4194304 bytes": Reply(b" " * (5 << 20)),
            "both a manifest and an index": Reply(both, headers={"Content-Type": manifest["mediaType"]}),
            "calls its content": Reply(
                json.dumps(manifest).encode(), headers={"Content-Type": "application/vnd.oci.image.index.v1+json"}
            ),
            "cannot be read": Reply(b"<html>"),
            "schema version 1": Reply(b'{"schemaVersion": 1, "fsLayers": []}'),
            "is not a URL": Reply(b"", 401, {"WWW-Authenticate": 'Bearer realm="file:///etc/passwd"'}),
            "did not answer with a token": Reply(b"", 401, {"WWW-Authenticate": f'Bearer realm="{server.url}/token"'}),
        }
        server.on("/token", Reply(b'{"token": "a\\r\\nX: y"}'), forever=True)
        for message, reply in cases.items():
            server.on("/v2/x/manifests/latest", reply)
            with pytest.raises(SourceError, match=message):
                Registry().manifest(ref, CANCEL)
        data = b"1234"
        server.on(f"/v2/x/blobs/{digest(data)}", Reply(data + b"5"))
        with pytest.raises(SourceError, match="more than 4 bytes"):
            read(Registry(), ref, blob_of(data))
        server.on("/v2/x/manifests/latest", Reply(b"", 302, {"Location": "file:///etc/passwd"}))
        with pytest.raises(SourceError, match="not http or https"):
            Registry().manifest(ref, CANCEL)
        server.on("/v2/x/manifests/latest", Reply(b"", 302, {"Location": "/v2/x/manifests/latest"}), forever=True)
        with pytest.raises(SourceError, match="more than 10 redirects"):
            Registry().manifest(ref, CANCEL)


@pytest.mark.parametrize("status", [400, 403, 404, 405, 501])
def test_a_registry_without_head_is_asked_by_get(status: int) -> None:
    image = make({"a": b"1"})
    with HTTPServer() as server, Registry() as client:
        headers = {"Content-Type": image.media_type}
        server.on("/v2/a/manifests/1", Reply(b"", status), Reply(image.manifest, headers=headers))
        found = client.resolve(reference.parse(f"{server.host}/a:1"), CANCEL)
        assert (found.digest, found.size, found.media_type) == (image.digest, len(image.manifest), image.media_type)
        assert [asked.method for asked in server.requests] == ["HEAD", "GET"]


def test_what_a_get_says_of_a_refusal_is_told() -> None:
    words = b'{"errors": [{"code": "DENIED", "message": "your address is not welcome"}]}'
    with HTTPServer() as server, Registry() as client:
        server.on("/v2/a/manifests/1", Reply(words, 403), forever=True)
        with pytest.raises(SourceError, match="your address is not welcome"):
            client.resolve(reference.parse(f"{server.host}/a:1"), CANCEL)


def test_a_manifest_may_be_among_the_blobs() -> None:
    image = make({"a": b"1"})
    with HTTPServer() as server, Registry() as client:
        server.on(f"/v2/a/blobs/{image.digest}", Reply(image.manifest, headers={"Content-Type": "x/y"}))
        found = client.manifest(reference.parse(f"{server.host}/a@{image.digest}"), CANCEL)
        assert found.data == image.manifest
        assert found.descriptor.media_type == image.media_type


def test_a_mirror_is_asked_before_the_registry_and_replaced_by_it(ref: Reference, registry: Service) -> None:
    image, later = make({"f": b"x"}), make({"f": b"y"})
    client = Registry()
    push(client, ref, image)
    with FaultProxy(registry.host) as mirror, FaultProxy(registry.host) as origin:
        away = Reference(origin.host, ref.path, "1")
        settings = RegistrySettings(mirrors={origin.host: ("127.0.0.1:1", f"http://{mirror.host}")})
        client = Registry(settings=settings)
        assert client.manifest(away, CANCEL).data == image.manifest
        assert read(client, away, blob_of(image.layers[0])) == image.layers[0]
        assert not origin.requests
        assert f"ns={origin.host.replace(':', '%3A')}" in mirror.requests[-1]
        mirror.faults = [Fault("", status="404 Not Found", times=99)]
        assert client.manifest(away, CANCEL).data == image.manifest
        assert origin.requests
        before = len(mirror.requests)
        push(client, away, later)
        assert len(mirror.requests) == before


def test_a_mirror_that_sends_something_else_is_replaced_by_the_registry(ref: Reference, registry: Service) -> None:
    image = make({"f": b"x"})
    push(Registry(), ref, image)
    with FaultProxy(registry.host) as mirror:
        mirror.faults = [Fault("manifests", corrupt=3, times=99)]
        client = Registry(settings=RegistrySettings(mirrors={ref.domain: (f"http://{mirror.host}",)}))
        assert client.manifest(ref.with_digest(image.digest), CANCEL).data == image.manifest


def test_the_environment_sets_mirrors() -> None:
    variables = {
        "PYBUILD_REGISTRY_MIRRORS": "docker.io=https://a.example, docker.io=b.example:5000 ghcr.io=https://c/x"
    }
    settings = RegistrySettings.from_environment(variables)
    assert settings.mirrors == {"docker.io": ("https://a.example", "b.example:5000"), "ghcr.io": ("https://c/x",)}
    with pytest.raises(UsageError, match="PYBUILD_REGISTRY_MIRRORS has an invalid item, 'nonsense'"):
        RegistrySettings.from_environment({"PYBUILD_REGISTRY_MIRRORS": "nonsense"})


def test_tls_needs_a_known_ca(ref: Reference, registry: Service, tmp_path: Path) -> None:
    image = make({"f": b"x"})
    push(Registry(), ref, image)
    context, ca = self_signed("127.0.0.1")
    with FaultProxy(registry.host, tls=context) as proxy:
        away = reference.parse(f"somewhere.example/{ref.path}:1")

        def client(certs: tuple[Path, ...] = (), insecure: frozenset[str] = frozenset()) -> Registry:
            # Through a mirror, since this machine's own name is plain HTTP by Docker's convention.
            mirrors = {"somewhere.example": (f"https://{proxy.host}",)}
            return Registry(settings=RegistrySettings(mirrors, insecure, certs))

        with pytest.raises(SourceError):
            client().manifest(away, CANCEL)
        assert not proxy.requests
        (tmp_path / proxy.host).mkdir()
        (tmp_path / proxy.host / "ca.crt").write_bytes(ca)
        assert client((tmp_path,)).manifest(away, CANCEL).data == image.manifest
        assert client(insecure=frozenset({proxy.host})).manifest(away, CANCEL).data == image.manifest


def test_an_insecure_registry_may_speak_plain_http(ref: Reference, registry: Service, tmp_path: Path) -> None:
    image = make({"f": b"x"})
    push(Registry(), ref, image)
    away = reference.parse(f"somewhere.example/{ref.path}:1")
    mirrors = {"somewhere.example": (f"https://{registry.host}",)}
    with pytest.raises(SourceError):
        Registry(settings=RegistrySettings(mirrors)).manifest(away, CANCEL)
    client = Registry(settings=RegistrySettings(mirrors, frozenset({registry.host})))
    assert client.manifest(away, CANCEL).data == image.manifest


def test_skopeo_uploads_are_read(ref: Reference, tmp_path: Path) -> None:
    image = make({"a": b"1"}, {"b": b"2"}, compression="zstd")
    upload(write_layout(tmp_path / "layout", image, tag="x"), str(ref))
    client = Registry()
    assert client.manifest(ref, CANCEL).data == image.manifest
    for data in image.layers:
        assert read(client, ref, blob_of(data, OCI_LAYER_GZIP)) == data
