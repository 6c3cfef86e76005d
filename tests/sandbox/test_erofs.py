"""Images of layers: mounted by Linux, they show what a directory of the layer would."""

from __future__ import annotations

import errno
import hashlib
import marshal
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pybuild_magic.builders.embedded.sandbox import Sandbox, layering
from pybuild_magic.builders.embedded.sandbox.helper import linux, mounts
from pybuild_magic.errors import StoreError
from pybuild_magic.store import DIR, HARDLINK, SYMLINK, Entry, Store, opaque, whiteout

from .conftest import HAS_IMAGES, TIME, Box, directory, file

Seen = dict[str, tuple[int, int, int, int, int, int, int, str, list[tuple[str, bytes]]]]


def look(root: str) -> Seen:
    """Everything below `root` that a process could see of it, but for inode numbers."""
    found: Seen = {}
    for where, directories, files in os.walk(root):
        for name in directories + files:
            path = f"{where}/{name}"
            info = os.lstat(path)
            kind = stat.S_IFMT(info.st_mode)
            is_dir = kind == stat.S_IFDIR
            content = str(Path(path).readlink()) if kind == stat.S_IFLNK else ""
            if kind == stat.S_IFREG:
                content = hashlib.sha256(Path(path).read_bytes()).hexdigest()
            names = os.listxattr(path, follow_symlinks=False)
            found[os.path.relpath(path, root)] = (
                info.st_mode, info.st_uid, info.st_gid, info.st_mtime_ns, 0 if is_dir else info.st_size,
                0 if is_dir else info.st_nlink, info.st_rdev if kind in (stat.S_IFCHR, stat.S_IFBLK) else 0, content,
                sorted((name, os.getxattr(path, name, follow_symlinks=False)) for name in names),
            )  # fmt: skip
    return found


def look_at_image(path: str, place: Path) -> Seen:
    """The same of an image, which is mounted for a child process alone."""
    target = place / "mnt"
    target.mkdir()
    result = place / "seen"
    child = os.fork()
    if child == 0:
        try:
            linux.unshare(linux.CLONE_NEWNS)
            linux.mount("none", "/", "", linux.MS_REC | linux.MS_PRIVATE)
            mounts.image(path, str(target))
            result.write_bytes(marshal.dumps(look(str(target))))
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    return marshal.loads(result.read_bytes())


def everything() -> Iterator[Entry | tuple[Entry, bytes]]:
    """All that an image can hold, and what is at the edges of its format."""
    capability = bytes.fromhex("0100000200040000000000000000000000000000")
    yield file("small", b"hello")
    yield file("block", b"x" * 512)
    yield file("large", bytes(range(250)) * 12_345)
    yield file("empty")
    yield file("caps", b"able", xattrs={"security.capability": capability, "user.note": b"n" * 3000})
    yield file("steered", xattrs={"trusted.overlay.metacopy": b""})
    yield Entry("past", mode=0o4755, uid=70_000, gid=100_000, mtime=-TIME, size=3), b"old"
    yield file("\udcff\udcfe", b"a name that is no UTF-8")
    yield file("n" * 255, b"a long name")
    yield Entry("small-too", HARDLINK, link="small")
    for number, target in enumerate(("small", "x" * 448, "x" * 449, "d/" * 2000)):
        yield Entry(f"link{number}", SYMLINK, 0o777, mtime=TIME, link=target)
    yield Entry("pipe", "6", 0o640, mtime=TIME)
    yield Entry("device", "3", 0o600, mtime=TIME, devmajor=300, devminor=70_000)
    yield Entry("disk", "4", 0o660, gid=6, mtime=TIME, devmajor=8, devminor=1)
    yield directory("many", 0o1777)
    for number in range(1500):
        yield file(f"many/{number}-{'x' * (number % 90)}", b"%d" % number)
    for name in ("!before the dot", "-", "..more", ".hidden"):
        yield directory(f"many/{name}")
    yield directory("emptied")
    yield opaque("emptied")
    yield whiteout("gone")


@pytest.mark.skipif(not HAS_IMAGES, reason="Linux mounts images of layers from files since 6.12, for root")
def test_an_image_shows_what_a_directory_does(boxes: Callable[[str], Box], tmp_path: Path) -> None:
    paths: list[str] = []
    for way in ("builtin", "directories"):
        box = boxes(way)
        paths.append(box.sandbox.rootfs.layer((box.layer(*everything()).diff_id,)))
    assert [path.rpartition("/")[2] for path in paths] == ["image", "fs"]
    shown, written = look_at_image(paths[0], tmp_path), look(paths[1])
    assert len(shown) > 1500
    shown.pop("gone"), written.pop("gone")  # a whiteout has the time of its making
    assert shown == written


@pytest.mark.skipif(not HAS_IMAGES, reason="Linux mounts images of layers from files since 6.12, for root")
def test_what_no_directory_can_hold_no_image_holds(builtin: Box) -> None:
    with pytest.raises(StoreError, match="files have at most 255"):
        builtin.layer(Entry("x" * 256, DIR, 0o755))
    layer = builtin.layer(Entry("link", SYMLINK, 0o777, link="x" * 4096))
    with pytest.raises(StoreError, match="A layer could not be extracted: File name too long"):
        builtin.sandbox.rootfs.layer((layer.diff_id,))


def test_layers_without_contents_can_be_stacked(layered: Box) -> None:
    """An image of one names no blob at all."""
    layer = layered.layer(directory("only"))
    ran = layered.run("ls -d /only && touch /only/x", snapshot=(*layered.snapshot, layer.diff_id))
    assert (ran.code, ran.stdout) == (0, "/only\n")


@pytest.mark.skipif(not HAS_IMAGES, reason="Linux mounts images of layers from files since 6.12, for root")
def test_layers_are_stacked_where_an_image_has_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(work: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(work))

    monkeypatch.setattr(layering, "_write_image", full)
    with Store(tmp_path) as store, Sandbox(store) as sandbox:
        assert (sandbox.overlay, sandbox.rootfs.images) == (True, False)
        assert sandbox.rung is not None and not sandbox.rung.way.TRACED
