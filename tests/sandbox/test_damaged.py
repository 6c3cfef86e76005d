"""What is only a cache is made again when it is damaged: a RUN after that works, and fsck sees it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pybuild_magic.store import Store
from pybuild_magic.store.fsck import fsck

from .conftest import Box, make_sandbox, write_base


@pytest.fixture(params=["builtin", "directories"])
def way(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def box(tmp_path: Path, way: str) -> Iterator[Box]:
    store = Store(tmp_path / "store")
    with store, store.lease(), make_sandbox(store, way) as sandbox:
        yield Box(sandbox, write_base(store))


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[1024:1028] = b"none"
    path.write_bytes(data)


def swap(path: Path) -> None:
    shutil.rmtree(path)
    path.write_text("no directory")


IMAGE: dict[str, Callable[[Path], None]] = {"cut": cut, "flipped": flip, "gone": Path.unlink}
FS: dict[str, Callable[[Path], None]] = {
    "emptied": lambda path: shutil.rmtree(path / "bin"),
    "gone": shutil.rmtree,
    "a file": swap,
}


def cached(box: Box) -> Path:
    """The image, or the directory, of the base."""
    (path,) = (box.store.root / "rootfs").iterdir()
    return path / "image" if (path / "image").exists() else path / "fs"


@pytest.mark.parametrize("number", range(3))
def test_what_is_damaged_is_seen_by_fsck_and_made_again(box: Box, way: str, number: int) -> None:
    assert box.run("echo whole").stdout == "whole\n"
    path = cached(box)
    assert (path.name == "image") is box.sandbox.rootfs.images
    ways = IMAGE if path.name == "image" else FS
    harm = list(ways.values())[number]
    assert fsck(box.store) == []
    harm(path)
    [problem] = fsck(box.store)
    assert (problem.kind, problem.repaired) == ("rootfs", False)
    # Another process meets it: this one knows what it has compared.
    with Store(box.store.root) as other, other.lease(), make_sandbox(other, way) as sandbox:
        again = Box(sandbox, box.base)
        assert again.run("echo whole").stdout == "whole\n"
        assert fsck(other) == []
        harm(cached(box))
        assert [problem.repaired for problem in fsck(other, repair=True)] == [True]
        assert fsck(other) == []
        assert again.run("echo whole").stdout == "whole\n"


def test_a_directory_that_lacks_something_deep_inside_is_seen_by_fsck(box: Box) -> None:
    layer = box.commit("mkdir -p /srv/a/b && echo content > /srv/a/b/f")
    snapshot = (*box.snapshot, layer.diff_id)
    assert box.run("cat /srv/a/b/f", snapshot=snapshot).stdout == "content\n"
    (path,) = (box.store.root / "rootfs").glob("*/fs/srv/a/b/f")
    for harm in (lambda: path.write_text("cut"), path.unlink):
        harm()
        [problem] = fsck(box.store)
        assert 'differs from its layer at "/srv/a/b/f"' in problem.message
    assert [problem.repaired for problem in fsck(box.store, repair=True)] == [True]
    assert box.run("cat /srv/a/b/f", snapshot=snapshot).stdout == "content\n"
    assert fsck(box.store) == []


def test_what_does_not_mount_is_made_again_at_once(box: Box) -> None:
    """Also in the process that knew it whole: what was changed keeps its size, time and inode."""
    assert box.run("true").code == 0
    path = cached(box)
    if path.name == "fs":
        swap(path)
    else:
        before = path.stat()
        flip(path)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert box.run("echo whole").stdout == "whole\n"
