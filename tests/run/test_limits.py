"""Limits of a run hold for all its processes together, and their cgroups go with it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pybuild_magic.api.functions import build
from pybuild_magic.builders import embedded_builder
from pybuild_magic.builders.embedded.builder import EmbeddedBuilder
from pybuild_magic.builders.embedded.sandbox import client
from pybuild_magic.builders.embedded.sandbox.cgroups import limited, standing_limits, sweep
from pybuild_magic.builders.embedded.sandbox.limits import Limits, limits_of, version_1, version_2
from pybuild_magic.errors import RunError, UnsupportedError, UsageError
from pybuild_magic.notebook.background_commands import ps
from pybuild_magic.run import options_from, run, start
from tests.search import cgroups

pytestmark = pytest.mark.usefixtures("store")


@pytest.fixture(name="cgroups")
def need_cgroups() -> None:
    if not _has_cgroups():
        pytest.skip("cgroups cannot be made here")


def _has_cgroups() -> bool:
    try:
        with limited(Limits(1 << 30, 1.0, 100)):
            return True
    except UnsupportedError:
        return False


def _left() -> list[Path]:
    return cgroups(f"pybuild-{os.getpid()}-*")


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Iterator[EmbeddedBuilder]:
    """A builder whose processes may have little together, without being asked for that."""
    embedded_builder().close()
    monkeypatch.setattr(client, "standing_limits", lambda: Limits(memory=96 << 20, pids=48))
    builder = embedded_builder()
    yield builder
    builder.close()


@pytest.mark.usefixtures("cgroups")
def test_processes_are_counted() -> None:
    done = run("busybox", "sh", "-c", "for i in 1 2 3 4 5 6 7 8; do sleep 5 & done; echo all", pids_limit=5)
    assert "can't fork" in done.error_text
    assert "all" not in done.text
    assert run("busybox", "sh", "-c", "for i in 1 2 3; do sleep 0 & done; wait; echo all", pids_limit=5).text == "all\n"


@pytest.mark.usefixtures("cgroups")
def test_memory_that_is_too_much_ends_the_process() -> None:
    hungry = "dd if=/dev/zero of=/dev/null bs=100M count=1 2>/dev/null; echo $?"
    assert run("busybox", "sh", "-c", hungry, memory="32m").text == "137\n"
    assert run("busybox", "sh", "-c", hungry).text == "0\n"


HUNGRY_OF_100 = "dd if=/dev/zero of=/dev/null bs=100M count=1 2>/dev/null; test $? = 0 && echo fed"


def test_it_is_told_what_became_of_them() -> None:
    done = run("busybox", "sh", "-c", HUNGRY_OF_100, memory="32m")
    assert done.text == ""
    if _has_cgroups():
        assert done.limits in [f"memory 32 MiB, by cgroups of version {number}" for number in (1, 2)]
        assert done.warnings == ("Linux killed a process because memory ran out: the limit is 32 MiB.",)
        both = run("busybox", "true", memory="64m", cpus="1.5", pids_limit=50)
        assert not both.warnings
        assert both.limits.startswith("memory 64 MiB, 1.5 CPUs, 50 processes, by cgroups")
    else:
        assert done.limits == "memory 32 MiB of each process, by rlimit"
        assert "which cannot be made here" in done.warnings[0]
        with pytest.raises(UnsupportedError, match="cannot be made here"):
            run("busybox", "true", memory="64m", pids_limit=50)
    assert repr(done).endswith(f", {done.limits}>")
    going = start("busybox", "sleep", "1000", name="limited", memory="32m")
    try:
        assert going.exec("sh", "-c", HUNGRY_OF_100).text == ""
        assert f"limited: {done.limits}" in repr(ps([]))
    finally:
        going.stop(0)
        going.remove()


@pytest.mark.usefixtures("cgroups")
def test_ps_says_why_a_run_in_the_background_was_killed() -> None:
    greedy = start("busybox", "dd", "if=/dev/zero", "of=/dev/null", "bs=100M", "count=1", name="greedy", memory="32m")
    try:
        assert greedy.wait() == 137
        assert "greedy: Linux killed a process because memory ran out: the limit is 32 MiB." in repr(ps(["-a"]))
    finally:
        greedy.remove()


@pytest.mark.usefixtures("cgroups")
def test_nothing_is_left_of_them() -> None:
    embedded_builder().close()
    others = set(_left())  # of builders that other tests have in this process
    run("busybox", "true")
    before = set(_left())
    run("busybox", "true", pids_limit=50, memory="64m", cpus="0.5")
    assert set(_left()) <= before
    embedded_builder().close()
    assert set(_left()) <= others


BOMB = "FROM busybox\nRUN for i in $(seq 100); do sleep 30 & done; echo all of them"
HUNGRY = "FROM busybox\nRUN dd if=/dev/zero of=/dev/null bs=200M count=1"


@pytest.mark.usefixtures("cgroups", "small")
def test_a_run_that_takes_too_much_ends_alone() -> None:
    with pytest.raises(RunError) as caught:
        build(BOMB, "-", progress="quiet")
    assert any("can't fork" in line for line in caught.value.logs)
    assert "Linux refused to start another process: the limit of all that is run here is 48." in caught.value.hint
    with pytest.raises(RunError) as caught:
        build(HUNGRY, "-", progress="quiet")
    assert caught.value.exit_code == 137
    assert caught.value.message.endswith("did not complete successfully: cannot allocate memory")
    assert "because memory ran out: the limit of all that is run here is 96 MiB." in caught.value.hint
    assert run("busybox", "echo", "still here").text == "still here\n"


def test_a_run_is_ended_before_the_kernel_when_memory_runs_out() -> None:
    own = int(Path("/proc/self/oom_score_adj").read_text())
    assert int(run("busybox", "cat", "/proc/self/oom_score_adj").text) == min(own + 500, 1000)


def test_all_that_is_run_may_have_less_than_the_machine() -> None:
    limits = standing_limits()
    assert 0 < limits.memory < os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert 0 < limits.pids < int(Path("/proc/sys/kernel/pid_max").read_text())


@pytest.mark.usefixtures("cgroups")
def test_resources_of_a_build_are_those_of_each_run() -> None:
    with pytest.raises(RunError) as caught:
        build(HUNGRY, "-", progress="quiet", resources=["memory=32m"])
    assert caught.value.exit_code == 137
    shown = "FROM busybox\nRUN cat /proc/self/cgroup; exit 3"
    parent = f"/pybuild-test-{os.getpid()}"
    with pytest.raises(RunError) as caught:
        build(shown, "-", progress="quiet", cgroup_parent=parent, resources=["cpu-shares=512", "cpuset-cpus=0"])
    assert any(f"{parent}/pybuild-{os.getpid()}-" in line for line in caught.value.logs)
    assert not cgroups(parent[1:])


def test_resources_become_the_files_of_either_version() -> None:
    """The numbers are those that runc makes of the same (`docker run`'s flags) in the unified hierarchy."""
    limits = limits_of(
        {"memory": "1000", "memswap": "3000", "cpushares": "1024", "cpuquota": "50000", "cpusetcpus": "0-1"}
    )
    assert version_2(limits) == {
        "memory.max": "1000",
        "memory.swap.max": "2000",
        "cpu.max": "50000 100000",
        "cpu.weight": "39",
        "cpuset.cpus": "0-1",
    }
    assert version_1(limits) == {
        "memory": {"memory.limit_in_bytes": "1000", "memory.memsw.limit_in_bytes": "3000"},
        "cpu": {"cpu.shares": "1024", "cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "50000"},
        "cpuset": {"cpuset.cpus": "0-1"},
    }
    assert version_2(Limits(memory=1000)) == {"memory.max": "1000", "memory.swap.max": "1000"}, "as much swap again"
    assert version_2(Limits(memory=1000, swap=1000))["memory.swap.max"] == "0"
    assert version_2(Limits(memory=1000, swap=-1))["memory.swap.max"] == "max"
    with pytest.raises(UsageError, match="must be a number"):
        limits_of({"cpushares": "many"})


@pytest.mark.usefixtures("cgroups")
def test_what_a_killed_process_has_left_is_removed_by_the_next() -> None:
    code = """
import os, signal
from pathlib import Path
from pybuild_magic.builders import embedded_builder
embedded_builder().sandbox.check()
print(os.getpid(), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    ran = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=False)
    left = cgroups(f"pybuild-{int(ran.stdout)}-*")
    assert left
    deadline = time.monotonic() + 60
    while any(path.exists() for path in left):
        sweep(0.0)
        assert time.monotonic() < deadline


@pytest.mark.usefixtures("cgroups")
def test_a_limit_that_linux_refuses_is_named() -> None:
    refused = r"cannot be '4711' here: Linux refuses it for cpuset\.cpus"
    with pytest.raises(UsageError, match=refused), limited(Limits(cpuset_cpus="4711")):
        pass


def test_what_is_no_limit_is_refused() -> None:
    for words in (["--cpus", "many"], ["--cpus", "0.001"], ["--pids-limit", "x"], ["-m", "x"]):
        with pytest.raises(UsageError):
            options_from([*words, "busybox"])
