"""Limits of a run hold for all its processes together, and their cgroups go with it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pybuild_magic.builders.embedded.sandbox.limits import Limits, limited
from pybuild_magic.errors import UnsupportedError, UsageError
from pybuild_magic.run import options_from, run

pytestmark = pytest.mark.usefixtures("store")


@pytest.fixture
def cgroups() -> None:
    try:
        with limited(Limits(1 << 30, 1.0, 100)):
            pass
    except UnsupportedError as error:
        pytest.skip(str(error))


def _left() -> list[Path]:
    return list(Path("/sys/fs/cgroup").glob(f"**/pybuild-{os.getpid()}-*"))


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


@pytest.mark.usefixtures("cgroups")
def test_nothing_is_left_of_them() -> None:
    before = _left()
    run("busybox", "true", pids_limit=50, memory="64m", cpus="0.5")
    assert _left() == before


def test_what_is_no_limit_is_refused() -> None:
    for words in (["--cpus", "many"], ["--pids-limit", "x"], ["-m", "x"]):
        with pytest.raises(UsageError):
            options_from([*words, "busybox"])
