"""Image layouts: read and written, and never a way out of them."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from pybuild_magic.errors import SourceError, UsageError
from pybuild_magic.oci.blobs import read_config, read_manifest, select
from pybuild_magic.oci.layout import Layout, LayoutWriter, find
from pybuild_magic.oci.platform import parse
from tests.oci.images import SmallImage


def test_a_layout_is_read_back_with_its_names(tmp_path: Path) -> None:
    image = SmallImage()
    layout = Layout(image.layout(tmp_path / "l", "docker.io/library/a:1", "docker.io/library/b:2"))
    for name in ("1", "a:1", "docker.io/library/a:1", image.descriptor.digest):
        assert find(layout.index(), name).digest == image.descriptor.digest
    assert find(layout.index(), "").digest == image.descriptor.digest
    with pytest.raises(SourceError, match=r"no image .c.\. It has 1, 2\."):
        find(layout.index(), "c")
    manifest = read_manifest(layout, select(layout, image.descriptor, parse("linux/amd64"), lambda _: None))
    assert read_config(layout, manifest).rootfs.diff_ids == (image.layer_descriptor.digest,)
    blob = tmp_path / "l/blobs" / image.descriptor.digest.replace(":", "/")
    assert stat.S_IMODE(blob.stat().st_mode) == 0o444


def test_a_directory_that_is_no_layout_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="not a whole OCI image layout: it has no oci-layout"):
        Layout(tmp_path)


@pytest.mark.parametrize("which", ["blob", "directory", "index"])
def test_a_symlink_inside_a_layout_is_not_followed(tmp_path: Path, which: str) -> None:
    image = SmallImage()
    path = image.layout(tmp_path / "l")
    outside = tmp_path / "outside"
    if which == "directory":
        (path / "blobs/sha256").rename(outside)
        (path / "blobs/sha256").symlink_to(outside)
        victim = None
    else:
        victim = path / ("index.json" if which == "index" else f"blobs/{image.descriptor.digest.replace(':', '/')}")
        victim.rename(outside)
        victim.symlink_to(outside)
    layout = Layout(path)
    with pytest.raises(SourceError, match="cannot be read"):
        layout.index() if which == "index" else layout.open(image.descriptor.digest)
    assert which == "directory" or which == "index" or not layout.has(image.descriptor.digest)


def test_a_fifo_does_not_hang_the_reader(tmp_path: Path) -> None:
    path = SmallImage().layout(tmp_path / "l")
    (path / "index.json").unlink()
    os.mkfifo(path / "index.json")
    with pytest.raises(SourceError, match="not a regular file"):
        Layout(path).index()


def test_a_digest_that_is_a_path_is_refused(tmp_path: Path) -> None:
    layout = Layout(SmallImage().layout(tmp_path / "l"))
    with pytest.raises(UsageError, match="not a digest"):
        layout.open("sha256:../../../etc/passwd")
    with pytest.raises(UsageError, match="not a digest"), LayoutWriter(tmp_path / "w").blob("../x"):
        pass


def test_a_changed_manifest_is_noticed(tmp_path: Path) -> None:
    image = SmallImage()
    path = image.layout(tmp_path / "l")
    blob = path / "blobs" / image.descriptor.digest.replace(":", "/")
    blob.chmod(0o644)
    blob.write_bytes(image.manifest.replace(b"layers", b"Layers"))
    with pytest.raises(SourceError, match="digest does not match"):
        read_manifest(Layout(path), image.descriptor)


def test_a_blob_that_failed_half_way_leaves_nothing(tmp_path: Path) -> None:
    image = SmallImage()
    writer = LayoutWriter(tmp_path / "l")
    with pytest.raises(KeyboardInterrupt), writer.blob(image.descriptor.digest) as file:
        assert file is not None
        file.write(b"half")
        raise KeyboardInterrupt
    assert [path for path in (tmp_path / "l").rglob("*") if path.is_file()] == []
