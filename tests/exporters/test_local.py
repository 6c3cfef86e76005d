"""The `local` exporter: BuildKit's files, fast, and no path out of dest whatever stands in dest already."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from pybuild_magic.errors import ExportError, Interrupted
from pybuild_magic.exporters import SolveResult
from pybuild_magic.exporters.directory import DirectoryWriter, LayerContent
from pybuild_magic.exporters.files import Item
from pybuild_magic.oci.platform import parse
from pybuild_magic.session import DirSink
from pybuild_magic.store import CHAR, DIR, FIFO, SYMLINK, Entry, LayerFiles
from tests.exporters.build import SECOND, TIME, Lab, directory, file, hardlink, symlink
from tests.services.buildkit import Engine

ROOT = os.geteuid() == 0
DOCKERFILE = r"""FROM busybox AS work
RUN mkdir -p /out/a/b /out/empty && cd /out && echo hello > a/b/f && ln a/b/f hard && ln -s ../a/b/f a/link \
 && ln -s /nowhere dangling && mkfifo pipe && mknod null c 1 3 && chmod 4755 a/b/f && chmod 1777 empty \
 && chown 1:2 a && printf x > "$(printf 'caf\303\251')" && touch -d @1500000000 a/b/f && chmod 500 a/b \
 && touch -d @1400000000 a a/b
FROM scratch
COPY --from=work /out /
"""


PROGRAM = """
import os, sys
sys.path[:0] = {path!r}
from tests.exporters.build import *
import pybuild_magic.exporters.local
from pybuild_magic.session import DirSink
os.umask(0o022)
# Only now: the interpreter itself may be where only root reads.
os.setgroups([]); os.setgid(12345); os.setuid(12345)
home = Path({home!r})
lab = Lab(home / "store")
result = lab.result(directory("d", 0o500, uid=1), file("d/a", b"x", 0o400, uid=5), file("d/s", b"x", 0o4755))
for turn in range(2):
    lab.export("local", result, {{"mode": "delete"}}, DirSink(home / "out"))
