"""The `oci` and `docker` exporters: as BuildKit's, and as other people's tools read them."""

from __future__ import annotations

import io
import json
import os
import stat
import tarfile
import uuid
from pathlib import Path

import msgspec
import pytest

from pybuild_magic.errors import ExportError, Interrupted, UsageError
from pybuild_magic.exporters import SolveResult
from pybuild_magic.images.archive import open_images
from pybuild_magic.oci import config as configs
from pybuild_magic.oci.blobs import read_config, read_manifest
from pybuild_magic.oci.config import ContainerConfig, ImageConfig
from pybuild_magic.oci.platform import host, parse
from pybuild_magic.oci.validate import problems
from pybuild_magic.session import DirSink, FileSink
from pybuild_magic.store import decompress
from tests.exporters.build import LINUX, Lab, directory, file, symlink
from tests.services.baseimages import skopeo
from tests.services.buildkit import Engine
from tests.services.common import run, tool

DOCKERFILE = """FROM busybox
ENV A="<b>"
RUN mkdir /d && echo hello > /d/hello && ln -s hello /d/link && ln /d/hello /d/hard && chown 1:2 /d/hello
RUN rm /d/hard && echo x > /x
CMD ["cat", "/d/link"]
"""
COMPRESSIONS = ["uncompressed", "gzip", "zstd"]


def members(path: Path) -> dict[str, tuple[bytes, bytes]]:
    """Header and content of each member, in the archive's order."""
    data = path.read_bytes()
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return {
            info.name: (data[info.offset : info.offset_data], data[info.offset_data : info.offset_data + info.size])
            for info in archive
        }


def test_the_archive_is_buildkits_byte_for_byte_plus_dockers_list(
    lab: Lab, engine: Engine, busybox_config: ImageConfig, tmp_path: Path
) -> None:
    theirs = tmp_path / "theirs.tar"
    engine.build_oci(None, theirs, "--tag=pybuild/same:1", dockerfile=DOCKERFILE, epoch=0)
    result = msgspec.structs.replace(lab.imported(theirs, busybox_config), epoch=0)
    sink = FileSink(tmp_path / "ours.tar")
    attrs = {"name": "pybuild/same:1", "compression": "uncompressed", "rewrite-timestamp": "true"}
    response = lab.export("oci", result, attrs, sink)
    ours, expected = members(tmp_path / "ours.tar"), members(theirs)
    listed = json.loads(ours.pop("manifest.json")[1])
    assert ours == expected
    assert list(ours) == list(expected)
    assert listed[0]["RepoTags"] == ["pybuild/same:1"]
    assert response["image.name"] == "docker.io/pybuild/same:1"


def test_history_and_times_are_filled_in_as_buildkit_fills_them(
    lab: Lab, engine: Engine, busybox_config: ImageConfig, tmp_path: Path
) -> None:
    text = "FROM busybox\nENV A=1\nUSER 1\nRUN echo 1 > /tmp/1\nENV B=1\nRUN echo 2 > /tmp/2\nCMD x\n"
    theirs = engine.build_oci(None, tmp_path / "theirs.tar", dockerfile=text, epoch=None)
    sink = FileSink(tmp_path / "ours.tar")
    lab.export("oci", lab.imported(theirs, busybox_config), {"compression": "uncompressed"}, sink)
    ours = {name: content for name, (_, content) in members(tmp_path / "ours.tar").items() if name.startswith("blobs/")}
    assert ours == {name: c for name, (_, c) in members(theirs).items() if name.startswith("blobs/")}


def test_steps_and_response_are_buildkits(lab: Lab, engine: Engine, tmp_path: Path) -> None:
    sink = FileSink(tmp_path / "x.tar")
    response = lab.export("oci", lab.result(file("a", b"x"), epoch=0), {"name": "a"}, sink)
    index = open_images(tmp_path / "x.tar").index().manifests[0]
    assert lab.steps == [
        "exporting layers",
        f"exporting manifest {response['containerimage.digest']}",
        f"exporting config {response['containerimage.config.digest']}",
        "sending tarball",
    ]
    assert response["containerimage.digest"] == index.digest
    assert index.annotations["org.opencontainers.image.created"] == "1970-01-01T00:00:00Z"
    theirs = engine.build_metadata(
        None,
        "--provenance=false",
        "--output=type=oci,dest=/dev/null,name=a",
        dockerfile="FROM scratch\nCOPY <<a /a\na\n",
    )
    assert {key for key in theirs if key.startswith(("container", "image"))} == set(response)


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("kind", ["oci", "docker"])
def test_docker_loads_and_runs_it(lab: Lab, engine: Engine, tmp_path: Path, kind: str, compression: str) -> None:
    name = f"pybuild-test/{uuid.uuid4().hex}:1"
    theirs = engine.build_oci(None, tmp_path / "theirs.tar", dockerfile=DOCKERFILE, epoch=None)
    sink = FileSink(tmp_path / "x.tar")
    lab.export(
        kind, lab.imported(theirs), {"name": name, "compression": compression, "force-compression": "true"}, sink
    )
    try:
        assert name in " ".join(engine.load(tmp_path / "x.tar"))
        assert engine.run(name) == "hello\n"
    finally:
        engine.remove(name)


