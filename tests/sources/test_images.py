"""Images as sources: from a registry, the store, layouts and archives, into the store."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import json
import os
import tarfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from pybuild_magic.errors import Interrupted, SourceError, UnsupportedError
from pybuild_magic.exporters.compression import Packing, pack_layers
from pybuild_magic.images.load import load_image
from pybuild_magic.oci import platform as platforms
from pybuild_magic.oci.descriptor import Descriptor
from pybuild_magic.oci.remote.registry import Registry
from pybuild_magic.session import Session
from pybuild_magic.session.auth import DockerAuth
from pybuild_magic.store import Store
from pybuild_magic.store.collect import collect_garbage
from pybuild_magic.store.fsck import fsck
from tests.services.baseimages import BaseImage
from tests.services.registry import Registry as Service

from .conftest import Build, Opened
from .images import DOCKER, OCI, Made, digest, make, make_index, skopeo, tar, upload, write_layout
from .proxy import Fault, FaultProxy
from .servers import HTTPServer, Reply

AMD = platforms.parse("linux/amd64")


@pytest.fixture
def ref(registry: Service, request: pytest.FixtureRequest) -> str:
    return f"{registry.host}/i/{hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:16]}:1"


def in_store(store: Store, name: str, image: Made) -> None:
    """What an earlier cell built."""
    from pybuild_magic.store import import_tar

    for data, diff_id in zip(image.layers, image.diff_ids, strict=True):
        import_tar(store, io.BytesIO(data), diff_id=diff_id)
    store.blobs.put(image.config)
    store.blobs.put(image.manifest)
    store.images.put(name, Descriptor(image.media_type, image.digest, len(image.manifest)))


@pytest.mark.parametrize(
    ("compression", "docker"), [("gzip", False), ("gzip", True), ("zstd", False), ("uncompressed", False)]
)
def test_an_image_is_resolved_and_its_layers_come_into_the_store(
    build: Build, ref: str, tmp_path: Path, compression: str, docker: bool
) -> None:
    image = make({"a": b"1", "d/b": b"2"}, {"a": b"3"}, compression=compression, docker=docker)
    upload(write_layout(tmp_path / "layout", image, tag="1"), ref)
    resolved = build.resolver.resolve(ref, AMD, "[internal] load metadata for x")
    assert (resolved.ref, resolved.digest, resolved.config) == (ref, image.digest, image.config)
    assert resolved.pinned == f"{ref}@{image.digest}"
    vertexes = [vertex for message in build.messages for vertex in message.vertexes]
    assert vertexes[-1].name == "[internal] load metadata for x"
    assert vertexes[-1].completed

    source = build.open(f"docker-image://{resolved.pinned}")
    assert source.files() == {"a": b"3", "d/b": b"2"}
    assert source.snapshot() == tuple(image.diff_ids)
    for diff_id, data in zip(image.diff_ids, image.layers, strict=True):
        assert build.store.blobs.read(digest(data)) == data
        if compression != "uncompressed":
            assert [form.digest for form in build.store.compressed.get(diff_id)] == [digest(data)]
    for data in image.layers:
        assert build.statuses[digest(data)] == (len(data), len(data))
        assert f"extracting {digest(data)}" in build.statuses
    assert f"resolve {resolved.pinned}" not in build.statuses  # only asking for the key resolves
    source.key()
    assert f"resolve {resolved.pinned}" in build.statuses
    assert fsck(build.store) == []


def test_a_second_build_asks_only_what_the_tag_is(store: Store, ref: str, registry: Service, tmp_path: Path) -> None:
    image = make({"a": os.urandom(1000)})
    upload(write_layout(tmp_path / "layout", image, tag="1"), ref)
    for number in range(2):
        build = Build(store, Session())
        before = len(registry.requests())
        with store.lease():
            pinned = build.resolver.resolve(ref, AMD).pinned
            build.open(f"docker-image://{pinned}").snapshot()
        asked = [request.method for request in registry.requests()[before:]]
        if number:
            assert asked == ["HEAD"]
        collect_garbage(store)


def test_names_of_the_same_layers_have_one_key(build: Build, ref: str, tmp_path: Path) -> None:
    one, two = make({"a": b"1"}), make({"a": b"1"}, config={"Env": ["B=2"]})
    upload(write_layout(tmp_path / "one", one, tag="1"), ref)
    upload(write_layout(tmp_path / "two", two, tag="1"), f"{ref}-two")
    other = make({"a": b"2"})
    upload(write_layout(tmp_path / "other", other, tag="1"), f"{ref}-other")
    keys = [build.open(f"docker-image://{name}").key() for name in (ref, f"{ref}-two", f"{ref}-other")]
    assert keys[0] == keys[1] != keys[2]


def test_what_a_cell_built_wins_over_a_registry_unless_the_build_pulls(store: Store, ref: str, tmp_path: Path) -> None:
    remote, local = make({"a": b"remote"}), make({"a": b"local"})
    upload(write_layout(tmp_path / "layout", remote, tag="1"), ref)
    in_store(store, ref, local)
    for mode, image in (("default", local), ("local", local), ("pull", remote)):
        build = Build(store, Session(), mode)
        pinned = build.resolver.resolve(ref, AMD).pinned
        assert pinned == f"{ref}@{image.digest}"
        assert build.open(f"docker-image://{pinned}").snapshot() == tuple(image.diff_ids)


def test_what_a_cell_built_needs_no_registry(build: Build) -> None:
    image = make({"a": b"local"}, {"b": b"more"})
    in_store(build.store, "docker.io/library/mine:latest", image)
    resolved = build.resolver.resolve("mine", AMD)
    assert resolved.pinned == f"docker.io/library/mine:latest@{image.digest}"
    again = Build(build.store, Session())
    assert again.open(f"docker-image://{resolved.pinned}").files() == {"a": b"local", "b": b"more"}


@pytest.mark.parametrize("docker", [False, True])
def test_the_platform_decides(build: Build, ref: str, tmp_path: Path, docker: bool) -> None:
    images = [make({"a": arch.encode()}, architecture=arch, docker=docker) for arch in ("arm64", "amd64", "s390x")]
    upload(write_layout(tmp_path / "layout", *images, index=True), ref)
    resolved = build.resolver.resolve(ref, platforms.parse("linux/s390x"))
    assert resolved.config == images[2].config
    assert resolved.digest == digest(make_index(*images)[0])
    assert build.open(f"docker-image://{resolved.pinned}", platform="linux/arm64").files() == {"a": b"arm64"}
    with pytest.raises(
        SourceError, match="no manifest for linux/riscv64; it has linux/arm64, linux/amd64, linux/s390x"
    ):
        build.resolver.resolve(ref, platforms.parse("linux/riscv64"))


@pytest.mark.parametrize("place", ["registry", "layout"])
def test_an_entry_that_says_no_platform_has_that_of_its_config(
    build: Build, ref: str, tmp_path: Path, place: str
) -> None:
    arm, amd = make({"a": b"arm"}, architecture="arm64"), make({"a": b"amd"})

    def resolve(name: str, *images: Made) -> bytes:
        path = write_layout(tmp_path / name, *images, index=True, platforms=False, tag="1")
        if place == "layout":
            return build.resolver.resolve(f"oci-layout://{path}", AMD).config
        at = ref.removesuffix(":1") + f":{name}"
        upload(path, at)
        return build.resolver.resolve(at, AMD).config

    assert resolve("both", arm, amd) == amd.config
    with pytest.raises(SourceError, match="no manifest for linux/amd64; it has linux/arm64"):
        resolve("arm", arm)


def test_an_image_of_the_store_for_another_platform_gives_way_to_the_registry(
    build: Build, ref: str, tmp_path: Path
) -> None:
    arm, amd = make({"a": b"arm"}, architecture="arm64"), make({"a": b"amd"})
    in_store(build.store, ref, arm)
    index, media_type = make_index(arm)
    build.store.blobs.put(index)
    build.store.images.put(ref, Descriptor(media_type, digest(index), len(index)))
    with pytest.raises(SourceError, match="no manifest for linux/amd64; it has linux/arm64"):
        build.resolver.resolve(ref, AMD)
    upload(write_layout(tmp_path / "layout", amd, tag="1"), ref)
    assert build.resolver.resolve(ref, AMD).config == amd.config


def test_layers_come_together_and_one_failure_stops_all(
    build: Build, registry: Service, tmp_path: Path, ref: str
) -> None:
    image = make(*({f"f{n}": os.urandom(200_000)} for n in range(4)))
    upload(write_layout(tmp_path / "layout", image, tag="1"), ref)
    with FaultProxy(registry.host) as proxy:
        away = ref.replace(registry.host, proxy.host)
        bad = digest(image.layers[2])
        proxy.faults = [
            Fault(f"^GET .*{bad}", corrupt=100_000),
            Fault("^GET .*/blobs/", delay=1, times=99),
        ]
        pinned = f"{away}@{image.digest}"
        build.resolver.resolve(pinned, AMD)
        began = time.monotonic()
        with pytest.raises(SourceError, match=bad):
            build.open(f"docker-image://{pinned}").snapshot()
        assert time.monotonic() - began < 3.5
        assert len(proxy.lines("^GET .*/blobs/")) >= 4
        proxy.faults = []
        assert build.open(f"docker-image://{pinned}").snapshot() == tuple(image.diff_ids)
        assert not [p for p in fsck(build.store) if p]


def test_interrupting_a_pull_is_immediate_and_leaves_nothing(
    build: Build, registry: Service, tmp_path: Path, ref: str
) -> None:
    image = make(*({f"f{n}": os.urandom(300_000)} for n in range(3)))
    upload(write_layout(tmp_path / "layout", image, tag="1"), ref)
    with FaultProxy(registry.host) as proxy:
        pinned = f"{ref.replace(registry.host, proxy.host)}@{image.digest}"
        build.resolver.resolve(pinned, AMD)
        proxy.faults = [Fault("^GET .*/blobs/", delay=3, times=99)]
        threading.Timer(0.4, build.cancel.cancel).start()
        began = time.monotonic()
        with pytest.raises(Interrupted):
            build.open(f"docker-image://{pinned}").snapshot()
        assert time.monotonic() - began < 2.8
    assert not list((build.store.root / "ingest").iterdir())
    assert fsck(build.store) == []


def test_layers_that_are_not_what_the_config_says_are_refused(build: Build, ref: str, tmp_path: Path) -> None:
    lie = make({"a": b"1"}, diff_ids=[digest(b"other")])
    upload(write_layout(tmp_path / "lie", lie, tag="1"), ref)
    with pytest.raises(SourceError, match="diffID"):
        build.open(f"docker-image://{ref}").snapshot()
    short = make({"a": b"1"}, {"b": b"2"}, diff_ids=[digest(tar({"a": b"1"}))])
    upload(write_layout(tmp_path / "short", short, tag="1"), f"{ref}-short")
    with pytest.raises(SourceError, match="has 2 layers, but its config 1"):
        build.open(f"docker-image://{ref}-short").snapshot()


def test_what_is_no_image_is_refused(build: Build, ref: str, tmp_path: Path) -> None:
    chart = make({"Chart.yaml": b"name: x"})
    chart.manifest = chart.manifest.replace(b"image.layer.v1.tar+gzip", b"helm.chart")
    chart.blobs[chart.digest] = chart.manifest
    upload(write_layout(tmp_path / "chart", chart, tag="1"), ref)
    with pytest.raises(SourceError, match=r"helm.chart instead of a layer"):
        build.open(f"docker-image://{ref}").snapshot()
    with pytest.raises(UnsupportedError, match="does not support the source 'gopher://x'"):
        build.open("gopher://x")


PLAIN = f"{OCI}layer.v1.tar"
DOCKER_PLAIN = f"{DOCKER}image.rootfs.diff.tar"


def same(data: bytes) -> bytes:
    return data


@pytest.mark.parametrize(
    ("media_type", "pack", "name"),
    [
        (PLAIN, same, "a"),
        (PLAIN, same, "BZh9"),
        (PLAIN, same, "\x1f\x8b\x08"),
        (DOCKER_PLAIN, same, "BZh9"),
        (DOCKER_PLAIN, gzip.compress, "a"),
        (f"{PLAIN}+gzip", same, "BZh9"),
        (f"{PLAIN}+gzip", zstandard.compress, "a"),
        (f"{DOCKER_PLAIN}.zstd", zstandard.compress, "a"),
        (f"{PLAIN}+zstd", lambda data: b"\x50\x2a\x4d\x18\4\0\0\0abcd" + zstandard.compress(data), "a"),
    ],
)
def test_a_layer_is_unpacked_by_its_type_and_content_and_keeps_its_form(
    build: Build, tmp_path: Path, media_type: str, pack: Callable[[bytes], bytes], name: str
) -> None:
    """As containerd and BuildKit 28.5.2: what says that it is plain is, of others the content says what they are."""
    blob = pack(tar({name: b"1"}))
    image = make({name: b"1"}, packed=[blob], layer_type=media_type)
    path = write_layout(tmp_path / "layout", image)
    pinned = f"oci-layout://docker.io/library/x@{build.resolver.resolve(f'oci-layout://{path}', AMD).digest}"
    source = build.open(pinned, {"oci.store": str(path)})
    assert source.files() == {name: b"1"}
    [form] = pack_layers(build.store, image.diff_ids, Packing(), build.cancel)
    assert (form.digest, form.media_type) == (digest(blob), media_type)
    assert fsck(build.store) == []


@pytest.mark.parametrize(("media_type", "pack"), [(PLAIN, gzip.compress), (DOCKER_PLAIN, bz2.compress)])
def test_a_layer_that_containerd_does_not_unpack_is_refused(
    build: Build, tmp_path: Path, media_type: str, pack: Callable[[bytes], bytes]
) -> None:
    path = write_layout(tmp_path / "layout", make({"a": b"1"}, packed=[pack(tar({"a": b"1"}))], layer_type=media_type))
    pinned = f"oci-layout://docker.io/library/x@{build.resolver.resolve(f'oci-layout://{path}', AMD).digest}"
    with pytest.raises(SourceError, match="is not a valid tar"):
        build.open(pinned, {"oci.store": str(path)}).files()


def test_a_layer_may_be_named_by_sha512_and_is_verified(build: Build, tmp_path: Path) -> None:
    def named(name: str, content: bytes) -> Opened:
        diff_id = "sha512:" + hashlib.sha512(content).hexdigest()
        path = write_layout(tmp_path / name, make({"a": b"1"}, diff_ids=[diff_id]))
        pinned = f"oci-layout://docker.io/library/x@{build.resolver.resolve(f'oci-layout://{path}', AMD).digest}"
        return build.open(pinned, {"oci.store": str(path)})

    with pytest.raises(SourceError, match=r"has the diffID sha512:.* where sha512:.* was announced"):
        named("wrong", b"else").files()
    right = named("right", tar({"a": b"1"}))
    with build.store.lease():
        assert right.files() == {"a": b"1"}
        assert right.snapshot()[0].startswith("sha512:")
    assert fsck(build.store) == []


@pytest.mark.parametrize("authorized", [False, True])
def test_a_layer_that_is_only_at_its_own_url_is_fetched_from_there_without_credentials(
    store: Store, tmp_path: Path, authorized: bool
) -> None:
    with HTTPServer() as registry, HTTPServer() as elsewhere:
        (tmp_path / "config.json").write_text(
            json.dumps({"auths": {host: {"auth": "bWU6c2VjcmV0"} for host in (registry.host, elsewhere.host)}})
        )
        session = Session(auth=DockerAuth({"DOCKER_CONFIG": str(tmp_path)})) if authorized else Session()
        build = Build(store, session)
        content = os.urandom(1000)
        image = make(
            {"a": content},
            layer_type=f"{DOCKER}image.rootfs.foreign.diff.tar.gzip",
            urls=["ftp://nowhere/x", f"{elsewhere.url}/gone", f"{elsewhere.url}/there"],
        )
        if authorized:
            registry.on("/v2/w/manifests/1", Reply(b"", 401, {"WWW-Authenticate": "Basic"}))
        manifest = Reply(image.manifest, headers={"Content-Type": image.media_type})
        for where in ("1", image.digest):
            registry.on(f"/v2/w/manifests/{where}", manifest, forever=True)
        registry.on(f"/v2/w/blobs/{digest(image.config)}", Reply(image.config))
        elsewhere.on("/there", Reply(image.layers[0], cut=100), Reply(image.layers[0]))
        pinned = build.resolver.resolve(f"{registry.host}/w:1", AMD).pinned
        assert build.open(f"docker-image://{pinned}").files() == {"a": content}
        assert [asked.path for asked in elsewhere.requests if asked.path == "/there"]
        assert not [asked for asked in elsewhere.requests if asked.headers["Authorization"]]
        assert any(asked.headers["Authorization"] for asked in registry.requests) is authorized


def test_what_a_foreign_url_sends_is_verified(build: Build) -> None:
    with HTTPServer() as server:
        image = make({"a": b"1"}, urls=[f"{server.url}/there"])
        for where in ("1", image.digest):
            server.on(
                f"/v2/w/manifests/{where}",
                Reply(image.manifest, headers={"Content-Type": image.media_type}),
                forever=True,
            )
        server.on(f"/v2/w/blobs/{digest(image.config)}", Reply(image.config))
        server.on("/there", Reply(bytes(len(image.layers[0]))))
        pinned = build.resolver.resolve(f"{server.host}/w:1", AMD).pinned
        with pytest.raises(SourceError, match=r"content of digest|is corrupt|not a valid tar"):
            build.open(f"docker-image://{pinned}").files()


@pytest.mark.parametrize("packed", [False, True], ids=["directory", "tar"])
def test_a_layout_is_a_named_context(build: Build, tmp_path: Path, packed: bool) -> None:
    image, other = make({"a": b"1"}, {"b": b"2"}), make({"c": b"3"}, architecture="arm64")
    path = write_layout(tmp_path / "layout", image, other, index=True)
    if packed:
        with tarfile.open(tmp_path / "layout.tar", "w") as archive:
            archive.add(path, ".")
        path = tmp_path / "layout.tar"
    resolved = build.resolver.resolve(f"oci-layout://{path}", AMD)
    assert resolved.config == image.config
    identifier = f"oci-layout://docker.io/library/base@{resolved.digest}"
    source = build.open(identifier, {"oci.store": str(path)})
    assert source.files() == {"a": b"1", "b": b"2"}
    assert source.key() != build.open(identifier, {"oci.store": str(path)}, "linux/arm64").key()
    with pytest.raises(SourceError, match="has no image sha256:"):
        build.resolver.resolve(f"oci-layout://{path}@{digest(b'')}", AMD)


def test_a_layouts_image_is_named_by_its_tag(build: Build, tmp_path: Path) -> None:
    one, two = make({"a": b"1"}), make({"a": b"2"})
    path = write_layout(tmp_path / "layout", one, two, tag="first")
    assert build.resolver.resolve(f"oci-layout://{path}:first", AMD).config == one.config
    assert build.resolver.resolve(f"oci-layout://{path}@{two.digest}", AMD).config == two.config
    with pytest.raises(SourceError, match="2 images: say which"):
        build.resolver.resolve(f"oci-layout://{path}", AMD)


def test_a_corrupt_layout_is_refused(build: Build, tmp_path: Path) -> None:
    image = make({"a": b"1"})
    path = write_layout(tmp_path / "layout", image)
    resolved = build.resolver.resolve(f"oci-layout://{path}", AMD)
    source = build.open(f"oci-layout://docker.io/library/x@{resolved.digest}", {"oci.store": str(path)})
    blob = path / "blobs/sha256" / digest(image.layers[0]).partition(":")[2]
    for evil, message in (
        (tar({"evil": b"1"}), "has more than its"),
        (image.layers[0][:-1] + b"x", "is corrupt|digest"),
    ):
        blob.write_bytes(evil)
        with pytest.raises(SourceError, match=message):
            source.snapshot()
    blob.unlink()
    with pytest.raises(SourceError, match="is missing"):
        source.snapshot()


def test_an_image_is_loaded_under_a_name(store: Store, busybox_layout: BaseImage) -> None:
    assert load_image(store, busybox_layout.path, "base") == "docker.io/library/base:latest"
    build = Build(store, Session())
    resolved = build.resolver.resolve("base", platforms.host())
    files = build.open(f"docker-image://{resolved.pinned}", platform=str(platforms.host())).files()
    assert "bin/busybox" in files
    assert fsck(store) == []


def test_archives_of_docker_save_are_loaded(store: Store, tmp_path: Path, busybox_layout: BaseImage) -> None:
    skopeo("copy", f"oci:{busybox_layout.path}", f"docker-archive:{tmp_path}/saved.tar:example.com/saved:9")
    assert load_image(store, tmp_path / "saved.tar") == "example.com/saved:9"
    build = Build(store, Session())
    pinned = build.resolver.resolve("example.com/saved:9", platforms.host()).pinned
    assert "bin/busybox" in build.open(f"docker-image://{pinned}", platform=str(platforms.host())).files()


def test_an_image_without_a_name_needs_one(store: Store, tmp_path: Path) -> None:
    path = write_layout(tmp_path / "layout", make({"a": b"1"}))
    with pytest.raises(SourceError, match=r"has no name. Give it one."):
        load_image(store, path)
    with pytest.raises(SourceError, match="nowhere"):
        load_image(store, tmp_path / "nowhere", "x")


def test_a_loaded_image_is_pushed_as_the_very_blobs(store: Store, ref: str, tmp_path: Path) -> None:
    image = make({"a": os.urandom(1000)})
    load_image(store, write_layout(tmp_path / "layout", image), "x")
    form = store.compressed.get(image.diff_ids[0])[0]
    client, cancel = Registry(), Build(store, Session()).cancel
    from pybuild_magic.oci import reference

    parsed = reference.parse(ref)
    for descriptor in (
        Descriptor(form.media_type, form.digest, form.size),
        Descriptor("", digest(image.config), len(image.config)),
    ):
        client.push_blob(parsed, descriptor, lambda d=descriptor: store.blobs.open(d.digest), cancel)
    client.push_manifest(
        parsed, Descriptor(image.media_type, image.digest, len(image.manifest)), image.manifest, cancel
    )
    inspected = json.loads(skopeo("inspect", "--tls-verify=false", f"docker://{ref}"))
    assert inspected["Digest"] == image.digest
    assert inspected["Layers"] == [digest(image.layers[0])]
    skopeo("copy", "--src-tls-verify=false", f"docker://{ref}", f"oci:{tmp_path}/back")
