"""What a RUN leaves in its layer under the tracer is what it leaves there with namespaces."""

from __future__ import annotations

import gzip
import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from pybuild_magic.builders.embedded.sandbox import Sandbox
from pybuild_magic.llb.ops import NetMode
from pybuild_magic.store import BLOCK, CHAR, FIFO, HARDLINK, SYMLINK, Compressed, Entry, Layer, Store
from pybuild_magic.store.fsck import fsck
from tests.sandbox.conftest import TIME, Box, directory, file, write_base
from tests.services import require
from tests.services.common import need_root

from .conftest import REPOSITORY

SCENARIOS = {
    "content": "echo more >> /d/file; echo new > /d/new; : > /d/empty; cat /d/other; touch -d @5 /d/dated",
    "unchanged": "exec 3<>/d/file; find /d /e /usr | sort | xargs stat -c '%A %u:%g %Y %n'; "
    "chmod 640 /d/file; chown 5 /d/file",
    "attributes": "chmod 4711 /d/file; chown 7:8 /d/other; chown -h 3:4 /d/link; chmod 1777 /d; chown 5 /e",
    "removed": "rm -r /d /usr/deep/a; rm /e/kept; rmdir /empty",
    "made again": "rm -r /d; mkdir /d; echo x > /d/file; rm /e/kept; mkdir -p /e/kept/below; echo > /e/kept/below/f",
    "same again": "cp -a /d /x; rm -r /d; cp -a /x /d; rm -r /x",
    "kinds": "rm /d/file; mkdir /d/file; rm -r /usr/deep; ln -s /d /usr/deep; rm /d/link; : > /d/link; "
    "rmdir /empty; : > /empty",
    "new kinds": "mkfifo /p; mknod /c c 1 3; mknod /b b 7 1; ln -s nowhere /l; mkdir -m 2750 /g; "
    "chown 0:9 /g; : > /g/f; mkdir /g/d",
    "links": "ln /d/file /d/more; ln /d/new /n; : > /a; ln /a /b; ln /b /e/c; echo x >> /b",
    "links of the image": "stat -c '%h %n' /l1 /l2 /l3; echo more >> /l1; cat /l2; stat -c '%h %n' /l1 /l2 /l3; rm /l3",
    "moved": "mv /d/file /d/moved; mv /l1 /e/l1; mv /l2 /e/l2; mkdir /m; : > /m/f; mv /m /e/m; "
    "mv /e/m/f /e/m/g; mv /d/other /d/file",
    "moved directories": "mv /usr/deep /deep; mv /empty /e/empty; mkdir -p /q/r; mv /q /d/q; mv /d/q/r /r",
    "moved over": "mkdir /n; : > /n/x; rm -r /e; mv /n /e; mkdir /o; mv -T /o /empty",
    "in layers below": "ls /e /usr/deep/a; cat /e/over; echo > /e/gone; echo > /hidden/below; ls /hidden; "
    "rm /hidden/top",
    "modes that keep out": "cat /secret/f; echo x >> /secret/f; chmod 0 /d; ls /d",
    "as a user": "cd; echo > new; mkdir -m 700 o; echo > o/f; rm own; ln -s x y; cat /secret/f /d/file; "
    "rm /e/over; echo > /e/n",
    "through descriptors": "exec 3< /d/file; echo x >> /dev/fd/3 || true; echo y >> /proc/self/fd/3; cat /d/file",
    "devices of the image": "ls -l /dev-like; rm /dev-like/block; mv /dev-like/char /null2; chmod 600 /dev-like/pipe",
    "in a new place": "pwd; echo > f; ls -ld /made /made/for/it",
}  # fmt: skip
SPECS: dict[str, dict[str, Any]] = {
    "as a user": {"user": "user"},
    "in a new place": {"cwd": "/made/for/it", "user": "user"},
}


