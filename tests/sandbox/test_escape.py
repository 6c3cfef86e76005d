"""What an image or a command may write to get out of its sandbox, and how far it gets."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pybuild_magic.builders.embedded.sandbox import SandboxMount
from pybuild_magic.builders.embedded.sandbox.helper import inside
from pybuild_magic.errors import BuildError
from pybuild_magic.llb.ops import MountType, NetMode
from pybuild_magic.store import SYMLINK, Entry, whiteout

from .conftest import ROOTLESS, SINGLE, Box, Ran, directory

RUNTIMES = ("builtin", "runc")
LOOK = "echo entered; pwd -P; ls; ls .. ../.. 2>/dev/null"
MAGIC = (
    "/proc/self/fd/{}",
    "/proc/self/cwd",
    "/proc/self/root",
    "/proc/1/root",
    "/proc/1/cwd",
    "/proc/thread-self/root",
)


@pytest.fixture(params=RUNTIMES)
def runtime(boxes: Callable[[str], Box], request: pytest.FixtureRequest) -> Box:
    return boxes(request.param)


def refused(ran: Ran) -> bool:
    """Whether nothing has run: a process that stands where a descriptor leads would tell."""
    return ran.code != 0 and "entered" not in ran.stdout


def test_no_descriptor_is_a_working_directory(runtime: Box) -> None:
    """CVE-2024-21626: /proc, /sys and layers of the machine are open while the sandbox is made."""

    def enter(number: int) -> tuple[int, bool]:
        return number, refused(runtime.run(LOOK, cwd=f"/proc/self/fd/{number}"))

    with ThreadPoolExecutor(4) as pool:
        assert [number for number, safe in pool.map(enter, range(3, 65)) if not safe] == []


@pytest.mark.parametrize("target", [path.format(number) for path in MAGIC[:1] for number in (5, 9, 12)] + [*MAGIC[1:]])
def test_a_link_of_the_image_to_one_is_none_either(runtime: Box, target: str) -> None:
    link = runtime.layer(Entry("out", SYMLINK, 0o777, link=target), Entry("up", SYMLINK, 0o777, link="out"))
    snapshot = (*runtime.snapshot, link.diff_id)
    for cwd in ("/out", "/up", "/up/sys"):
        assert refused(runtime.run(LOOK, cwd=cwd, snapshot=snapshot)), cwd


@pytest.mark.parametrize("kind", [MountType.TMPFS, MountType.BIND, MountType.CACHE, MountType.SECRET])
def test_nothing_is_mounted_behind_a_link_to_what_is_open(runtime: Box, tmp_path: Path, kind: MountType) -> None:
    machine = set(Path("/").iterdir())
    link = runtime.layer(Entry("out", SYMLINK, 0o777, link="/proc/self/fd/9"))
    snapshot = (*runtime.snapshot, link.diff_id)
    source = runtime.store.root / "empty"
    source.mkdir(exist_ok=True)
    for dest in (
        "/proc/self/fd/9",
        "/proc/self/fd/12/pwned",
        "/proc/self/root/pwned",
        "/out/pwned",
        "/proc/1/cwd/pwned",
    ):
        mount = SandboxMount(dest, kind, source=source, data=b"x")
        try:
            assert refused(runtime.run(LOOK, mounts=(mount,), snapshot=snapshot)), dest
        except BuildError as error:
            assert dest.rpartition("/")[2] in str(error), error
    assert set(Path("/").iterdir()) == machine


def test_a_selector_finds_nothing_of_a_process(runtime: Box) -> None:
    source = runtime.layer(
        directory("proc"),
        *(Entry(name, SYMLINK, 0o777, link=path.format(9)) for name, path in zip("abcdef", MAGIC, strict=True)),
    )
    for name in "abcdef":
        mount = SandboxMount("/m", snapshot=(source.diff_id,), selector=f"/{name}")
        with pytest.raises(BuildError, match="No such file"):
            runtime.run("ls /m", mounts=(mount,))


def test_a_path_that_changes_meanwhile_is_looked_up_inside(tmp_path: Path) -> None:
    """A cache can be shared with a build that puts a link where a directory was."""
    (tmp_path / "root").mkdir()
    (tmp_path / "root/link").symlink_to("../../outside")
    root = inside.Root(str(tmp_path / "root"))
    os.close(root.make("/link/a/b", directory=True))
    os.close(root.make("/c/../d/file", directory=False))
    assert (tmp_path / "root/outside/a/b").is_dir()
    assert (tmp_path / "root/d/file").is_file()
    assert not (tmp_path / "outside").exists()
    (tmp_path / "root/circle").symlink_to("circle")
    with pytest.raises(inside.PathError, match="loop of links"):
        root.make("/circle/x", directory=True)
    os.close(root.fd)


@pytest.mark.skipif(ROOTLESS, reason="a user namespace has no devices to make")
def test_a_device_can_be_made_and_not_opened(runtime: Box) -> None:
    """Wherever a process can write: the machine's disks are a mknod away."""
    with runtime.store.cachemounts.acquire("devices") as cache:
        mounts = (
            SandboxMount("/c", MountType.CACHE, source=cache),
            SandboxMount("/t", MountType.TMPFS),
            SandboxMount("/m", snapshot=runtime.snapshot),
        )
        ran = runtime.run(
            "for d in / /tmp /dev /dev/shm /c /t /m /m/etc; do"
            " mknod $d/zero5 c 1 5 && mknod $d/disk b 7 0 || echo none; stat -c %F $d/zero5;"
            " head -c1 $d/zero5 > /dev/null && echo opened $d; head -c1 $d/disk && echo read $d; done;"
            "head -c2 /dev/zero | wc -c",
            mounts=mounts,
        )
        runtime.sandbox.remove(cache)
        cache.mkdir()
    assert ran.lines == ["character special file"] * 8 + ["2"], ran
    assert ran.stderr.count("Permission denied") == 16


