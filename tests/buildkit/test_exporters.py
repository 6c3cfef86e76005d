"""The seven exporters of a real BuildKit, over each transport: what arrives here, and in the engine."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import stat
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from pybuild_magic.errors import UsageError
from tests.descriptors import garbage_kept, opened
from tests.services.buildkit import Engine
from tests.services.registry import Registry

from .lab import Lab, container_builder, left_behind, tls_proxy, unix_proxy

DOCKERFILE = """\
FROM busybox AS base
COPY . /src/
RUN echo "built" > /built.txt && chmod 600 /built.txt && mkdir /d && ln -s ../built.txt /d/link
FROM scratch
COPY --from=base /built.txt /
COPY --from=base /d /d
COPY --from=base /src /src
LABEL who=buildkit
"""
FILES = {"a.txt": "alpha", "deep/er/b.bin": bytes(range(256)) * 1000}


def unique() -> str:
    return f"pybuild-test-{secrets.token_hex(6)}"


def test_an_oci_archive_arrives_whole_and_its_image_is_read_back(lab: Lab) -> None:
    result = lab.build(DOCKERFILE, "-t example.com/made:1 --provenance=false -o type=oci,dest=out.tar", FILES)
    with tarfile.open(lab.home / "out.tar") as archive:
        index = json.load(archive.extractfile("index.json") or pytest.fail())
        assert index["manifests"][0]["digest"] == result.metadata["containerimage.digest"]
    assert result.image is not None
    assert result.image.config["config"]["Labels"] == {"who": "buildkit"}
    assert [layer.created_by.split()[0] for layer in result.image.layers] == ["COPY"] * 3
    assert result.metadata["image.name"] == "example.com/made:1"
    assert any("RUN echo" in step.name for step in result.vertexes)


def test_a_layout_directory_has_blobs_and_the_name_in_its_index(lab: Lab) -> None:
    for tag in ("1", "2"):
        lab.build(
            f"FROM scratch\nLABEL t={tag}\n", f"-t made:{tag} --provenance=false -o type=oci,tar=false,dest=layout"
        )
    index = json.loads((lab.home / "layout/index.json").read_bytes())
    assert [entry["annotations"]["org.opencontainers.image.ref.name"] for entry in index["manifests"]] == ["1", "2"]
    for entry in index["manifests"]:
        assert (lab.home / "layout/blobs" / entry["digest"].replace(":", "/")).is_file()
    assert sorted(path.name for path in (lab.home / "layout/blobs").iterdir()) == ["sha256"]


def test_blobs_that_arrive_at_the_same_time_are_kept_apart(lab: Lab) -> None:
    """A daemon names a blob in the first message alone, and writes several blobs at once, equal ones too."""
    same = "RUN mkdir -p /d && head -c 3000000 /dev/zero >/d/f && touch -d @1 /d/f /d\n"
    steps = "".join(f"RUN head -c {size} /dev/urandom >/f{size}\n" for size in range(3_000_000, 3_000_008))
    words = (
        "--provenance=false -o type=oci,tar=false,compression=uncompressed,dest=layout"
        " --cache-to type=local,dest=kept,mode=max"
    )
    lab.build(f"FROM busybox\n{steps}{same}RUN rm -r /d\n{same}", words)
    for place in ("layout", "kept"):
        blobs = list((lab.home / place / "blobs/sha256").iterdir())
        assert len(blobs) > 8
        for blob in blobs:
            assert hashlib.sha256(blob.read_bytes()).hexdigest() == blob.name
        assert not list((lab.home / place / "blobs").glob(".ingest*"))


def test_a_docker_archive_can_be_loaded_and_run(lab: Lab, engine: Engine) -> None:
    name = unique()
    lab.build(
        "FROM busybox\nRUN echo hi > /f\nCMD cat /f\n", f"-t {name} -o type=docker,dest=out.tar --provenance=false"
    )
    try:
        assert engine.load(lab.home / "out.tar") == [f"{name}:latest"]
        assert engine.run(name) == "hi\n"
    finally:
        engine.remove(name)


def test_an_image_on_a_docker_engine_is_among_its_images(engine: Engine, docker: Lab) -> None:
    name = unique()
    try:
        result = docker.build("FROM busybox\nRUN echo hi > /f\nCMD cat /f\n", f"-t {name}")
        assert engine.run(name) == "hi\n"
        assert result.image is not None
        assert result.image.config["config"]["Cmd"] == ["/bin/sh", "-c", "cat /f"]
        assert result.summary.builder == "docker://"
        # Its layers come from the engine when they are looked at.
        assert result.image.files.read("f") == b"hi\n"
        assert left_behind() == []
    finally:
        engine.remove(name)


@pytest.mark.parametrize("flag", ["-o type=image", "-o type=docker", "--load"])
def test_every_word_for_the_engines_store_means_it_on_the_docker_driver(engine: Engine, docker: Lab, flag: str) -> None:
    name = unique()
    try:
        docker.build("FROM busybox\nRUN echo hi > /f\n", f"-t {name} {flag}")
        assert engine.inspect(name)["RepoTags"] == [f"{name}:latest"]
    finally:
        engine.remove(name)


def test_load_from_a_builder_that_is_no_engine_goes_into_the_engine(engine: Engine, lab: Lab) -> None:
    name = unique()
    try:
        lab.build("FROM busybox\nRUN echo hi > /f\nCMD cat /f\n", f"-t {name} --load --provenance=false")
        assert engine.run(name) == "hi\n"
    finally:
        engine.remove(name)


def test_load_without_an_engine_goes_into_the_embedded_store(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pybuild_magic.builders import embedded_builder

    with tls_proxy(engine, tmp_path / "certs") as proxy, garbage_kept():
        monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nobody.sock")
        counts: list[int] = []
        for _ in range(3):  # the first two open the store of this process
            Lab(proxy.address(), "tcp", tmp_path).build("FROM busybox\nRUN echo hi > /f\n", "-t made --load")
            counts.append(opened("store.db"))
        assert counts[1] == counts[2], "a store is left open"
    found = embedded_builder().store.images.get("docker.io/library/made:latest")
    assert found is not None
    embedded = Lab("embedded", "", tmp_path).build("FROM made\nRUN cat /f\n", "")
    assert any("hi" in log for log in embedded.logs.values())


def test_a_push_arrives_in_the_registry(lab: Lab, registry: Registry, engine: Engine) -> None:
    name = f"{registry.host}/{unique()}:1"
    result = lab.build("FROM busybox\nRUN echo hi > /f\nCMD cat /f\n", f"-t {name} --push")
    try:
        assert registry.blob_path(result.metadata["containerimage.digest"]).exists()
        assert result.image is not None
        assert result.image.digest == result.metadata["containerimage.digest"]
        assert engine.run(name) == "hi\n"
    finally:
        engine.remove(name)


def test_a_local_export_has_the_files_with_modes_times_and_links(lab: Lab) -> None:
    result = lab.build(DOCKERFILE, "-o out", FILES)
    out = lab.home / "out"
    assert (out / "built.txt").read_text() == "built\n"
    assert stat.S_IMODE((out / "built.txt").stat().st_mode) == 0o600
    assert (out / "d/link").readlink() == Path("../built.txt")
    assert (out / "src/deep/er/b.bin").read_bytes() == FILES["deep/er/b.bin"]
    assert (out / "src/a.txt").stat().st_mtime == 315532800
    assert result.files is not None
    assert result.files["src/a.txt"].size == 5


def test_a_local_export_keeps_what_else_is_there_unless_it_is_to_delete(lab: Lab) -> None:
    out = lab.home / "out"
    (out / "old/dir").mkdir(parents=True)
    (out / "old/dir/file").write_text("old")
    lab.build("FROM scratch\nCOPY a.txt /new/\n", "-o type=local,dest=out", FILES)
    assert (out / "old/dir/file").read_text() == "old"
    lab.build("FROM scratch\nCOPY a.txt /new/\n", "-o type=local,dest=out,mode=delete", FILES)
    assert sorted(path.relative_to(out).as_posix() for path in out.rglob("*")) == ["new", "new/a.txt"]


def test_deleting_keeps_every_platform(lab: Lab) -> None:
    out = lab.home / "out"
    (out / "linux_amd64").mkdir(parents=True)
    (out / "linux_amd64/old").write_text("old")
    (out / "linux_s390x").symlink_to(lab.home)
    words = "--platform linux/amd64,linux/arm64 -o type=local,dest=out,mode=delete"
    lab.build("FROM scratch\nCOPY a.txt /\n", words, FILES)
    assert sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if not path.is_dir()) == [
        "linux_amd64/a.txt",
        "linux_arm64/a.txt",
    ]
    assert lab.home.exists()


def test_delete_never_empties_the_working_directory(docker: Lab) -> None:
    with pytest.raises(UsageError, match="working directory"):
        docker.build("FROM scratch\nCOPY a.txt /\n", "-o type=local,dest=.,mode=delete", FILES)


def test_several_platforms_are_in_directories_of_their_own(lab: Lab) -> None:
    lab.build("FROM scratch\nCOPY a.txt /\n", "--platform linux/amd64,linux/arm64 -o out", FILES)
    assert sorted(path.relative_to(lab.home / "out").as_posix() for path in (lab.home / "out").rglob("a.txt")) == [
        "linux_amd64/a.txt",
        "linux_arm64/a.txt",
    ]


def test_a_tar_arrives(lab: Lab) -> None:
    result = lab.build(DOCKERFILE, "-o type=tar,dest=sub/out.tar", FILES)
    assert result.files is not None
    assert (result.files["src/a.txt"].size, result.files["d/link"].link) == (5, "../built.txt")
    with tarfile.open(lab.home / "sub/out.tar") as archive:
        assert archive.getmember("d/link").linkname == "../built.txt"
        assert (archive.extractfile("src/deep/er/b.bin") or pytest.fail()).read() == FILES["deep/er/b.bin"]


def test_cacheonly_exports_nothing(lab: Lab) -> None:
    result = lab.build(DOCKERFILE, "-o type=cacheonly", FILES)
    assert result.image is None
    assert not any("exporting" in step.name for step in result.vertexes)


def test_several_outputs_come_from_one_build(lab: Lab) -> None:
    lab.build(DOCKERFILE, "-o tree -o type=tar,dest=out.tar -o type=oci,dest=oci.tar", FILES)
    assert (lab.home / "tree/built.txt").exists()
    assert tarfile.is_tarfile(lab.home / "out.tar")
    assert tarfile.is_tarfile(lab.home / "oci.tar")


def test_a_large_file_comes_back_as_it_went(lab: Lab) -> None:
    data = secrets.token_bytes(1 << 20) * 24
    lab.build("FROM scratch\nCOPY big small /\n", "-o out", {"big": data, "small": "s"})
    assert (lab.home / "out/big").read_bytes() == data


def test_a_socket_of_buildkit_and_an_engine_behind_tls_take_a_build_too(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with unix_proxy(engine, tmp_path / "buildkitd.sock") as address:
        Lab(address, "unix", tmp_path).build(DOCKERFILE, "-o over-unix", FILES)
    assert (tmp_path / "over-unix/src/a.txt").read_text() == "alpha"
    with tls_proxy(engine, tmp_path / "certs", "engine") as proxy:
        for file, made in (("cert.pem", "client.pem"), ("key.pem", "client-key.pem")):
            (proxy.certs / file).symlink_to(made)
        monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{proxy.port}")
        monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
        monkeypatch.setenv("DOCKER_CERT_PATH", str(proxy.certs))
        Lab("docker://", "docker", tmp_path).build(DOCKERFILE, "-o over-tls", FILES)
        assert left_behind() == []
    assert (tmp_path / "over-tls/src/a.txt").read_text() == "alpha"


MEMORY = """
import sys
from pathlib import Path
from tests.buildkit.lab import Lab
from tests.memory import peak_kb

home = Path(sys.argv[1])
lab = Lab("buildx://box", "buildx", home)
for name in ("small", "big"):
    print(peak_kb())
    lab.build("FROM scratch\\nCOPY f /\\n", f"-o out-{name} -o type=tar,dest={name}.tar", str(home / name))
print(peak_kb())
"""


def test_memory_does_not_grow_with_the_size_of_a_file(engine: Engine, tmp_path: Path) -> None:
    for name, size in (("small", 1), ("big", 100 << 20)):
        (tmp_path / name).mkdir()
        with (tmp_path / name / "f").open("wb") as file:
            file.truncate(size)
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, tmp_path],
        env={**os.environ, **container_builder(engine, tmp_path / "box"), "PYTHONPATH": str(Path(__file__).parents[2])},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    _, small, big = map(int, done.stdout.split())
    assert (tmp_path / "out-big/f").stat().st_size == 100 << 20
    assert big - small < 40 << 10, f"{small} kB, then {big} kB"
