"""The mounts of a RUN: what they show, what they keep, and that they leave no trace in the layer."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pybuild_magic.builders.embedded.sandbox import SandboxMount
from pybuild_magic.builders.embedded.sandbox.agent import AgentSocket
from pybuild_magic.builders.embedded.sandbox.helper import linux
from pybuild_magic.errors import BuildError
from pybuild_magic.llb.ops import MountType
from pybuild_magic.store import whiteout
from tests.search import holders

from .conftest import Box, directory, file, owned, symlink, untraced


def paths(box: Box, command: str, *mounts: SandboxMount, **spec: Any) -> list[str]:
    return [entry.path for entry in box.commit(command, mounts=mounts, **spec).index]


def bind(box: Box, dest: str, **fields: Any) -> SandboxMount:
    source = box.layer(directory("src"), file("src/f", b"content"), file("other", b"o"))
    return SandboxMount(dest, snapshot=(source.diff_id,), **fields)


def test_a_bind_mount_shows_another_snapshot(box: Box) -> None:
    ran = box.run("cat /m/src/f /m/other", mounts=(bind(box, "/m", readonly=True),))
    assert ran.stdout == "contento"
    assert box.run("touch /m/x", mounts=(bind(box, "/m", readonly=True),)).code != 0


def test_a_selector_shows_a_part_of_it(box: Box) -> None:
    assert box.run("cat /m/f", mounts=(bind(box, "/m", selector="/src", readonly=True),)).stdout == "content"
    assert box.run("cat /file", mounts=(bind(box, "/file", selector="src/f", readonly=True),)).stdout == "content"


@pytest.mark.parametrize("readonly", [True, False])
def test_a_selector_leads_through_links(box: Box, readonly: bool) -> None:
    layer = box.layer(directory("a"), file("a/f", b"f"), symlink("deep", "/a/../a"), symlink("l", "deep"), file("x"))
    mount = SandboxMount("/m", snapshot=(layer.diff_id,), selector="/l", readonly=readonly)
    assert box.run("ls -A /m; cat /m/f", mounts=(mount,)).stdout == "f\nf"


def test_without_overlayfs_a_selector_costs_no_more_than_it_shows(builtin: Box, tmp_path: Path) -> None:
    layer = builtin.layer(
        *(directory(path) for path in ("a", "a/b", "a/c", "ab")), file("a/b/f", b"12"), file("a/c/f"), file("ab/f")
    )
    assert builtin.sandbox.rootfs.copy((layer.diff_id,), tmp_path, below="a/b") == 2
    assert sorted(str(path.relative_to(tmp_path / "fs")) for path in tmp_path.glob("fs/**/*")) == ["a", "a/b", "a/b/f"]


def test_a_selector_cannot_leave_its_snapshot(box: Box) -> None:
    assert box.run("ls /m", mounts=(bind(box, "/m", selector="../../..", readonly=True),)).stdout == "other\nsrc\n"
    with pytest.raises(BuildError, match="nothere"):
        box.run("true", mounts=(bind(box, "/m", selector="nothere"),))


def test_a_path_is_found_while_others_rename_files(tmp_path: Path) -> None:
    for name in ("root/a/b", "other"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "other/x").touch()
    rename = "import os\nwhile True:\n    os.rename('x', 'y')\n    os.rename('y', 'x')"
    root = os.open(tmp_path / "root", os.O_PATH)
    with subprocess.Popen([sys.executable, "-c", rename], cwd=tmp_path / "other") as renaming:
        try:
            for _ in range(10_000):
                os.close(linux.open_in(root, "a/b/../../../a", os.O_PATH, linux.RESOLVE_IN_ROOT))
        finally:
            renaming.kill()
            os.close(root)


def test_what_is_written_to_a_bind_mount_is_thrown_away(box: Box) -> None:
    mount = bind(box, "/m")
    assert paths(box, "echo changed > /m/src/f; touch /m/new; cat /m/src/f", mount) == []
    assert box.run("cat /m/src/f; ls /m", mounts=(mount,)).stdout == "contentother\nsrc\n"


def test_scratch_can_be_mounted(box: Box) -> None:
    assert box.run("ls -A /m; touch /m/x", mounts=(SandboxMount("/m"),)).stdout == ""


def test_a_cache_mount_outlives_the_run_and_is_in_no_layer(box: Box) -> None:
    with box.store.cachemounts.acquire("id") as cache:
        mount = SandboxMount("/root/.cache/x", MountType.CACHE, source=cache)
        assert paths(box, "echo 1 > /root/.cache/x/f", mount) == []
        assert box.run("cat /root/.cache/x/f", mounts=(mount,)).stdout == "1\n"
        readonly = SandboxMount("/c", MountType.CACHE, source=cache, readonly=True)
        ran = box.run("cat /c/f; touch /c/x", mounts=(readonly,))
        assert (ran.stdout, ran.code) == ("1\n", 1), ran
        box.sandbox.remove(cache)
        cache.mkdir()


def test_a_new_cache_mount_has_the_files_it_starts_with(box: Box) -> None:
    start = box.layer(directory("cache", 0o750, uid=1000, gid=1001), file("cache/seed", b"s", uid=1000, gid=1001))
    with box.store.cachemounts.acquire("seeded") as cache:
        mount = SandboxMount("/c", MountType.CACHE, source=cache, snapshot=(start.diff_id,), selector="/cache")
        ran = box.run("cat /c/seed; stat -c %a:%u /c; echo more > /c/more", mounts=(mount,))
        assert ran.lines == ["s750:1000" if owned(box) else "s750:0"]
        assert box.run("ls /c", mounts=(mount,)).lines == ["more", "seed"]
        box.sandbox.remove(cache)
        cache.mkdir()


def test_a_cache_mount_has_the_owners_that_a_run_before_gave(box: Box) -> None:
    """And none of files that are gone; whoever shares it meanwhile."""
    look = "cd /c && stat -c '%n %u:%g %a' . a b d d/f"
    with box.store.cachemounts.acquire("owners") as cache:
        mount = SandboxMount("/c", MountType.CACHE, source=cache)
        change = "cd /c && touch a b && mkdir d && touch d/f && chown 5:6 . a d/f && chown -h 7 d && chmod 4750 a"
        ran = box.run(f"{change} && sh -c 'rm b && touch b' && {look}", mounts=(mount,))
        if not owned(box):
            return
        expected = [". 5:6 755", "a 5:6 4750", "b 0:0 644", "d 7:0 755", "d/f 5:6 644"]
        assert ran.lines == expected
        assert box.run(look, mounts=(mount,)).lines == expected
        box.run("cd /c && rm a && touch a && chown 9 b", mounts=(mount,))
        assert box.run(look, mounts=(mount,)).lines == [expected[0], "a 0:0 644", "b 9:0 644", *expected[3:]]
        box.sandbox.remove(cache)
        cache.mkdir()
    assert box.store.cachemounts.remove(cache.name)
    assert [path.name for path in cache.parent.iterdir() if path.name.startswith(cache.name)] == []


@untraced
def test_a_tmpfs_mount_has_its_size_and_is_in_no_layer(box: Box) -> None:
    mount = SandboxMount("/t", MountType.TMPFS, size=1 << 20)
    ran = box.run("df -k /t | awk 'NR==2{print $2}'; dd if=/dev/zero of=/t/x bs=2M count=1", mounts=(mount,))
    assert ran.lines == ["1024"]
    assert ran.code != 0
    assert paths(box, "touch /t/x", SandboxMount("/t", MountType.TMPFS)) == []


def test_a_secret_is_a_file_in_memory_with_its_mode_and_owner(box: Box) -> None:
    mount = SandboxMount("/run/secrets/token", MountType.SECRET, data=b"s3cret", mode=0o440, uid=1000, gid=1001)
    ran = box.run("cat /run/secrets/token; stat -c ' %a:%u:%g' /run/secrets/token", mounts=(mount,))
    assert ran.stdout.split() == ["s3cret", "440:1000:1001" if owned(box) else "440:0:0"]
    assert box.run("echo x > /run/secrets/token", mounts=(mount,)).code != 0
    layer = box.commit("touch /x", mounts=(mount,))
    assert [entry.path for entry in layer.index] == ["x"]
    assert holders(box.store.root, b"s3cret") == []


@pytest.fixture
def agent() -> Iterator[Path]:
    """An agent that answers whoever connects with what it got."""
    with tempfile.TemporaryDirectory() as short, socket.socket(socket.AF_UNIX) as server:
        path = Path(short, "agent")
        server.bind(str(path))
        server.listen()
        path.chmod(0o600)

        def answer() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    while data := connection.recv(100):
                        connection.sendall(b"agent got " + data)

        thread = threading.Thread(target=answer)
        thread.start()
        yield path
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_an_ssh_mount_is_a_socket_of_its_own(box: Box, agent: Path) -> None:
    place = "/run/buildkit/ssh_agent.0"
    mount = SandboxMount(place, MountType.SSH, source=agent, mode=0o666, uid=1000, gid=1001)
    ran = box.run(f"stat -c %F:%a:%u {place}", mounts=(mount,))
    assert ran.stdout == f"socket:666:{1000 if owned(box) else 0}\n"
    assert agent.stat().st_mode & 0o777 == 0o600
    assert agent.stat().st_uid == os.geteuid()
    assert paths(box, "true", mount) == []


def test_what_connects_to_it_talks_to_the_agent(agent: Path, tmp_path: Path) -> None:
    with AgentSocket(tmp_path / "socket", agent):
        directory = os.open(tmp_path, os.O_RDONLY)
        for question in (b"one", b"two"):
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(f"/proc/self/fd/{directory}/socket")
                client.sendall(question)
                assert client.recv(100) == b"agent got " + question
                client.shutdown(socket.SHUT_WR)
                assert client.recv(100) == b""
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(f"/proc/self/fd/{directory}/socket")
            client.sendall(b"open at the end")
            client.recv(100)
    with socket.socket(socket.AF_UNIX) as late, pytest.raises(OSError, match="refused"):
        late.connect(f"/proc/self/fd/{directory}/socket")
    os.close(directory)


def test_mount_points_that_the_image_has_stay_and_made_ones_go(box: Box) -> None:
    image = box.layer(directory("have"), file("have/f", b"f"), directory("empty"), file("emptyfile"))
    snapshot = (*box.snapshot, image.diff_id)
    mounts = [SandboxMount(dest, MountType.TMPFS) for dest in ("/have", "/empty", "/made/by/us", "/have/sub/x")]
    secret = SandboxMount("/emptyfile", MountType.SECRET, data=b"x")
    assert paths(box, "true", *mounts, secret, snapshot=snapshot) == []


def test_a_made_mount_point_stays_when_something_was_put_beside_it(box: Box) -> None:
    mount = SandboxMount("/made/by/us", MountType.TMPFS)
    assert paths(box, "touch /made/kept", mount) == ["made", "made/kept"]


def test_etc_that_the_image_lacks_is_not_left_behind(box: Box) -> None:
    snapshot = (*box.snapshot, box.layer(whiteout("etc")).diff_id)
    assert paths(box, "cat /etc/hosts /etc/resolv.conf", snapshot=snapshot) == []
    assert paths(box, "touch /etc/mine", snapshot=snapshot) == ["etc", "etc/mine"]


def test_dev_proc_and_sys_that_the_image_lacks_are_left_as_buildkit_leaves_them(box: Box) -> None:
    busybox = box.store.tree(box.snapshot)
    binary = busybox.get("bin/busybox")
    assert binary is not None
    content = busybox.read(binary)
    only = box.layer(directory("bin"), file("bin/sh", content, mode=0o755))
    assert paths(box, "true", snapshot=(only.diff_id,)) == ["dev", "proc", "sys"]


@untraced
def test_a_mount_at_a_path_of_ours_takes_its_place(box: Box) -> None:
    mounts = (SandboxMount("/dev/shm", MountType.TMPFS, size=1 << 20), bind(box, "/etc/hosts", selector="other"))
    ran = box.run("df -k /dev/shm | awk 'NR==2{print $2}'; cat /etc/hosts", mounts=mounts)
    assert ran.lines == ["1024", "o"]


def test_mounts_nest_in_the_order_given(box: Box) -> None:
    mounts = (bind(box, "/m"), SandboxMount("/m/in/side", MountType.TMPFS))
    assert box.run("touch /m/in/side/x && ls /m", mounts=mounts).lines == ["in", "other", "src"]


def test_a_mount_point_behind_a_link_stays_inside(box: Box) -> None:
    layer = box.commit("ln -s ../../../../home /link")
    snapshot = (*box.snapshot, layer.diff_id)
    mount = SandboxMount("/link/m", MountType.TMPFS)
    assert box.run("touch /home/m/x && ls /home", mounts=(mount,), snapshot=snapshot).lines == ["m", "user"]
    assert not Path("/home/m").exists()


def test_of_two_that_fill_a_cache_mount_at_once_the_first_wins(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    start = box.layer(directory("cache"), file("cache/seed", b"late"))
    rootfs = box.sandbox.rootfs
    copy = rootfs.copy

    def copy_late(*arguments: Any, **options: Any) -> None:
        copy(*arguments, **options)
        (cache / "seed").write_text("early")  # by another process, which locks nothing of this one's

    with box.store.cachemounts.acquire("raced") as cache:
        monkeypatch.setattr(rootfs, "copy", copy_late)
        rootfs.fill(cache, (start.diff_id,))
        assert (cache / "seed").read_text() == "early"
