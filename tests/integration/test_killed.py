"""Killed at any moment, a build leaves a whole store, nothing that runs or is mounted, and the next build is right."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.services import require
from tests.services.common import tool

from .lab import REPO

WAYS = {
    "runc": {"PYBUILD_RUNTIME": "runc"},
    "builtin": {"PYBUILD_RUNTIME": "builtin"},
    "copying": {"PYBUILD_RUNTIME": "builtin", "PYBUILD_OVERLAY": "0"},
}


@pytest.mark.parametrize(("way", "rounds"), [("runc", 17), ("builtin", 17), ("copying", 16)])
def test_killed_builds_leave_nothing_and_the_next_is_right(
    store_template: Path, tmp_path: Path, way: str, rounds: int
) -> None:
    if way == "runc":
        require(lambda: tool("runc"))
    done = subprocess.run(
        [sys.executable, "-m", "tests.integration.killed", store_template, tmp_path, "7", str(rounds)],
        env={**os.environ, **WAYS[way], "PYTHONPATH": str(REPO)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