@pytest.fixture(scope="module")
def boxes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Box, Box]]:
    """The same image on two sandboxes: with namespaces, and with the tracer."""
    require(lambda: need_root("namespaces are compared with"))
    subprocess.run([sys.executable, REPOSITORY / "native/build.py"], check=True)
    with (
        Store(tmp_path_factory.mktemp("layers") / "store") as store,
        store.lease(),
        Sandbox(store, "builtin") as builtin,
        Sandbox(store, rung=4) as traced,
    ):
        store.remove_tree = builtin.remove
        pair = Box(builtin, write_base(store)), Box(traced, write_base(store))
        layers = [write_lower(pair[0]), write_upper(pair[0])]
        for box in pair:
            box.snapshot += tuple(layer.diff_id for layer in layers)
        yield pair


def write_lower(box: Box) -> Layer:
    return box.layer(
        directory("d", 0o750, uid=3, gid=4),
        file("d/file", b"content\n", mode=0o640, uid=5),
        file("d/other", b"other\n", mode=0o4755, xattrs={"security.capability": CAPABILITY}),
        Entry("d/link", SYMLINK, 0o777, mtime=TIME, link="file", uid=6),
        directory("e"),
        file("e/kept", b"kept"),
        file("e/gone", b"gone"),
        file("e/over", b"old"),
        directory("empty", 0o555),
        directory("hidden"),
        file("hidden/below", b"below"),
        directory("usr"),
        directory("usr/deep"),
        directory("usr/deep/a"),
        file("usr/deep/a/f", b"deep"),
        directory("secret", 0o000),
        file("secret/f", b"secret\n", mode=0o000),
        file("l1", b"linked\n"),
        Entry("l2", HARDLINK, mtime=TIME, link="l1"),
        Entry("l3", HARDLINK, mtime=TIME, link="l1"),
        directory("dev-like"),
        Entry("dev-like/char", CHAR, 0o666, mtime=TIME, devmajor=1, devminor=3, gid=5),
        Entry("dev-like/block", BLOCK, 0o660, mtime=TIME, devmajor=7, devminor=2, gid=6),
        Entry("dev-like/pipe", FIFO, 0o644, mtime=TIME, uid=1),
    )


def write_upper(box: Box) -> Layer:
    return box.layer(
        directory("e", 0o700, uid=9),
        file("e/.wh.gone"),
        file("e/over", b"new", uid=2),
        directory("hidden", 0o711),
        file("hidden/.wh..wh..opq"),
        file("hidden/top", b"top"),
        directory("usr/deep/b"),
    )


CAPABILITY = bytes.fromhex("0100000200040000000000000000000000000000")


def shown(layer: Layer) -> list[tuple[object, ...]]:
    """The entries of a layer, without the times of what was changed just now."""
    return [
        (
            entry.path, entry.type, oct(entry.mode), entry.uid, entry.gid, entry.size, entry.link, entry.devmajor,
            entry.devminor, entry.xattrs, entry.mtime if entry.mtime <= TIME else "now",
        )
        for entry in layer.index
    ]  # fmt: skip


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_layer_is_what_namespaces_make(boxes: tuple[Box, Box], name: str) -> None:
    outputs: list[str] = []
    layers: list[list[tuple[object, ...]]] = []
    for box in boxes:
        ran = box.run(SCENARIOS[name], keep=True, **SPECS.get(name, {}))
        outputs.append(f"{ran.code}\n{ran.stdout}{ran.stderr}")
        layers.append(shown(box.sandbox.commit(ran.outcome)))
    assert outputs[1] == outputs[0]
    assert layers[1] == layers[0]


