"""The layer that a RUN leaves: which entries it has, as BuildKit's differ decides it."""

from __future__ import annotations

import os
import resource
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pybuild_magic.builders.embedded.sandbox import changed as changed_layer
from pybuild_magic.errors import StoreError
from pybuild_magic.store import DIR, HARDLINK, SYMLINK, Entry, Layer, Store, opaque, whiteout
from pybuild_magic.store.collect import collect_garbage

from .conftest import ROOTLESS, SINGLE, TIME, Box, directory, file, make_sandbox, owned, untraced, write_base


def listing(layer: Layer) -> list[str]:
    return [f"{entry.type} {entry.path}" + (f" -> {entry.link}" if entry.link else "") for entry in layer.index]


def test_nothing_changed_is_an_empty_layer(box: Box) -> None:
    assert listing(box.commit("true")) == []
    assert listing(box.commit("cat /etc/passwd; ls -la /bin; test -x /bin/sh")) == []


@pytest.mark.parametrize(
    ("command", "entries"),
    [
        ("echo new > /x", ["0 x"]),
        ("mkdir -p /a/b && touch /a/b/c", ["5 a", "5 a/b", "0 a/b/c"]),
        ("echo x >> /etc/passwd", ["5 etc", "0 etc/passwd"]),
        ("rm /etc/passwd", ["5 etc", "0 etc/.wh.passwd"]),
        ("rm -r /home/user", ["5 home", "0 home/.wh.user"]),
        ("rm -r /home", ["0 .wh.home"]),
        ("chmod 700 /etc", ["5 etc"]),
        ("chmod 600 /etc/group", ["5 etc", "0 etc/group"]),
        ("chmod 644 /etc/group", []),
        ("touch /etc/group", ["5 etc", "0 etc/group"]),
        ("touch -d @1700000000 /etc/group", []),
        ("mv /etc/group /etc/moved && mv /etc/moved /etc/group", []),
        ("echo x > /x && rm /x", []),
        ("rm -r /home/user && mkdir /home/user && touch /home/user/n",
         ["5 home", "5 home/user", "0 home/user/n", "0 home/user/.wh.own"]),
        ("rm /etc/group && mkdir /etc/group && touch /etc/group/in", ["5 etc", "5 etc/group", "0 etc/group/in"]),
        ("rm -r /home && touch /home", ["0 home"]),
        ("ln -s /nowhere /etc/link", ["5 etc", "2 etc/link -> /nowhere"]),
        ("rm /bin/ls && ln -s busybox /bin/ls", ["5 bin", "2 bin/ls -> busybox"]),
        ("echo x > /a && ln /a /b && ln /a /c", ["0 a", "1 b -> a", "1 c -> a"]),
        ("ln /etc/group /etc/twin", ["5 etc", "0 etc/twin"]),
        ("ln /etc/group /aaa", ["0 aaa"]),
        ("mkfifo /pipe", ["6 pipe"]),
        ("chmod 777 /", []),
        ("touch /.wh", ["0 .wh"]),
        ("mkdir /z /a; touch /z/1 /a/1; touch '/a b'; mkdir /a.d; touch /a.d/x",
         ["5 a", "0 a/1", "0 a b", "5 a.d", "0 a.d/x", "5 z", "0 z/1"]),
    ],
)  # fmt: skip
def test_what_changed_is_in_the_layer(layered: Box, command: str, entries: list[str]) -> None:
    assert listing(layered.commit(command)) == entries


def test_sockets_are_left_out(box: Box) -> None:
    ran = box.run("touch /x", keep=True)
    place = os.open(ran.outcome.work / "fs", os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"/proc/self/fd/{place}/sock")
        assert listing(box.sandbox.commit(ran.outcome)) == ["0 x"]
    os.close(place)