lab.store.close()
"""


def listing(root: Path) -> dict[bytes, tuple[object, ...]]:
    """Everything that can be told of the files below `root`."""
    inodes: dict[int, bytes] = {}

    def rows() -> Iterator[tuple[bytes, tuple[object, ...]]]:
        for folder, directories, files in os.walk(root):
            for name in sorted(directories + files):
                path = Path(folder, name)
                status = path.lstat()
                short = os.fsencode(path.relative_to(root))
                link = os.fsencode(path.readlink()) if stat.S_ISLNK(status.st_mode) else b""
                content = path.read_bytes() if stat.S_ISREG(status.st_mode) else b""
                first = inodes.setdefault(status.st_ino, short) if stat.S_ISREG(status.st_mode) else short
                seconds = status.st_mtime_ns // SECOND
                yield (
                    short,
                    (oct(status.st_mode), status.st_uid, status.st_gid, status.st_rdev, seconds, link, content, first),
                )

    return dict(sorted(rows()))


@pytest.mark.skipif(not ROOT, reason="device nodes need root")
def test_files_are_those_that_buildkits_client_writes(lab: Lab, engine: Engine, tmp_path: Path) -> None:
    engine.buildx_build(
        None,
        f"--output=type=local,dest={tmp_path}/theirs",
        f"--output=type=oci,dest={tmp_path}/x.tar,compression=uncompressed",
        "--provenance=false",
        dockerfile=DOCKERFILE,
    )
    lab.export("local", lab.imported(tmp_path / "x.tar"), {}, DirSink(tmp_path / "ours"))
    theirs = listing(tmp_path / "theirs")
    assert listing(tmp_path / "ours") == theirs
    assert len(theirs) == 10
    assert lab.steps == ["copying files"]


def test_an_epoch_is_every_files_time(lab: Lab, tmp_path: Path) -> None:
    result = lab.result(directory("d"), file("d/old", mtime=5 * SECOND), symlink("l", "d"), epoch=10)
    lab.export("local", result, {}, DirSink(tmp_path / "out"))
    assert {row[4] for row in listing(tmp_path / "out").values()} == {10}
    lab.export("local", result, {"source-date-epoch": ""}, DirSink(tmp_path / "plain"))
    assert listing(tmp_path / "plain")[b"d/old"][4] == 5


def test_copy_keeps_other_files_and_delete_does_not(lab: Lab, tmp_path: Path) -> None:
    result = lab.result(directory("d"), file("d/a", b"new"), hardlink("h", "d/a"))
    out = tmp_path / "out"
    (out / "d").mkdir(parents=True)
    (out / "other/deep").mkdir(parents=True)
    (out / "other/deep/file").write_text("mine")
    (out / "d/a").write_text("old, and longer than the new one")
    (out / "d/b").write_text("mine")
    lab.export("local", result, {}, DirSink(out))
    assert (out / "d/a").read_text() == "new"
    assert (out / "d/b").read_text() == (out / "other/deep/file").read_text() == "mine"
    lab.export("local", result, {"mode": "delete"}, DirSink(out))
    assert list(listing(out)) == [b"d", b"d/a", b"h"]
    assert (out / "d/a").samefile(out / "h")


@pytest.mark.parametrize("attack", ["directory", "file", "dangling", "hardlink", "link-over-directory", "fifo"])
@pytest.mark.parametrize("mode", ["copy", "delete"])
def test_what_stands_in_dest_leads_nowhere(lab: Lab, tmp_path: Path, attack: str, mode: str) -> None:
    outside, out = tmp_path / "outside", tmp_path / "out"
    outside.mkdir()
    (outside / "keep").write_text("mine")
    out.mkdir()
    if attack == "directory":
        (out / "d").symlink_to(outside)
    elif attack == "fifo":
        (out / "d").mkdir()
        os.mkfifo(out / "d/keep")
    else:
        (out / "d").mkdir()
        if attack == "file":
            (out / "d/keep").symlink_to(outside / "keep")
        elif attack == "dangling":
            (out / "d/keep").symlink_to(outside / "new")
        elif attack == "hardlink":
            (out / "d/keep").hardlink_to(outside / "keep")
        else:
            (out / "d/keep").mkdir()
            (out / "d/keep/x").symlink_to(outside)
    result = lab.result(directory("d"), file("d/keep", b"ours"), hardlink("d/other", "d/keep"))
    lab.export("local", result, {"mode": mode}, DirSink(out))
    assert (outside / "keep").read_text() == "mine"
    assert list(outside.iterdir()) == [outside / "keep"]
    assert (out / "d/keep").read_text() == (out / "d/other").read_text() == "ours"
    assert not (out / "d").is_symlink()


def test_symlinks_of_the_tree_itself_are_not_followed(lab: Lab, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    items = [Item(Entry("d", SYMLINK, 0o777, link=str(outside))), Item(Entry("d/x", DIR))]
    with LayerFiles(lab.store.blobs) as files, pytest.raises(ExportError, match="arrived before its directory"):
        (tmp_path / "out").mkdir()
        DirectoryWriter(tmp_path / "out", LayerContent(files, lab.cancel), lab.cancel).write(items)
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize("path", ["..", "a/../../x", "a//b", "", ".", "x\0y"])
def test_a_path_that_leaves_the_root_is_refused(lab: Lab, tmp_path: Path, path: str) -> None:
    (tmp_path / "out").mkdir()
    items = [Item(Entry("a", DIR)), Item(Entry(path, DIR))]
    with LayerFiles(lab.store.blobs) as files, pytest.raises(ExportError, match=r"not a path|before its directory"):
        DirectoryWriter(tmp_path / "out", LayerContent(files, lab.cancel), lab.cancel).write(items)
    assert {one.name for one in tmp_path.iterdir()} == {"out", "store"}


def test_delete_never_follows_a_link(lab: Lab, tmp_path: Path) -> None:
    outside, out = tmp_path / "outside", tmp_path / "out"
    outside.mkdir()
    (outside / "keep").write_text("mine")
    (out / "gone").mkdir(parents=True)
    (out / "gone/link").symlink_to(outside)
    (out / "link").symlink_to(outside)
    lab.export("local", lab.result(file("a")), {"mode": "delete"}, DirSink(out))
    assert list(listing(out)) == [b"a"]
    assert (outside / "keep").read_text() == "mine"


def test_platforms_are_split_and_may_not_overwrite_each_other(lab: Lab, tmp_path: Path) -> None:
    targets = [
        lab.result(directory("d"), file(f"d/{name}", name.encode()), platform=parse(name)).targets[0]
        for name in ("386", "amd64")
    ]
    result = SolveResult(tuple(targets), multi_platform=True)
    lab.export("local", result, {}, DirSink(tmp_path / "split"))
    assert list(listing(tmp_path / "split")) == [
        b"linux_386", b"linux_386/d", b"linux_386/d/386", b"linux_amd64", b"linux_amd64/d", b"linux_amd64/d/amd64"
    ]  # fmt: skip
    lab.export("local", result, {"platform-split": "false", "mode": "delete"}, DirSink(tmp_path / "split"))
    assert list(listing(tmp_path / "split")) == [b"d", b"d/386", b"d/amd64"]
    twice = msgspec.structs.replace(
        result, targets=(targets[0], msgspec.structs.replace(targets[0], platform=parse("amd64")))
    )
    with pytest.raises(ExportError, match=r"d/386 of linux/amd64 would overwrite that of linux/386\. .*platform-split"):
        lab.export("local", twice, {"platform-split": "false"}, DirSink(tmp_path / "x"))
    assert not (tmp_path / "x").exists()
    lab.export("local", lab.result(file("a")), {"platform-split": "true"}, DirSink(tmp_path / "one"))
    assert list(listing(tmp_path / "one")) == [b"linux_amd64", b"linux_amd64/a"]


def test_a_cancel_leaves_no_new_directory(lab: Lab, tmp_path: Path) -> None:
    result = lab.result(directory("d"), file("d/a", b"x"))
    lab.cancel.cancel()
    with pytest.raises(Interrupted):
        lab.export("local", result, {}, DirSink(tmp_path / "out"))
    assert {one.name for one in tmp_path.iterdir()} == {"store"}


def test_a_dest_that_cannot_be_is_a_sentence(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = lab.result(file("a"))
    for dest in ("file", "file/below"):
        with pytest.raises(ExportError, match="cannot be"):
            lab.export("local", result, {}, DirSink(tmp_path / dest))
    assert [one.name for one in tmp_path.iterdir() if one.name != "store"] == ["file"]


@pytest.mark.skipif(not ROOT, reason="drops to an unprivileged user")
def test_an_unprivileged_user_gets_files_of_its_own() -> None:
    with tempfile.TemporaryDirectory(prefix="pybuild-local-") as scratch:  # pytest's own is for root alone
        Path(scratch).chmod(0o755)
        home = Path(scratch, "home")
        home.mkdir()
        os.chown(home, 12345, 12345)
        program = PROGRAM.format(path=sys.path, home=str(home))
        subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).parents[2])
        found = listing(home / "out")
    assert {row[1:3] for row in found.values()} == {(12345, 12345)}
    assert found[b"d"][0] == oct(stat.S_IFDIR | 0o500)
    assert found[b"d/s"][0] == oct(stat.S_IFREG | 0o4755)
    assert found[b"d"][4] == TIME


@pytest.mark.skipif(not ROOT, reason="device nodes need root")
def test_devices_and_fifos_replace_what_was_there(lab: Lab, tmp_path: Path) -> None:
    contents = [(Entry("null", CHAR, 0o666, devmajor=1, devminor=3), None), (Entry("pipe", FIFO, 0o622), None)]
    (tmp_path / "out").mkdir()
    (tmp_path / "out/null").write_text("x")
    lab.export("local", lab.result(*contents), {}, DirSink(tmp_path / "out"))
    found = listing(tmp_path / "out")
    assert found[b"null"][0] == oct(stat.S_IFCHR | 0o666)
    assert found[b"null"][3] == os.makedev(1, 3)
    assert found[b"pipe"][0] == oct(stat.S_IFIFO | 0o622)
