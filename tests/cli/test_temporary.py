"""Where no temporary file can be made, as in a container whose root is read-only, that is told as a sentence."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

ENTER = """
for place in /tmp /var/tmp; do mount -t tmpfs -o ro none $place; done
cd /proc; exec "$@"
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts over /tmp")
def test_a_build_that_needs_one_says_what_to_do() -> None:
    words = ["sh", "-c", ENTER, "sh", sys.executable, "-m", "pybuild_magic", "build", "-"]
    env = {name: value for name, value in os.environ.items() if name not in ("TMPDIR", "TEMP", "TMP")}
    done = subprocess.run(["unshare", "-m", *words], input="FROM scratch\n", capture_output=True, text=True, env=env)
    assert done.stderr.startswith("ERROR: No temporary directory can be made: No usable temporary directory found in [")
    assert "Set TMPDIR to a directory that you can write to" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.returncode == 1
