"""Sandboxes end when they are to: at a cancel, with their builder, and with nothing left behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pybuild_magic.builders.embedded.sandbox import RunSpec
from pybuild_magic.cancel import Cancel
from pybuild_magic.errors import Interrupted
from pybuild_magic.store.collect import collect_garbage
from tests.search import cgroups

from .conftest import ROOTLESS, TRACED, Box, untraced

BUILDER = """
import sys
from pathlib import Path
from pybuild_magic.builders.embedded.sandbox import RunSpec, Sandbox
from pybuild_magic.cancel import Cancel
from pybuild_magic.store import Store
sandbox = Sandbox(Store(Path(sys.argv[1])), sys.argv[2])
def output(stream, data):
    print(data.decode(), flush=True)
script = "echo up; (sleep 777.%s & wait) & setsid sleep 777.%s & sleep 777.%s" % ((sys.argv[4],) * 3)
sandbox.run(RunSpec(("sh", "-c", script), (sys.argv[3],)), output, Cancel())
"""


def sleepers(marker: str) -> list[int]:
    found: list[int] = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_bytes().endswith(b"\0" + marker.encode() + b"\0"):
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def wait_for(condition: object, seconds: float = 10) -> bool:
    assert callable(condition)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if condition():
            return True
        time.sleep(0.01)
    return False


def test_a_cancel_kills_everything_at_once(box: Box) -> None:
    marker = f"778.{os.getpid()}"
    cancel = Cancel()
    started = threading.Event()
    cancelled: list[float] = []

    def stop() -> None:
        started.wait(20)
        cancelled.append(time.monotonic())
        cancel.cancel()

    thread = threading.Thread(target=stop)
    thread.start()
    script = f"echo up; sleep {marker} & setsid sleep {marker} & trap '' TERM INT; while true; do sleep {marker}; done"
    with pytest.raises(Interrupted):
        box.sandbox.run(RunSpec(("sh", "-c", script), box.snapshot), lambda *_: started.set(), cancel)
    took = time.monotonic() - cancelled[0]
    thread.join()
    assert sleepers(marker) == []
    assert took < 10, f"{took:.3f} s"
    assert box.run("echo fine").stdout == "fine\n"


@untraced
def test_runs_at_once_do_not_share_a_cgroup_and_a_cancel_leaves_none(boxes: Callable[[str], Box]) -> None:
    """runc makes one for each container; those of one name would take it from each other."""
    box, cancel, marker, names = boxes("runc"), Cancel(), f"776.{os.getpid()}", set[str]()

    def one(_: int) -> int:
        return box.run("true").code

    def stop(*_: object) -> None:
        assert wait_for(lambda: sleepers(marker))
        names.update(
            re.findall(r"pybuild-[^/\n]*$", Path(f"/proc/{sleepers(marker)[0]}/cgroup").read_text(), re.MULTILINE)
        )
        cancel.cancel()

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(one, range(16))) == [0] * 16
    with pytest.raises(Interrupted):
        box.sandbox.run(RunSpec(("sh", "-c", f"echo up; sleep {marker}; echo"), box.snapshot), stop, cancel)
    assert ROOTLESS or len(names) == 1
    assert not [folder for folder, _, _ in os.walk("/sys/fs/cgroup") if Path(folder).name in names]


def test_a_build_that_is_cancelled_already_starts_nothing(builtin: Box) -> None:
    cancel = Cancel()
    cancel.cancel()
    with pytest.raises(Interrupted):
        builtin.run("true", cancel=cancel)


def test_processes_left_in_the_background_end_with_the_first(box: Box) -> None:
    marker = f"779.{os.getpid()}"
    began = time.monotonic()
    assert box.run(f"sleep {marker} & setsid sleep {marker} & echo done").stdout == "done\n"
    assert time.monotonic() - began < 20
    assert sleepers(marker) == []


@pytest.mark.parametrize("victim", ["builder", "helper"])
def test_killed_there_is_nothing_left(box: Box, way: str, victim: str) -> None:
    marker = f"{os.getpid()}"
    runtime = way if way != "copying" else "builtin"
    assert box.sandbox.overlay is (way != "copying" and not TRACED)
    builder = subprocess.Popen(
        [sys.executable, "-c", BUILDER, str(box.store.root), runtime, box.base.diff_id, marker],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE if victim == "helper" else None,
        text=True,
    )
    assert builder.stdout is not None
    assert builder.stdout.readline() == "up\n"
    assert wait_for(lambda: len(sleepers(f"777.{marker}")) == 3)
    if victim == "builder":
        builder.kill()
    else:
        for child in Path(f"/proc/{builder.pid}/task/{builder.pid}/children").read_text().split():
            os.kill(int(child), signal.SIGKILL)
    assert wait_for(lambda: not sleepers(f"777.{marker}")), sleepers(f"777.{marker}")
    assert builder.wait(20) != 0
    builder.stdout.close()
    if builder.stderr is not None:
        builder.stderr.close()
    assert str(box.store.root) not in Path("/proc/self/mounts").read_text()
    collect_garbage(box.store)
    assert box.run("echo fine").stdout == "fine\n"


def test_nothing_is_mounted_outside_the_sandbox(box: Box) -> None:
    seen: list[str] = []
    box.sandbox.run(
        RunSpec(("sh", "-c", "echo up; sleep 0.2"), box.snapshot),
        lambda *_: seen.append(Path("/proc/self/mounts").read_text()),
        Cancel(),
    )
    assert seen
    assert str(box.store.root) not in seen[0]


def test_working_directories_go(box: Box) -> None:
    work = box.store.root / "work"

    def entries() -> set[str]:
        return {str(path) for path in work.glob("*/*")}

    box.run("true")
    before = entries()
    box.run("mkdir -p /a/b; chmod 0 /a")
    box.commit("mkdir -p /a/b; chmod 0 /a")
    box.sandbox.tidy()
    assert entries() <= before


def test_a_program_that_closes_nothing_leaves_nothing(box: Box, tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
from pybuild_magic.builders.embedded.builder import EmbeddedBuilder
from pybuild_magic.store import Store
builder = EmbeddedBuilder(Store(Path(sys.argv[1])))
builder.sandbox.check()
print(*(path.name for path in (builder.store.root / "work").iterdir()))
"""
    ran = subprocess.run([sys.executable, "-c", code, tmp_path], check=True, capture_output=True, text=True)
    owner = min(ran.stdout.split(), key=len)
    assert ran.stdout.split(), "the process has a directory, and a lock"
    assert list((tmp_path / "work").iterdir()) == []
    assert not cgroups(f"pybuild-{owner.partition('-')[0]}-*")