@pytest.mark.skipif(ROOTLESS, reason="a user namespace has no devices to make")
def test_insecure_opens_devices(builtin: Box) -> None:
    assert builtin.run("mknod /z c 1 5; head -c2 /z | wc -c", insecure=True).stdout == "2\n"


def test_the_machine_s_network_is_not_listened_to(box: Box) -> None:
    """CAP_NET_RAW would read the tokens of other processes off the loopback."""
    masks = {
        network: box.run("grep CapBnd /proc/self/status", network=network).stdout.split()[1] for network in NetMode
    }
    assert masks == {
        NetMode.SANDBOX: "00000000a80405fb",
        NetMode.HOST: "00000000a80405fb",
        NetMode.NONE: "00000000a80425fb",
    }


@pytest.mark.skipif(ROOTLESS or os.uname().machine != "x86_64", reason="what refuses the sockets, as root")
def test_sockets_of_the_machine_are_refused() -> None:
    from pybuild_magic.builders.embedded.sandbox.helper import linux, security

    child = os.fork()
    if child == 0:
        code = 0
        try:
            mask = security.drop_capabilities(security.allowed("host", None))
            security.filter_calls()
            linux.capset(mask, mask, 0)
            for number, family in enumerate((socket.AF_PACKET, socket.AF_VSOCK)):
                try:
                    socket.socket(family, socket.SOCK_STREAM if number else socket.SOCK_RAW)
                    code |= 1 << number
                except PermissionError:
                    pass
            socket.socket(socket.AF_INET).close()
        except BaseException as error:
            print(error, file=sys.stderr)
            code = 9
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_nothing_of_the_machine_is_standard_input(box: Box) -> None:
    """`chmod 0 /dev/stdin` would change the machine's /dev/null."""
    ran = box.run("readlink /proc/self/fd/0; chmod 600 /dev/stdin; echo x > /dev/stdout", user="user")
    assert ran.stdout.startswith("pipe:"), ran
    assert ran.stdout.endswith("\nx\n"), ran


@pytest.mark.skipif(not SINGLE, reason="files tell who has made them")
def test_what_the_sandbox_makes_is_root_s(builtin: Box) -> None:
    gone = builtin.layer(*(whiteout(name) for name in ("dev", "proc", "sys")))
    layer = builtin.commit(
        "touch /mnt/mine",
        snapshot=(*builtin.snapshot, builtin.layer(directory("mnt", 0o777)).diff_id, gone.diff_id),
        mounts=(SandboxMount("/mnt/of/ours", MountType.TMPFS),),
        cwd="/w/d",
        user="user",
    )
    owners = {entry.path: entry.uid for entry in layer.index}
    assert owners == {"dev": 0, "mnt": 0, "mnt/mine": 1000, "proc": 0, "sys": 0, "w": 1000, "w/d": 1000}