def test_what_nobody_looks_at_costs_nothing(boxes: tuple[Box, Box]) -> None:
    """An echo on a base of many files is not slower than with few: no file of it is made."""
    _, traced = boxes
    many = traced.layer(
        *(directory(f"many/{n}") for n in range(100)),
        *(file(f"many/{n}/{m}", b"x") for n in range(100) for m in range(100)),
    )
    snapshot = (*traced.snapshot, many.diff_id)
    traced.run("true", snapshot=snapshot)
    start = time.monotonic()
    ran = traced.run("echo x", snapshot=snapshot, keep=True)
    took = time.monotonic() - start
    made = [path for path in (ran.outcome.work / "fs").rglob("*") if path.is_relative_to(ran.outcome.work / "fs/many")]
    assert len(made) == 1, "the directory itself, which is empty"
    assert ran.stdout == "x\n"
    assert took < 5
    assert [entry.path for entry in traced.sandbox.commit(ran.outcome).index] == []
    assert traced.run("ls /many | wc -l; cat /many/99/99; find /many | wc -l", snapshot=snapshot).lines == [
        "100",
        "x10101",
    ]


def test_the_store_s_files_are_never_changed(boxes: tuple[Box, Box]) -> None:
    """Not even through descriptors whose names are gone."""
    _, traced = boxes
    lower = [Path(path) for path in traced.sandbox.rootfs.stack(traced.snapshot)]
    traced.run("find / -xdev -type f -exec cat {} + > /dev/null")  # so that all contents are written
    before = {path: look(path) for root in lower for path in root.rglob("*")}
    for script in (
        "exec 3< /d/file; rm /d/file; echo x >> /proc/self/fd/3",
        "exec 3< /d/file; rm /d/file; chmod 777 /proc/self/fd/3",
        "exec 3< /d/file; rm /d/file; touch /proc/self/fd/3",
        "exec 3< /d/file; echo x > /dev/fd/3; : > /d/file",
        "find / -xdev -type f | xargs touch 2>/dev/null; chmod -R 777 /d /e /usr; chown -R 5 /d /e /usr",
    ):
        traced.run(script)
    assert {path: look(path) for root in lower for path in root.rglob("*")} == before


def written(traced: Box, layer: Layer) -> set[str]:
    """The files of a layer's directory that have their content; each is of one block or more."""
    [root] = traced.sandbox.rootfs.stack((layer.diff_id,))
    files = {path: path.stat() for path in Path(root).rglob("*") if path.is_file()}
    assert all(info.st_size for info in files.values())
    return {path.name for path, info in files.items() if info.st_blocks}


def test_a_content_is_written_when_somebody_opens_it(boxes: tuple[Box, Box]) -> None:
    """What nobody reads takes no room, and says nothing of it."""
    _, traced = boxes
    names = ("read", "seen", "moved", "swapped", "linked", "copied", "cut", "owned", "program")
    files = [file(f"w/{name}", name.encode() * 5000, mode=0o755) for name in names]
    layer = traced.layer(directory("w"), *files, file("w/setid", b"id" * 5000, mode=0o4755))
    snapshot = (*traced.snapshot, layer.diff_id)
    ran = traced.run("stat -c %b /w/seen; du /w/seen | cut -f1; ls -l /w > /dev/null; test -x /w/program",
                     snapshot=snapshot, readonly_root=True)  # fmt: skip
    assert (ran.code, ran.lines) == (0, ["40", "20"])
    assert written(traced, layer) == {"setid"}, "which a later write would take the bit from"
    ran = traced.run(
        "cd /w; head -c 4 read; mv moved x; : > cut; chown 5 owned; ln linked y; cp copied z; head -c 5 x y z; "
        "! ./program 2> /dev/null; stat -c %a setid",
        snapshot=snapshot,
        keep=True,
    )
    assert ran.code == 0, ran.stderr
    assert ran.stdout == "read==> x <==\nmoved\n==> y <==\nlinke\n==> z <==\ncopie4755\n"
    assert written(traced, layer) == set(names) - {"seen", "swapped", "cut"} | {"setid"}
    made = traced.sandbox.commit(ran.outcome)
    tar = traced.store.blobs.read(made.diff_id)
    assert all(name * 5000 in tar for name in (b"moved", b"owned", b"linked", b"copied"))


