"""The `image` and `registry` exporters: names in the store, and a registry that gets only what it lacks."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import uuid
from pathlib import Path

import msgspec
import pytest

from pybuild_magic.cancel import Cancel
from pybuild_magic.errors import ExportError, Interrupted
from pybuild_magic.exporters import SolveResult
from pybuild_magic.oci.blobs import read_index, read_manifest
from pybuild_magic.oci.descriptor import Descriptor
from pybuild_magic.oci.mediatype import DOCKER_FOREIGN_GZIP, OCI_FOREIGN_GZIP, OCI_LAYER_GZIP
from pybuild_magic.oci.platform import parse
from pybuild_magic.oci.validate import problems
from pybuild_magic.session import Session
from pybuild_magic.session.auth import DockerAuth
from pybuild_magic.store import Compressed, Store, decompress
from tests.exporters.build import SECOND, TIME, Lab, file
from tests.services.baseimages import skopeo
from tests.services.buildkit import Engine
from tests.services.registry import Registry


def test_every_name_finds_the_image_in_the_store(lab: Lab) -> None:
    result = lab.result(file("a", b"x"))
    response = lab.export("image", result, {"name": "a,ghcr.io/b/c:1,a:latest", "name-canonical": "true"})
    digest = response["containerimage.digest"]
    assert response["image.name"] == "docker.io/library/a:latest,ghcr.io/b/c:1"
    assert [one.name for one in lab.store.images.list()] == [
        "docker.io/library/a:latest",
        f"docker.io/library/a:latest@{digest}",
        "ghcr.io/b/c:1",
        f"ghcr.io/b/c:1@{digest}",
    ]
    assert lab.steps[:4] == [
        "exporting layers",
        f"exporting manifest {digest}",
        f"exporting config {response['containerimage.config.digest']}",
        "naming to docker.io/library/a:latest",
    ]
    record = lab.store.images.get("docker.io/library/a:latest")
    assert record is not None
    assert problems(lab.store.blobs, record.descriptor, decompress) == []
    described = json.loads(base64.b64decode(response["containerimage.descriptor"]))
    assert described == {
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": digest,
        "size": record.descriptor.size,
        "platform": {"architecture": "amd64", "os": "linux"},
    }


def test_a_dangling_name_stands_in_or_beside(lab: Lab) -> None:
    result = lab.result(file("a", b"x"))
    digest = lab.export("image", result, {"dangling-name-prefix": "pybuild"})["containerimage.digest"]
    assert [one.name for one in lab.store.images.list()] == [f"pybuild@{digest}"]
    both = {"dangling-name-prefix": "other", "name": "a"}
    assert lab.export("image", result, both)["image.name"] == f"docker.io/library/a:latest,other@{digest}"
    only = {**both, "danging-name-empty-only": "true"}
    assert lab.export("image", result, only)["image.name"] == "docker.io/library/a:latest"


def test_a_cached_build_makes_the_same_image_again(lab: Lab) -> None:
    first = lab.export("image", lab.result(file("a", b"x")), {"name": "a"})
    assert lab.export("image", lab.result(file("a", b"x")), {"name": "a"}) == first


def test_an_index_is_kept_for_several_platforms(lab: Lab) -> None:
    targets = [lab.result(file("a", name.encode()), platform=parse(name)).targets[0] for name in ("amd64", "arm64")]
    response = lab.export("image", SolveResult(tuple(targets), multi_platform=True), {"name": "a"})
    record = lab.store.images.get("docker.io/library/a:latest")
    assert record is not None
    assert "containerimage.config.digest" not in response
    index = read_index(lab.store.blobs, record.descriptor)
    assert [str(entry.platform) for entry in index.manifests] == ["linux/amd64", "linux/arm64"]
    assert problems(lab.store.blobs, record.descriptor, decompress) == []


def test_rewritten_layers_have_no_time_after_the_epoch_and_the_base_stays(lab: Lab) -> None:
    base = lab.result(file("old", b"x")).targets[0]
    assembled = msgspec.structs.replace(
        base.config, rootfs=msgspec.structs.replace(base.config.rootfs, diff_ids=base.snapshot)
    )
    new = lab.layer(file("early", mtime=5 * SECOND), file("late"))
    target = msgspec.structs.replace(
        base, snapshot=(*base.snapshot, new.diff_id), base=assembled, created=(TIME * SECOND, TIME * SECOND)
    )
    lab.export(
        "image", SolveResult((target,), epoch=10), {"name": "a", "rewrite-timestamp": "true", "compression": "zstd"}
    )
    record = lab.store.images.get("docker.io/library/a:latest")
    assert record is not None
    manifest = read_manifest(lab.store.blobs, record.descriptor)
    config = msgspec.json.decode(lab.store.blobs.read(manifest.config.digest))
    old, rewritten = config["rootfs"]["diff_ids"]
    assert old == base.snapshot[0]
    assert [entry.mtime for entry in lab.store.layer(rewritten).index] == [5 * SECOND, 10 * SECOND]
    assert "rewriting layers with source-date-epoch 10 (1970-01-01 00:00:10 +0000 UTC)" in lab.steps
    assert [entry.get("created") for entry in config["history"]] == ["1970-01-01T00:00:10Z"] * 2
    assert config["history"][1]["created_by"] == "created by buildkit"


def test_layers_that_are_not_to_be_distributed_are_unless_they_are_preferred_so(lab: Lab) -> None:
    result = lab.result(file("a", b"x"))
    [diff_id] = result.targets[0].snapshot
    digest = lab.export("image", result, {"name": "a"})["containerimage.digest"]
    layer = read_manifest(lab.store.blobs, Descriptor("", digest, lab.store.blobs.size(digest))).layers[0]
    lab.store.compressed.put(diff_id, Compressed(DOCKER_FOREIGN_GZIP, layer.digest, layer.size, "gzip"))
    for attrs, kind in (({}, OCI_LAYER_GZIP), ({"prefer-nondist-layers": "true"}, OCI_FOREIGN_GZIP)):
        digest = lab.export("image", result, {"name": "a", **attrs})["containerimage.digest"]
        assert (
            read_manifest(lab.store.blobs, Descriptor("", digest, lab.store.blobs.size(digest))).layers[0].media_type
            == kind
        )


def test_the_store_survives_a_process_and_has_the_image(lab: Lab) -> None:
    lab.export("image", lab.result(file("a", b"x")), {"name": "a", "compression": "uncompressed"})
    other = Store(lab.store.root)
    record = other.images.get("docker.io/library/a:latest")
    assert record is not None
    assert problems(other.blobs, record.descriptor, decompress) == []
    other.close()


def name_in(registry: Registry) -> str:
    return f"{registry.host}/test/{uuid.uuid4().hex}"


@pytest.mark.parametrize("compression", ["uncompressed", "gzip", "zstd"])
def test_what_is_pushed_is_pulled_by_others(lab: Lab, registry: Registry, tmp_path: Path, compression: str) -> None:
    name = name_in(registry)
    response = lab.export(
        "registry", lab.result(file("a", b"x" * 5000)), {"name": f"{name}:1", "compression": compression}
    )
    assert lab.steps[-2:] == ["pushing layers", f"pushing manifest for {name}:1@{response['containerimage.digest']}"]
    skopeo("copy", f"docker://{name}:1", f"dir:{tmp_path}/copy")
    manifest = (tmp_path / "copy/manifest.json").read_bytes()
    assert manifest == lab.store.blobs.read(response["containerimage.digest"])
    assert lab.store.images.list() == []


def test_the_engine_pulls_and_runs_what_was_pushed(
    lab: Lab, registry: Registry, engine: Engine, tmp_path: Path
) -> None:
    theirs = engine.build_oci(
        None, tmp_path / "x.tar", dockerfile='FROM busybox\nRUN echo hi > /hi\nCMD ["cat", "/hi"]\n'
    )
    name = name_in(registry)
    lab.export("image", lab.imported(theirs), {"name": name, "push": "true"})
    with contextlib.suppress(Exception):
        engine.remove(f"{name}:latest")
    try:
        engine.docker("pull", f"{name}:latest")
        assert engine.run(f"{name}:latest") == "hi\n"
    finally:
        engine.remove(f"{name}:latest")


def test_blobs_are_sent_once_and_mounted_into_another_repository(lab: Lab, registry: Registry) -> None:
    result = lab.result(file("a", os.urandom(50_000)))
    one, other = name_in(registry), name_in(registry)

    def uploads() -> list[str]:
        return [
            request.path
            for request in registry.requests()
            if request.method in ("PUT", "PATCH") and "uploads" in request.path
        ]

    def mounts() -> list[str]:
        return [
            request.path
            for request in registry.requests()
            if request.method == "POST" and "mount=" in request.path and request.status == 201
        ]

    before, mounted = len(uploads()), len(mounts())
    lab.export("registry", result, {"name": f"{one}:1"})
    assert len(uploads()) == before + 2
    lab.export("registry", result, {"name": f"{one}:2"})
    assert len(uploads()) == before + 2
    lab.export("registry", result, {"name": f"{other}:1"})
    assert len(mounts()) == mounted + 1
    assert len(uploads()) == before + 3  # the config, of which nobody keeps where it is


def test_several_platforms_and_no_tag(lab: Lab, registry: Registry) -> None:
    name = name_in(registry)
    targets = [lab.result(file("a", kind.encode()), platform=parse(kind)).targets[0] for kind in ("amd64", "arm64")]
    result = SolveResult(tuple(targets), multi_platform=True)
    response = lab.export("registry", result, {"name": name, "push-by-digest": "true"})
    digest = response["containerimage.digest"]
    raw = skopeo("inspect", "--raw", f"docker://{name}@{digest}")
    assert raw.encode() == lab.store.blobs.read(digest)
    assert lab.steps[-1] == f"pushing manifest for {name}"
    with pytest.raises(Exception, match="unknown"):
        skopeo("inspect", "--raw", f"docker://{name}:latest")


def test_a_registry_that_is_down_is_a_sentence(lab: Lab) -> None:
    with pytest.raises(ExportError, match=r"127\.0\.0\.1:1"):
        lab.export("registry", lab.result(file("a")), {"name": "127.0.0.1:1/a"})


def test_a_registry_that_wants_credentials_is_a_sentence(lab: Lab, basic_registry: Registry) -> None:
    with pytest.raises(ExportError, match=basic_registry.host):
        lab.export("registry", lab.result(file("a")), {"name": name_in(basic_registry)})


def test_credentials_of_the_session_open_a_registry(lab: Lab, token_registry: Registry, tmp_path: Path) -> None:
    user, _, password = (token_registry.credentials or "").partition(":")
    auth = base64.b64encode(f"{user}:{password}".encode()).decode()
    (tmp_path / "config.json").write_text(json.dumps({"auths": {token_registry.host: {"auth": auth}}}))
    lab.session = Session(auth=DockerAuth({"DOCKER_CONFIG": str(tmp_path)}))
    name = name_in(token_registry)
    digest = lab.export("registry", lab.result(file("a")), {"name": name})["containerimage.digest"]
    assert token_registry.blob_path(digest).exists()


def test_a_cancel_stops_a_push(lab: Lab, registry: Registry) -> None:
    result = lab.result(file("a", os.urandom(200_000)))
    lab.export("image", result, {"name": "a"})
    lab.cancel = Cancel()
    with lab.cancel.on_cancel(lambda: None):
        lab.cancel.cancel()
    with pytest.raises(Interrupted):
        lab.export("registry", result, {"name": name_in(registry)})