def test_the_helper_is_started_anew_when_it_was_killed_between_runs(builtin: Box) -> None:
    builtin.run("true")
    process = builtin.sandbox._helper._process
    assert process is not None
    process.kill()
    process.wait()
    assert builtin.run("echo again").stdout == "again\n"


def test_a_forked_builder_has_a_helper_of_its_own(builtin: Box) -> None:
    builtin.run("true")
    child = os.fork()
    if child == 0:
        code = 1
        try:
            with builtin.store.lease():
                code = 0 if builtin.run("echo child").stdout == "child\n" else 2
            builtin.sandbox.close()
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    assert builtin.run("echo parent").stdout == "parent\n"


def test_a_closed_sandbox_has_ended_its_helper(builtin: Box) -> None:
    builtin.run("true")
    process = builtin.sandbox._helper._process
    assert process is not None
    builtin.sandbox.close()
    assert process.returncode is not None


@untraced
def test_the_processes_that_wait_for_the_next_jobs_have_little_open_and_may_be_killed(box: Box) -> None:
    """In a user namespace there is one for a RUN, and one for what is done with its files."""

    def waiting() -> list[int]:
        helpers = children(os.getpid())
        return [pid for helper in helpers if box.store.root.as_posix() in command(helper) for pid in children(helper)]

    def command(pid: int) -> str:
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace")

    for _ in range(2):
        assert box.run("echo here").lines == ["here"]
        assert wait_for(lambda: len(waiting()) == (2 if ROOTLESS else 1))
        for spare in waiting():
            place = Path(f"/proc/{spare}")
            if not ROOTLESS:
                # It has forgotten the rest as soon as it waits, and has only what every sandbox shows of the machine.
                assert wait_for(lambda place=place: len(list((place / "fd").iterdir())) == 8)
                opened = {str(fd.readlink()) for fd in (place / "fd").iterdir()}
                assert {"/proc", "/sys"} <= opened
            os.kill(spare, signal.SIGKILL)
            assert wait_for(lambda place=place: ") Z " in (place / "stat").read_text())
    box.sandbox.close()
    assert wait_for(lambda: not waiting())


def children(pid: int) -> list[int]:
    return [
        int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()
    ]
