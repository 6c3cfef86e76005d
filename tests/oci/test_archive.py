"""Images in archives: layouts in a tar, what `docker save` writes, packed or not, whole or hostile."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from pathlib import Path

import pytest
import zstandard

from pybuild_magic.errors import SourceError
from pybuild_magic.images.archive import Archive, open_images
from pybuild_magic.oci.blobs import read_config, read_manifest
from pybuild_magic.oci.layout import find
from pybuild_magic.oci.manifest import Manifest
from pybuild_magic.oci.validate import problems
from pybuild_magic.store import decompress
from tests.oci.images import SmallImage, tar
from tests.services.buildkit import Engine


def check(images: Archive, image: SmallImage) -> Manifest:
    entry = images.index().manifests[0]
    manifest = read_manifest(images, entry)
    assert read_config(images, manifest).rootfs.diff_ids == (image.layer_descriptor.digest,)
    assert problems(images, entry, decompress) == []
    return manifest


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_an_archived_layout_is_read_in_place_however_it_is_packed(mode: str) -> None:
    image = SmallImage()
    archive = Archive(io.BytesIO(image.archive("docker.io/library/a:1", mode=mode)))
    manifest = check(archive, image)
    assert find(archive.index(), "a:1").digest == image.descriptor.digest
    with archive.open(manifest.layers[0].digest) as file:
        assert file.read() == image.layer
        file.seek(-512, io.SEEK_END)
        assert file.read() == image.layer[-512:]


def test_zstd_and_a_pipe_work_too(tmp_path: Path) -> None:
    image = SmallImage()
    path = tmp_path / "a.tar.zst"
    path.write_bytes(zstandard.compress(image.archive()))
    check(open_images(path), image)  # type: ignore[arg-type]


@pytest.mark.parametrize("packed", ["", "gzip", "zstd"])
def test_what_docker_save_wrote_long_ago_has_a_manifest_made_for_it(packed: str) -> None:
    image = SmallImage()
    data = {"": b"", "gzip": gzip.compress(image.layer), "zstd": zstandard.compress(image.layer)}[packed]
    archive = Archive(io.BytesIO(image.docker_archive("a:1", "b", packed=data)))
    manifest = check(archive, image)
    assert {find(archive.index(), name).digest for name in ("a:1", "b:latest")} == {archive.index().manifests[0].digest}
    assert manifest.layers[0].digest == f"sha256:{hashlib.sha256(data or image.layer).hexdigest()}"


def test_what_docker_saves_now_is_read(engine: Engine, tmp_path: Path) -> None:
    engine.docker("save", "--output", tmp_path / "b.tar", "busybox")
    images = open_images(tmp_path / "b.tar")
    entry = find(images.index(), "busybox:latest")
    assert problems(images, entry, decompress) == []


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({"a": b"b"}, "contains no image"),
        ({"manifest.json": b"{"}, "manifest.json in .* cannot be read"),
        ({"manifest.json": b'[{"Config":"../../etc/passwd","Layers":[]}]'}, "has no ../../etc/passwd"),
        ({"manifest.json": b'[{"Config":"c","Layers":["l"]}]', "c": b"{}"}, "1 layers, but its config lists 0"),
        ({"manifest.json": (tarfile.SYMTYPE, "manifest.json")}, "has no manifest.json"),
        ({"oci-layout": b"{}", "index.json": b'{"manifests":[{"digest":"x"}]}'}, "index cannot be read"),
        (
            {"oci-layout": b"{}", "index.json": b'{"manifests":[{"digest":"x/../y","mediaType":"a","size":1}]}'},
            "is not a digest",
        ),
        (
            {"oci-layout": (tarfile.LNKTYPE, "/etc/passwd"), "index.json": (tarfile.SYMTYPE, "/etc/passwd")},
            "has no index",
        ),
    ],
)
def test_a_hostile_archive_is_refused_with_the_reason(
    members: dict[str, bytes | tuple[bytes, str]], reason: str
) -> None:
    with pytest.raises(SourceError, match=reason):
        Archive(io.BytesIO(tar(members)))


@pytest.mark.parametrize(
    "data", [b"", b"\x1f\x8b\x08", b"BZh9garbage", b"\xfd7zXZ\x00x", b"\x28\xb5\x2f\xfdx", b"x" * 2048]
)
def test_what_is_no_archive_is_refused(data: bytes) -> None:
    with pytest.raises(SourceError, match=r"not a valid tar|is incomplete|is corrupt|contains no image"):
        Archive(io.BytesIO(data))


def test_a_layer_that_is_not_what_the_config_says_is_found() -> None:
    image = SmallImage()
    other = SmallImage(b"other")
    archive = Archive(io.BytesIO(image.docker_archive(packed=other.layer)))
    assert "digest does not match" in problems(archive, archive.index().manifests[0])[0]
    archive = Archive(io.BytesIO(image.docker_archive(packed=gzip.compress(other.layer))))
    assert "the config says" in problems(archive, archive.index().manifests[0], decompress)[0]


def test_a_cut_archive_is_noticed() -> None:
    data = SmallImage().archive()
    try:
        archive = Archive(io.BytesIO(data[: len(data) // 2]))
    except SourceError:
        return
    assert problems(archive, archive.index().manifests[0]) != []
