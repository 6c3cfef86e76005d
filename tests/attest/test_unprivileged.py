"""Caches, attestations and locks once more as an ordinary user with few descriptors, where there are no namespaces."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.sandbox.test_unprivileged import ROOT, run_as_user, user_place
from tests.services import require, tool

FILES = (
    "tests/integration/test_outside_caches.py",
    "tests/integration/test_lock.py",
    "tests/attest/test_provenance.py",
    "tests/attest/test_scanner.py",
)
CHOSEN = (
    *("another_has_exported", "only_when_something_reads", "spoilt", "what_was_locked", "locked_beside_its_context"),
    *("attested_by_a_manifest", "files_have_their", "commit_of_the_context", "may_do_wrong"),
)
"""Those to which it makes a difference who builds, and that need no engine, which is root's."""


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes an ordinary user, so it starts as root")
def test_an_ordinary_user_has_all_of_it() -> None:
    require(lambda: tool("setpriv"))
    subprocess.run([sys.executable, ROOT / "native/build.py"], check=True)
    with user_place() as (state, home):
        ran = run_as_user("traced", state, home, *FILES, "-k", " or ".join(CHOSEN))
    assert ran.returncode == 0, ran.stdout[-20_000:] + ran.stderr[-5_000:]
    assert " passed" in ran.stdout
    assert " skipped" not in ran.stdout