def test_docker_without_dest_loads_into_the_engine(
    lab: Lab, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"pybuild-test/{uuid.uuid4().hex}:1"
    theirs = engine.build_oci(None, tmp_path / "theirs.tar", dockerfile=DOCKERFILE, epoch=None)
    monkeypatch.setenv("DOCKER_HOST", engine.env["DOCKER_HOST"])
    monkeypatch.delenv("DOCKER_TLS_VERIFY", raising=False)
    try:
        response = lab.export("docker", lab.imported(theirs), {"name": name})
        assert engine.run(name) == "hello\n"
        assert response["image.name"] == f"docker.io/{name}"
        assert lab.steps[-1] == "sending tarball"
    finally:
        engine.remove(name)


def test_an_engine_that_is_gone_or_refuses_is_a_sentence(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = lab.result(file("a", b"x"))
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    with pytest.raises(ExportError, match=r"tcp://127.0.0.1:1 cannot be reached"):
        lab.export("docker", result)


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_skopeo_reads_archive_and_directory(lab: Lab, tmp_path: Path, compression: str) -> None:
    config = msgspec.structs.replace(configs.empty(LINUX), config=ContainerConfig(cmd=("x",)))
    result = lab.result(directory("d"), file("d/a", b"x" * 3000), config=config)
    attrs = {"name": "a:1", "compression": compression}
    lab.export("oci", result, attrs, FileSink(tmp_path / "x.tar"))
    lab.export("oci", result, {**attrs, "tar": "false"}, DirSink(tmp_path / "dir"))
    for place in (f"oci-archive:{tmp_path}/x.tar:1", f"oci:{tmp_path}/dir:1"):
        assert json.loads(skopeo_inspect("--config", place))["config"] == {"Cmd": ["x"]}
        target = tmp_path / f"copy-{place.partition(':')[0]}"
        skopeo("copy", place, f"dir:{target}")
        assert len(list(target.iterdir())) == 4  # manifest, config, layer, version


def skopeo_inspect(*arguments: str) -> str:
    return run([tool("skopeo"), "inspect", *arguments]).stdout


@pytest.mark.parametrize("compression", ["uncompressed", "gzip"])
def test_umoci_unpacks_the_directory(lab: Lab, tmp_path: Path, compression: str) -> None:
    result = lab.result(directory("d", 0o750), file("d/a", b"x", 0o640, uid=7), symlink("l", "d/a"))
    lab.export("oci", result, {"name": "a:1", "compression": compression, "tar": "false"}, DirSink(tmp_path / "dir"))
    rootless = [] if os.geteuid() == 0 else ["--rootless"]
    run([tool("umoci"), "unpack", *rootless, "--image", f"{tmp_path}/dir:1", tmp_path / "bundle"])
    root = tmp_path / "bundle/rootfs"
    assert (root / "l").read_bytes() == b"x"
    assert stat.S_IMODE((root / "d").stat().st_mode) == 0o750


def test_several_platforms_make_an_index(lab: Lab, tmp_path: Path) -> None:
    platforms = [parse("linux/s390x"), host()]
    targets = [lab.result(file("a", str(one).encode()), platform=one).targets[0] for one in platforms]
    result = SolveResult(tuple(targets), multi_platform=True)
    attrs = {
        "name": "a",
        "annotation.all": "1",
        "annotation-manifest[linux/s390x].one": "2",
        "annotation-manifest-descriptor.d": "3",
        "annotation-index.i": "4",
        "annotation-index-descriptor.j": "5",
    }
    response = lab.export("oci", result, attrs, FileSink(tmp_path / "x.tar"))
    images = open_images(tmp_path / "x.tar")
    root = images.index().manifests[0]
    assert problems(images, root, decompress) == []
    assert "containerimage.config.digest" not in response
    assert f"exporting manifest list {root.digest}" in lab.steps
    assert root.annotations["j"] == "5"
    index = msgspec.json.decode(b"".join(images.open(root.digest)))
    assert index["annotations"] == {"i": "4"}
    assert [entry["platform"]["architecture"] for entry in index["manifests"]] == ["s390x", host().architecture]
    assert all(entry["annotations"] == {"d": "3"} for entry in index["manifests"])
    annotations = [
        msgspec.json.decode(b"".join(images.open(entry["digest"])))["annotations"] for entry in index["manifests"]
    ]
    assert annotations == [{"all": "1", "one": "2"}, {"all": "1"}]
    # Docker's list can name one image: that for this machine.
    listed = json.loads(members(tmp_path / "x.tar")["manifest.json"][1])
    own = read_manifest(images, msgspec.convert(index["manifests"][1], type(root)))
    assert listed[0]["Config"].endswith(own.config.digest[7:])
    with pytest.raises(ExportError, match="several platforms"):
        lab.export("docker", result, {}, FileSink(tmp_path / "y.tar"))
    with pytest.raises(UsageError, match="which is not built"):
        lab.export("oci", result, {"annotation[linux/386].a": "b"}, FileSink(tmp_path / "y.tar"))


def test_docker_media_types(lab: Lab, tmp_path: Path) -> None:
    lab.export("docker", lab.result(file("a", b"x")), {"oci-mediatypes": "false"}, FileSink(tmp_path / "x.tar"))
    images = open_images(tmp_path / "x.tar")
    manifest = read_manifest(images, images.index().manifests[0])
    assert manifest.media_type == "application/vnd.docker.distribution.manifest.v2+json"
    assert manifest.config.media_type == "application/vnd.docker.container.image.v1+json"
    assert manifest.layers[0].media_type == "application/vnd.docker.image.rootfs.diff.tar.gzip"


def test_a_directory_that_is_a_layout_gains_images_and_renames_them(lab: Lab, tmp_path: Path) -> None:
    sink = DirSink(tmp_path / "dir")
    attrs = {"tar": "false", "name": "a:1"}
    lab.export("oci", lab.result(file("a", b"1")), attrs, sink)
    lab.export("oci", lab.result(file("a", b"2")), {**attrs, "name": "a:2"}, sink)
    last = lab.export("oci", lab.result(file("a", b"3")), attrs, sink)
    images = open_images(tmp_path / "dir")
    entries = images.index().manifests
    assert [entry.annotations["org.opencontainers.image.ref.name"] for entry in entries] == ["2", "1"]
    assert entries[1].digest == last["containerimage.digest"]
    assert all(problems(images, entry, decompress) == [] for entry in entries)


def test_a_hostile_layout_directory_is_not_written_through(lab: Lab, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("mine")
    (tmp_path / "dir").mkdir()
    for name in ("index.json", "manifest.json"):
        (tmp_path / "dir" / name).symlink_to(tmp_path / "missing")
    (tmp_path / "dir/oci-layout").symlink_to(outside)
    lab.export("oci", lab.result(file("a", b"1")), {"tar": "false"}, DirSink(tmp_path / "dir"))
    assert outside.read_text() == "mine"
    assert not (tmp_path / "missing").exists()


def test_a_file_object_takes_the_archive_too(lab: Lab, tmp_path: Path) -> None:
    result = lab.result(file("a", os.urandom(3 << 20)), epoch=0)
    attrs = {"compression": "uncompressed"}
    buffer = io.BytesIO()
    lab.export("oci", result, attrs, FileSink(buffer))
    with (tmp_path / "x.tar").open("wb") as target:
        target.write(b"before")
        lab.export("oci", result, attrs, FileSink(target))
        target.write(b"after")
    assert (tmp_path / "x.tar").read_bytes() == b"before" + buffer.getvalue() + b"after"
    lab.export("oci", result, attrs, FileSink(tmp_path / "y.tar"))
    assert (tmp_path / "y.tar").read_bytes() == buffer.getvalue()


def test_a_cancel_leaves_what_was_there(lab: Lab, tmp_path: Path) -> None:
    result = lab.result(file("a", b"x" * 100))
    target = tmp_path / "out/x.tar"
    target.parent.mkdir()
    target.write_text("old")
    lab.cancel.cancel()
    with pytest.raises(Interrupted):
        lab.export("oci", result, {}, FileSink(target))
    assert [path.name for path in target.parent.iterdir()] == ["x.tar"]
    assert target.read_text() == "old"


def test_an_unwritable_dest_is_a_sentence(lab: Lab, tmp_path: Path) -> None:
    result = lab.result(file("a", b"x"))
    (tmp_path / "file").write_text("")
    with pytest.raises(ExportError, match="cannot be written"):
        lab.export("oci", result, {}, FileSink(tmp_path / "file/x.tar"))
    with pytest.raises(ExportError, match="cannot be made"):
        lab.export("oci", result, {"tar": "false"}, DirSink(tmp_path / "file/x"))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
def test_a_full_disk_is_a_sentence(lab: Lab) -> None:
    with pytest.raises(ExportError, match="No space left on device"):
        lab.export("oci", lab.result(file("a", b"x" * 300_000)), {"compression": "uncompressed"}, FileSink("/dev/full"))


def test_memory_does_not_grow_with_the_image(lab: Lab, tmp_path: Path) -> None:
    import tracemalloc

    result = lab.result(file("a", bytes(64 << 20)))
    for compression in COMPRESSIONS:
        tracemalloc.start()
        lab.export("oci", result, {"compression": compression}, FileSink(tmp_path / "x.tar"))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 24 << 20
    images = open_images(tmp_path / "x.tar")
    assert (
        read_config(images, read_manifest(images, images.index().manifests[0])).history[0].created
        == "2020-09-13T12:26:40Z"
    )