def test_the_store_counts_what_was_written(boxes: tuple[Box, Box]) -> None:
    _, traced = boxes
    layer = traced.layer(directory("big"), file("big/one", bytes(range(256)) * 4096), file("big/two", b"2" * 9999))
    snapshot = (*traced.snapshot, layer.diff_id)

    def counted() -> int:
        [(size,)] = traced.store.db.read("SELECT size FROM rootfs WHERE diff_id = ?", (layer.diff_id,))
        return size

    traced.run("true", snapshot=snapshot)
    assert counted() == 0
    traced.run("cat /big/two > /dev/null", snapshot=snapshot)
    assert counted() == 9999
    assert traced.run("md5sum < /big/one", snapshot=snapshot).stdout.split()[0] == (
        hashlib.md5(bytes(range(256)) * 4096).hexdigest()
    )
    assert counted() == 9999 + (1 << 20)


def test_many_at_once_read_whole_contents(boxes: tuple[Box, Box]) -> None:
    """Several tracers, and several processes of each, need the same contents at the same moment."""
    _, traced = boxes
    sizes = [1, 4095, 4096, 131_071, 131_072, 131_073, 3_000_001]
    contents = {f"n{size}": os.urandom(size) for size in sizes}
    layer = traced.layer(directory("at"), *(file(f"at/{name}", content) for name, content in contents.items()))
    snapshot = (*traced.snapshot, layer.diff_id)
    script = "cd /at; for i in 1 2 3; do md5sum n* > /$i & done; wait; cat /1 /2 /3"
    with ThreadPoolExecutor(4) as pool:
        everyone = list(pool.map(lambda _: traced.run(script, snapshot=snapshot), range(4)))
    wanted = [f"{hashlib.md5(contents[name]).hexdigest()}  {name}" for name in sorted(contents)] * 3
    assert [ran.lines for ran in everyone] == [wanted] * 4


def test_the_same_bytes_again_are_no_change(boxes: tuple[Box, Box]) -> None:
    """As for overlayfs, which compares contents where size and time are those of before."""
    made: list[list[str]] = []
    for box in boxes:
        layer = box.layer(directory("s"), file("s/same", b"abc" * 3000), file("s/other", b"abc" * 3000))
        script = "cd /s; touch -r same /t; for f in same other; do for n in $(seq 3000); do printf abc; done > n; "
        script += "test $f = same || echo x | dd of=n conv=notrunc 2> /dev/null; touch -r /t n; mv n $f; done; rm /t"
        ran = box.run(script, snapshot=(*box.snapshot, layer.diff_id), keep=True)
        assert ran.code == 0, ran.stderr
        made.append([entry.path for entry in box.sandbox.commit(ran.outcome).index])
    assert made[1] == made[0] == ["s", "s/other"]


def test_a_tar_that_was_dropped_is_made_again_for_what_is_not_written(boxes: tuple[Box, Box]) -> None:
    _, traced = boxes
    store, content = traced.store, os.urandom(100_000)
    layer = traced.layer(file("kept", content))
    snapshot = (*traced.snapshot, layer.diff_id)
    traced.run("true", snapshot=snapshot)
    packed = gzip.compress(store.blobs.read(layer.diff_id))
    store.compressed.put(layer.diff_id, Compressed("m", store.blobs.put(packed), len(packed), "gzip"))
    with store.db.write() as connection:
        connection.execute("UPDATE blobs SET boot = ''")
        connection.execute("DELETE FROM blobs WHERE digest = ?", (layer.diff_id,))
    store.blobs.path(layer.diff_id).unlink()
    with Store(store.root) as again, again.lease(), Sandbox(again, rung=4) as later:
        ran = Box(later, traced.base).run("md5sum < /kept", snapshot=snapshot)
    assert (ran.stdout.split() or [ran.stderr])[0] == hashlib.md5(content).hexdigest()


