"""A store with a busybox base, and a sandbox for each way of running that this machine has."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from pybuild_magic.builders.embedded.sandbox import RunOutcome, RunSpec, Sandbox
from pybuild_magic.cancel import Cancel
from pybuild_magic.store import DIR, SYMLINK, Entry, Layer, LayerWriter, Store
from tests.services import require, tool

IDENTITY = os.environ.get("PYBUILD_TEST_IDENTITY", "root" if os.geteuid() == 0 else "range")
"""Who runs the tests: root, single (one id), range (with subordinate ids) or traced (no namespaces)."""
ROOTLESS = IDENTITY != "root"
SINGLE = IDENTITY == "single"
TRACED = IDENTITY == "traced"
kernel_ids = pytest.mark.skipif(TRACED or SINGLE, reason="ids and capabilities are what the tracer has it believe")
untraced = pytest.mark.skipif(TRACED, reason="a namespace or a mount does it, and a tracer does not")
TIME = 1_700_000_000 * 10**9

PASSWD = b"root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1001::/home/user:/bin/sh\n"
GROUP = b"root:x:0:\nuser:x:1001:\nextra:x:2000:nobody,user\nother:x:2001:\n"

APPLETS = (
    "awk", "cat", "chmod", "chown", "chroot", "cp", "cut", "date", "dd", "df", "echo", "env", "find", "grep",
    "head", "hostname", "id", "ip", "ln", "ls", "md5sum", "mkdir", "mkfifo", "mknod", "mount", "mv", "printf",
    "pwd", "readlink", "rm", "rmdir", "seq", "setsid", "sh", "sleep", "sort", "stat", "tail", "test", "touch",
    "tr", "true", "umount", "unshare", "wc", "xargs",
)  # fmt: skip

WAYS = ("builtin",) if TRACED else ("builtin", "runc", "copying")
HAS_IMAGES = (
    os.geteuid() == 0
    and "\terofs\n" in Path("/proc/filesystems").read_text()
    and tuple(map(int, os.uname().release.split(".")[:2])) >= (6, 12)
)
"""Whether Linux mounts the images of layers from files, for this user."""


@dataclass
class Ran:
    """A process that has ended."""

    outcome: RunOutcome
    code: int
    stdout: str
    stderr: str
    chunks: list[tuple[int, bytes]] = field(default_factory=list)

    @property
    def lines(self) -> list[str]:
        return self.stdout.splitlines()


class Box:
    """A sandbox with the busybox base, and short ways to run and to commit."""

    def __init__(self, sandbox: Sandbox, base: Layer) -> None:
        self.sandbox = sandbox
        self.store = sandbox.store
        self.base = base
        self.snapshot: tuple[str, ...] = (base.diff_id,)

    def run(
        self, command: str | tuple[str, ...], *, keep: bool = False, cancel: Cancel | None = None, **spec: Any
    ) -> Ran:
        args = command if isinstance(command, tuple) else ("/bin/sh", "-c", command)
        chunks: list[tuple[int, bytes]] = []
        outcome = self.sandbox.run(
            RunSpec(args, **{"snapshot": self.snapshot, **spec}),
            lambda stream, data: chunks.append((stream, data)),
            cancel or Cancel(),
        )
        out, err = (b"".join(data for number, data in chunks if number == stream).decode() for stream in (1, 2))
        if not keep:
            self.sandbox.discard(outcome)
        return Ran(outcome, outcome.exit_code, out, err, chunks)

    def commit(self, command: str, **spec: Any) -> Layer:
        ran = self.run(command, keep=True, **spec)
        assert ran.code == 0, ran.stderr
        return self.sandbox.commit(ran.outcome)

    def layer(self, *entries: Entry | tuple[Entry, bytes]) -> Layer:
        with LayerWriter(self.store) as writer:
            for item in entries:
                entry, content = item if isinstance(item, tuple) else (item, None)
                writer.add(entry, content)
            return writer.finish()


def owned(box: Box) -> bool:
    """Whether files have the owners that they are given: by the kernel, or as the tracer remembers them."""
    box.sandbox.check()
    return box.sandbox._helper.owned


def file(path: str, content: bytes = b"", **fields: Any) -> tuple[Entry, bytes]:
    return Entry(path, mtime=TIME, size=len(content), **fields), content


def symlink(path: str, target: str) -> Entry:
    return Entry(path, SYMLINK, 0o777, mtime=TIME, link=target)


def directory(path: str, mode: int = 0o755, **fields: Any) -> Entry:
    return Entry(path, DIR, mode, mtime=TIME, **fields)


def write_base(store: Store) -> Layer:
    """A root file system of busybox-static with links for the applets that tests use."""
    busybox = Path(require(lambda: tool("busybox")))
    content = busybox.read_bytes()
    with LayerWriter(store) as writer:
        writer.add(directory("bin"))
        writer.add(Entry("bin/busybox", mode=0o755, mtime=TIME, size=len(content)), content)
        for name in APPLETS:
            writer.add(Entry(f"bin/{name}", SYMLINK, 0o777, mtime=TIME, link="busybox"))
        for name in ("dev", "proc", "sys", "root", "etc"):
            writer.add(directory(name))
        for entry, data in (
            file("etc/hosts"),
            file("etc/resolv.conf"),
            file("etc/passwd", PASSWD),
            file("etc/group", GROUP),
        ):
            writer.add(entry, data)
        writer.add(directory("home"))
        writer.add(directory("home/user", uid=1000, gid=1001))
        writer.add(file("home/user/own", b"mine", uid=1000, gid=1001)[0], b"mine")
        writer.add(directory("tmp", 0o1777))
        return writer.finish()


def make_sandbox(store: Store, way: str) -> Sandbox:
    """A sandbox that runs in one of the ways; skips, or fails in CI, where a runtime is not installed."""
    if way == "runc":
        require(lambda: tool(way))
    sandbox = Sandbox(store, way if way == "runc" else "builtin")
    store.remove_tree = sandbox.remove
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("PYBUILD_OVERLAY", "0" if way == "copying" else "1")
        environment.setenv("PYBUILD_EROFS", "0" if way == "directories" else "1")
        assert sandbox.overlay is (way != "copying" and not TRACED)
        assert sandbox.rootfs.images is (HAS_IMAGES and way not in ("directories", "copying"))
    return sandbox


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "store") as store, store.lease():
        yield store


@pytest.fixture(scope="session")
def boxes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Box]]:
    """The sandbox of a way, with the base: made once, as what is run in it leaves nothing behind."""
    made: dict[str, Box] = {}
    with contextlib.ExitStack() as stack:

        def box(way: str) -> Box:
            if way not in made:
                store = stack.enter_context(Store(tmp_path_factory.mktemp(way) / "store"))
                stack.enter_context(store.lease())
                sandbox = stack.enter_context(make_sandbox(store, way))
                made[way] = Box(sandbox, write_base(store))
            return made[way]

        yield box


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def box(boxes: Callable[[str], Box], way: str) -> Iterator[Box]:
    """A sandbox of each kind."""
    box = boxes(way)
    yield box
    assert not list((box.store.root / "ingest").iterdir())


@pytest.fixture(params=["builtin", *([] if ROOTLESS else ["directories"]), *([] if TRACED else ["copying"])])
def layered(boxes: Callable[[str], Box], request: pytest.FixtureRequest) -> Box:
    """A sandbox of each kind of root file system, for what does not depend on the runtime."""
    return boxes(request.param)


@pytest.fixture
def builtin(boxes: Callable[[str], Box]) -> Box:
    """The built-in sandbox, for what does not depend on the way of running."""
    return boxes("builtin")
