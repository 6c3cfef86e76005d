"""The tests of front ends again, as an ordinary user with few descriptors, with and without namespaces."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.integration.lab import Home
from tests.sandbox.test_unprivileged import ROOT, run_as_user, user_place
from tests.services import require, tool

from .conftest import ARCHIVE, Front

CHOSEN = ("named_by_a_build_arg", "failing_process", "built_in", "stays_after", "steal", "side_by_side")
"""The tests that do not need an engine, which only root can use."""


@pytest.mark.xdist_group("frontends")
@pytest.mark.skipif(os.geteuid() != 0, reason="becomes an ordinary user, so it starts as root")
@pytest.mark.parametrize("identity", ["single", "traced"])
def test_an_ordinary_user_runs_them(identity: str, front: Front, home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    require(lambda: tool("setpriv"))
    subprocess.run([sys.executable, ROOT / "native/build.py"], check=True)
    with user_place() as (state, place):
        archive = place / "front.tar"
        home.build(f"FROM {front.ref}\n", "-", outputs=f"type=oci,dest={archive}")
        archive.chmod(0o644)
        monkeypatch.setenv(ARCHIVE, str(archive))
        ran = run_as_user(identity, state, place, "tests/frontends/test_frontends.py", "-k", " or ".join(CHOSEN))
    assert ran.returncode == 0, ran.stdout[-20_000:] + ran.stderr[-5_000:]
    assert " passed" in ran.stdout
    assert " skipped" not in ran.stdout
