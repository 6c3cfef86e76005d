"""A build says how its RUNs were run: while it runs, in its result, and in the text of that."""

from __future__ import annotations

import subprocess
import sys

import pytest

from pybuild_magic.summary import RungSummary
from tests.services import require
from tests.services.common import need_root

from .lab import REPO, Home


@pytest.mark.parametrize(
    ("number", "name", "lacks"), [(1, "namespaces", ""), (4, "root without namespaces", "traced, and isolated only")]
)
def test_a_build_says_on_which_rung_its_runs_were(
    home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], number: int, name: str, lacks: str
) -> None:
    require(lambda: need_root("both rungs"))
    subprocess.run([sys.executable, REPO / "native/build.py"], check=True)
    monkeypatch.setenv("PYBUILD_RUNG", str(number))
    result = home.build("FROM busybox\nRUN echo one\nRUN echo two\n", progress="plain")
    assert result.summary.rung is not None
    assert result.summary.rung == RungSummary(number=number, name=name, lacks=result.summary.rung.lacks)
    assert result.summary.rung.lacks.startswith(lacks)
    assert bool(lacks) is bool(result.summary.rung.lacks)
    printed = capsys.readouterr()
    assert (printed.out + printed.err).count(f"run on rung {number}: {name}\n") == 1
    assert f"RUN on rung {number}, {name}" in repr(result)
    again = home.build("FROM busybox\nRUN echo one\nRUN echo two\n")
    assert again.summary.rung is None, "nothing was run"


@pytest.mark.parametrize(("number", "told"), [(1, ()), (5, ("/dev/shm", "/t"))])
def test_sizes_that_nothing_is_held_to_are_told(
    home: Home, monkeypatch: pytest.MonkeyPatch, number: int, told: tuple[str, ...]
) -> None:
    """Where nothing is mounted, a tmpfs and /dev/shm are directories; limits of a process hold on every rung."""
    require(lambda: need_root("both rungs"))
    subprocess.run([sys.executable, REPO / "native/build.py"], check=True)
    monkeypatch.setenv("PYBUILD_RUNG", str(number))
    dockerfile = "FROM busybox\nRUN --mount=type=tmpfs,target=/t,size=4m [ $(ulimit -n) = 99 ] && echo > /t/x\n"
    result = home.build(dockerfile, shm_size="8m", ulimits=["nofile=99"])
    assert [(warning.short, warning.line) for warning in result.warnings] == [
        (f"The size of {path} is not limited on rung {number}, where it is a directory of this machine", 2)
        for path in told
    ]
