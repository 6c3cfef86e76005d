"""Directories as deep as paths can be, through all that is no RUN: COPY, cache keys, outputs, with few descriptors."""

from __future__ import annotations

import io
import os
import resource
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import pybuild_magic
from pybuild_magic import builders
from pybuild_magic.errors import BuildError
from pybuild_magic.removal import remove_tree
from pybuild_magic.store import TRAILER, Store, import_tar, tar_header, whiteout, write_layer
from pybuild_magic.store.entry import DIR, Entry
from pybuild_magic.store.fsck import fsck

DEPTH = 1300
DEEP = "/".join(["dd"] * DEPTH)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("PYBUILD_HOME", str(tmp_path / "home"))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(1024, soft), hard))
    yield tmp_path
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    builder, builders._embedded = builders._embedded, None
    if builder is not None:
        builder.close()
    for path in tmp_path.iterdir():
        remove_tree(path)  # pytest's own deletion is not up to such trees


def test_deep_directories_are_copied_filtered_and_exported(home: Path) -> None:
    context = {f"{DEEP}/f": "deep", f"{DEEP}/g": "left out", "top": "x"}
    dockerfile = """FROM scratch AS one
COPY . /
FROM scratch
COPY --from=one --exclude=**/g /dd /dd
COPY --from=one /dd/dd /dd/dd
"""
    outputs = [f"type=local,dest={home}/out,mode=delete", f"type=tar,dest={home}/out.tar"]
    for _ in range(2):  # the second time there is something to write over and to delete
        result = pybuild_magic.build(dockerfile, context, outputs=outputs, progress="none")
    fd = os.open(home / "out", os.O_RDONLY)
    for _ in range(DEPTH):
        below = os.open("dd", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    assert sorted(os.listdir(fd)) == ["f", "g"]  # noqa: PTH208 - of a descriptor
    os.close(fd)
    with tarfile.open(home / "out.tar") as archive:
        assert f"{DEEP}/f" in archive.getnames()
    assert "dd" in result._repr_mimebundle_()["text/html"]
    with Store() as store:
        assert fsck(store) == []


def test_what_a_whiteout_leaves_of_a_deep_layer(store_at: Store) -> None:
    entries = [Entry("/".join(["dd"] * depth), DIR) for depth in range(1, DEPTH + 1)]
    below = write_layer(store_at, [(entry, None) for entry in entries])
    above = write_layer(store_at, [(entry, None) for entry in (*entries, Entry(".wh.dd"))])
    tree = store_at.tree([below.diff_id, above.diff_id])
    assert sum(1 for _ in tree.walk()) == DEPTH


@pytest.fixture
def store_at(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "store") as store:
        yield store


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("dd/" * 1000, r"/dd/.*… has a path of 4097 bytes, and images have at most 4095\."),
        ("n" * 256 + "/", r"A name in /n+… has 256 bytes, and files have at most 255\."),
        ("é" * 128 + "/", r"A name in /é+… has 256 bytes, and files have at most 255\."),
    ],
    ids=["path", "name", "bytes"],
)
@pytest.mark.usefixtures("home")
def test_a_copy_makes_no_path_that_linux_cannot_open(target: str, reason: str) -> None:
    """BuildKit says "file name too long": it has the files in directories."""
    context = {"dd/" * 432 + "abc": "x"}
    with pytest.raises(BuildError, match=reason):
        pybuild_magic.build(f"FROM scratch\nCOPY . /{target}", context, progress="none")


def test_a_whiteout_of_the_longest_name_is_a_name(store_at: Store) -> None:
    entry = whiteout("n" * 255)
    layer = write_layer(store_at, [(entry, None)])
    assert import_tar(store_at, io.BytesIO(tar_header(entry) + TRAILER)).diff_id == layer.diff_id