def test_contents_modes_and_owners_are_kept(box: Box) -> None:
    layer = box.commit("umask 077; printf hello > /f; chmod 4755 /f; mkdir -m 1777 /d; touch -d @86400 /f")
    entries = {entry.path: entry for entry in layer.index}
    assert entries["f"].mode == 0o4755
    assert entries["f"].mtime == 86400 * 10**9
    assert entries["d"].mode == 0o1777
    tree = box.store.tree((*box.snapshot, layer.diff_id))
    assert tree.read(entries["f"]) == b"hello"


def test_owners_are_those_that_the_process_gave(box: Box) -> None:
    if not owned(box):
        pytest.skip("one id stands for all, and is not to remember others")
    layer = box.commit("touch /f; chown 1000:2000 /f; mkdir /d; chown 5:6 /d; chown 7:7 /bin/sh")
    owners = {entry.path: (entry.uid, entry.gid) for entry in layer.index}
    assert owners["f"] == (1000, 2000)
    assert owners["d"] == (5, 6)
    assert owners["bin/busybox" if "bin/busybox" in owners else "bin/sh"] == (7, 7)


@pytest.mark.skipif(not SINGLE, reason="there are more ids")
def test_where_one_id_stands_for_all_owners_in_the_image_stay(box: Box) -> None:
    layer = box.commit("echo more >> /home/user/own; echo new > /home/user/new", user="user")
    owners = {entry.path: (entry.uid, entry.gid) for entry in layer.index}
    assert owners == {
        "home": (0, 0),
        "home/user": (1000, 1001),
        "home/user/new": (1000, 1001),
        "home/user/own": (1000, 1001),
    }
    assert (box.run("chown 5 /etc/group").code == 0) is owned(box)


def test_devices_are_kept(box: Box) -> None:
    if ROOTLESS and not (SINGLE and owned(box)):
        pytest.skip("devices need root, or the tracer")
    layer = box.commit("mknod /c c 1 3; mknod /b b 7 0")
    assert [(e.path, e.type, e.devmajor, e.devminor) for e in layer.index] == [("b", "4", 7, 0), ("c", "3", 1, 3)]
    again = box.run("stat -c '%F %t %T' /c /b", snapshot=(*box.snapshot, layer.diff_id))
    assert again.lines == ["character special file 1 3", "block special file 7 0"]


def test_capabilities_of_files_are_the_one_attribute_that_stays(box: Box) -> None:
    capability = bytes.fromhex("0100000200040000000000000000000000000000")
    base = box.layer(
        (Entry("ping", mode=0o755, mtime=TIME, size=1, xattrs={"security.capability": capability}), b"x"),
    )
    snapshot = (*box.snapshot, base.diff_id)
    if ROOTLESS and not (SINGLE and owned(box)):
        pytest.skip("tested as root: the kernel rewrites the attribute for a user namespace")
    layer = box.commit("touch /ping", snapshot=snapshot)
    assert [dict(entry.xattrs) for entry in layer.index] == [{"security.capability": capability}]


def test_names_that_are_not_utf8_are_kept(box: Box) -> None:
    layer = box.commit(r"touch $(printf '/a\377b')")
    assert [entry.path.encode("utf-8", "surrogateescape") for entry in layer.index] == [b"a\xffb"]
    assert box.run("ls /a* | wc -l", snapshot=(*box.snapshot, layer.diff_id)).stdout == "1\n"


def test_long_names_and_deep_directories_are_kept(box: Box) -> None:
    layer = box.commit("n=$(printf 'x%.0s' $(seq 200)); mkdir -p /$n/$n/$n && echo deep > /$n/$n/$n/f")
    tree = box.store.tree((*box.snapshot, layer.diff_id))
    path = "/".join(["x" * 200] * 3 + ["f"])
    entry = tree.get(path)
    assert entry is not None
    assert tree.read(entry) == b"deep\n"


