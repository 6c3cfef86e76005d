"""Tests of runs once more as an ordinary user: with subordinate ids, with one id alone, and without namespaces."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.sandbox.test_unprivileged import ROOT, run_as_user, user_place
from tests.services import require, tool

TOLD = "tests/run/test_limits.py::test_it_is_told_what_became_of_them"
FILES = {
    "range": ("tests/run/test_background.py", "tests/run/test_many.py"),
    "single": ("tests/run/test_run.py", "tests/run/test_failed.py", "tests/run/test_background.py", TOLD),
    "traced": ("tests/run/test_run.py", "tests/run/test_background.py", TOLD),
}


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes an ordinary user, so it starts as root")
@pytest.mark.parametrize("identity", FILES)
def test_processes_run_for_an_ordinary_user(identity: str) -> None:
    require(lambda: tool("setpriv"))
    if identity == "range":
        require(lambda: tool("newuidmap"))
    subprocess.run([sys.executable, ROOT / "native/build.py"], check=True)
    with user_place() as (state, home):
        ran = run_as_user(identity, state, home, *FILES[identity])
    assert ran.returncode == 0, ran.stdout[-20_000:] + ran.stderr[-5_000:]
    assert " passed" in ran.stdout