def test_whoever_dies_while_a_content_is_written_leaves_no_trace(boxes: tuple[Box, Box]) -> None:
    """The file is on the disk as a killed tracer left it: partly written, with the time of that moment."""
    _, traced = boxes
    content = os.urandom(300_000)
    layer = traced.layer(directory("half"), file("half/one", content), file("half/two", content[1:]))
    snapshot = (*traced.snapshot, layer.diff_id)
    traced.run("ls /half", snapshot=snapshot)
    [root] = traced.sandbox.rootfs.stack((layer.diff_id,))
    with Path(root, "half/one").open("r+b") as half, Path(root, "half/two").open("r+b") as other:
        half.write(content[:5000])
        other.write(b"other")
    script = "stat -c '%Y %b' one two; md5sum one two; stat -c %Y one; chmod 600 two; stat -c %Y two"
    ran = traced.run(f"cd /half; {script}; mv one moved", snapshot=snapshot, keep=True)
    seconds = str(TIME // 10**9)
    assert ran.lines == [
        f"{seconds} 592",
        f"{seconds} 592",
        f"{hashlib.md5(content).hexdigest()}  one",
        f"{hashlib.md5(content[1:]).hexdigest()}  two",
        seconds,
        seconds,
    ]
    made = {entry.path: entry for entry in traced.sandbox.commit(ran.outcome).index}
    assert made["half/moved"].mtime == made["half/two"].mtime == TIME


MADE = (
    directory("top", mode=0o751),
    directory("top/in", mode=0o555),
    file("top/in/file", b"content" * 1000),
    file("top/in/empty"),
    Entry("top/in/link", SYMLINK, 0o777, mtime=TIME, link="file"),
    directory("top/in/deep", mode=0o700),
    file("top/in/deep/f", b"deep"),
    file("top/setid", b"s" * 5000, mode=0o2755),
    directory("other"),
    file("top/in/deep/g", b"hard" * 2000),
    Entry("other/hard", HARDLINK, mtime=TIME, link="top/in/deep/g"),
)


def names(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*")}


def test_names_are_made_when_somebody_looks_into_their_directory(boxes: tuple[Box, Box]) -> None:
    """But for those that only the extraction can make, such as hard links and their targets."""
    _, traced = boxes
    layer = traced.layer(*MADE)
    snapshot = (*traced.snapshot, layer.diff_id)
    [root] = map(Path, traced.sandbox.rootfs.stack((layer.diff_id,)))
    first = {"top", "other", "other/hard", "top/in", "top/in/deep", "top/in/deep/g", "top/setid"}
    assert names(root) == first
    assert fsck(traced.store) == []
    script = "stat -c '%n %A %Y' /top/* /top/in/*; stat -c %s /top/in/file; readlink /top/in/link"
    ran = traced.run(script, snapshot=snapshot)
    assert names(root) == first | {"top/in/file", "top/in/empty", "top/in/link"}
    assert ran.stdout == boxes[0].run(script, snapshot=(*boxes[0].snapshot, boxes[0].layer(*MADE).diff_id)).stdout
    assert {info.st_mtime_ns for path in root.rglob("*") if (info := path.lstat())} == {TIME}
    assert traced.run("cat /top/in/deep/*; rm -r /top", snapshot=snapshot).stdout == "deep" + "hard" * 2000
    assert fsck(traced.store) == []


def test_whoever_dies_while_names_are_made_leaves_no_trace(boxes: tuple[Box, Box]) -> None:
    """Some are on the disk as a killed tracer left them, without a size, a mode or a time."""
    _, traced = boxes
    layer = traced.layer(*MADE, directory("only"), directory("only/some", 0o711), file("only/some/f", b"some"))
    snapshot = (*traced.snapshot, layer.diff_id)
    [root] = map(Path, traced.sandbox.rootfs.stack((layer.diff_id,)))
    (root / "top/in/file").touch()
    (root / "top/in/link").symlink_to("file")
    (root / "only/some").mkdir(0o700)
    assert {"only/some/f", "top/in/empty"}.isdisjoint(names(root))
    ran = traced.run("cat /top/in/link /only/some/f; stat -c '%Y %a' /top/in /only /only/some", snapshot=snapshot)
    seconds = TIME // 10**9
    assert ran.stdout == f"{'content' * 1000}some{seconds} 555\n{seconds} 755\n{seconds} 711\n"


def test_many_at_once_find_all_names(boxes: tuple[Box, Box]) -> None:
    _, traced = boxes
    layer = traced.layer(
        *(directory(path) for path in ("m", *(f"m/{n}" for n in range(50)))),
        *(file(f"m/{n}/{m}", f"{n} {m}\n".encode()) for n in range(50) for m in range(50)),
    )
    snapshot = (*traced.snapshot, layer.diff_id)
    script = "for i in 1 2 3; do find /m -type f -exec cat {} + | sort | md5sum & done; wait"
    with ThreadPoolExecutor(4) as pool:
        everyone = list(pool.map(lambda _: traced.run(script, snapshot=snapshot), range(4)))
    lines = sorted(f"{n} {m}\n" for n in range(50) for m in range(50))
    assert [ran.lines for ran in everyone] == [[f"{hashlib.md5(''.join(lines).encode()).hexdigest()}  -"] * 3] * 4


@pytest.mark.parametrize("damage", ["of another kind", "cut", "empty"])
def test_a_damaged_table_is_made_again(boxes: tuple[Box, Box], damage: str) -> None:
    _, traced = boxes
    layer = traced.layer(file("a", damage.encode()), file("b", damage.encode() * 2))
    snapshot = (*traced.snapshot, layer.diff_id)
    traced.run("true", snapshot=snapshot)
    [root] = traced.sandbox.rootfs.stack((layer.diff_id,))
    table = Path(root).with_name("lazy")
    data = bytearray(table.read_bytes())
    if damage == "of another kind":
        data[7] ^= 1
    elif damage == "cut":
        del data[-9:]
    else:
        data.clear()
    table.write_bytes(data)
    with Store(traced.store.root) as again, again.lease(), Sandbox(again, rung=4) as later:
        ran = Box(later, traced.base).run("cat /a /b", snapshot=snapshot)
    assert ran.stdout == damage * 3, ran.stderr


def test_a_tar_that_is_too_short_is_told(boxes: tuple[Box, Box]) -> None:
    """A content is never zeros for want of a tar."""
    _, traced = boxes
    layer = traced.layer(file("whole", b"w" * 50_000))
    snapshot = (*traced.snapshot, layer.diff_id)
    traced.run("true", snapshot=snapshot)
    os.truncate(traced.store.blobs.path(layer.diff_id), 4096)
    ran = traced.run("cat /whole", snapshot=snapshot)
    assert (ran.code, ran.stdout) == (125, "")
    assert ran.stderr.endswith("tracer: the root could not be made: I/O error\n")


def test_a_limit_of_file_sizes_holds_for_processes_only(boxes: tuple[Box, Box]) -> None:
    _, traced = boxes
    layer = traced.layer(file("large", b"l" * 100_000))
    ran = traced.run("wc -c < /large; echo > /small", snapshot=(*traced.snapshot, layer.diff_id),
                     ulimits=(("fsize", 4096, 4096),))  # fmt: skip
    assert (ran.code, ran.lines) == (0, ["100000"]), ran.stderr


def look(path: Path) -> tuple[object, ...]:
    info = path.lstat()
    content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
    return info.st_ino, info.st_mode, info.st_uid, info.st_mtime_ns, info.st_size, content


def test_the_network_the_host_name_and_a_read_only_root_are_as_asked_for(boxes: tuple[Box, Box]) -> None:
    _, traced = boxes
    said = traced.run("hostname; cat /proc/sys/kernel/hostname", hostname="named")
    assert said.lines == ["named", "named"]
    refused = traced.run("touch /d/file; mkdir /x", readonly_root=True).stderr
    assert refused.count("Read-only file system") == 2
    assert "Address family not supported" in traced.run("busybox nc 127.0.0.1 1", network=NetMode.NONE).stderr