def test_many_files_come_in_order_with_their_contents(box: Box) -> None:
    layer = box.commit("mkdir /m; for i in $(seq 1000 1600); do echo $i > /m/$i; done")
    files = [entry for entry in layer.index if entry.type == "0"]
    assert [entry.path for entry in files] == [f"m/{number}" for number in range(1000, 1601)]
    tree = box.store.tree((*box.snapshot, layer.diff_id))
    assert all(tree.read(entry) == entry.path[2:].encode() + b"\n" for entry in files)


def test_contents_that_the_store_has_are_not_written_again(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same files of an environment that is made again, and some more: the layer is what it would be without."""
    environment = (
        "mkdir -p /e/p; cd /e; seq 300000 > a; seq 9 2000 > p/c; ln p/c d; ln -s a l; : > empty; seq 50 > small; "
        "chmod 700 p; chmod 600 a; {}; find /e | xargs touch -h -d @1000000000"
    )
    changed = environment.format("seq 7 5000 > p/b; seq 300001 > z; rm small")
    first = box.commit(environment.format(":"))
    whole = box.commit(changed)
    entries = [*whole.index]
    box.store.db.execute("DELETE FROM layers WHERE diff_id = ?", (whole.diff_id,))
    box.store.db.execute("DELETE FROM blobs WHERE digest = ?", (whole.diff_id,))
    size = box.store.blobs.path(whole.diff_id).stat().st_size
    box.store.blobs.path(whole.diff_id).unlink()

    monkeypatch.setattr(changed_layer, "MANY", 1 << 20)
    layer = box.commit(changed)
    assert (layer.diff_id, [*layer.index]) == (whole.diff_id, entries)
    parts = box.store.parts.get(layer.diff_id)
    assert parts is not None
    pack, *others = parts.blobs
    assert others == [first.diff_id]
    assert 1_900_000 < size - box.store.blobs.size(pack) < 2_100_000
    assert box.store.blobs.verify(layer.diff_id) == ""
    ran = box.run("cmp /e/a /e/z; wc -l /e/*; cat /e/p/*", snapshot=(*box.snapshot, layer.diff_id))
    same = box.run(f"{changed}; cmp /e/a /e/z; wc -l /e/*; cat /e/p/*")
    assert ran.stdout == same.stdout and "300001" in ran.stdout


@pytest.mark.skipif(not ROOTLESS, reason="root's files are read without the helper")
@pytest.mark.parametrize("at_once", [1, 4])
def test_files_by_the_thousands_need_few_descriptors(builtin: Box, at_once: int) -> None:
    """Those on their way count against a user's limit: "Too many references: cannot splice"."""
    number = 100_000 if at_once == 1 else 5_000
    command = f'mkdir /m; cd /m; seq {number} | awk \'{{ f = "d" int($1 / 1000) "-" $1; print $1 > f; close(f) }}\''
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    builtin.sandbox.close()
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, limits[1]))
    try:
        with ThreadPoolExecutor(at_once) as pool:
            layers = list(pool.map(builtin.commit, [command] * at_once))
    finally:
        builtin.sandbox.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    for layer in layers:
        files = [entry for entry in layer.index if entry.type == "0"]
        assert len(files) == number
        tree = builtin.store.tree((*builtin.snapshot, layer.diff_id))
        assert all(
            tree.read(entry) == entry.path.rpartition("-")[2].encode() + b"\n" for entry in files[:: number // 100]
        )


def test_the_next_run_sees_what_the_last_one_left(box: Box) -> None:
    snapshot = box.snapshot
    for command in (
        "mkdir -p /d/sub; echo 1 > /d/one; echo 2 > /d/sub/two; ln /d/one /d/same",
        "rm /d/one; echo 3 > /d/three",
        "rm -r /d/sub; mkdir /d/sub; echo 4 > /d/sub/four",
    ):
        snapshot = (*snapshot, box.commit(command, snapshot=snapshot).diff_id)
    expected = "/d\n/d/same\n/d/sub\n/d/sub/four\n/d/three\n"
    assert box.run("find /d | sort", snapshot=snapshot).stdout == expected
    assert (
        sorted(entry.path for entry in box.store.tree(snapshot).walk("d"))
        == expected.replace("/d\n", "", 1).replace("/d", "d").split()
    )


def test_the_same_from_directories_made_again(box: Box) -> None:
    """A layer's directory is a cache: extracted anew, the process sees the same."""
    one = box.commit(
        "rm -r /home/user; mkdir /home/user; echo n > /home/user/n; rm /etc/group; ln -s x /l; mkfifo /p;"
        "echo h > /h1; ln /h1 /h2; chmod 2755 /home; chmod 4711 /h1; touch -d @1000 /home"
    )
    snapshot = (*box.snapshot, one.diff_id)
    look = "cd /; find . -xdev ! -path './[dps][ery][vos]*' | sort | xargs stat -c '%n %f %u %g %N'; stat -c %h h1 h2"
    before = box.run(look, snapshot=snapshot).stdout
    for key in [box.sandbox.rootfs._key(diff_id) for diff_id in snapshot]:
        box.store.rootfs.evict(key)
    assert box.run(look, snapshot=snapshot).stdout == before
    assert "h2" in before


def test_a_layer_of_someone_else_s_is_extracted_as_it_means(box: Box) -> None:
    """Whiteouts, opaque directories, parents without entries, links to files below, links that are hidden."""
    middle = box.layer(
        directory("usr"),
        directory("usr/lib"),
        Entry("lib", SYMLINK, 0o777, mtime=TIME, link="usr/lib"),
        directory("gone"),
        file("gone/a", b"a"),
        directory("private", 0o700, uid=0),
        file("private/old", b"old"),
        file("below", b"content"),
    )
    top = box.layer(
        whiteout("etc/group"),
        opaque("gone"),
        file("gone/b", b"b"),
        file("private/new", b"new"),
        file("lib/so", b"library"),
        Entry("again", HARDLINK, 0o644, mtime=TIME, link="below"),
    )
    snapshot = (*box.snapshot, middle.diff_id, top.diff_id)
    ran = box.run(
        "ls /gone /private; cat /lib/so /again; echo; stat -c '%a %F' /private /lib; ls /usr/lib; ls /etc",
        snapshot=snapshot,
    )
    assert ran.lines == [
        *("/gone:", "b", "", "/private:", "new", "old", "librarycontent", "700 directory", "755 directory"),
        *("hosts", "passwd", "resolv.conf"),
    ]


def test_a_layer_that_names_paths_twice_is_what_its_last_entries_make_of_it(box: Box) -> None:
    """In a directory, in an image and in a copy alike; COPY sees the same."""
    layer = box.layer(
        directory("x"),
        directory("x/dir"),
        file("x/dir/lost", b"lost"),
        directory("x/other"),
        Entry("x/dir", SYMLINK, 0o777, mtime=TIME, link="other"),
        file("x/dir/kept", b"behind the link"),
        file("x/file", b"one"),
        Entry("x/name", HARDLINK, 0o600, mtime=TIME, link="x/file"),
        file("x/file", b"two"),
        Entry("x/pipe", "6", 0o640, mtime=TIME),
        Entry("x/pipe-too", HARDLINK, 0o640, mtime=TIME, link="x/pipe"),
        Entry("x/pipe", DIR, 0o711, mtime=TIME),
        Entry("x/device", "3", 0o666, mtime=TIME, devmajor=1, devminor=3),
        Entry("x/device-too", HARDLINK, 0o666, mtime=TIME, link="x/device", devmajor=1, devminor=3),
        file("x/again", b"a file"),
        directory("x/again"),
    )
    snapshot = (*box.snapshot, layer.diff_id)
    ran = box.run(
        "cd /x; find . ! -name 'device*' | sort | xargs stat -c '%N %a'; cat name file dir/kept", snapshot=snapshot
    )
    assert ran.lines == [
        *(". 755", "./again 755", "'./dir' -> 'other' 777", "./file 644", "./name 600", "./other 755"),
        *("./other/kept 644", "./pipe 711", "./pipe-too 640", "onetwobehind the link"),
    ]
    seen = [entry.path for entry in box.store.tree(snapshot).walk("x") if "device" not in entry.path]
    assert seen == [f"x/{name}" for name in ("again", "dir", "file", "name", "other", "other/kept", "pipe", "pipe-too")]


def test_two_layers_with_the_same_content_stack(box: Box) -> None:
    once, other = box.layer(file("x", b"1")), box.layer(file("x", b"2"))
    snapshot = (*box.snapshot, once.diff_id, other.diff_id, once.diff_id)
    assert box.run("cat /x", snapshot=snapshot).stdout == "1"


def test_130_layers_stack(box: Box) -> None:
    layers = [box.layer(file(f"f{number}", str(number).encode())) for number in range(130)]
    snapshot = (*box.snapshot, *(layer.diff_id for layer in layers))
    assert box.run("ls / | grep -c '^f'; cat /f0 /f129", snapshot=snapshot).stdout == "130\n0129"
    top = box.commit("rm /f5; echo x > /f7", snapshot=snapshot)
    assert listing(top) == ["0 .wh.f5", "0 f7"]


def test_more_layers_than_overlayfs_takes_stack_too(builtin: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pybuild_magic.builders.embedded.sandbox.rootfs.MAX_STACK", 6)
    layers = [
        builtin.layer(file(f"f{number}", b"x"), *([whiteout("f1")] if number == 3 else [])) for number in range(12)
    ]
    snapshot = (*builtin.snapshot, *(layer.diff_id for layer in layers))
    assert builtin.run("ls / | grep -c '^f'", snapshot=snapshot).stdout == "11\n"
    assert listing(builtin.commit("rm /f0 /f11", snapshot=snapshot)) == ["0 .wh.f0", "0 .wh.f11"]


def test_a_big_layer_is_extracted_by_several_processes(box: Box) -> None:
    entries: list[Entry | tuple[Entry, bytes]] = [Entry("big", DIR, 0o755, mtime=TIME)]
    entries += [file(f"big/{number:04}", b"%d" % number * 100, mode=0o640) for number in range(900)]
    entries.append(file("big/large", b"0123456789abcdef" * 100_000))
    layer = box.layer(*entries)
    snapshot = (*box.snapshot, layer.diff_id)
    ran = box.run("ls /big | wc -l; cat /big/* | md5sum; stat -c %a:%Y /big/0899", snapshot=snapshot)
    import hashlib

    digest = hashlib.md5(b"".join(item[1] for item in entries[1:] if isinstance(item, tuple))).hexdigest()
    assert ran.lines == ["901", f"{digest}  -", "640:1700000000"]


@pytest.mark.parametrize("path", ["../out", "a/../../out", "/abs/../../out", "a//b", "."])
def test_a_path_that_leaves_the_layer_is_refused(builtin: Box, path: str) -> None:
    from pybuild_magic.builders.embedded.sandbox.client import JobFailed

    target = builtin.store.rootfs.workdir()
    row = (path, "0", 0o644, 0, 0, TIME, 0, "", 0, -1, 0, 0, None)
    job = {"root": str(target), "blobs": [], "entries": [row], "record": "", "lazy": "", "remembered": False}
    with pytest.raises(JobFailed, match="not a valid path"):
        builtin.sandbox._helper.call("extract", job)
    assert not (target.parent / "out").exists()


@untraced
def test_attributes_that_would_steer_overlayfs_are_left_out(builtin: Box) -> None:
    xattrs = {"trusted.overlay.redirect": b"/etc", "user.overlay.redirect": b"/etc", "user.fine": b"1"}
    target = builtin.store.rootfs.workdir()
    row = ("d", "5", 0o755, 0, 0, TIME, 0, "", 0, -1, 0, 0, xattrs)
    builtin.sandbox._helper.call(
        "extract", {"root": str(target), "blobs": [], "entries": [row], "record": "", "lazy": "", "remembered": False}
    )
    assert os.listxattr(target / "d") == ["user.fine"]


def test_a_stub_swapped_for_a_link_leads_nowhere(builtin: Box, tmp_path_factory: pytest.TempPathFactory) -> None:
    """After the run, mount stubs are removed by a privileged process: through no link of the image's."""
    outside = tmp_path_factory.mktemp("outside")
    (outside / "hosts").touch()
    bare = builtin.layer(whiteout("etc"))
    snapshot = (*builtin.snapshot, bare.diff_id)
    up = "../" * 20
    builtin.commit(f"mv /etc /etc2; ln -s {up.rstrip('/')}{outside} /etc", snapshot=snapshot)
    assert (outside / "hosts").exists()


def test_a_full_disk_is_told(builtin: Box) -> None:
    from pybuild_magic.builders.embedded.sandbox.client import JobFailed
    from pybuild_magic.builders.embedded.sandbox.rootfs import extraction_error

    error = extraction_error(JobFailed(28, "No space left on device"))
    assert isinstance(error, StoreError)
    assert "full" in error.message


MANY = "dd/" * 670
DEEP = f"a/{MANY}b/{MANY}f"
"""As long as paths can be: Linux opens no more than 4,095 bytes, "/" included."""


@pytest.fixture(params=["builtin", "copying"])
def apart(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Box]:
    """A sandbox whose layers' directories are deleted: pytest's own deletion is not up to such trees."""
    store = Store(tmp_path / "store")
    with store, store.lease(), make_sandbox(store, request.param) as sandbox:
        yield Box(sandbox, write_base(store))
        for path in (store.root / "rootfs").iterdir():
            sandbox.remove(path)


@untraced
def test_directories_as_deep_as_paths_can_be_are_as_good_as_others(apart: Box) -> None:
    make = f"mkdir -p /a/{MANY} /b/{MANY} && echo x > /b/{MANY}f && mv /b /a/{MANY}"
    layer = apart.commit(make)
    assert len(layer.index) == 1343
    assert layer.index.entries[-1].path == DEEP
    snapshot = (*apart.snapshot, layer.diff_id)
    # A file of the same size and time is compared by what is in it; its parents come along.
    changed = apart.commit(f"cd /a/{MANY}b/{MANY} && printf 'y\\n' > f && rm -rf g", snapshot=snapshot)
    assert listing(changed) == listing(layer)
    top = (*snapshot, changed.diff_id)
    assert apart.run(f"cat /{DEEP}", snapshot=top).stdout == "y\n"
    # busybox's rm holds a descriptor for each level, and ends with 1 and no word where it may not have so many: its
    # find stops at level 1,022 of this tree under a user's limit of 1,024. So the lower half goes first.
    gone = apart.commit(f"cd /a/{'dd/' * 600} && rm -r dd && rm -r /a && mkdir /a && touch /a/new", snapshot=top)
    assert [line for line in listing(gone) if ".wh." not in line] == ["5 a", "0 a/new"]


@pytest.mark.parametrize("apart", ["builtin"], indirect=True)
def test_what_is_too_deep_for_any_process_is_refused_in_words_and_deleted(apart: Box) -> None:
    ran = apart.run(f"mkdir -p /a/{MANY} /b/{MANY} /c/{MANY} && mv /c /b/{MANY} && mv /b /a/{MANY}", keep=True)
    assert ran.code == 0, ran.stderr
    with pytest.raises(StoreError, match=r"The changes of this RUN could not be read: .* has a path of \d+ bytes"):
        apart.sandbox.commit(ran.outcome)
    assert not ran.outcome.work.exists()
    collect_garbage(apart.store)
