"""RUN where the installation has no tracer of its own: proot stands in, and what it loses is said."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pybuild_magic.builders.embedded.sandbox import RunSpec, Sandbox, SandboxMount, tracer
from pybuild_magic.builders.embedded.sandbox.process import Hold
from pybuild_magic.builders.embedded.sandbox.tracer import PROOT_LACKS
from pybuild_magic.cancel import Cancel
from pybuild_magic.errors import Interrupted, UnsupportedError
from pybuild_magic.llb.ops import MountType, NetMode
from pybuild_magic.store import Store
from tests.services import require, tool

from .conftest import TRACED, Box, write_base

pytestmark = pytest.mark.skipif(TRACED, reason="a tracer is tested here that is not that of these tests")


@pytest.fixture
def sandbox(store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Sandbox]:
    """A sandbox of a pure wheel, in a place that gives no rights."""
    require(lambda: tool("proot"))
    monkeypatch.setattr(tracer, "_BIN", tmp_path / "no-program")
    with Sandbox(store, rung=5) as sandbox:
        store.remove_tree = sandbox.remove
        yield sandbox


@pytest.fixture
def box(sandbox: Sandbox) -> Box:
    return Box(sandbox, write_base(sandbox.store))


def test_it_is_taken_and_its_limits_are_told(sandbox: Sandbox) -> None:
    rung = sandbox.rung
    assert rung is not None
    assert (rung.number, PROOT_LACKS in rung.lacks) == (5, True)
    assert "no chown to other users" in sandbox.rungs()[2].lacks


def test_without_proot_the_reason_is_that_there_is_no_program(
    store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tracer, "_BIN", tmp_path / "no-program")
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with Sandbox(store) as sandbox:
        assert "proot is not on PATH" in sandbox.rungs()[4].why


@pytest.mark.parametrize(
    ("command", "code", "error"),
    [
        (("/bin/sh", "-c", "exit 7"), 7, ""),
        (("nothing",), 127, 'exec: "nothing": executable file not found in $PATH'),
        (("/no/thing",), 127, 'exec: "/no/thing": no such file'),
        (("/etc/passwd",), 126, 'exec: "/etc/passwd": permission denied'),
        (("/script/run",), 0, ""),
    ],
)
def test_how_a_process_ends(box: Box, command: tuple[str, ...], code: int, error: str, tmp_path: Path) -> None:
    (tmp_path / "run").write_text("#!/bin/sh\n")
    (tmp_path / "run").chmod(0o755)
    mount = SandboxMount("/script", MountType.BIND, source=tmp_path)
    ran = box.run(command, mounts=(mount,))
    assert (ran.code, ran.outcome.error, ran.stderr.strip()) == (code, error, error)


def test_a_layer_has_what_was_changed_and_no_more(box: Box) -> None:
    layer = box.commit(
        "id -u; mkdir /d; echo x > /d/f; ln /d/f /d/g; ln -s f /d/l; rm /home/user/own; chmod 4755 /d/f; "
        "chown -R 5:6 /d /home; echo y >> /etc/group",
        cwd="/new/place",
        env=("PATH=/bin",),
    )
    assert [(e.path, e.type, oct(e.mode), e.uid, e.gid, e.link) for e in layer.index] == [
        ("d", "5", "0o755", 0, 0, ""),
        ("d/f", "0", "0o4755", 0, 0, ""),
        ("d/g", "1", "0o4755", 0, 0, "d/f"),
        ("d/l", "2", "0o777", 0, 0, "f"),
        ("etc", "5", "0o755", 0, 0, ""),
        ("etc/group", "0", "0o644", 0, 0, ""),
        ("home", "5", "0o755", 0, 0, ""),
        ("home/user", "5", "0o755", 1000, 1001, ""),
        ("home/user/.wh.own", "0", "0o0", 0, 0, ""),
        ("new", "5", "0o755", 0, 0, ""),
        ("new/place", "5", "0o755", 0, 0, ""),
    ]


def test_new_files_are_those_of_the_user(box: Box) -> None:
    ran = box.run("id; : > f; cat /home/user/own", keep=True, user="user", cwd="/home/user/new")
    assert ran.stdout.startswith("uid=1000(user) gid=1001(user)"), ran.stdout
    layer = box.sandbox.commit(ran.outcome)
    assert [(e.path, e.uid, e.gid) for e in layer.index if "new" in e.path] == [
        ("home/user/new", 1000, 1001),
        ("home/user/new/f", 1000, 1001),
    ]


def test_mounts_are_shown_and_leave_nothing(box: Box, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    mounts = (
        SandboxMount("/cache", MountType.CACHE, source=cache),
        SandboxMount("/run/secrets/s", MountType.SECRET, data=b"hidden"),
        SandboxMount("/empty", MountType.TMPFS),
        SandboxMount("/base", MountType.BIND, snapshot=box.snapshot, readonly=True),
    )
    script = "cat /run/secrets/s; echo c > /cache/f; : > /empty/f; ls -d /base/etc; : > /base/etc/passwd"
    for _ in range(2):
        ran = box.run(script, keep=True, mounts=mounts)
        assert (ran.code, ran.stdout) == (0, "hidden/base/etc\n"), ran.stderr
        assert [entry.path for entry in box.sandbox.commit(ran.outcome).index] == []
    assert (cache / "f").read_text() == "c\n"
    assert box.store.tree(box.snapshot).get("etc/passwd").size  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"network": NetMode.NONE}, "--network=none"),
        ({"readonly_root": True}, "--read-only"),
        ({"mounts": (SandboxMount("/x", source=Path("/etc"), readonly=True),)}, "a read-only mount at /x"),
    ],
)
def test_what_it_cannot_keep_a_process_from_is_refused(box: Box, spec: dict[str, object], words: str) -> None:
    with pytest.raises(UnsupportedError, match=words):
        box.run("true", **spec)


def test_when_a_process_has_begun_that_is_told(box: Box) -> None:
    """A run in the background is there from then on."""
    cancel, hold = Cancel(), Hold()
    hold.awaited = True
    spec = RunSpec(("/bin/sleep", "1000"), box.snapshot)
    with ThreadPoolExecutor() as pool:
        ran = pool.submit(box.sandbox.run, spec, lambda _stream, _data: None, cancel, hold)
        begun = hold.started.wait(60)
        cancel.cancel()
        with pytest.raises(Interrupted):
            ran.result(60)
    assert begun


def test_when_it_is_cancelled_nothing_lives_on(box: Box, tmp_path: Path) -> None:
    cancel = Cancel()
    mount = SandboxMount("/out", source=tmp_path)

    def stop(_stream: int, _data: bytes) -> None:
        cancel.cancel()

    script = "setsid sh -c 'echo $$ > /out/pid; sleep 1000' & while [ ! -s /out/pid ]; do sleep 0.1; done; echo; wait"
    with pytest.raises(Interrupted):
        box.sandbox.run(RunSpec(("/bin/sh", "-c", script), box.snapshot, mounts=(mount,)), stop, cancel)
    status = Path(f"/proc/{(tmp_path / 'pid').read_text().strip()}/status")
    assert not status.exists() or "\nState:\tZ" in status.read_text()
