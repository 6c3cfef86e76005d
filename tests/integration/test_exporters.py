"""One Dockerfile with COPY, RUN and two stages, through every exporter, into the tools that others read images with."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import stat
import tarfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pybuild_magic.errors import UnsupportedError
from pybuild_magic.images.archive import open_images
from pybuild_magic.oci.validate import problems
from pybuild_magic.result import BuildResult
from pybuild_magic.store import decompress
from tests.services.baseimages import BaseImage, skopeo
from tests.services.buildkit import Engine
from tests.services.common import run, tool

from .lab import FILES, SAYS, TWO_STAGES, Home, close_builder

KINDS = ("oci", "docker")
COMPRESSIONS = ("uncompressed", "gzip", "zstd")


@dataclass
class Built:
    """One build with every output at once."""

    result: BuildResult
    directory: Path
    name: str

    def place(self, kind: str, compression: str, *, tar: bool) -> Path:
        return self.directory / f"{kind}-{compression}{'.tar' if tar else ''}"


@pytest.fixture(scope="module")
def built(store_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Built]:
    """A build with twelve image outputs, a directory and a tar."""
    import shutil

    directory = tmp_path_factory.mktemp("built")
    shutil.copytree(store_template, directory / "home")
    made = Built(None, directory, f"pybuild-test/{uuid.uuid4().hex}:1")  # type: ignore[arg-type]
    outputs = [
        f"type={kind},dest={made.place(kind, compression, tar=tar)},tar={str(tar).lower()},"
        f"compression={compression},force-compression=true"
        for kind in KINDS
        for compression in COMPRESSIONS
        for tar in (True, False)
    ]
    outputs += [f"type=local,dest={directory}/files", f"type=tar,dest={directory}/files.tar", "type=cacheonly"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYBUILD_HOME", str(directory / "home"))
        patch.delenv("SOURCE_DATE_EPOCH", raising=False)
        made.result = Home(directory / "home").build(TWO_STAGES, FILES, tags=made.name, outputs=outputs)
        yield made
        close_builder()


def test_several_outputs_are_all_written_and_told_of(built: Built) -> None:
    outputs = built.result.outputs
    assert [output.type for output in outputs] == [
        *("oci", "oci", "oci", "oci", "oci", "oci", "docker", "docker", "docker", "docker", "docker", "docker"),
        *("local", "tar", "cacheonly"),
    ]
    assert all(Path(output.dest).exists() for output in outputs if output.dest)
    names = [vertex.name for vertex in built.result.vertexes if vertex.name.startswith("exporting to")]
    assert names.count("exporting to oci image format") == 6
    assert names.count("exporting to docker image format") == 6
    assert names[-2:] == ["exporting to client directory", "exporting to client tarball"]
    assert sum("RUN" in vertex.name for vertex in built.result.vertexes) == 2


def test_an_image_is_the_same_in_every_form(built: Built) -> None:
    ids: set[str] = set()
    for kind in KINDS:
        for compression in COMPRESSIONS:
            for tar in (True, False):
                place = built.place(kind, compression, tar=tar)
                images = open_images(place)
                root = images.index().manifests[0]
                assert problems(images, root, decompress) == []
                manifest = json.loads(b"".join(images.open(root.digest)))
                ids.add(manifest["config"]["digest"])
                kinds = {layer["mediaType"].rpartition(".")[2] for layer in manifest["layers"]}
                assert kinds == {{"uncompressed": "tar", "gzip": "tar+gzip", "zstd": "tar+zstd"}[compression]}
                members = {"index.json", "manifest.json", "oci-layout", "blobs"}
                if tar:
                    with tarfile.open(place) as archive:
                        assert {name.partition("/")[0] for name in archive.getnames()} == members
                else:
                    assert {path.name for path in place.iterdir()} == members
    assert ids == {built.result.image_id}


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_docker_loads_and_runs_the_archive(built: Built, engine: Engine, kind: str, compression: str) -> None:
    # The tests of one worker run one after the other, but others share the engine: each archive has its own names.
    archive = built.place(kind, compression, tar=True)
    try:
        assert built.name in " ".join(engine.load(archive))
        script = "run; stat -c '%u:%g %a' /out.txt /made /usr/local/bin/run; ls -d /home || echo gone"
        assert engine.run(built.name, "sh", "-c", script) == f"{SAYS}3:4 640\n0:0 700\n0:0 711\ngone\n"
    finally:
        engine.remove(built.name)


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_skopeo_inspects_and_copies_archive_and_directory(
    built: Built, tmp_path: Path, kind: str, compression: str
) -> None:
    for transport, tar in (("oci-archive", True), ("oci", False)):
        place = f"{transport}:{built.place(kind, compression, tar=tar)}:1"
        config = json.loads(run([tool("skopeo"), "inspect", "--config", place]).stdout)
        assert config["config"]["Cmd"] == ["run"]
        assert "WHO=world" in config["config"]["Env"]
        assert [h["created_by"] for h in config["history"]][-2:] == [
            'RUN /bin/sh -c mkdir -m 700 /made && echo "made by $WHO" > /made/by && rm -r /home # buildkit',
            'CMD ["run"]',
        ]
        target = tmp_path / transport
        skopeo("copy", place, f"dir:{target}")
        manifest = json.loads((target / "manifest.json").read_bytes())
        assert len(manifest["layers"]) == len(config["rootfs"]["diff_ids"])
        assert manifest["config"]["digest"] == built.result.image_id
    if compression != "zstd":  # as a `docker save` archive, by its manifest.json
        skopeo("copy", f"docker-archive:{built.place(kind, compression, tar=True)}", f"dir:{tmp_path}/docker")


@pytest.mark.parametrize("compression", ["uncompressed", "gzip"])  # Debian's umoci knows no zstd
@pytest.mark.parametrize("kind", KINDS)
def test_umoci_unpacks_the_directory(built: Built, tmp_path: Path, kind: str, compression: str) -> None:
    place = built.place(kind, compression, tar=False)
    rootless = [] if os.geteuid() == 0 else ["--rootless"]
    run([tool("umoci"), "unpack", *rootless, "--image", f"{place}:1", tmp_path / "bundle"])
    root = tmp_path / "bundle/rootfs"
    assert (root / "link").read_text() == "hello from a build\n"
    assert stat.S_IMODE((root / "made").stat().st_mode) == 0o700
    assert not (root / "home").exists()
    if not rootless:
        owner = (root / "out.txt").stat()
        assert (owner.st_uid, owner.st_gid, stat.S_IMODE(owner.st_mode)) == (3, 4, 0o640)


def test_the_directory_has_files_modes_and_links(built: Built) -> None:
    root = built.directory / "files"
    assert (root / "out.txt").read_text() == "hello from a build\n"
    assert (root / "link").read_text() == "hello from a build\n"  # COPY of one file follows its link, as BuildKit does
    assert stat.S_IMODE((root / "made").stat().st_mode) == 0o700
    assert stat.S_IMODE((root / "usr/local/bin/run").stat().st_mode) == 0o711
    assert not (root / "home").exists()
    assert (root / "bin/ls").is_symlink()


def test_the_tar_has_files_owners_and_links(built: Built) -> None:
    with tarfile.open(built.directory / "files.tar") as archive:
        members = {member.name: member for member in archive}
        out = members["out.txt"]
        assert (out.uid, out.gid, out.mode) == (3, 4, 0o640)
        content = archive.extractfile(out)
        assert content is not None
        assert content.read() == b"hello from a build\n"
        assert members["bin/ls"].issym() or members["bin/ls"].islnk()
        assert members["made"].isdir()
        assert "home" not in members


def test_the_result_says_what_was_made(built: Built) -> None:
    result = built.result
    descriptor = result.metadata["containerimage.descriptor"]
    assert result.metadata["containerimage.digest"] == descriptor["digest"]
    assert result.metadata["containerimage.config.digest"] == result.image_id
    assert result.metadata["image.name"] == f"docker.io/{built.name}"
    assert result.image is not None
    assert result.image.config["config"]["Cmd"] == ["run"]
    assert result.files is not None
    assert result.files["out.txt"].uid == 3


def test_local_deletes_what_is_not_in_the_result_only_when_told(home: Home, tmp_path: Path) -> None:
    dest = tmp_path / "out"
    (dest / "old/deep").mkdir(parents=True)
    (dest / "old/deep/f").write_text("old")
    (dest / "a").mkdir()
    dockerfile = "FROM scratch\nCOPY a b/c /\n"
    files = {"a": "new", "b/c": "c"}
    home.build(dockerfile, files, outputs=f"type=local,dest={dest}")
    assert (dest / "old/deep/f").read_text() == "old"
    assert (dest / "a").read_text() == "new"
    home.build(dockerfile, files, outputs=f"type=local,dest={dest},mode=delete")
    assert sorted(path.name for path in dest.iterdir()) == ["a", "c"]


def test_local_splits_platforms(home: Home, tmp_path: Path) -> None:
    dockerfile = "FROM scratch\nARG TARGETARCH\nCOPY $TARGETARCH /arch\n"
    files = {"amd64": "a", "arm64": "b"}
    outputs = [
        f"type=local,dest={tmp_path}/split",
        f"type=local,dest={tmp_path}/one,platform-split=false",
        f"type=tar,dest={tmp_path}/x.tar",
        f"type=oci,dest={tmp_path}/x.oci",
    ]
    error = home.fails(dockerfile, files, platforms="linux/amd64,linux/arm64", outputs=outputs[1])
    assert "arch" in error.message
    home.build(dockerfile, files, platforms="linux/amd64,linux/arm64", outputs=[outputs[0], *outputs[2:]])
    assert (tmp_path / "split/linux_amd64/arch").read_text() == "a"
    assert (tmp_path / "split/linux_arm64/arch").read_text() == "b"
    with tarfile.open(tmp_path / "x.tar") as archive:
        assert {"linux_amd64/arch", "linux_arm64/arch"} <= set(archive.getnames())
    index = json.loads(run([tool("skopeo"), "inspect", "--raw", f"oci-archive:{tmp_path}/x.oci"]).stdout)
    assert {entry["platform"]["architecture"] for entry in index["manifests"]} == {"amd64", "arm64"}


def test_cacheonly_and_no_output_write_nothing_but_the_cache(home: Home, tmp_path: Path) -> None:
    result = home.build("FROM busybox\nRUN echo 1 > /1\n", outputs="type=cacheonly")
    assert result.image is None
    again = home.build("FROM busybox\nRUN echo 1 > /1\n")
    assert [v.cached for v in again.vertexes if "RUN" in v.name] == [True]
    assert again.outputs[0].type == "cacheonly"
    assert [image.name for image in home.builder.store.images.list()] == ["docker.io/library/busybox:latest"]


def test_load_puts_the_image_into_the_engine(home: Home, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"pybuild-test/{uuid.uuid4().hex}:1"
    monkeypatch.setenv("DOCKER_HOST", engine.env["DOCKER_HOST"])
    try:
        result = home.build(TWO_STAGES, FILES, tags=name, load=True)
        assert engine.run(name) == SAYS
        assert engine.inspect(name)["Id"] in (result.image_id, result.metadata["containerimage.digest"])
    finally:
        engine.remove(name)


def test_load_without_an_engine_fails_before_anything_is_built(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    error = home.fails("FROM busybox\nRUN echo ran > /x\n", tags="x", load=True)
    assert isinstance(error, UnsupportedError)
    assert "No Docker engine can take the image" in error.message
    assert "/nowhere/docker.sock" in error.message
    assert "dest=" in error.hint
    assert not [v for v in home.builder.store.cache.items() if "RUN" in v[1].description]


def test_files_for_scripts_say_what_was_built(home: Home, tmp_path: Path) -> None:
    iid, metadata = tmp_path / "iid", tmp_path / "metadata.json"
    result = home.build(
        TWO_STAGES, FILES, tags="a/b:1", outputs=f"type=oci,dest={tmp_path}/x.tar", iidfile=iid, metadata_file=metadata
    )
    assert iid.read_text() == result.image_id == result.metadata["containerimage.config.digest"]
    assert json.loads(metadata.read_bytes()) == result.metadata
    images = open_images(tmp_path / "x.tar")
    assert images.index().manifests[0].digest == result.metadata["containerimage.digest"]
    named: Any = msgspec.json.decode(metadata.read_bytes())
    assert named["image.name"] == "docker.io/a/b:1"


@pytest.mark.parametrize("flags", [{"platforms": "linux/amd64,linux/arm64"}, {"provenance": "mode=max"}], ids=str)
def test_the_id_of_an_image_with_an_index_is_that_of_the_index(
    home: Home, tmp_path: Path, engine: Engine, flags: dict[str, str]
) -> None:
    iid, archive = tmp_path / "iid", tmp_path / "x.tar"
    output, text = f"type=oci,dest={archive}", "FROM scratch\nCOPY <<E /f\nf\nE\n"
    result = home.build(text, outputs=output, iidfile=iid, **flags)
    index = open_images(archive).index().manifests[0].digest
    assert iid.read_text() == result.image_id == result.metadata["containerimage.digest"] == index
    words = [f"--{name.removesuffix('s')}={value}" for name, value in flags.items()]
    engine.buildx_build(None, *words, f"--output={output}", "--iidfile", iid, dockerfile=text)
    assert iid.read_text() == open_images(archive).index().manifests[0].digest


def test_an_archive_can_be_written_over_the_one_before(home: Home, tmp_path: Path) -> None:
    dest = tmp_path / "x.tar"
    for text in ("one", "two"):
        home.build(f"FROM scratch\nCOPY <<E /f\n{text}\nE\n", outputs=f"type=tar,dest={dest}")
        with tarfile.open(fileobj=io.BytesIO(dest.read_bytes())) as archive:
            content = archive.extractfile("f")
            assert content is not None
            assert content.read() == f"{text}\n".encode()
    assert [path.name for path in tmp_path.iterdir() if "x.tar" in path.name] == ["x.tar"]


@pytest.mark.parametrize("compression", ["gzip", "uncompressed"])
def test_a_base_named_by_sha512_is_built_on_and_stays_so(
    home: Home, busybox_layout: BaseImage, tmp_path: Path, compression: str
) -> None:
    """As BuildKit 28.5.2 does: the config keeps the name of the base's layer."""
    packed = busybox_layout.blob(busybox_layout.manifest["layers"][0]["digest"])
    plain = gzip.decompress(packed)
    diff_id = "sha512:" + hashlib.sha512(plain).hexdigest()
    layer = packed if compression == "gzip" else plain
    path = tmp_path / "layout"
    (path / "blobs/sha256").mkdir(parents=True)
    (path / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')

    def put(data: bytes, kind: str) -> dict[str, Any]:
        name = hashlib.sha256(data).hexdigest()
        (path / "blobs/sha256" / name).write_bytes(data)
        return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": f"sha256:{name}", "size": len(data)}

    config = {**busybox_layout.config, "rootfs": {"type": "layers", "diff_ids": [diff_id]}}
    manifest = {
        "schemaVersion": 2,
        "config": put(json.dumps(config).encode(), "config.v1+json"),
        "layers": [put(layer, "layer.v1.tar" + ("+gzip" if compression == "gzip" else ""))],
    }
    index = {"schemaVersion": 2, "manifests": [put(json.dumps(manifest).encode(), "manifest.v1+json")]}
    (path / "index.json").write_text(json.dumps(index))
    result = home.build(
        "FROM base\nRUN echo ran > /ran\n",
        build_contexts={"base": f"oci-layout://{path}"},
        tags="x",
        outputs=[f"type=oci,dest={tmp_path}/x.tar", "type=image"],
    )
    assert result.image is not None
    assert result.image.config["rootfs"]["diff_ids"][0] == diff_id
    images = open_images(tmp_path / "x.tar")
    assert problems(images, images.index().manifests[0], decompress) == []
    assert home.build("FROM x\nRUN cat /ran && echo again > /again\n").vertexes
    home.check()
